"""Simulation, bias correction and adaptive rounding: beside integer networks, means taken by hand, and all roundings."""

import itertools

import numpy as np
import pytest
import torch
from small_cnns import SmallCnn, random_images, random_plan, signal_to_noise_db
from torch import nn
from torch.nn import functional

from silicut.compress.quantisation import BitPlan, FilterGroup, LayerBits, find_sites, quantisable, quantise_weights
from silicut.compress.quantisation.adaptive_rounding import (
    RoundingOptions,
    adaptively_rounded,
    best_rounding,
    each_rounded_alone,
)
from silicut.compress.quantisation.bias_correction import corrected_biases
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.compress.quantisation.moments import Moments, moments
from silicut.compress.quantisation.simulated import simulated
from silicut.compress.quantisation.walk import Walk
from silicut.graph import Ref, capture, to_module
from silicut.numerics import dequantise, quantise, run_integer
from silicut.records import ConfigError


class Small(nn.Module):
    """Three layers, one of them without a bias, and a residual sum."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.third = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = functional.relu(self.first(x))
        x = functional.relu(x + self.third(functional.relu(self.second(x))))
        return self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def prepared(module, images, plan):
    """Return sites, activations and weights rounded to nearest."""
    sites = find_sites(quantisable(capture(module.eval(), images[:1])))
    plan = plan(sites) if callable(plan) else plan
    activations = activation_quantisations(sites, plan, histograms(sites.network, sites.limits, [images]))
    weights = {}
    for operator in sites.network.operators:
        if operator.name in sites.layers:
            weight = sites.network.parameters[operator.arguments["weight"].name]
            weights[operator.name] = quantise_weights(weight, plan.filter_bits(operator.name, len(weight)))
    return sites, plan, activations, weights


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return images, *prepared(Small(), images, BitPlan(default=LayerBits(3, 8)))


def outputs(network, images):
    with torch.no_grad():
        return to_module(network)(images)


# Simulation


@pytest.mark.parametrize("seed", range(6))
def test_the_simulated_network_is_the_integer_one_up_to_its_biases_and_factors(seed):
    """Wide formats: at 16-bit multipliers a result may fall to the other side of a half, so one step here and there."""
    images = random_images(seed, 16)
    sites, plan, activations, weights = prepared(SmallCnn(seed), images, lambda sites: random_plan(sites, seed))
    quantised = lower(sites, plan, activations, weights)
    integers = run_integer(quantised.network, {"x": quantise(images.numpy(), quantised.inputs[0])})
    expected = dequantise(integers[quantised.network.outputs[0]], quantised.outputs[0])
    found = outputs(simulated(sites, plan, activations, weights), images).numpy()
    steps = np.abs(found - expected) / quantised.outputs[0].scales[0]
    exact = outputs(sites.network, images).numpy()
    assert np.median(steps) <= 1.001
    assert signal_to_noise_db(expected, found) > signal_to_noise_db(exact, expected)


def test_simulation_without_anything_is_the_float_network(small):
    images, sites, plan, *_ = small
    torch.testing.assert_close(outputs(simulated(sites, plan, {}, {}), images), outputs(sites.network, images))


def test_layers_read_a_narrower_copy_where_others_read_more_bits(small):
    images, sites, _, _, weights = small
    plan = BitPlan(default=LayerBits(8, 3))
    activations = activation_quantisations(sites, plan, histograms(sites.network, sites.limits, [images]))
    walk = Walk(simulated(sites, plan, activations, weights), [images])
    seen = {}
    while not walk.is_over():
        operator = walk.operator
        seen |= {(operator.name, name): len(walk.values[name].unique()) for name in operator.refs() if name in walk.values}
        walk.step()
    assert seen["second", "relu.uint3"] <= 8
    assert 8 < seen["add", "relu.rounded"] <= 256


def test_a_branch_of_a_walk_leaves_the_walk_alone(small):
    images, sites, *_ = small
    walk = Walk(sites.network, [images])
    walk.step()
    (plain,) = walk.outputs({})
    (changed,) = walk.outputs({"fc.bias": torch.full((5,), 7.0)})
    torch.testing.assert_close(plain, outputs(sites.network, images))
    torch.testing.assert_close(changed, plain - to_module(sites.network).state_dict()["fc.bias"] + 7.0)
    assert walk.at == 1


# Bias correction


def test_means_of_all_channels_are_those_of_the_float_network(small):
    images, sites, plan, activations, weights = small
    found = corrected_biases(sites, plan, activations, weights, [images])
    assert found.network.parameters["first.bias"].shape == (8,)
    exact = means(sites.network, images)
    before = means(simulated(sites, plan, activations, weights), images)
    after = means(simulated(found, plan, activations, weights), images)
    for layer in sites.layers:
        np.testing.assert_allclose(after[layer], exact[layer], atol=1e-5)
    assert any(np.abs(before[layer] - exact[layer]).max() > 1e-2 for layer in sites.layers)
    assert {n for n, a in found.network.parameters.items() if n not in sites.network.parameters} == {"first.bias"}
    for name, array in sites.network.parameters.items():
        assert name.endswith("bias") or np.array_equal(found.network.parameters[name], array)


def means(network, images):
    """The mean of each channel of each layer's output, by layer."""
    return {name: made.transpose(0, 1).flatten(1).mean(1).numpy() for name, made in layer_outputs(network, images).items()}


def layer_outputs(network, images):
    """Each layer's output, by layer."""
    walk, found = Walk(network, [images]), {}
    while not walk.is_over():
        operator = walk.operator
        walk.step()
        if operator.kind in ("conv2d", "linear"):
            found[operator.name] = walk.values[operator.outputs[0]]
    return found


# Moments and adaptive rounding


@pytest.mark.parametrize(
    ("groups", "padding", "stride", "dilation"), [(1, (1, 1), 1, 1), (2, (0, 2), 2, 1), (4, "same", 1, 2)]
)
def test_moments_are_those_of_the_windows(groups, padding, stride, dilation):
    """The error of a random filter by its moments is the error of the convolution of both inputs."""
    torch.manual_seed(0)

    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, (3, 2), stride, padding, dilation, groups)

        def forward(self, x):
            return self.conv(x)

    x, q = torch.rand(8, 4, 9, 8), torch.rand(8, 4, 9, 8)
    network = capture(One().eval(), x[:1])
    layer = next(o for o in network.operators if o.kind == "conv2d")
    known = moments(network, layer, x, q)
    exact, other = (torch.randn(4, 4 // groups, 3, 2, dtype=torch.float64) for _ in range(2))
    call = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    made = functional.conv2d(q.double(), other, **call), functional.conv2d(x.double(), exact, **call)
    e, o = (w.reshape(groups, 4 // groups, -1) for w in (exact, other))
    quadratic = ((o @ known.quantised - 0) * o).sum(-1).reshape(-1)
    cross = ((o @ known.cross) * e).sum(-1).reshape(-1)
    outs = [m.transpose(0, 1).flatten(1) for m in made]
    torch.testing.assert_close(quadratic, outs[0].var(1, correction=0), rtol=1e-3, atol=1e-5)
    covariance = ((outs[0] - outs[0].mean(1, keepdim=True)) * (outs[1] - outs[1].mean(1, keepdim=True))).mean(1)
    torch.testing.assert_close(cross, covariance, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_rounding_is_nearly_as_good_as_the_best_of_all(seed):
    """Of 2^10 ways to round ten correlated weights, those found have four fifths of what the best ones gain over nearest."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(10, 10)) + 1.5
    covariance = mixing @ mixing.T / 10
    exact = rng.uniform(-3, 3, size=(1, 6, 10))
    known = Moments(*(torch.from_numpy(covariance[None]) for _ in range(2)))
    limit = torch.full((1, 6, 1), 3.0, dtype=torch.float64)
    found = best_rounding(torch.from_numpy(exact), known, limit, RoundingOptions()).numpy()[0]

    def error(integers, weights):
        wrong = integers - weights
        return np.einsum("...i,ij,...j->...", wrong, covariance, wrong)

    assert np.abs(found).max() <= 3
    below = np.clip(np.floor(exact[0]), -3, 2)
    every = below[:, None] + np.array(list(itertools.product((0, 1), repeat=10)))
    best, nearest = error(every, exact[0][:, None]).min(1), error(np.clip(np.round(exact[0]), -3, 3), exact[0])
    errors = error(found, exact[0])
    assert (errors <= nearest * (1 + 1e-5)).all()
    assert (errors - best).sum() <= 0.2 * (nearest - best).sum()
    flips = np.abs(found[:, None] - every).sum(-1) == 1
    assert all((error(every[f], exact[0][f])[flips[f]] >= errors[f] - 1e-3).all() for f in range(6))


def test_adaptive_rounding_beats_nearest_and_keeps_formats(small):
    images, sites, plan, activations, weights = small
    found = adaptively_rounded(sites, plan, activations, weights, [images], RoundingOptions(n_iterations=300))
    fresh = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(9))
    corrected = corrected_biases(sites, plan, activations, weights, [images])
    exact = layer_outputs(sites.network, fresh)
    nearest = layer_outputs(simulated(corrected, plan, activations, weights), fresh)
    rounded = layer_outputs(simulated(found.sites, plan, activations, found.weights), fresh)
    for layer in ("first", "second", "third"):
        assert signal_to_noise_db(exact[layer], rounded[layer]) > signal_to_noise_db(exact[layer], nearest[layer]) + 1
    for layer, given in weights.items():
        made = found.weights[layer]
        np.testing.assert_array_equal(made.scales, given.scales)
        assert np.abs(made.values).max() <= 3
        assert np.abs(made.values.astype(int) - given.values).max() <= 1
    quantised = lower(found.sites, plan, activations, found.weights)
    np.testing.assert_array_equal(quantised.network.parameters["second.weight"], found.weights["second"].values)


def test_each_filter_keeps_to_its_own_width(small):
    images, sites, _, activations, _ = small
    plan = BitPlan(default=LayerBits(3, 8), filter_groups={"third": (FilterGroup((0, 3, 5), 2),)})
    weight = sites.network.parameters["third.weight"]
    weights = {"third": quantise_weights(weight, plan.filter_bits("third", 8))}
    found = adaptively_rounded(sites, plan, activations, weights, [images], RoundingOptions(n_iterations=50))
    assert found.weights.keys() == {"third"}
    assert np.abs(found.weights["third"].values[[0, 3, 5]]).max() == 1
    assert np.abs(found.weights["third"].values).max() == 3


def test_each_layer_alone_is_as_in_a_network_in_which_nothing_else_is_rounded(small):
    images, sites, *_ = small
    options = RoundingOptions(n_iterations=40)
    layers_of = [operator for operator in sites.network.operators if operator.name in sites.layers]
    arrays = {layer.name: sites.network.parameters[layer.arguments["weight"].name] for layer in layers_of}
    candidates = {b: {name: quantise_weights(w, np.full(len(w), b)) for name, w in arrays.items()} for b in (2, 4)}
    found = each_rounded_alone(sites, candidates, list(images.split(24)), options)
    assert {bits: set(layers) for bits, layers in found.items()} == {2: set(sites.layers), 4: set(sites.layers)}
    for bits, layers in candidates.items():
        plan = BitPlan(default=LayerBits(bits, 8))
        for name, given in layers.items():
            alone = adaptively_rounded(sites, plan, {}, {name: given}, [images], options).weights[name]
            np.testing.assert_array_equal(found[bits][name].values, alone.values, err_msg=name)
            np.testing.assert_array_equal(found[bits][name].scales, given.scales)
    assert any(not np.array_equal(found[2][name].values, candidates[2][name].values) for name in sites.layers)


def test_images_in_batches_are_taken_together(small):
    images, sites, plan, activations, weights = small
    whole = corrected_biases(sites, plan, activations, weights, [images])
    apart = corrected_biases(sites, plan, activations, weights, list(images.split(20)))
    for name, array in whole.network.parameters.items():
        np.testing.assert_array_equal(apart.network.parameters[name], array)
    with pytest.raises(ConfigError, match="calibration images must be at least one batch, not none"):
        corrected_biases(sites, plan, activations, weights, [])


def test_what_nothing_is_said_of_stays(small):
    images, sites, plan, *_ = small
    found = adaptively_rounded(sites, plan, {}, {}, [images])
    assert found.weights == {}
    torch.testing.assert_close(outputs(found.sites.network, images), outputs(sites.network, images), atol=1e-5, rtol=1e-5)


def test_a_layer_whose_filters_read_too_much_is_rounded_to_nearest(small, monkeypatch):
    images, sites, plan, activations, weights = small
    monkeypatch.setattr("silicut.compress.quantisation.adaptive_rounding._MOST_WEIGHTS", 20)
    found = adaptively_rounded(sites, plan, activations, weights, [images], RoundingOptions(n_iterations=20))
    assert found.weights["first"] is weights["first"]
    assert found.weights["second"] is not weights["second"]
    assert found.sites.network.operators[0].arguments["bias"] == Ref("first.bias")
