"""What the channels of each group are worth: an order of removal and a value for every number kept.

All scores are taken on the network with folded batch normalisation, so that magnitudes mean what reaches the next layer.
The value at 0 channels is that of removing the residual block the group lives in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from silicut.graph import Block, ChannelGroup, Channels, Network


@dataclass(frozen=True)
class GroupScore:
    """The worth of one group's channels.

    Attributes:
        order: indices of the channels, the most valuable first.
        values: array (n_channels + 1,): value of keeping the first k of them; entry 0 is meaningful only for groups
            inside a removable block, and there it is one part of the removal's value, which all the block's groups share.
    """

    order: np.ndarray
    values: np.ndarray


Scores = Mapping[str, GroupScore]
"""The worth of every group's channels, by name of the group."""


def relative_energy(network: Network, group: ChannelGroup) -> np.ndarray:
    """Return each channel's energy, summed over the layers that make it, each layer normalised.

    e_i = sum over producers l of ||W_l[i]||^2 / ||W_l||^2, in float64 (specification of SP-LAMP for coupled layers).

    Returns:
        Array (n_channels,), >= 0.
    """
    total = np.zeros(group.n_channels)
    for member in group.producers():
        weight = network.parameters[member.parameter].astype(np.float64)
        energy = (np.moveaxis(weight, member.axis, 0).reshape(weight.shape[member.axis], -1) ** 2).sum(1)
        total += energy[member.positions].sum(1) / max(energy.sum(), 1e-300)
    return total


def block_share(network: Network, block: Block, channels: Channels) -> tuple[float, float, str]:
    """Return how much of its stream a residual block makes.

    Returns:
        The energy of the block's last layer over that of all layers that make the same channels, the number of those
        layers, and the name of the stream's largest group ("" when the stream is frozen: then the share is 0).
    """
    streams = [g for g in channels.groups if any(m.operator == block.last for m in g.producers())]
    if not streams:
        return 0.0, 0.0, ""
    stream = max(streams, key=lambda g: g.n_channels)
    energy = {m.operator: float((network.parameters[m.parameter].astype(np.float64) ** 2).sum()) for m in stream.producers()}
    return energy[block.last] / max(sum(energy.values()), 1e-300), float(len(energy)), stream.name


def sp_lamp(network: Network, channels: Channels, blocks: Sequence[Block]) -> dict[str, GroupScore]:
    """Score by structured, prefix-wise layer-adaptive magnitude (SP-LAMP, arXiv 2305.14403).

    With energies sorted in descending order and prefix sums T_j: score_j = e_j / T_j, so the best filter of a layer
    scores 1; the value of keeping k is the sum of the k best scores, once for every layer that makes the group. A removed
    block loses its own groups' value and its share of its stream's.
    """
    scores = {}
    for group in channels.groups:
        energy = relative_energy(network, group)
        order = np.argsort(-energy, kind="stable")
        prefix = np.maximum(np.cumsum(energy[order]), 1e-300)
        kept = np.cumsum(energy[order] / prefix)
        scores[group.name] = GroupScore(order, np.concatenate([[0.0], len(group.producers()) * kept]))

    def stream_loss(block: Block) -> float:
        share, _, stream = block_share(network, block, channels)
        return share * float(scores[stream].values[-1]) if stream else 0.0

    return with_block_removal(scores, blocks, lambda block: -stream_loss(block))


def log_energy(network: Network, channels: Channels, blocks: Sequence[Block]) -> dict[str, GroupScore]:
    """Score by the logarithm of the retained energy: value of k = producers * ln(T_k / T_n), 0 when nothing is pruned.

    It is what SP-LAMP's sum approaches for small scores, but does not depend on how filters are grouped. A removed block
    is worth producers * ln(1 - its share of the stream's energy).
    """
    scores = {}
    for group in channels.groups:
        energy = relative_energy(network, group)
        order = np.argsort(-energy, kind="stable")
        prefix = np.maximum(np.cumsum(energy[order]), 1e-300)
        retained = len(group.producers()) * np.log(prefix / prefix[-1])
        scores[group.name] = GroupScore(order, np.concatenate([[retained[0]], retained]))

    def removal(block: Block) -> float:
        share, n_producers, _ = block_share(network, block, channels)
        return n_producers * float(np.log(max(1 - share, 1e-12)))

    return with_block_removal(scores, blocks, removal)


def from_importance(
    importance: Mapping[str, np.ndarray], block_importance: Mapping[str, float], blocks: Sequence[Block]
) -> dict[str, GroupScore]:
    """Score by additive importances: the value of keeping k is minus what the others add up to.

    Args:
        importance: for each group, array (n_channels,) >= 0.
        block_importance: for each block, what its removal costs on the same scale.
        blocks: the removable blocks.
    """
    scores = {}
    for name, each in importance.items():
        order = np.argsort(-each, kind="stable")
        lost = each.sum() - np.concatenate([[0.0], np.cumsum(each[order])])
        scores[name] = GroupScore(order, -lost)
    return with_block_removal(scores, blocks, lambda block: -block_importance[block.name])


def with_block_removal(
    scores: dict[str, GroupScore], blocks: Sequence[Block], removal: Callable[[Block], float]
) -> dict[str, GroupScore]:
    """Set the values at 0 channels of each block's groups so that together they are what the removal is worth.

    A removal is never worth more than one channel of each of the block's groups.
    """
    for block in blocks:
        least = {name: float(scores[name].values[1]) for name in block.inner_groups}
        first, *others = block.inner_groups
        at_zero = {name: min(0.0, least[name]) for name in others}
        at_zero[first] = min(removal(block), sum(least.values())) - sum(at_zero.values())
        for name, value in at_zero.items():
            old = scores[name]
            scores[name] = GroupScore(old.order, np.concatenate([[value], old.values[1:]]))
    return scores
