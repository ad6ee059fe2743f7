"""Equalisation computes the same function, makes ranges equal, and refuses what does not scale."""

import numpy as np
import pytest
import torch
from small_cnns import SmallCnn, random_images
from torch import nn
from torch.nn import functional

from silicut.compress.quantisation import quantisable
from silicut.compress.quantisation.equalisation import Pair, equalise, find_pairs
from silicut.graph import capture, fold_batch_norm, to_module
from silicut.records import ConfigError


class Separable(nn.Module):
    """A convolution, a depthwise one and a pointwise one, with an activation between."""

    def __init__(self, act=functional.relu, multiplier=1):
        super().__init__()
        self.act = act
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.depth = nn.Conv2d(8, 8 * multiplier, 3, padding=1, groups=8)
        self.point = nn.Conv2d(8 * multiplier, 6, 1)
        self.fc = nn.Linear(6 * 4, 5)

    def forward(self, x):
        x = self.act(self.point(self.act(self.depth(self.act(self.first(x))))))
        return self.fc(functional.max_pool2d(functional.avg_pool2d(x, 2), 2).flatten(1))


class Branches(nn.Module):
    """One tensor read by two layers, one also added to what another makes."""

    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), nn.Conv2d(8, 4, 3, groups=2)
        self.after = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = functional.leaky_relu(self.stem(x), 0.1)
        left, right = self.left(x), self.right(x)
        return self.after(functional.relu(left + right))


def spread(module):
    """Give channels ranges that differ by powers of ten."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data *= 10 ** (
                3 * torch.rand(len(layer.weight), *[1] * (layer.weight.ndim - 1), generator=generator)
            )
    return module.eval()


def captured(module, size=8):
    torch.manual_seed(0)
    return fold_batch_norm(capture(spread(module), torch.randn(1, 3, size, size)))


def difference_frac(one, other, size=8):
    """The largest difference between the outputs of two networks, relative to the largest output."""
    x = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        a, b = to_module(one)(x), to_module(other)(x)
    return float((a - b).abs().max() / a.abs().max())


def ranges(network, maker, reader, groups=1):
    """The largest weight of each filter of one layer, and of what reads it in the next."""
    made, read = (network.parameters[f"{name}.weight"] for name in (maker, reader))
    own = np.abs(made.reshape(len(made), -1)).max(1)
    by_input = np.abs(read.reshape(groups, len(read) // groups, len(made) // groups, -1)).max((1, 3)).ravel()
    return own, by_input


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("act", [functional.relu, torch.nn.Identity(), lambda x: functional.leaky_relu(x, 0.2)])
def test_triples_are_equalised_and_compute_the_same(act, multiplier):
    torch.manual_seed(2)
    network = captured(Separable(act, multiplier))
    found = equalise(network)
    assert difference_frac(network, found.network) < 1e-5
    assert found.factors.keys() == {"first", "depth", "point"}
    assert list(found.refused) == ["fc"]
    for maker, reader, groups in (("first", "depth", 8), ("depth", "point", 1), ("point", "fc", 1)):
        own, read = ranges(found.network, maker, reader, groups)
        np.testing.assert_allclose(own, read, rtol=5e-3)
        assert not np.allclose(*ranges(network, maker, reader, groups), rtol=0.5)
    assert not any(network.parameters[name] is array for name, array in found.network.parameters.items())


def test_all_readers_of_a_tensor_are_scaled():
    network = captured(Branches())
    found = equalise(network)
    assert find_pairs(network)[0] == (Pair("stem", ("left", "right")),)
    assert "add" in found.refused["left"]
    assert "add" in found.refused["right"]
    assert difference_frac(network, found.network) < 1e-5
    own, _ = ranges(found.network, "stem", "left")
    readers = np.maximum(ranges(found.network, "stem", "left")[1], ranges(found.network, "stem", "right", 2)[1])
    np.testing.assert_allclose(own, readers, rtol=5e-3)


@pytest.mark.parametrize("act", [functional.relu6, lambda x: functional.hardtanh(x, -1.0, 1.0), lambda x: x.clamp(0, 3)])
def test_clamps_at_a_number_are_refused(act):
    found = equalise(captured(Separable(act)))
    assert not found.factors
    assert "clamps at a number, which does not scale" in found.refused["first"]


@pytest.mark.parametrize("act", [functional.gelu, torch.sigmoid, functional.softplus])
def test_functions_that_do_not_scale_are_refused(act):
    found = equalise(captured(Separable(act)))
    assert not found.factors
    assert found.refused.keys() == {"first", "depth", "point", "fc"}


def test_dead_channels_stay_and_spoil_nothing():
    module = Separable()
    module.first.weight.data[2] = 0.0
    module.depth.weight.data[3] = 0.0
    network = captured(module)
    found = equalise(network)
    assert found.factors["first"][[2, 3]].tolist() == [1.0, 1.0]
    assert all(np.isfinite(array).all() for array in found.network.parameters.values())
    assert difference_frac(network, found.network) < 1e-5


def test_shared_weights_are_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(torch.relu(self.conv(x)))

    found = equalise(captured(Twice()))
    assert not found.factors
    assert "read by several operators" in found.refused["conv"]


def test_random_networks_compute_the_same():
    n_equalised = 0
    for seed in range(8):
        module = SmallCnn(seed)
        x = random_images(seed, 2)
        network = quantisable(capture(module, x[:1]))
        found = equalise(network)
        n_equalised += len(found.factors)
        assert difference_frac(network, found.network) < 1e-5
    assert n_equalised >= 4


def test_at_least_one_sweep():
    with pytest.raises(ConfigError, match="n_sweeps must be 1 or more, not 0"):
        equalise(captured(Separable()), n_sweeps=0)
