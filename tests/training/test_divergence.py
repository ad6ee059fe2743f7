"""How far a network's outputs are from the dense one's, on a few training images."""

import copy
import math

import pytest
import torch
from blobs import blobs, small_network
from torch import nn
from torch.nn import functional

from silicut.training import Divergence, recalibrate_batch_norm


class Silent(nn.Module):
    def forward(self, x):
        return torch.full((len(x), 3), math.nan)


def images(n=64):
    return next(blobs().training_batches(2, n, 0))


def with_larger_head(factor):
    changed = small_network()
    with torch.no_grad():
        changed[6].weight *= factor
    return changed


def test_the_dense_network_itself_is_at_0():
    assert Divergence(small_network(), blobs(), 64).of(small_network()) == pytest.approx(0.0, abs=1e-6)


def test_it_is_the_divergence_after_recalibration_on_the_same_images():
    """Beside batch norms recalibrated on the images, and KL divergence by hand."""
    x, y = images()
    outputs = []
    for module in (small_network(), with_larger_head(3.0)):
        recalibrate_batch_norm(module, [(x, y)], 64)
        with torch.no_grad():
            outputs.append(functional.softmax(module.eval()(x), 1))
    expected = float((outputs[0] * (outputs[0] / outputs[1]).log()).sum(1).mean())
    found = Divergence(small_network(), blobs(), 64).of(with_larger_head(3.0))
    assert found == pytest.approx(expected, rel=0.05)  # variances with and without Bessel's correction
    assert found > 0.01


def test_statistics_of_the_network_do_not_matter_and_its_mode_stays():
    other = with_larger_head(3.0).eval()
    with torch.no_grad():
        other[1].running_mean += 10.0
    divergence = Divergence(small_network(), blobs(), 64)
    assert divergence.of(copy.deepcopy(other)) == divergence.of(with_larger_head(3.0))
    divergence.of(other)
    assert not other.training
    assert not other[3].training


def test_dropout_stays_off():
    divergence = Divergence(small_network(), blobs(), 64)
    assert divergence.of(with_larger_head(2.0)) == divergence.of(with_larger_head(2.0))


def test_with_a_loss_of_the_users_own_it_is_its_growth():
    def loss(outputs, labels):
        return functional.multi_margin_loss(outputs, labels)

    x, y = images()
    before, after = small_network().train(), with_larger_head(-5.0).train()
    for module in (before, after):
        module[3].eval()
    with torch.no_grad():
        expected = float(loss(after(x), y) - loss(before(x), y))
    found = Divergence(small_network(), blobs(), 64, loss)
    assert found.of(with_larger_head(-5.0)) == pytest.approx(max(0.0, expected), abs=1e-6)
    assert found.of(small_network()) == 0.0


def test_outputs_that_are_no_numbers_are_infinitely_far():
    assert Divergence(small_network(), blobs(), 64).of(Silent()) == math.inf


def test_no_more_images_than_there_are():
    assert Divergence(small_network(), blobs(), 40).n_images == 40
    assert Divergence(small_network(), blobs(), 1000).n_images == 96
