"""Programs against the integer reference: every tensor that lies in memory, to the bit."""

import dataclasses

import numpy as np
import pytest
import torch
from integer_networks import Growing, gated, residual
from random_integer_networks import RandomNetwork, random_config

from silicut.accelerators.gemm.compile import CompileOptions, compile_network
from silicut.accelerators.gemm.config import N3H, TINY
from silicut.accelerators.gemm.program import Queue, Store, Unit
from silicut.accelerators.gemm.simulate import simulate
from silicut.compress.quantisation import BitPlan, LayerBits, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.graph import Network, Tensor, capture
from silicut.numerics import (
    ACCUMULATOR,
    Convolution2d,
    IntegerFormat,
    Quantisation,
    Requantise,
    SumPool2d,
    run_integer,
    to_network_operator,
)
from silicut.records import ConfigError, DoesNotFit, UnsupportedModel
from silicut.zoo import network as build

PART = CompileOptions(allows_host=True)  # networks whose last sums nobody requantises end on the host
LUT_ONLY = dataclasses.replace(N3H, name="lut", dsp=None)
DSP_ONLY = dataclasses.replace(N3H, name="dsp", lut=None)
SMALL = dataclasses.replace(
    TINY, name="small", buffers=dataclasses.replace(TINY.buffers, feature_words=2048, residual_words=1024, output_words=1024)
)


def wrong_tensors(network, config, options=None, seed=0):
    """Return the tensors in which simulator and reference differ, and how many were compared."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for name in network.inputs:
        format = IntegerFormat.of(network.tensors[name].dtype)
        inputs[name] = rng.integers(format.min, format.max + 1, network.tensors[name].sizes(1)).astype(format.dtype)
    program = compile_network(network, config, options).program
    images = {name: values.reshape(program.places[name].shape) for name, values in inputs.items()}
    simulation, expected = simulate(program, images), run_integer(network, inputs)
    names = [name for name, place in program.places.items() if place.unrolled is None]
    assert set(program.outputs) <= set(names)
    got = {name: simulation.tensor(name).reshape(expected[name].shape) for name in names}
    return [name for name in names if not np.array_equal(got[name], expected[name])], len(names)


def quantised(name, bits, size):
    """The integer network of a network of the zoo with random weights."""
    torch.manual_seed(0)
    images, module = torch.randn(1, 1 if name == "lenet5" else 3, size, size), build(name)
    if name == "vgg16-bn-cifar" and size > 32:  # its linear layer takes one position
        module = torch.nn.Sequential(module.features, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), module.classifier)
    sites = find_sites(quantisable(capture(module.eval(), images)))
    plan = BitPlan(default=LayerBits(*bits))
    activations = activation_quantisations(sites, plan, histograms(sites.network, list(sites.limits), [images]))
    return lower(sites, plan, activations).network


@pytest.mark.parametrize("seed", range(50))
def test_random_networks_on_random_builds(seed):
    config = {0: N3H, 1: TINY}.get(seed % 4) or random_config(seed)
    options = CompileOptions(has_barriers=seed % 3 == 0)
    assert wrong_tensors(RandomNetwork(seed).network, config, options, seed)[0] == []


@pytest.mark.parametrize("config", [N3H, TINY, LUT_ONLY, DSP_ONLY], ids=lambda config: config.name)
@pytest.mark.parametrize(("activations", "rounding"), [("uint8", "half_even"), ("int8", "half_away"), ("uint4", "floor")])
def test_the_residual_network_of_all_zero_points(config, activations, rounding):
    network = residual(activations, "int4_narrow", rounding=rounding).network
    assert wrong_tensors(network, config, PART) == ([], 9)  # a, b, sum, clamped, means, d, joined, e, flat


@pytest.mark.parametrize(
    ("name", "bits", "size", "config"),
    [
        ("lenet5", (4, 4), 28, TINY),
        ("lenet5", (8, 8), 28, N3H),
        ("resnet8", (4, 4), 32, SMALL),
        ("resnet20", (4, 4), 32, LUT_ONLY),
        ("resnet20", (8, 8), 32, N3H),
        ("resnet18", (3, 4), 64, N3H),
        ("resnet18", (8, 8), 32, DSP_ONLY),
        ("mobilenet-v2", (4, 4), 64, N3H),
        ("densenet121", (8, 8), 64, N3H),
        ("vgg16-bn-cifar", (2, 3), 64, N3H),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_networks_of_the_zoo(name, bits, size, config):
    wrong, n_compared = wrong_tensors(quantised(name, bits, size), config)
    assert wrong == []
    assert n_compared > 5


def one_layer(conv, shape, made):
    """A convolution and its requantiser."""
    factor = 200 / (conv.bounds.partial + 1)
    step = Requantise.by([factor], input_format=ACCUMULATOR, output_format=IntegerFormat(8), output_zero_point=-3)
    operators, parameters = zip(
        to_network_operator(conv, "conv", ["x"], "sums"), to_network_operator(step, "step", ["sums"], "y"), strict=True
    )
    types = {"x": (shape, conv.input_format.name), "sums": (made, "int32"), "y": (made, "int8")}
    tensors = {name: Tensor((-1, *sizes), format) for name, (sizes, format) in types.items()}
    return Network(("x",), ("y",), "tensor", tensors, operators, parameters[0] | parameters[1], frozenset())


@pytest.mark.parametrize("n_lut", [0, 8, 16])
@pytest.mark.parametrize("n_channels", [200, 520])
def test_rows_that_banks_cannot_hold(n_lut, n_channels):
    """k of 1,800 and 4,680: chunks of k, slabs cut, in the DSP core even the weights of one tile come in pieces."""
    rng = np.random.default_rng(n_channels)
    weight = rng.integers(-8, 8, (16, n_channels, 3, 3)).astype(np.int8)
    formats = {"input_format": IntegerFormat(4, is_signed=False), "weight_format": IntegerFormat(4)}
    conv = Convolution2d(weight=weight, bias=None, input_zero_point=5, padding=(1, 1, 1, 1), **formats)
    network, options = one_layer(conv, (n_channels, 2, 3), (16, 2, 3)), CompileOptions(split={"conv": n_lut})
    nests = [unit.nest for unit in compile_network(network, TINY, options).schedules[0].units]
    assert all(nest.is_k_split for nest in nests)
    assert wrong_tensors(network, TINY, options) == ([], 2)


def test_both_cores_write_their_bytes_of_one_slab():
    rng, net = np.random.default_rng(0), Growing("uint4", (8, 6, 7), 0.1, 3)
    net.layer(rng, "first", "x", "a", 64, weights="int4", scale=0.2, zero_point=2)
    net.layer(rng, "second", "a", "y", 16, weights="int4", scale=0.2, zero_point=0)
    network, options = net.finished("y").network, CompileOptions(split={"first": 40, "second": 8})
    program = compile_network(network, N3H, options).program
    assert [len(program.places[name].slabs) for name in ("a", "y")] == [1, 2]
    masks = {(s.layer, s.unit, s.kept_bytes) for s in program.of(Queue.MEMORY) if isinstance(s, Store)}
    assert masks == {(0, Unit.LUT, 0b11100000), (0, Unit.DSP, 0b00011111), (1, Unit.LUT, 0), (1, Unit.DSP, 0)}
    assert wrong_tensors(network, N3H, options) == ([], 3)


@pytest.mark.parametrize("weight_bits", range(1, 9))
@pytest.mark.parametrize("activation", ["uint1", "int2", "uint3", "int4", "uint5", "int6", "uint7", "int8", "uint8"])
def test_all_widths_on_both_cores(weight_bits, activation):
    """Both cores at once, extremes included, on a layer whose map is wider than a stripe and whose k fills no word."""
    rng, (a, w) = np.random.default_rng(weight_bits), (IntegerFormat.of(activation), IntegerFormat(weight_bits))
    weight = rng.integers(w.min, w.max + 1, (16, 5, 3, 3)).astype(np.int8)
    weight[0], weight[15] = w.min, w.max
    layer = {"input_format": a, "weight_format": w, "input_zero_point": a.max, "padding": (1, 0, 2, 1)}
    conv = Convolution2d(weight=weight, bias=np.arange(16) * 99 - 700, **layer)
    network = one_layer(conv, (5, 4, 6), (16, 5, 5))
    assert wrong_tensors(network, TINY, CompileOptions(split={"conv": 8}), weight_bits) == ([], 1)


def test_filters_go_where_they_are_told():
    network = quantised("resnet8", (4, 4), 32)
    layers = [layer.name for layer in compile_network(network, N3H).schedules if layer.units[0].unit.name != "POST"]
    split = dict.fromkeys(layers, 8)
    options = CompileOptions(split=split)
    n_lut = [
        sum(unit.nest.n_filters for unit in layer.units if unit.unit.name == "LUT")
        for layer in compile_network(network, N3H, options).schedules
        if layer.name in split
    ]
    assert n_lut == [8] * len(layers)
    assert wrong_tensors(network, N3H, options)[0] == []


def test_filters_may_be_written_in_any_order():
    """Readers and additions follow: everything lies elsewhere and is the same."""
    network = residual().network
    orders = {"conv1": (7, 2, 0, 1, 6, 5, 4, 3), "conv2": (3, 1, 0, 2, 7, 6, 4, 5)}
    options = dataclasses.replace(PART, filter_orders=orders)
    places = compile_network(network, N3H, options).program.places
    assert places["a"].slabs[0].channels == places["sum"].slabs[0].channels == orders["conv1"]
    for config in (N3H, TINY):
        assert wrong_tensors(network, config, options)[0] == []


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        (
            {"conv1": (0, 0, 1, 2, 3, 4, 5, 6)},
            "filter_orders of conv1 must be a permutation of 0..7, not (0, 0, 1, 2, 3, 4, 5, 6)",
        ),
        (
            {"pointwise": tuple(range(8))},
            "filter_orders of pointwise must be left out, as it adds a tensor, not (0, 1, 2, 3, 4, 5, 6, 7)",
        ),
    ],
)
def test_illegal_orders_of_filters_are_refused(orders, message):
    with pytest.raises(ConfigError) as raised:
        compile_network(residual().network, N3H, dataclasses.replace(PART, filter_orders=orders))
    assert str(raised.value) == message


def test_channels_that_do_not_fit_together_are_pooled_slab_by_slab():
    """Both cores write 8 channels of 8 x 8 pixels, 64 words each; the pool over the whole map has room for 96."""
    net, uint8 = Growing("uint8", (3, 8, 8), 0.02, 9), IntegerFormat(8, is_signed=False)
    net.layer(np.random.default_rng(0), "conv", "x", "a", 16, weights="int4", scale=0.03, zero_point=4)
    pool = SumPool2d(kernel=None, input_format=uint8, input_zero_point=4)
    net.add(pool, "pool", ["a"], "sums", (16, 1, 1), Quantisation.per_tensor(ACCUMULATOR, 0.03))
    step = Requantise.by([1 / 64], input_format=ACCUMULATOR, output_format=uint8, output_zero_point=4)
    net.add(step, "step", ["sums"], "y", (16, 1, 1), net.of(0.03, 4))
    network, options = net.finished("y").network, CompileOptions(split={"conv": 8})
    small = dataclasses.replace(TINY, buffers=dataclasses.replace(TINY.buffers, feature_words=96))
    layers = [[layer.name for layer in compile_network(network, config, options).schedules] for config in (TINY, small)]
    assert layers == [["conv", "pool"], ["conv", "pool", "pool"]]
    assert wrong_tensors(network, small, options) == ([], 2)


def test_an_illegal_split_is_refused():
    network = residual().network
    with pytest.raises(ConfigError, match=r"^split of conv1 must be one of 0, 8, not 5$"):
        compile_network(network, N3H, CompileOptions(split={"conv1": 5}, allows_host=True))


def test_inputs_may_be_packed_by_the_host_or_not():
    network = residual().network
    packed, plain = (
        compile_network(network, N3H, dataclasses.replace(PART, unrolls_input=unrolls)).program.places["x"]
        for unrolls in (True, False)
    )
    assert packed.unrolled is not None
    assert packed.unrolled.n_taps == 3
    assert plain.unrolled is None
    assert wrong_tensors(network, N3H, dataclasses.replace(PART, unrolls_input=False)) == ([], 10)  # and x


def test_what_the_host_must_do_is_refused_or_handed_over():
    network = gated().network
    with pytest.raises(UnsupportedModel) as raised:
        compile_network(network, N3H)
    assert "product (multiply) stays on the host: the accelerator has no multiply" in str(raised.value)
    compiled = compile_network(network, N3H, CompileOptions(allows_host=True))
    assert compiled.program.outputs == ("gate",)
    assert wrong_tensors(network, N3H, CompileOptions(allows_host=True))[0] == []


def test_a_build_that_is_too_small_says_which_buffer():
    buffers = dataclasses.replace(TINY.buffers, feature_words=16)
    with pytest.raises(DoesNotFit) as raised:
        compile_network(residual().network, dataclasses.replace(TINY, buffers=buffers), PART)
    assert str(raised.value) == (
        "the feature dsp buffer of depthwise must hold 3 rows of 16 words, but has 16; enlarge it to 48 words, "
        "or take fewer channels, bits or pixels"
    )


def test_barriers_take_longer_and_change_no_number():
    network = residual().network
    overlapped, apart = (
        simulate(compile_network(network, N3H, dataclasses.replace(PART, has_barriers=has)).program).cycles
        for has in (False, True)
    )
    assert overlapped < apart
    assert wrong_tensors(network, N3H, dataclasses.replace(PART, has_barriers=True))[0] == []
