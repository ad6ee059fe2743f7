"""Masked whole networks against pruned ones, and what stays of everything that has the names of a state dict."""

import awkward_networks
import numpy as np
import pytest
import small_networks as nets
import torch
from graph_checks import outputs_of, random_inputs, random_kept, randomised
from torch import nn

from silicut.compress import kept_parts, pruned, reader_masks, whole_masks
from silicut.graph import capture, find_blocks, find_channels, to_module
from silicut.training import MaskedModule, sliced_state_dict


class Branches(nn.Module):
    """Residual branches that end in a batch norm, a bare layer with bias, and a layer without parameters after it."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6)
        self.a = nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 1, bias=False), nn.BatchNorm2d(6))
        self.b = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 1))
        self.c = nn.Sequential(nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1), nn.ReLU6())
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        for branch in (self.a, self.b, self.c):
            x = x + branch(x)
        return self.head(x.mean((2, 3)))


def assert_masked_is_pruned(network, kept, removed, inputs):
    """Compare outputs in evaluation and training mode; statistics too, of what stays."""
    channels = find_channels(network)
    blocks = find_blocks(network, channels)
    dense, smaller = to_module(network), to_module(pruned(network, kept, removed))
    masked = MaskedModule(dense, whole_masks(network, channels, blocks))
    masked.set_masks(reader_masks(network, channels, blocks, kept, removed))
    has_dropout = any("dropout" in operator.kind for operator in network.operators)
    for is_training in (False,) if has_dropout else (False, True, False):
        found = outputs_of(masked.train(is_training)(*inputs))
        expected = outputs_of(smaller.train(is_training)(*inputs))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.detach().abs().max()))
    left = sliced_state_dict(dense.state_dict(), kept_parts(network, kept, removed))
    assert left.keys() == smaller.state_dict().keys()
    for name, tensor in smaller.state_dict().items():
        torch.testing.assert_close(left[name], tensor, rtol=1e-4, atol=1e-4)


CASES = [case for case in awkward_networks.CASES if case.groups]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_nothing_reads_makes_no_difference(case):
    inputs = case.example()
    network = capture(randomised(case.module), inputs)
    channels, generator = find_channels(network), np.random.default_rng(4)
    assert_masked_is_pruned(network, random_kept(channels.groups, generator), (), random_inputs(network))


@pytest.mark.parametrize("removed", [("a",), ("b",), ("c",), ("a", "c"), ("a", "b", "c")])
def test_a_removed_branch_adds_nothing(removed):
    network = capture(randomised(Branches()), torch.zeros(2, 3, 5, 5))
    kept = {"stem": [0, 2, 5], **{f"{name}.0": [1] for name in "ac" if name not in removed}}
    assert_masked_is_pruned(network, kept, removed, random_inputs(network))


def test_a_residual_network_is_masked_as_it_is_pruned():
    network = nets.network(nets.projected)
    channels, generator = find_channels(network), np.random.default_rng(1)
    gone = find_blocks(network, channels)[0]
    groups = [group for group in channels.groups if group.name not in gone.inner_groups]
    assert_masked_is_pruned(network, random_kept(groups, generator), (gone.name,), random_inputs(network))


def test_what_stays_is_named_for_every_name_of_the_state_dict():
    module = Branches().eval()
    network = capture(module, torch.zeros(2, 3, 5, 5))
    parts = kept_parts(network, {"stem": [0, 2, 5], "c.0": [3]}, ["a"])
    assert parts.keys() == module.state_dict().keys()
    assert {name.partition(".")[0] for name, part in parts.items() if part is None} == {"a"}
    assert parts["head.bias"] == {}
    assert {axis: mask.tolist() for axis, mask in parts["c.0.weight"].items()} == {
        0: [False, False, False, True],
        1: [True, False, True, False, False, True],
    }
    assert parts["norm.running_var"][0].sum() == 3
    assert parts["norm.num_batches_tracked"] == {}


def test_every_mask_that_may_come_is_there_from_the_beginning():
    network = capture(Branches().eval(), torch.zeros(2, 3, 5, 5))
    channels = find_channels(network)
    blocks = find_blocks(network, channels)
    whole = whole_masks(network, channels, blocks)
    all_gone = reader_masks(network, channels, blocks, {group.name: [0] for group in channels.groups}, "abc")
    assert {(name, axis) for name, masks in all_gone.items() for axis in masks} == {
        (name, axis) for name, masks in whole.items() for axis in masks
    }
    assert all(mask.all() for masks in whole.values() for mask in masks.values())
