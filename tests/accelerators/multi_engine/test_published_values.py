"""Single engines and the dynamic programme against the figures of the literature and of earlier calculations."""

import pytest

from silicut.accelerators.multi_engine.config import PRECISIONS
from silicut.accelerators.multi_engine.partition.contiguous import exact_partition
from silicut.accelerators.multi_engine.partition.problem import Limits, PartitionProblem
from silicut.accelerators.multi_engine.published_layers import PUBLISHED_NETWORKS, published_layers
from silicut.zoo.layer_table import known_layers

MACS = {"alexnet-2012": 0.666, "vgg16": 15.35, "googlenet-2014": 1.582, "squeezenet-1.1-227": 0.388}
N_LAYERS = {"alexnet-2012": 10, "vgg16": 13, "googlenet-2014": 57, "squeezenet-1.1-227": 26}

# Cycles of an image for 80 % of the slices of an xc7vx485t (2240) and an xc7vx690t (2880), by exhaustive search elsewhere;
# those of AlexNet fp32 are published (Shen et al., arXiv 1607.00064, as recalled).
SINGLE = {
    ("alexnet-2012", "fp32"): (2_005_892, 1_768_724),
    ("alexnet-2012", "fixed16"): (1_042_118, 987_416),
    ("squeezenet-1.1-227", "fp32"): (1_109_229, 880_889),
    ("squeezenet-1.1-227", "fixed16"): (347_965, 331_305),
    ("vgg16", "fp32"): (35_590_464, 27_984_096),
    ("vgg16", "fixed16"): (7_747_488, 6_378_624),
    ("googlenet-2014", "fp32"): (4_308_521, 3_517_416),
    ("googlenet-2014", "fixed16"): (1_401_939, 1_301_734),
}
SEVERAL = {  # what a dynamic programme over four orders found elsewhere: ours must not be worse
    ("alexnet-2012", "fp32"): (1_530_900, 1_168_128),
    ("alexnet-2012", "fixed16"): (366_025, 366_025),
    ("squeezenet-1.1-227", "fp32"): (871_808, 686_000),
    ("squeezenet-1.1-227", "fixed16"): (178_752, 136_808),
}


def problem(network, precision, n_dsps, max_engines=6):
    return PartitionProblem(published_layers(network), PRECISIONS[precision], Limits(n_dsps=n_dsps), max_engines)


@pytest.mark.parametrize("network", PUBLISHED_NETWORKS)
def test_layers(network):
    layers = published_layers(network)
    assert len(layers) == N_LAYERS[network]
    digits = len(str(MACS[network]).split(".")[1])
    assert round(sum(layer.n_macs for layer in layers) / 1e9, digits) == MACS[network]
    made = set()
    for layer in layers:  # in order of execution, all inputs there
        assert set(layer.inputs) <= made
        made.add(layer.name)


def test_googlenet_is_that_of_the_zoo_but_for_the_kernels_of_five():
    zoo = [shape for shape in known_layers("googlenet") if shape.kind == "conv2d"]
    ours = published_layers("googlenet-2014")
    assert len(zoo) == len(ours)
    for shape, layer in zip(zoo, ours, strict=True):
        assert (layer.in_channels, layer.out_channels) == (shape.in_shape[0], shape.out_shape[0])
        assert (layer.height, layer.width) == shape.out_shape[1:]
        assert layer.kernel == ((5, 5) if layer.name.endswith("5x5") else shape.kernel)
        assert layer.strides == shape.strides


@pytest.mark.parametrize(("network", "precision"), SINGLE)
def test_single_engines(network, precision):
    found = tuple(exact_partition(problem(network, precision, n, max_engines=1)).epoch_cycles for n in (2240, 2880))
    assert found == SINGLE[network, precision]


def test_the_published_single_engines():
    shapes = [exact_partition(problem("alexnet-2012", "fp32", n, 1)).partition[0] for n in (2240, 2880)]
    assert [(engine.n_inputs, engine.n_outputs) for engine in shapes] == [(7, 64), (9, 64)]


@pytest.mark.parametrize(("network", "precision"), SEVERAL)
def test_the_dynamic_programme_is_not_above_listed_values(network, precision):
    for n_dsps, listed in zip((2240, 2880), SEVERAL[network, precision], strict=True):
        found = exact_partition(problem(network, precision, n_dsps))
        assert found.epoch_cycles <= listed
        assert len(found.partition) <= 6
        assert sorted(i for engine in found.partition for i in engine.layers) == list(range(N_LAYERS[network]))
        posed = problem(network, precision, n_dsps)
        assert posed.epoch_cycles(found.partition) == found.epoch_cycles
        assert posed.n_macs_per_cycle(found.partition) * posed.precision.n_dsps_per_mac <= n_dsps
