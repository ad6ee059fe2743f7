"""Filter groups: which filters are wide, and permutations that change nothing but where filters lie."""

import numpy as np
import pytest
import torch
from graph_checks import randomised
from random_networks import RandomNetwork
from torch import nn
from torch.nn import functional

from silicut.compress.quantisation import BitPlan, FilterGroup, LayerBits, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.filter_groups import (
    TwoWidths,
    in_order,
    output_errors,
    permuted,
    split_filters,
    wide_filters,
)
from silicut.compress.quantisation.lowering import lower
from silicut.graph import capture, find_channels, fold_batch_norm, to_module
from silicut.numerics import dequantise, quantise, run_integer
from silicut.records import ConfigError

RNG = np.random.default_rng(0)


class Mixed(nn.Module):
    """A chain with a depthwise layer, a residual sum, and a flattened map."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.inner, self.back = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 8, 1)
        self.wide, self.depth = nn.Conv2d(8, 10, 1), nn.Conv2d(10, 10, 3, groups=10)
        self.fc = nn.Linear(10 * 9, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, x):
        x = functional.relu(self.stem(x))
        x = functional.relu(x + self.back(functional.relu(self.inner(x))))
        x = functional.max_pool2d(functional.relu(self.depth(functional.relu(self.wide(x)))), 2)
        return self.head(functional.relu(self.fc(x.flatten(1))))


@pytest.fixture(scope="module")
def sites():
    torch.manual_seed(0)
    return find_sites(quantisable(capture(Mixed().eval(), torch.randn(1, 3, 8, 8))))


@pytest.fixture(scope="module")
def images():
    return torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_score_is_the_variance_of_the_error_of_the_output():
    """By a convolution of real inputs with the error of the weights, written out."""
    torch.manual_seed(3)
    layer, x = nn.Conv2d(4, 6, 3, groups=2, bias=False), torch.rand(32, 4, 9, 9)
    weight = layer.weight.detach().numpy()
    columns = functional.unfold(x, 3).reshape(32, 2, 18, -1).transpose(1, 2).transpose(0, 2)  # groups, k, images, places
    covariance = np.stack([np.cov(part.reshape(18, -1).numpy().astype(np.float64), bias=True) for part in columns])
    scales = np.abs(weight).max((1, 2, 3)) / 7
    rounded = np.round(weight / scales[:, None, None, None]) * scales[:, None, None, None]
    made = functional.conv2d(x.double(), torch.tensor(weight - rounded, dtype=torch.float64), groups=2)
    expected = made.transpose(0, 1).flatten(1).var(1, correction=0)
    np.testing.assert_allclose(output_errors(weight, 4, covariance), expected, rtol=1e-4)


def test_the_filters_that_gain_most_are_wide(sites, images):
    plan = BitPlan(default=LayerBits(8, 8))
    split = TwoWidths(wide_bits=8, narrow_bits=3, wide_frac=0.5)
    found = split_filters(sites, plan, {"inner": split, "fc": split}, [images])
    assert [g.weight_bits for g in found.filter_groups["inner"]] == [8, 3]
    assert found.filter_groups.keys() == {"inner", "fc"}
    wide, narrow = (group.filters for group in found.filter_groups["inner"])
    assert (len(wide), len(narrow)) == (3, 3)
    # The other assignment gives a larger error of the layer's output.
    module, layer = to_module(sites.network), sites.network.parameters["inner.weight"]
    read = functional.relu(
        functional.conv2d(images, *(module.state_dict()[f"stem.{n}"] for n in ("weight", "bias")), padding=1)
    )

    def error(filters):
        bits = np.where(np.isin(np.arange(6), filters), 8, 3)
        scales = np.abs(layer).max((1, 2, 3)) / (2 ** (bits - 1) - 1)
        wrong = layer - np.round(layer / scales[:, None, None, None]) * scales[:, None, None, None]
        made = functional.conv2d(read, torch.tensor(wrong, dtype=torch.float32), padding=1)
        return float(made.transpose(0, 1).flatten(1).var(1).sum())

    others = [error([int(i) for i in RNG.permutation(6)[:3]]) for _ in range(12)]
    assert error(wide) <= min(others) * (1 + 1e-5)
    assert error(wide) < max(others)


def test_a_plan_with_groups_is_lowered_and_its_narrow_filters_are_narrow(sites, images):
    split = TwoWidths(wide_bits=8, narrow_bits=2, wide_frac=0.5)
    plan = split_filters(sites, BitPlan(default=LayerBits(8, 8)), dict.fromkeys(("stem", "wide", "head"), split), [images])
    found = histograms(sites.network, sites.limits, [images])
    quantised = lower(sites, plan, activation_quantisations(sites, plan, found))
    for layer in ("stem", "wide", "head"):
        values = quantised.network.parameters[f"{layer}.weight"]
        for group in plan.filter_groups[layer]:
            limit = 2 ** (group.weight_bits - 1) - 1
            largest = np.abs(values[list(group.filters)]).max()
            assert limit - limit // 50 <= largest <= limit  # scales are raised a little, to short factors
    operators = {o.name: o for o in quantised.network.operators}
    assert operators["stem"].arguments["weight_format"] == "int8_narrow"


def test_filters_are_brought_in_order_and_the_network_computes_the_same(sites, images):
    split = TwoWidths(wide_bits=8, narrow_bits=3, wide_frac=0.5)
    plan = split_filters(sites, BitPlan(default=LayerBits(8, 8)), dict.fromkeys(sites.layers, split), [images])
    found = in_order(sites.network, plan)
    torch.testing.assert_close(to_module(found.network)(images), to_module(sites.network)(images), rtol=1e-5, atol=1e-6)
    assert found.refused == {
        "stem": "its channels are tied to those of back",
        "back": "its channels are tied to those of stem",
        "depth": "its channels are those of wide",
        "head": "its channels are frozen",
    }
    n_moved = 0
    for layer in ("inner", "wide", "fc"):
        n = len(sites.network.parameters[f"{layer}.weight"])
        assert [i for group in found.plan.filter_groups[layer] for i in group.filters] == list(range(n))
        before, after = (net.parameters[f"{layer}.weight"] for net in (sites.network, found.network))
        order = [i for group in plan.filter_groups[layer] for i in group.filters]
        n_moved += order != list(range(n))
        np.testing.assert_array_equal(np.abs(after).reshape(n, -1).max(1), np.abs(before).reshape(n, -1).max(1)[order])
    assert n_moved >= 2
    for layer in found.refused:
        assert found.plan.filter_groups[layer] == plan.filter_groups[layer]


def test_the_integer_network_in_order_computes_the_same(sites, images):
    """To the bit, since the order of a sum of integers does not matter."""
    split = TwoWidths(wide_bits=6, narrow_bits=3, wide_frac=0.4)
    plan = split_filters(sites, BitPlan(default=LayerBits(8, 6)), dict.fromkeys(("inner", "wide", "fc"), split), [images])
    ordered = in_order(sites.network, plan)
    outputs = []
    for network, its_plan in ((sites.network, plan), (ordered.network, ordered.plan)):
        own = find_sites(network)
        activations = activation_quantisations(own, its_plan, histograms(sites.network, own.limits, [images]))
        quantised = lower(own, its_plan, activations)
        (name,) = quantised.network.outputs
        integers = run_integer(quantised.network, {"x": quantise(images.numpy(), quantised.inputs[0])})[name]
        outputs.append(dequantise(integers, quantised.outputs[0]))
    np.testing.assert_array_equal(*outputs)


def test_permutations_of_random_networks_compute_the_same():
    n_permuted = 0
    for seed in range(3):
        example = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        network = fold_batch_norm(capture(randomised(RandomNetwork(seed), seed), example))
        channels = find_channels(network)
        orders = {g.name: np.random.default_rng(seed).permutation(g.n_channels) for g in channels.groups}
        n_permuted += sum(g.n_channels > 1 for g in channels.groups)
        with torch.no_grad():
            after, before = (to_module(n)(example) for n in (permuted(network, channels, orders), network))
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    assert n_permuted >= 6


def test_wide_filters_come_in_whole_tiles():
    split = TwoWidths(wide_bits=8, narrow_bits=4, wide_frac=0.5, tile=16)
    assert [split.n_wide(n) for n in (16, 32, 64, 10)] == [0, 16, 32, 0]
    assert wide_filters(np.array([3.0, 1.0, 2.0]), 0) == ()


def test_wrong_splits_are_refused(sites, images):
    with pytest.raises(ConfigError) as caught:
        TwoWidths(wide_bits=4, narrow_bits=4, wide_frac=1.5, tile=0)
    assert caught.value.problems == (
        "narrow_bits must be fewer than wide_bits (4), not 4",
        "wide_frac must be 0..1, not 1.5",
        "tile must be 1 or more, not 0",
    )
    split = TwoWidths(wide_bits=8, narrow_bits=4, wide_frac=0.5)
    with pytest.raises(ConfigError, match="splits must name layers of the network such as stem, not conv9"):
        split_filters(sites, BitPlan(default=LayerBits(8, 8)), {"conv9": split}, [images])
    plan = BitPlan(default=LayerBits(8, 8), filter_groups={"stem": (FilterGroup((0, 99), 4),)})
    with pytest.raises(ConfigError, match=r"must name filters 0\.\.7, not 99"):
        in_order(sites.network, plan)
