"""Torch-Pruning as its users call it: one importance, one pruning ratio for the whole network, widths rounded or not."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from silicut.graph import Network, capture
from silicut.training import TrainingData

TAYLOR_BATCHES, TAYLOR_BATCH_SIZE = 32, 64  # as our own Taylor value takes
IMPORTANCES = ("taylor", "group-norm", "bn-scale", "lamp", "uniform-l1")
ROUNDINGS = (1, 16)


def importance(name: str) -> tuple[Any, bool]:
    """Return Torch-Pruning's importance of a name, and whether channels are ranked over all layers."""
    import torch_pruning as tp

    kinds: dict[str, Callable[[], Any]] = {
        "taylor": tp.importance.GroupTaylorImportance,
        "group-norm": lambda: tp.importance.GroupMagnitudeImportance(p=2),
        "bn-scale": tp.importance.BNScaleImportance,
        "lamp": lambda: tp.importance.LAMPImportance(p=2),
        "uniform-l1": lambda: tp.importance.MagnitudeImportance(p=1),
    }
    return kinds[name](), name != "uniform-l1"


def gradients(module: nn.Module, data: TrainingData) -> dict[str, torch.Tensor]:
    """Return the gradients of the summed cross-entropy over some training batches, by parameter."""
    module = copy.deepcopy(module).eval()
    for x, y in itertools.islice(data.training_batches(0, TAYLOR_BATCH_SIZE, 0), TAYLOR_BATCHES):
        nn.functional.cross_entropy(module(x), y).backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def prune(
    module: nn.Module, inputs: torch.Tensor, name: str, ratio: float, round_to: int, grads: dict[str, torch.Tensor]
) -> Network:
    """Return the network that Torch-Pruning makes of a module, captured; the classifier's outputs stay.

    Raises:
        Exception: whatever Torch-Pruning raises, or a network that no longer runs.
    """
    import torch_pruning as tp

    pruned = copy.deepcopy(module).eval()
    for key, parameter in pruned.named_parameters():
        parameter.grad = grads[key].clone() if key in grads else None
    measure, is_global = importance(name)
    classifier = [m for m in pruned.modules() if isinstance(m, nn.Linear)][-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tp.pruner.BasePruner(
            pruned,
            inputs,
            importance=measure,
            global_pruning=is_global,
            pruning_ratio=ratio,
            round_to=round_to if round_to > 1 else None,
            ignored_layers=[classifier],
        ).step()
    pruned.zero_grad(set_to_none=True)
    with torch.no_grad():
        pruned(inputs)
    return capture(pruned, inputs)
