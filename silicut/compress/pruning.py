"""Structured pruning: options and values for the solver, a plan from its choice, and the plan's application.

A group's level is the number of channels it keeps; level 0 of a group inside a residual block stands for the block's
removal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from silicut.compress.plan import Plan
from silicut.compress.scores import Scores
from silicut.graph import Block, Channels, Network, find_blocks, find_channels, keep_channels, remove_blocks
from silicut.records import ConfigError
from silicut.search import Table, Variable


@dataclass(frozen=True, kw_only=True)
class Restrictions:
    """What the user wants left alone.

    Attributes:
        freeze: patterns (`*`, `?`) of layer names whose channels all stay.
        keep: patterns of residual-block names that are not removed.
        may_remove_blocks: False keeps all blocks.
    """

    freeze: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    may_remove_blocks: bool = True


def independent_blocks(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Return the blocks that share no inner group with an earlier one: of nested blocks the inner one."""
    found: list[Block] = []
    for block in blocks:
        if not any(set(block.inner_groups) & set(other.inner_groups) for other in found):
            found.append(block)
    return tuple(found)


def removable_blocks(blocks: Iterable[Block], restrictions: Restrictions) -> tuple[Block, ...]:
    """Return the blocks that may go: none that is kept, none with a frozen layer in it."""
    if not restrictions.may_remove_blocks:
        return ()
    return tuple(
        block
        for block in blocks
        if not _matches(block.name, restrictions.keep) and not any(_matches(o, restrictions.freeze) for o in block.operators)
    )


def options(
    variables: Sequence[Variable], channels: Channels, blocks: Sequence[Block], restrictions: Restrictions
) -> tuple[Variable, ...]:
    """Return the levels to choose from: legal widths, 0 where a block may go, only the full width where frozen.

    Raises:
        ConfigError: a freeze or keep pattern matches nothing.
    """
    _check_patterns(channels, blocks, restrictions)
    removable = {name for block in removable_blocks(blocks, restrictions) for name in block.inner_groups}
    result = []
    for variable in variables:
        group = channels.group(variable.name)
        layers = {m.operator for m in group.members if m.role != "in"}
        is_frozen = any(_matches(layer, restrictions.freeze) for layer in layers)
        levels = variable.levels[-1:] if is_frozen else variable.levels
        result.append(Variable(variable.name, (0, *levels) if variable.name in removable else levels))
    return tuple(result)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_patterns(channels: Channels, blocks: Sequence[Block], restrictions: Restrictions) -> None:
    layers = {m.operator for group in channels.groups for m in group.members}
    layers.update(operator for frozen in channels.frozen for operator in frozen.operators)
    names = {block.name for block in blocks}
    problems = [
        f"freeze pattern {p!r} must match a layer, such as {min(layers)!r}"
        for p in restrictions.freeze
        if not any(_matches(layer, [p]) for layer in layers)
    ]
    problems += [
        f"keep pattern {p!r} must match a residual block, such as {min(names, default='(there is none)')!r}"
        for p in restrictions.keep
        if not any(_matches(name, [p]) for name in names)
    ]
    if problems:
        raise ConfigError(*problems)


def value_tables(scores: Scores, variables: Sequence[Variable]) -> tuple[Table, ...]:
    """Return one table for each group: its value at each of its levels."""
    return tuple(Table.of((v.name,), scores[v.name].values[list(v.levels)]) for v in variables)


def ties(blocks: Sequence[Block], variables: Sequence[Variable]) -> tuple[tuple[str, ...], ...]:
    """Return the groups that are at level 0 together: those inside one removable block."""
    has_zero = {v.name for v in variables if v.levels[0] == 0}
    return tuple(b.inner_groups for b in blocks if len(b.inner_groups) > 1 and has_zero.issuperset(b.inner_groups))


def kept_channels(levels: Mapping[str, int], scores: Scores) -> dict[str, tuple[int, ...]]:
    """Return the indices that each group keeps at its level: the best ones, increasing; whole groups are left out."""
    kept = {}
    for name, level in levels.items():
        order = scores[name].order
        if 0 < level < len(order):
            kept[name] = tuple(sorted(int(i) for i in order[:level]))
    return kept


def apply_plan(network: Network, plan: Plan) -> Network:
    """Return the network that a plan leaves of a network of the same structure, whatever its weights.

    Raises:
        ConfigError: the plan was made for another network.
    """
    if plan.hashes["network"] != network.structure_hash:
        raise ConfigError(
            f"the plan must be for this network (structure {network.structure_hash}), not for {plan.hashes['network']}; "
            "capture it with the same inputs as when the plan was made"
        )
    return pruned(network, plan.kept, plan.removed_blocks)


def pruned(network: Network, kept: Mapping[str, Sequence[int]], removed_blocks: Iterable[str]) -> Network:
    """Return the network with only some channels of some groups, and without some residual blocks (by name)."""
    channels = find_channels(network)
    blocks = {block.name: block for block in find_blocks(network, channels)}
    smaller = keep_channels(network, channels, {name: np.asarray(indices) for name, indices in kept.items()})
    return remove_blocks(smaller, [blocks[name] for name in removed_blocks])


def removed_by(levels: Mapping[str, int], blocks: Iterable[Block]) -> tuple[str, ...]:
    """Return the names of the blocks whose groups are all at level 0."""
    return tuple(block.name for block in blocks if all(levels.get(name) == 0 for name in block.inner_groups))
