"""A pruned or quantised network back from its folder, and a plan carried over to another checkpoint or to what a training
has gathered; none executes code from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from silicut.compress import Plan, apply_plan
from silicut.compress import kept_parts as parts_of_network
from silicut.compress.own_class import smaller_own_class
from silicut.graph import capture, to_module
from silicut.graph.storage import load_network
from silicut.numerics import QuantisedModule, load_quantised
from silicut.numerics.quantised_files import STRUCTURE_FILE
from silicut.records import ConfigError
from silicut.training import KeptParts


def load(folder: str | Path, build: Callable[[], nn.Module] | None = None) -> nn.Module:
    """Return the network that a run (or `Pruned.save`, `Quantised.save`) left in a folder, in evaluation mode.

    A folder of `quantise` gives its integer network, which takes and returns real numbers.

    Args:
        folder: holds network.json, model.safetensors and plan.json.
        build: makes the dense network from the user's own class; it comes back with smaller parameters where the class
            can compute the pruned network. Otherwise, and without it, the network executes itself from its structure.

    Raises:
        BadFile: a file is missing or damaged.
        ConfigError: `build` is given for an integer network.
    """
    folder = Path(folder)
    if (folder / STRUCTURE_FILE).exists():
        return _integer_module(folder, build)
    network = load_network(folder / "network.json", folder / "model.safetensors")
    if build is not None:
        plan = Plan.load(folder / "plan.json")
        own = smaller_own_class(build(), network, plan.removed_blocks)
        if own is not None:
            return own.eval()
    return to_module(network)


def _integer_module(folder: Path, build: Callable[[], nn.Module] | None) -> nn.Module:
    if build is not None:
        raise ConfigError(f"build must be left out with {folder}: no class of the user's computes its integers")
    return QuantisedModule(load_quantised(folder)).eval()


def apply(plan: Plan | str | Path, model: nn.Module, inputs: torch.Tensor | Sequence[torch.Tensor]) -> nn.Module:
    """Return another checkpoint of the same network, pruned by a plan, in evaluation mode.

    Args:
        plan: a plan, or the path of its JSON file.
        model: a network of the structure the plan was made for, with any weights; it is not changed.
        inputs: example tensors of the shape the plan was made with.

    Raises:
        ConfigError: the plan is for another network.
        BadFile: the plan's file is missing or damaged.
    """
    plan = plan if isinstance(plan, Plan) else Plan.load(plan)
    network = apply_plan(capture(model, inputs), plan)
    own = smaller_own_class(model, network, plan.removed_blocks)
    return to_module(network) if own is None else own.eval()


def kept_parts(plan: Plan | str | Path, model: nn.Module, inputs: torch.Tensor | Sequence[torch.Tensor]) -> KeptParts:
    """Return what a plan leaves of every parameter and buffer of a network.

    With it, `sliced_state_dict` cuts averaged weights, and `sliced_optimizer_state` the moments of an optimiser, so that a
    training in the user's own loop goes on behind `apply` where it was.

    Args:
        plan: a plan, or the path of its JSON file.
        model: a network of the structure the plan was made for.
        inputs: example tensors of the shape the plan was made with.

    Raises:
        ConfigError: the plan is for another network.
        BadFile: the plan's file is missing or damaged.
    """
    plan = plan if isinstance(plan, Plan) else Plan.load(plan)
    network = capture(model, inputs)
    apply_plan(network, plan)
    return parts_of_network(network, plan.kept, plan.removed_blocks)
