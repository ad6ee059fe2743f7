"""Masked weights: zero going forward, learning all the same, whole again whenever the mask says so."""

import copy

import numpy as np
import pytest
import torch
from blobs import blobs, small_network
from torch import nn

from silicut.graph import capture, to_module
from silicut.training import MaskedModule, Recipe, evaluate, fit, recalibrate_batch_norm

RECIPE = Recipe(epochs=2, batch_size=20, learning_rate=0.1, precision="fp32")
WHOLE = {"6.weight": {1: np.ones(4, bool)}}
MASKS = {"6.weight": {1: np.array([True, False, True, False])}}


def zeroed(module):
    """The independent way: the same module with zeros written into it."""
    module = copy.deepcopy(module)
    with torch.no_grad():
        module[6].weight[:, [1, 3]] = 0
    return module


def test_masked_weights_are_zero_and_the_module_keeps_its_own():
    module = small_network().eval()
    before = copy.deepcopy(module.state_dict())
    masked = MaskedModule(module, MASKS).eval()
    x = torch.randn(5, 2, 6, 6)
    assert torch.equal(masked(x), zeroed(module)(x))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert module[6].weight is dict(module.named_parameters())["6.weight"]
    masked.set_masks({})
    assert torch.equal(masked(x), module(x))


def test_gradients_arrive_as_if_nothing_were_masked():
    module = small_network().eval()
    masked, x = MaskedModule(module, MASKS).eval(), torch.randn(5, 2, 6, 6)
    masked(x).square().sum().backward()
    features = module[:6](x).detach()
    outputs = zeroed(module)(x).detach()
    torch.testing.assert_close(module[6].weight.grad, 2 * outputs.T @ features)
    assert (module[6].weight.grad[:, [1, 3]] != 0).all()


def test_parameters_are_put_back_after_an_error():
    module = small_network().eval()
    weight = module[6].weight
    with pytest.raises(RuntimeError):
        MaskedModule(module, MASKS)(torch.zeros(1, 3, 6, 6))
    assert module[6].weight is weight


class Shared(nn.Module):
    """One weight under two names, beside a submodule with the name of an attribute of generated modules."""

    def __init__(self):
        super().__init__()
        self.network, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.network.weight

    def forward(self, x):
        return self.other(torch.relu(self.network(x)))


def test_a_shared_weight_is_masked_wherever_it_is_used():
    module, x = Shared().eval(), torch.randn(2, 3)
    masks = {"network.weight": {0: np.array([True, False, True]), 1: np.array([False, True, True])}}
    expected = copy.deepcopy(module)
    with torch.no_grad():
        expected.network.weight[1], expected.network.weight[:, 0] = 0, 0
    for each in (module, to_module(capture(module, x))):
        torch.testing.assert_close(MaskedModule(each, masks)(x), expected(x))


def test_a_masked_channel_learns_and_comes_back():
    """Trained with half its features masked, then whole: the masked weights have moved, and do no harm."""
    module, data = small_network(), blobs()
    start = module[6].weight.detach().clone()
    masked = MaskedModule(module, WHOLE)

    def plan(step):
        masked.set_masks(MASKS if step < 4 else {})

    fit(masked, data, RECIPE, before_step=plan)
    assert (module[6].weight != start).all()
    assert torch.equal(masked.eval()(torch.ones(1, 2, 6, 6)), module.eval()(torch.ones(1, 2, 6, 6)))


def test_steps_are_counted_over_all_epochs_and_after_a_stop(tmp_path):
    class Stopped(Exception):
        pass

    def stop(_):
        raise Stopped

    seen = []
    with pytest.raises(Stopped):
        fit(small_network(), blobs(), RECIPE, folder=tmp_path, before_step=seen.append, on_epoch=stop)
    fit(small_network(), blobs(), RECIPE, folder=tmp_path, before_step=seen.append)
    assert seen == list(range(10))


def test_masks_are_part_of_a_checkpoint(tmp_path):
    whole, stopped = (MaskedModule(small_network(), WHOLE) for _ in range(2))

    def plan_of(masked):
        return lambda step: masked.set_masks(MASKS) if step == 2 else None

    class Stopped(Exception):
        pass

    def stop(_):
        raise Stopped

    fit(whole, blobs(), RECIPE, before_step=plan_of(whole))
    with pytest.raises(Stopped):
        fit(stopped, blobs(), RECIPE, folder=tmp_path, before_step=plan_of(stopped), on_epoch=stop)
    resumed = MaskedModule(small_network(seed=4), WHOLE)
    fit(resumed, blobs(), RECIPE, folder=tmp_path, before_step=plan_of(resumed))
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("is_generated", [False, True])
def test_statistics_are_recalibrated_through_masks(is_generated):
    module, data = small_network().eval(), blobs()
    module[1].momentum = 0.3
    reference = copy.deepcopy(module)
    inner = to_module(capture(module, torch.zeros(2, 2, 6, 6))) if is_generated else module
    masked = MaskedModule(inner, MASKS)
    recalibrate_batch_norm(masked, data)
    recalibrate_batch_norm(reference, data)
    torch.testing.assert_close(inner.state_dict()["1.running_var"], reference[1].running_var)
    assert evaluate(masked, data).n_correct == evaluate(zeroed(reference), data).n_correct
