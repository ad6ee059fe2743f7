"""Averages and moments cut to the pruned network: training and cutting may change places."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from silicut.compress import kept_parts, pruned, reader_masks, whole_masks
from silicut.compress.own_class import smaller_own_class
from silicut.graph import capture, find_blocks, find_channels, to_module
from silicut.records import ConfigError
from silicut.training import MaskedModule, sliced_optimizer_state, sliced_state_dict

sys.path.insert(0, str(Path(__file__).parents[1]))
import tiny

KEPT = {"stem": tuple(range(0, 32, 3))}
REMOVED = {"none": ({**KEPT, "block.conv1": (1, 5, 30)}, ()), "block": (KEPT, ("block",))}
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda parameters: torch.optim.Adam(parameters, 0.01, amsgrad=True),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 0.01),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, 0.01, centered=True),
}


def step(module, optimizer, seed):
    x, y = tiny.images(16, seed)
    optimizer.zero_grad()
    nn.functional.cross_entropy(module(x), y).backward()
    optimizer.step()


def groups(module):
    """Parameters in another order than the module's, in two groups."""
    parameters = list(module.parameters())[::-1]
    return [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.02}]


@pytest.mark.parametrize("is_own_class", [True, False])
@pytest.mark.parametrize("removed", list(REMOVED))
@pytest.mark.parametrize("make", list(OPTIMIZERS))
def test_stepping_then_cutting_is_cutting_then_stepping(make, removed, is_own_class):
    kept, gone = REMOVED[removed]
    dense = tiny.build()
    network = capture(dense, tiny.example())
    channels = find_channels(network)
    blocks = find_blocks(network, channels)
    parts = kept_parts(network, kept, gone)
    optimizer = OPTIMIZERS[make](groups(dense))
    masked = MaskedModule(dense, whole_masks(network, channels, blocks)).train()
    masked.set_masks(reader_masks(network, channels, blocks, kept, gone))
    for seed in range(2):
        step(masked, optimizer, seed)

    small = pruned(capture(copy.deepcopy(dense).eval(), tiny.example()), kept, gone)
    smaller = smaller_own_class(dense, small, gone) if is_own_class else to_module(small)
    smaller.train()
    smaller_optimizer = OPTIMIZERS[make](groups(smaller))
    smaller_optimizer.load_state_dict(sliced_optimizer_state(optimizer, dense, smaller_optimizer, smaller, parts))
    for seed in range(2, 4):
        step(masked, optimizer, seed)
        step(smaller, smaller_optimizer, seed)
    expected = sliced_state_dict(dense.state_dict(), parts)
    found = smaller.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_averaged_weights_are_cut_as_weights_are():
    dense = tiny.build()
    network = capture(dense, tiny.example())
    averaged = AveragedModel(dense)
    with torch.no_grad():
        averaged.module.stem.weight.add_(1.0)
    parts = kept_parts(network, KEPT, ())
    smaller = AveragedModel(to_module(pruned(network, KEPT, ())))
    smaller.load_state_dict(sliced_state_dict(averaged.state_dict(), parts, prefix="module."))
    expected = dense.stem.weight.detach()[list(KEPT["stem"])] + 1.0
    torch.testing.assert_close(smaller.module.state_dict()["stem.weight"], expected)
    assert int(averaged.n_averaged) == int(smaller.n_averaged)


def test_what_is_cut_is_a_copy():
    state = {"a": torch.zeros(3), "b": torch.zeros(3)}
    cut = sliced_state_dict(state, {"a": {}, "b": {0: np.array([True, True, False])}})
    cut["a"] += 1
    cut["b"] += 1
    assert float(state["a"].sum() + state["b"].sum()) == 0


def test_what_does_not_belong_to_the_network_is_refused():
    parts = {"a": {0: np.array([True, False])}}
    with pytest.raises(
        ConfigError, match=r"^state 'module\.a' must be a parameter or buffer of the network; give the prefix"
    ):
        sliced_state_dict({"module.a": torch.zeros(2)}, parts)
    with pytest.raises(ConfigError, match=r"^a must have 2 entries on axis 0, not shape \(3,\)$"):
        sliced_state_dict({"a": torch.zeros(3)}, parts)


def test_a_state_of_another_shape_is_refused():
    """As Adafactor keeps: rows and columns of a moment."""
    module, parts = nn.Linear(3, 2), {"weight": {1: np.array([True, False, True])}, "bias": {}}
    optimizer, smaller = torch.optim.SGD(module.parameters(), 0.1), nn.Linear(2, 2)
    optimizer.state[module.weight] = {"step": torch.tensor(3.0), "rows": torch.zeros(2)}
    with pytest.raises(
        ConfigError, match=r"^state rows of weight must be a number or of the parameter's shape \(2, 3\), not"
    ):
        sliced_optimizer_state(optimizer, module, torch.optim.SGD(smaller.parameters(), 0.1), smaller, parts)
    other = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"^parameter '0\.weight' of the smaller optimiser must be one of both networks$"):
        sliced_optimizer_state(optimizer, module, torch.optim.SGD(other.parameters(), 0.1), other, parts)
