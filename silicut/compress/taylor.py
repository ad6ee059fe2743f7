"""First-order importance: how much the loss would change, by the gradient, if a channel were scaled to zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from silicut.compress.scores import GroupScore, from_importance
from silicut.graph import Block, Channels, Network, Ref, to_module
from silicut.records import ConfigError

Batch = tuple[torch.Tensor, torch.Tensor]
Loss = Callable[[Any, torch.Tensor], torch.Tensor]


def taylor(
    network: Network,
    channels: Channels,
    blocks: Sequence[Block],
    batches: Iterable[Batch],
    loss: Loss = torch.nn.functional.cross_entropy,
) -> dict[str, GroupScore]:
    """Score by |sum over a channel's filter of weight * gradient|, averaged over batches (arXiv 1906.10771, group form).

    A channel made by several layers sums their signed terms before the absolute value, as they scale together. A block's
    removal costs the figures of all channels of its last layer, added up: their signed sum would let channels that matter
    cancel each other.

    Args:
        network: with folded batch normalisation.
        channels: found on it.
        blocks: found on it.
        batches: labelled batches (x, y), at least one.
        loss: of (output, y).

    Raises:
        ConfigError: there is no batch, or the loss has gradients that are not finite.
    """
    module = to_module(replace(network, trainable=network.trainable | _layer_parameters(network)))
    sums = {group.name: np.zeros(group.n_channels) for group in channels.groups}
    gates = {block.name: 0.0 for block in blocks}
    n_batches = 0
    for x, y in batches:
        module.zero_grad()
        loss(module(x), y).backward()  # type: ignore[no-untyped-call]
        terms = _terms(module, network)
        for group in channels.groups:
            signed = sum(terms[m.operator][m.positions].sum(1) for m in group.producers())
            sums[group.name] += np.abs(signed)
        for block in blocks:
            gates[block.name] += float(np.abs(terms[block.last]).sum())
        n_batches += 1
    norm = sum(float(s.sum()) for s in sums.values())
    if not n_batches or not math.isfinite(norm):
        found = "none" if not n_batches else "a loss with gradients that are not finite"
        raise ConfigError(f"batches must be at least one batch with a finite loss, not {found}; check data and loss")
    norm = max(norm, 1e-300)
    importance = {name: s / norm for name, s in sums.items()}
    return from_importance(importance, {name: gate / norm for name, gate in gates.items()}, blocks)


def _layer_parameters(network: Network) -> frozenset[str]:
    """Return the weights and biases of all layers, those included that the user's training leaves alone."""
    layers = [o for o in network.operators if isinstance(o.arguments.get("weight"), Ref)]
    values = [o.arguments.get(argument) for o in layers for argument in ("weight", "bias")]
    return frozenset(v.name for v in values if isinstance(v, Ref) and v.name in network.parameters)


def _terms(module: torch.nn.Module, network: Network) -> dict[str, np.ndarray]:
    """Return sum(weight * gradient) per output position of every layer, the bias's term included, by operator."""
    parameters = dict(module.named_parameters())
    terms: dict[str, np.ndarray] = {}
    for operator in network.operators:
        for argument in ("weight", "bias"):
            reference = operator.arguments.get(argument)
            parameter = parameters.get(reference.name) if isinstance(reference, Ref) else None
            if parameter is not None and parameter.grad is not None:
                product = (parameter.detach() * parameter.grad).double().reshape(len(parameter), -1)
                terms[operator.name] = terms.get(operator.name, 0.0) + product.sum(1).numpy()
    return terms
