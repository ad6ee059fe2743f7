"""Networks that are trained while they are rounded: what they compute in both modes, and that training helps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_cnns import SmallCnn, random_images, random_plan
from torch import nn
from torch.nn import functional

from silicut.compress.quantisation import BitPlan, FilterGroup, find_sites, quantisable
from silicut.compress.quantisation.aware_training import QAT, agreement, frozen_norms, train_quantised
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.learned import QuantisationAware
from silicut.compress.quantisation.lowering import lower
from silicut.graph import capture, to_module
from silicut.numerics import QuantisedModule, dequantise, quantise, run_integer
from silicut.records import BadFile
from silicut.training import fit, recalibrate_batch_norm
from silicut.zoo import open_data


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


def start(module, digits, bits, **changes):
    """Return a network as captured, widths with 8 bits at both ends, and quantisations to start from."""
    network = capture(module, torch.zeros(2, 1, 32, 32))
    sites = find_sites(quantisable(network))
    plan = replace(BitPlan.uniform(bits, bits, 8, sites.layers[0], sites.layers[-1]), **changes)
    images = [x for x, _ in digits.evaluation_batches(90)]
    return network, plan, activation_quantisations(sites, plan, histograms(sites.network, sites.limits, images))


def first_images(digits):
    return next(digits.evaluation_batches(90))[0]


def n_right(module, digits):
    module.eval()
    with torch.no_grad():
        return sum(int((module(x).argmax(1) == y).sum()) for x, y in digits.evaluation_batches(90))


def randomly_aware(seed, images):
    """Return a random small network at random widths, its steps and batch norms moved as by training."""
    network = capture(SmallCnn(seed), images[:1])
    sites = find_sites(quantisable(network))
    plan = random_plan(sites, seed)
    found = histograms(sites.network, sites.limits, [images], n_bins=64)
    module = QuantisationAware(network, plan, activation_quantisations(sites, plan, found))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1 + 0.05 * torch.rand_like(parameter))
    return module


# Evaluation


@pytest.mark.parametrize("seed", range(6))
def test_evaluation_is_the_integer_network(seed):
    images = random_images(seed, 8)
    module = randomly_aware(seed, images).eval()
    quantised = module.quantised()
    (name,), (out,) = quantised.network.inputs, quantised.network.outputs
    integers = run_integer(quantised.network, {name: quantise(images.numpy(), quantised.inputs[0])})
    assert np.array_equal(module(images).numpy(), dequantise(integers[out], quantised.outputs[0]))


def test_integers_of_a_filter_are_those_of_training_negated_where_its_norm_is(trained, digits):
    module = QuantisationAware(*start(trained, digits, 4))
    layer = module.layers[1]
    own = (layer.weight / layer.log_step.exp().reshape(-1, 1, 1, 1)).round().clamp(-7, 7)
    sign = layer.norm.weight.sign().reshape(-1, 1, 1, 1)
    assert {-1.0, 1.0} <= set(sign.flatten().tolist())
    assert np.array_equal(module.quantised().network.parameters["conv.weight"], (own * sign).detach().numpy())


def test_the_float_network_behind_is_the_one_it_was_made_from(trained, digits):
    module = QuantisationAware(*start(trained, digits, 4))
    images = first_images(digits)
    torch.testing.assert_close(to_module(module.float_network())(images), trained(images), atol=1e-4, rtol=1e-4)


def test_what_is_cached_is_made_anew_when_something_changes(trained, digits):
    module = QuantisationAware(*start(trained, digits, 4))
    before = module.quantised()
    assert module.quantised() is before
    with torch.no_grad():
        module.steps[0].log_step.add_(0.1)
    changed = module.quantised()
    assert changed is not before
    assert changed.inputs[0].scales[0] == pytest.approx(before.inputs[0].scales[0] * np.exp(0.1), rel=1e-6)
    module.train()(first_images(digits))  # which moves the statistics of the batch norms
    assert module.quantised() is not changed


# Training mode


@pytest.mark.parametrize("seed", range(12))
def test_training_rounds_what_the_integer_network_rounds(seed):
    """Every operator, on the integer network's own numbers: nearly always the same integer, never more than one away."""
    images = random_images(seed, 16)
    found = agreement(randomly_aware(seed, images), images)
    assert max(each.most_steps for each in found.values()) < 1.01
    assert np.mean([each.equal_frac for each in found.values()]) > 0.995


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_both_modes_agree_on_what_comes_out(trained, digits, bits):
    """The whole network, nothing put right on the way: biases are rounded in both, so few numbers differ."""
    module = QuantisationAware(*start(trained, digits, bits)).train()
    images, steps = first_images(digits), module.quantised().outputs[0]
    with torch.no_grad(), frozen_norms(module):
        fake = quantise(module(images).numpy(), steps).astype(int)
    exact = quantise(module.eval()(images).numpy(), steps)
    assert (fake == exact).mean() > 0.97
    assert module.layers[0].norm.training is False


def test_frozen_norms_go_back_to_their_mode(trained, digits):
    module = QuantisationAware(*start(trained, digits, 4)).train()
    with frozen_norms(module):
        assert not module.layers[0].norm.training
    assert module.layers[0].norm.training


def test_norms_take_statistics_of_unrounded_results_of_rounded_layers(trained, digits):
    module = QuantisationAware(*start(trained, digits, 4)).train()
    before = module.layers[0].norm.running_mean.clone()
    images = first_images(digits)
    module(images)
    step, layer = module.steps[0], module.layers[0]
    weight = (layer.weight / layer.log_step.exp().reshape(-1, 1, 1, 1)).round().clamp(-127, 127)
    result = functional.conv2d(step(images), weight * layer.log_step.exp().reshape(-1, 1, 1, 1), stride=2, padding=1)
    expected = 0.9 * before + 0.1 * result.mean((0, 2, 3))
    torch.testing.assert_close(layer.norm.running_mean, expected, atol=1e-5, rtol=1e-4)


def test_statistics_that_are_measured_anew_are_those_of_the_images(trained, digits):
    """Statistics have been right before, so they come out nearly as they were, and so does the network."""
    module = QuantisationAware(*start(trained, digits, 8))
    norms = [part for part in module.modules() if hasattr(part, "running_var")]
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    recalibrate_batch_norm(module, digits, 1437, 128)
    for norm, (mean, var) in zip(norms, before, strict=True):
        spread = var.sqrt()
        assert ((norm.running_mean - mean).abs() < 0.5 * spread).all()
        assert ((norm.running_var.sqrt() / spread - 1).abs() < 0.4).all()
    assert n_right(module, digits) > n_right(trained, digits) - 8


@pytest.mark.parametrize("seed", range(4))
def test_everything_is_trained(seed):
    images = random_images(seed, 16)
    module = randomly_aware(seed, images).train()
    module(images).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_groups_of_filters_have_widths_of_their_own(trained, digits):
    module = QuantisationAware(*start(trained, digits, 2, filter_groups={"conv": (FilterGroup((0, 3), 6),)}))
    whole = np.abs(module.quantised().network.parameters["conv.weight"].astype(int)).reshape(8, -1).max(1)
    assert (whole[[0, 3]] > 1).all()
    assert (np.delete(whole, [0, 3]) == 1).all()
    assert max(each.most_steps for each in agreement(module, first_images(digits)).values()) < 1.01


# Training


@pytest.mark.parametrize("bits", [4, 2])
def test_training_helps(trained, digits, bits):
    """Nothing is left at 8 bits; a good part of what rounding to the nearest loses is won back."""
    network, plan, activations = start(trained, digits, bits, layers={})
    nearest = QuantisedModule(lower(find_sites(quantisable(network)), plan, activations))
    before, dense = n_right(nearest, digits), n_right(trained, digits)
    after = n_right(QuantisedModule(train_quantised(network, plan, activations, digits, replace(QAT, epochs=4))), digits)
    assert dense > 320
    assert after - before > 0.3 * (dense - before) > 0


def test_resumed_training_is_the_straight_one(trained, digits, tmp_path):
    begin, data, recipe = start(trained, digits, 4), digits.subset(256, 90), replace(QAT, epochs=2)
    straight = train_quantised(*begin, data, recipe)
    first = QuantisationAware(*begin)

    def stop(_):
        raise KeyboardInterrupt

    begin[1].save(tmp_path / "bits.json")
    with pytest.raises(KeyboardInterrupt):
        fit(first, data, recipe, teacher=to_module(begin[0]), folder=tmp_path, on_epoch=stop)
    resumed = train_quantised(*begin, data, recipe, folder=tmp_path)
    assert resumed.network.weights_hash == straight.network.weights_hash
    assert resumed.quantisations == straight.quantisations


def test_a_folder_of_other_widths_is_refused(trained, digits, tmp_path):
    data, recipe = digits.subset(64, 90), replace(QAT, epochs=1)
    train_quantised(*start(trained, digits, 4), data, recipe, folder=tmp_path)
    with pytest.raises(BadFile, match="holds a training at other widths; choose another folder or delete it to start again"):
        train_quantised(*start(trained, digits, 3), data, recipe, folder=tmp_path)
