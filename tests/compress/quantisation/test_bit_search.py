"""Sensitivities beside networks changed by hand, and searched widths beside all of them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from silicut.compress.quantisation import BitPlan, FilterGroup, LayerBits, find_sites, quantisable, quantise_weights
from silicut.compress.quantisation.bit_search import (
    BOPS,
    WEIGHT_BITS,
    bit_operations,
    bit_problem,
    plan_of,
    search_bits,
    weight_bits,
)
from silicut.compress.quantisation.calibration import histograms, quantisation_of
from silicut.compress.quantisation.sensitivity import Sensitivity, measure_sensitivity, read_by_layers
from silicut.graph import capture, to_module
from silicut.records import ConfigError, DoesNotFit
from silicut.search import evaluate

BITS = (2, 4, 8)


class Shared(nn.Module):
    """Two layers read one tensor, which is added too."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.left, self.right = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        x = functional.relu(self.stem(x))
        x = functional.relu(x + functional.relu(self.left(x)) + functional.relu(self.right(x)))
        return self.fc(x.mean((2, 3)))


@pytest.fixture(scope="module")
def measured():
    """Return images, sites, integer weights by width, histograms and the sensitivity."""
    torch.manual_seed(0)
    images = torch.randn(32, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    sites = find_sites(quantisable(capture(Shared().eval(), images[:1])))
    network = sites.network
    arrays = {o.name: network.parameters[o.arguments["weight"].name] for o in network.operators if o.name in sites.layers}
    weights = {b: {name: quantise_weights(w, np.full(len(w), b)) for name, w in arrays.items()} for b in BITS}
    found = histograms(network, sites.limits, [images])
    return images, sites, weights, found, measure_sensitivity(sites, weights, found, [images])


def divergence(exact, found):
    p, q = exact.double().softmax(1), found.double().softmax(1)
    return float((p * (p / q).log()).sum(1).mean())


def test_layers_that_read_one_tensor_share_it(measured):
    _, sites, *_ = measured
    read = read_by_layers(sites)
    assert read["left"] == read["right"] == "relu"
    assert read["stem"] == "x"


def test_losses_of_weights_are_divergences_of_the_network_with_these_weights(measured):
    """And with a bias that keeps the mean of each channel."""
    images, sites, weights, _, sensitivity = measured
    module = to_module(sites.network)
    with torch.no_grad():
        exact = module(images)
        for layer in sites.layers:
            weight, bias = (module.get_parameter(f"{layer}.{kind}") for kind in ("weight", "bias"))
            kept, by_hand = (weight.clone(), bias.clone()), []
            before = channel_means(sites.network, module, layer, images)
            for bits in BITS:
                weight.copy_(torch.from_numpy(weights[bits][layer].floats))
                bias += before - channel_means(sites.network, module, layer, images)
                by_hand.append(divergence(exact, module(images)))
            weight.copy_(kept[0])
            bias.copy_(kept[1])
            monotone = [max(by_hand[i:]) for i in range(len(by_hand))]
            np.testing.assert_allclose(sensitivity.weights[layer], monotone, rtol=1e-2, atol=1e-7)


def channel_means(network, module, layer, images):
    """Return the mean of each channel of a layer's output with the module's present weights."""
    output = next(o.outputs[0] for o in network.operators if o.name == layer)
    part = to_module(replace(network, outputs=(output,), output_structure="tensor"))
    part.load_state_dict(module.state_dict())
    return part(images).transpose(0, 1).flatten(1).mean(1)


def test_losses_of_a_tensor_are_those_of_rounding_what_layers_read_of_it(measured):
    """The addition reads the tensor unrounded, by hand."""
    images, sites, _, found, sensitivity = measured
    module = to_module(sites.network)
    state = {name: value.detach() for name, value in module.state_dict().items()}

    def forward(steps):
        x = functional.relu(functional.conv2d(images, state["stem.weight"], state["stem.bias"], padding=1))
        r = (
            x
            if steps is None
            else torch.fake_quantize_per_tensor_affine(x, steps.scales[0], steps.zero_points[0], 0, steps.format.max)
        )
        left = functional.relu(functional.conv2d(r, state["left.weight"], state["left.bias"], padding=1))
        right = functional.relu(functional.conv2d(r, state["right.weight"], state["right.bias"]))
        return functional.linear(functional.relu(x + left + right).mean((2, 3)), state["fc.weight"], state["fc.bias"])

    exact = forward(None)
    by_hand = [divergence(exact, forward(quantisation_of(0.0, found["relu"].high, bits))) for bits in BITS]
    np.testing.assert_allclose(sensitivity.activations["relu"], by_hand, rtol=1e-3, atol=1e-7)


def test_outputs_that_are_no_classes_are_compared_by_their_squares():
    torch.manual_seed(1)
    images = torch.randn(8, 3, 6, 6)
    sites = find_sites(quantisable(capture(nn.Sequential(nn.Conv2d(3, 2, 3)).eval(), images[:1])))
    weight = sites.network.parameters["0.weight"]
    weights = {b: {"0": quantise_weights(weight, np.full(2, b))} for b in BITS}
    sensitivity = measure_sensitivity(sites, weights, histograms(sites.network, sites.limits, [images]), [images])
    assert sensitivity.loss == "squared error"
    wrong = functional.conv2d(images, torch.from_numpy(weights[2]["0"].floats - weight))
    wrong = (wrong - wrong.mean((0, 2, 3), keepdim=True)).square().sum()
    exact = to_module(sites.network)(images).detach().square().sum()
    assert sensitivity.weights["0"][0] == pytest.approx(float(wrong / exact), rel=1e-4)


def test_a_sensitivity_is_kept_on_disk(measured, tmp_path):
    sensitivity = measured[-1]
    assert Sensitivity.load(sensitivity.save(tmp_path / "sensitivity.json")) == sensitivity


# Search


def every_plan(sites):
    """Return all levels of all variables."""
    names = [f"weights of {layer}" for layer in sites.layers]
    names += [f"tensor {name}" for name in dict.fromkeys(read_by_layers(sites).values())]
    return ({**dict(zip(names, levels, strict=True))} for levels in itertools.product(BITS, repeat=len(names)))


@pytest.mark.parametrize("resource", [BOPS, WEIGHT_BITS])
@pytest.mark.parametrize("frac", [0.3, 0.45, 0.7])
def test_the_best_of_all_plans_is_found(measured, resource, frac):
    _, sites, _, _, sensitivity = measured
    dense = BitPlan(default=LayerBits(8, 8))
    budget = frac * (bit_operations if resource == BOPS else weight_bits)(sites, dense)
    problem = bit_problem(sites, sensitivity, {resource: budget})
    fitting = (
        value for value, costs in (evaluate(problem, levels) for levels in every_plan(sites)) if costs[resource] <= budget
    )
    found = search_bits(sites, sensitivity, {resource: budget})
    assert found.solution.is_proven
    assert found.solution.value == pytest.approx(max(fitting), rel=1e-3)
    cost = (bit_operations if resource == BOPS else weight_bits)(sites, found.plan)
    assert cost == pytest.approx(found.solution.costs[resource])
    assert cost <= budget


def test_bit_operations_by_hand(measured):
    _, sites, *_ = measured
    plan = BitPlan(
        default=LayerBits(4, 8),
        layers={"left": LayerBits(2, 3), "right": LayerBits(8, 5)},
        filter_groups={"stem": (FilterGroup((0, 1, 2), 2),)},
    )
    left, right = 6 * 6 * 6 * 6 * 9 * 2 * 5, 6 * 6 * 6 * 6 * 8 * 5  # both read at the wider of their widths
    assert bit_operations(sites, plan) == 6 * 6 * 6 * 27 * 3 * 8 + left + right + 24 * 4 * 8
    assert weight_bits(sites, plan) == 6 * 27 * 3 + 6 * 6 * 9 * 2 + 36 * 8 + 24 * 4


def test_given_widths_are_kept(measured):
    _, sites, _, _, sensitivity = measured
    fixed = {"stem": LayerBits(8, 8), "right": LayerBits(2, 4)}
    problem = bit_problem(sites, sensitivity, {}, fixed)
    assert problem.levels["weights of stem"] == problem.levels["tensor x"] == (8,)
    assert problem.levels["weights of right"] == (2,)
    assert problem.levels["tensor relu"] == (4, 8)
    found = search_bits(sites, sensitivity, {BOPS: 0.45 * bit_operations(sites, BitPlan(default=LayerBits(8, 8)))}, fixed)
    assert found.plan.of("stem") == LayerBits(8, 8)
    assert found.plan.of("right").weight_bits == 2
    assert found.plan.of("right").activation_bits == found.plan.of("left").activation_bits >= 4
    assert plan_of(sites, found.solution.levels) == found.plan


def test_wrong_wishes_are_refused(measured):
    _, sites, _, _, sensitivity = measured
    with pytest.raises(ConfigError) as caught:
        bit_problem(sites, sensitivity, {}, {"nowhere": LayerBits(8, 8), "stem": LayerBits(5, 8)})
    assert caught.value.problems == (
        "fixed must name layers of the network, not nowhere",
        "fixed must have widths among (2, 4, 8), not 5",
    )
    with pytest.raises(DoesNotFit, match="bit_operations"):
        search_bits(sites, sensitivity, {BOPS: 10.0})
