"""The proof of a channel group: what is removed makes no difference once nothing reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from silicut.graph.channels import Channels
from silicut.graph.edit import keep_channels
from silicut.graph.kept_statistics import with_kept_statistics
from silicut.graph.module import to_module
from silicut.graph.network import Network, Operator

_DOUBLE = {"torch.float32": "torch.float64", "torch.float16": "torch.float64", "torch.bfloat16": "torch.float64"}


def prove_group(
    network: Network,
    channels: Channels,
    kept: Mapping[str, np.ndarray],
    inputs: torch.Tensor | Sequence[torch.Tensor],
) -> float:
    """Return how far a pruned network is from the whole one in which all readers of the removed channels are zero.

    Both run in float64: the network pruned by `keep_channels`, and the whole network with the weights of every consumer
    zero at the removed positions. Norms and other statistics over channels are taken over those that stay, also in the
    whole network (`silicut.graph.kept_statistics`). Right groups give rounding errors (1e-12 or so); nan means that an
    output is not finite.

    Args:
        network: the network on which `channels` was found; random or trained weights, since zeros prove nothing.
        channels: its channel groups.
        kept: for the groups to prove, by name, the indices 0..n_channels-1 that stay; at least one each.
        inputs: one tensor per input of the network, of the captured shapes.

    Returns:
        The greatest difference of any output, over the greatest magnitude of that output.
    """
    examples = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    doubled = tuple(x.double() if x.is_floating_point() else x for x in examples)
    expected = _outputs(_without_readers(network, channels, kept), doubled)
    found = _outputs(keep_channels(network, channels, kept), doubled)
    return float(np.max([_difference(a, b) for a, b in zip(expected, found, strict=True)]))


def _without_readers(network: Network, channels: Channels, kept: Mapping[str, np.ndarray]) -> Network:
    """Return the network in which nothing reads the channels that are removed."""
    groups = {name: channels.group(name) for name in kept}
    read = {member.parameter for group in groups.values() for member in group.consumers()}
    parameters = {name: array.copy() if name in read else array for name, array in network.parameters.items()}
    for name, indices in kept.items():
        removed = np.setdiff1d(np.arange(groups[name].n_channels), indices)
        for member in groups[name].consumers():
            np.moveaxis(parameters[member.parameter], member.axis, 0)[member.positions[removed].ravel()] = 0
    return with_kept_statistics(network.with_parameters(parameters), channels.masks(kept))


def _outputs(network: Network, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    with torch.no_grad():
        result: Any = to_module(_in_double(network))(*inputs)
    if isinstance(result, torch.Tensor):
        return [result]
    return list(result.values() if isinstance(result, dict) else result)


def _in_double(network: Network) -> Network:
    """Return the network with all its floating-point numbers in float64, those that it makes itself included."""
    parameters = {n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in network.parameters.items()}
    return replace(network, parameters=parameters, operators=tuple(_operator_in_double(o) for o in network.operators))


def _operator_in_double(operator: Operator) -> Operator:
    changed = {
        key: _DOUBLE[value] for key, value in operator.arguments.items() if isinstance(value, str) and value in _DOUBLE
    }
    return operator.with_arguments(**changed) if changed else operator


def _difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return float("inf")
    if not expected.numel():
        return 0.0
    a, b = expected.to(torch.complex128), found.to(torch.complex128)
    scale = max(float(a.abs().max()), float(np.finfo(np.float64).tiny))
    return float((a - b).abs().max()) / scale
