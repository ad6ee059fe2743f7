"""What a training has gathered besides weights, cut to a smaller network: averages of weights, moments of an optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from silicut.records import ConfigError

KeptParts = Mapping[str, Mapping[int, np.ndarray] | None]
"""For every state-dict name of the dense network, by axis: which positions stay, bool (size of the axis,); axes without an
entry stay whole, and None stands for a tensor that goes."""


def sliced_state_dict(state: Mapping[str, Tensor], parts: KeptParts, prefix: str = "") -> dict[str, Tensor]:
    """Return a state dict of the dense network (averaged weights, say) cut to the smaller one.

    Args:
        state: tensors by name; they are not changed.
        parts: what stays.
        prefix: stands before the network's names ("module." in `torch.optim.swa_utils.AveragedModel`); entries without it
            are taken over as they are.

    Raises:
        ConfigError: a name or shape is not the dense network's.
    """
    sliced = {}
    for name, tensor in state.items():
        own = name.removeprefix(prefix)
        if prefix and not name.startswith(prefix):
            sliced[name] = tensor
        elif own not in parts:
            raise ConfigError(f"state {name!r} must be a parameter or buffer of the network; give the prefix of its names")
        elif (by_axis := parts[own]) is not None:
            sliced[name] = _sliced(tensor, by_axis, name)
    return sliced


def sliced_optimizer_state(
    optimizer: torch.optim.Optimizer,
    module: nn.Module,
    smaller_optimizer: torch.optim.Optimizer,
    smaller: nn.Module,
    parts: KeptParts,
) -> dict[str, Any]:
    """Return the state of a dense network's optimiser as `load_state_dict` of the smaller one's optimiser takes it.

    Everything of a parameter's shape (momentum, moments) is cut as the parameter is; numbers (step counts) are taken over.
    Learning rates and the like are those of `smaller_optimizer`.

    Args:
        optimizer: has trained parameters of `module`.
        module: the dense network.
        smaller_optimizer: of the same kind, over parameters of `smaller`.
        smaller: the pruned network, its parameters named as those of `module`.
        parts: what stays.

    Raises:
        ConfigError: a state is neither a number nor of its parameter's shape, or a parameter has another name than before.
    """
    dense = dict(module.named_parameters(remove_duplicate=False))
    names: dict[Tensor, str] = {parameter: name for name, parameter in smaller.named_parameters()}
    ordered = [parameter for group in smaller_optimizer.param_groups for parameter in group["params"]]
    state = {}
    for index, parameter in enumerate(ordered):
        name = names.get(parameter)
        if name not in dense or (by_axis := parts.get(name)) is None:
            raise ConfigError(f"parameter {name or index!r} of the smaller optimiser must be one of both networks")
        kept = optimizer.state.get(dense[name])
        if kept:
            state[index] = {
                key: _sliced_state(value, dense[name], by_axis, f"{key} of {name}") for key, value in kept.items()
            }
    return {"state": state, "param_groups": smaller_optimizer.state_dict()["param_groups"]}


def _sliced_state(value: Any, parameter: Tensor, by_axis: Mapping[int, np.ndarray], what: str) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.shape == parameter.shape:
        return _sliced(value, by_axis, what)
    if value.numel() == 1:
        return value.clone()
    raise ConfigError(
        f"state {what} must be a number or of the parameter's shape {tuple(parameter.shape)}, not {tuple(value.shape)}; "
        "begin with a fresh optimiser"
    )


def _sliced(tensor: Tensor, by_axis: Mapping[int, np.ndarray], what: str) -> Tensor:
    result = tensor.detach()
    for axis, stays in by_axis.items():
        if axis >= tensor.ndim or tensor.shape[axis] != len(stays):
            raise ConfigError(f"{what} must have {len(stays)} entries on axis {axis}, not shape {tuple(tensor.shape)}")
        result = result.index_select(axis, torch.from_numpy(np.flatnonzero(stays)).to(tensor.device))
    return result if by_axis else result.clone()
