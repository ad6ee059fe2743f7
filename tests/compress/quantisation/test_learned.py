"""Quantisation-aware training: gradients by their definition, evaluation with integers, training that helps."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from silicut.compress.quantisation import BitPlan, FilterGroup, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.fake_quantise import fake_quantise
from silicut.compress.quantisation.learned import QAT, QuantisationAware, agreement, starting_scales
from silicut.graph import capture
from silicut.numerics import dequantise, quantise, run_integer
from silicut.records import ConfigError
from silicut.training import fit
from silicut.zoo import open_data

# The operator


@pytest.mark.parametrize(("shape", "n_steps", "limits"), [((5, 3, 4), 1, (0, 0, 15)), ((5, 40), 1, (3, 0, 7)),
                                                          ((6, 2, 3, 3), 6, (0, -3, 3))])  # fmt: skip
def test_values_and_gradients_are_those_of_the_definition(shape, n_steps, limits):
    zero_point, low, high = limits
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, shape).astype(np.float32)
    step = rng.uniform(0.1, 0.3, n_steps).astype(np.float32)
    g = rng.normal(0, 1, shape).astype(np.float32)
    input = torch.from_numpy(x).requires_grad_()
    log_step = torch.from_numpy(np.log(step) if n_steps > 1 else np.log(step)[0:1].reshape(())).requires_grad_()
    output = fake_quantise(input, log_step, zero_point, low, high)
    output.backward(torch.from_numpy(g))
    expected, by_input, by_step = _definition(x.astype(float), step.astype(float), g.astype(float), limits)
    assert np.allclose(output.detach(), expected, atol=1e-5)
    assert np.allclose(input.grad, by_input)
    n = x[0].size
    assert np.allclose(log_step.grad.numpy().reshape(-1), 10 * by_step / math.sqrt(n * high), rtol=1e-4, atol=1e-4)


def _definition(x, step, g, limits):
    """Return values, gradients by the input, and gradients by each step times the step, number by number."""
    zero_point, low, high = limits
    values, by_input, by_step = np.zeros_like(x), np.zeros_like(x), np.zeros(len(step))
    for at in np.ndindex(x.shape):
        i = at[0] if len(step) > 1 else 0
        ratio = x[at] / step[i] + zero_point
        whole = min(max(round(x[at] / step[i]) + zero_point, low), high)
        is_within = low <= ratio <= high
        values[at] = (whole - zero_point) * step[i]
        by_input[at] = g[at] * is_within
        slope = (whole - ratio) if is_within else whole - zero_point  # of the value by the step
        by_step[i] += g[at] * slope * step[i]
    return values, by_input, by_step


def test_steps_start_as_in_lsq_and_cover_no_more_than_the_weights():
    weight = np.array([[1.0, -1.0, 1.0, -1.0], [8.0, 0.0, 0.0, 0.0], [0.0] * 4])
    scales = starting_scales(weight, np.array([4, 4, 4]))
    assert scales[:2] == pytest.approx([1 / 7, min(4 / math.sqrt(7), 8 / 7)])
    assert scales[2] == 1.0


# The module


class Small(nn.Module):
    """Convolutions with batch norms, one of negative scales, a shortcut, a pool and a linear layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm = nn.Conv2d(1, 8, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(8)
        self.conv, self.other = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 16, 10)

    def forward(self, x):
        x = functional.relu(self.norm(self.stem(x)))
        x = functional.relu(x + self.other(self.conv(x)))
        return self.head(functional.avg_pool2d(x, 4).flatten(1))


@pytest.fixture(scope="module")
def digits():
    return open_data("digits")


@pytest.fixture(scope="module")
def trained(digits):
    """A small network that knows digits; half of one batch norm's scales are made negative, its filters alike."""
    module = Small()
    fit(module, digits, replace(QAT, epochs=6, learning_rate=0.1, distil_weight=0.0))
    with torch.no_grad():
        for tensor in (module.other.weight, module.conv.weight, module.conv.bias, module.other.running_mean):
            tensor[::2] *= -1
    return module.eval()


def aware(module, digits, bits, **changes):
    network = capture(module, torch.zeros(2, 1, 32, 32))
    sites = find_sites(quantisable(network))
    plan = replace(BitPlan.uniform(bits, bits, 8, sites.layers[0], sites.layers[-1]), **changes)
    images = [x for x, _ in digits.evaluation_batches(90)]
    found = activation_quantisations(sites, plan, histograms(sites.network, sites.limits, images))
    return QuantisationAware(network, plan, found), images


def right(module, digits):
    module.eval()
    return sum(int((module(x).argmax(1) == y).sum()) for x, y in digits.evaluation_batches(90))


def test_evaluation_is_the_integer_network(trained, digits):
    module, images = aware(trained, digits, 4)
    module.eval()
    quantised = module.quantised()
    name, out = quantised.network.inputs[0], quantised.network.outputs[0]
    integers = run_integer(quantised.network, {name: quantise(images[0].numpy(), quantised.inputs[0])})
    assert np.array_equal(module(images[0]).numpy(), dequantise(integers[out], quantised.outputs[0]))


def test_filters_are_rounded_alike_before_and_after_folding(trained, digits):
    """Negative scales of batch norms turn integers round, nothing else."""
    module, _ = aware(trained, digits, 4)
    folded = module.quantised().network.parameters["conv.weight"]
    state = module.fake.state_dict()
    step = state["conv.weight_step"].exp().reshape(-1, 1, 1, 1)
    own = (state["conv.weight"] / step).round().clamp(-7, 7)
    sign = state["other.weight"].sign().reshape(-1, 1, 1, 1)
    assert (sign < 0).any()
    assert (sign > 0).any()
    assert np.array_equal(folded, (own * sign).numpy())


def test_training_mode_rounds_what_integers_round(trained, digits):
    module, images = aware(trained, digits, 8)
    assert agreement(module, images) > 0.97


@pytest.mark.parametrize("bits", [2, 4])
def test_at_few_bits_only_the_rounding_of_biases_is_between_both_modes(trained, digits, bits):
    """Accumulators are coarse there, and training leaves biases as they are."""
    module, images = aware(trained, digits, bits)
    module.eval()
    exact, fake = module(images[0]), module.fake(images[0]).detach()
    assert float((exact - fake).norm() / exact.norm()) < 0.1


def test_what_is_cached_is_made_anew_when_weights_change(trained, digits):
    module, _ = aware(trained, digits, 4)
    before, kept = module.quantised(), module.quantised()
    assert before is kept
    with torch.no_grad():
        next(module.fake.parameters()).mul_(0.5)
    assert module.quantised() is not before


def test_training_helps(trained, digits):
    module, _ = aware(trained, digits, 2)
    before, dense = right(module, digits), right(trained, digits)
    fit(module, digits, replace(QAT, epochs=4), teacher=trained)
    after = right(module, digits)
    assert dense > 320
    assert after - before > 0.2 * (dense - before) > 0


def test_resumed_training_is_the_straight_one(trained, digits, tmp_path):
    data = digits.subset(256, 90)
    straight, _ = aware(trained, digits, 4)
    fit(straight, data, replace(QAT, epochs=2), teacher=trained)
    first, _ = aware(trained, digits, 4)

    def stop(result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(first, data, replace(QAT, epochs=2), teacher=trained, folder=tmp_path, on_epoch=stop)
    second, _ = aware(trained, digits, 4)
    fit(second, data, replace(QAT, epochs=2), teacher=trained, folder=tmp_path)
    assert second.quantised().network.weights_hash == straight.quantised().network.weights_hash


def test_groups_of_filters_are_refused(trained, digits):
    with pytest.raises(ConfigError, match="filter_groups must be empty where a network is trained; give each layer one"):
        aware(trained, digits, 4, filter_groups={"conv": (FilterGroup((0, 1), 8),)})
