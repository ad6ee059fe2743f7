"""First-order importance: how much the loss would change, by the gradient, if a channel were scaled to zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from silicut.compress.scores import GroupScore, from_importance
from silicut.graph import Block, Channels, Network, to_module

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
    removal costs the same figure for its last layer as a whole, which is the gate on its branch.

    Args:
        network: with folded batch normalisation.
        channels: found on it.
        blocks: found on it.
        batches: labelled batches (x, y).
        loss: of (output, y).
    """
    module = to_module(network)
    sums = {group.name: np.zeros(group.n_channels) for group in channels.groups}
    gates = {block.name: 0.0 for block in blocks}
    for x, y in batches:
        module.zero_grad()
        loss(module(x), y).backward()  # type: ignore[no-untyped-call]
        terms = _terms(module)
        for group in channels.groups:
            signed = sum(terms[m.parameter][m.positions].sum(1) for m in group.producers())
            sums[group.name] += np.abs(signed)
        for block in blocks:
            gates[block.name] += abs(float(terms[f"{block.last}.weight"].sum()))
    norm = max(sum(s.sum() for s in sums.values()), 1e-300)
    importance = {name: s / norm for name, s in sums.items()}
    return from_importance(importance, {name: gate / norm for name, gate in gates.items()}, blocks)


def _terms(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """Return sum(weight * gradient) per output position of every weight, the bias's term included."""
    terms: dict[str, np.ndarray] = {}
    parameters = dict(module.named_parameters())
    for name, parameter in parameters.items():
        if not name.endswith("weight") or parameter.grad is None:
            continue
        product = (parameter.detach() * parameter.grad).double().flatten(1).sum(1)
        bias = parameters.get(f"{name.removesuffix('weight')}bias")
        if bias is not None and bias.grad is not None:
            product += (bias.detach() * bias.grad).double()
        terms[name] = product.numpy()
    return terms
