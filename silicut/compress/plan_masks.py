"""A plan as masks: which parts of which parameters stay, and which readers fall silent when it is not yet carried out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from silicut.compress.pruning import pruned
from silicut.graph import Block, Channels, Network, Ref, find_channels

Masks = dict[str, dict[int, np.ndarray]]


def kept_parts(
    network: Network, kept: Mapping[str, Sequence[int]], removed_blocks: Iterable[str]
) -> dict[str, dict[int, np.ndarray] | None]:
    """Return what stays of every parameter and buffer, by every state-dict name.

    Args:
        network: the dense network.
        kept: for some groups the channels that stay; others stay whole.
        removed_blocks: names of the residual blocks that go.

    Returns:
        By axis, which positions stay, bool (size of the axis,), where some go; None for what goes as a whole.
    """
    channels = find_channels(network)
    stays = np.ones(channels.n_atoms + 1, bool)  # the last entry is FROZEN's
    for name, indices in kept.items():
        atoms = np.array(channels.group(name).atoms)
        stays[np.delete(atoms, np.asarray(indices, int))] = False
    left = pruned(network, kept, removed_blocks).parameters
    parts: dict[str, dict[int, np.ndarray] | None] = {}
    for name in network.parameters:
        by_axis = {axis: stays[atoms] for axis, atoms in channels.axes.get(name, {}).items()}
        parts[name] = {axis: mask for axis, mask in by_axis.items() if not mask.all()} if name in left else None
    return parts | {alias: parts[name] for alias, name in network.aliases.items()}


def reader_masks(
    network: Network,
    channels: Channels,
    blocks: Sequence[Block],
    kept: Mapping[str, Sequence[int]],
    removed_blocks: Iterable[str],
) -> Masks:
    """Return the masks with which the whole network computes the pruned one: nothing reads what is to go.

    The layers that read a channel are masked, not those that make it (as in `silicut.graph.prove_group`): it goes on being
    computed, its batch-norm statistics stay true, and its readers' gradients tell what it would be good for. A removed
    block is masked at its end: the last batch normalisation after its last layer, or that layer.

    Args:
        network: the dense network, batch normalisation not folded.
        channels, blocks: found on it.
        kept: for some groups the channels that stay.
        removed_blocks: names of the blocks that go.

    Returns:
        For each parameter and axis that is masked, which positions count, bool (size of the axis,).
    """
    masks: Masks = {}
    for name, indices in kept.items():
        group = channels.group(name)
        removed = np.setdiff1d(np.arange(group.n_channels), indices)
        for member in group.consumers():
            _mask(masks, network, member.parameter, member.axis)[member.positions[removed].ravel()] = False
    gone = set(removed_blocks)
    for block in blocks:
        for parameter in _branch_end(network, block) if block.name in gone else ():
            _mask(masks, network, parameter, 0)[:] = False
    return masks


def whole_masks(network: Network, channels: Channels, blocks: Sequence[Block]) -> Masks:
    """Return masks under which everything counts, for every parameter and axis that `reader_masks` may ever mask."""
    masks: Masks = {}
    for group in channels.groups:
        for member in group.consumers():
            _mask(masks, network, member.parameter, member.axis)
    for block in blocks:
        for parameter in _branch_end(network, block):
            _mask(masks, network, parameter, 0)
    return masks


def _mask(masks: Masks, network: Network, parameter: str, axis: int) -> np.ndarray:
    size = network.parameters[parameter].shape[axis]
    return masks.setdefault(parameter, {}).setdefault(axis, np.ones(size, bool))


def _branch_end(network: Network, block: Block) -> list[str]:
    """Return the parameters that make a block's branch: without them it adds nothing."""
    inside = [operator for operator in network.operators if operator.name in block.operators]
    end = next(operator for operator in inside if operator.name == block.last)
    for operator in inside[inside.index(end) :]:
        if operator.kind == "batch_norm" and isinstance(operator.arguments["weight"], Ref):
            end = operator
    references = [end.arguments.get(argument) for argument in ("weight", "bias")]
    return [reference.name for reference in references if isinstance(reference, Ref)]
