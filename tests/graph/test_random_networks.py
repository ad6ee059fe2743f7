"""Random networks: capture, groups, compositions, folding and block removal hold for what nobody thought of."""

import numpy as np
import pytest
import torch
from graph_checks import assert_proved, assert_same_outputs, random_kept, randomised
from random_networks import MOVES, RandomNetwork

from silicut.graph import capture, find_blocks, find_channels, fold_batch_norm, keep_channels, remove_blocks, to_module

SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network(seed):
    module = randomised(RandomNetwork(seed), seed)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    network = capture(module, x)
    channels = find_channels(network)
    with torch.no_grad():
        expected, folded = module(x), to_module(fold_batch_norm(network))(x)
        assert_same_outputs(to_module(network)(x), expected)
    assert torch.allclose(folded, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert_proved(network, channels, seed, n_all=2, batch=2)
    assert_compositions(network, channels, random_kept(channels.groups, np.random.default_rng(seed)))
    smaller = remove_blocks(network, find_blocks(network, channels))
    assert_proved(smaller, find_channels(smaller), seed, n_single=0, n_all=1, batch=2)


def assert_compositions(network, channels, kept):
    """The width of every tensor is its fixed part and what its groups give."""
    smaller = keep_channels(network, channels, kept)
    for name in network.tensors:
        fixed, counts = channels.composition(name)
        if counts:
            width = fixed + sum(n * len(kept[group]) for group, n in counts.items())
            (axis,) = channels.axes[name]
            assert smaller.tensors[name].shape[axis] == width


def test_the_seeds_reach_every_move():
    assert set().union(*(RandomNetwork(seed).moves for seed in SEEDS)) == set(MOVES)
