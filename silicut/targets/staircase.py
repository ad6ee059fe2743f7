"""Staircases: how the latency of a group's layers depends on its width, and which widths are worth having.

Engines work in blocks of channels, so latency falls in steps, and a width that is no whole number of blocks can be slower
than the next larger one (a cliff). The probe finds step and cliffs of every group; legal widths are the corners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from silicut.targets.layers import Layer

TOLERANCE_FRAC = 0.02  # of a group's cost: smaller differences count as none; about the noise of one measurement
_CLIFF_FRAC = 0.05  # above the next larger width: two and a half times that
_LEAST_SLOPE, _SURE = 1 / 3, 2.0  # what counts as saving: part of proportional, and times its uncertainty
_NEAR = (0, 1, 2, 4, 8, 16)  # distances below a width that are probed
_CENTRES = (16, 32, 64)
_MAX_LEVELS = 32
_GRAIN = 4  # widths below one step are multiples of this


@dataclass(frozen=True, kw_only=True)
class Staircase:
    """The measured cost of one group's layers over its width, the other groups at full width.

    Attributes:
        group: name of the group.
        widths: probed widths, increasing.
        costs_ms: milliseconds of all layers that touch the group, at each.
        step: the largest power of two such that widths between its multiples save nothing.
        cliffs: probed widths that cost clearly more than the next larger probed multiple of the step (and of 4).
    """

    group: str
    widths: tuple[int, ...]
    costs_ms: tuple[float, ...]
    step: int
    cliffs: tuple[int, ...]


def probe_widths(n_channels: int) -> tuple[int, ...]:
    """Return the widths at which a group is probed: around its full width, around small multiples, and a few far ones.

    Example:
        >>> probe_widths(16)
        (1, 2, 4, 8, 12, 14, 15, 16)
    """
    near_full = {n_channels - d for d in _NEAR}
    around = {c - d for c in _CENTRES if c < n_channels for d in _NEAR}
    far = {n_channels // 2, 3 * n_channels // 4, 12, 8, 4, 2, 1}
    return tuple(sorted(w for w in near_full | around | far if 1 <= w <= n_channels))


def find_step(widths: Sequence[int], costs: Sequence[float], n_channels: int) -> int:
    """Return the step of a staircase: the largest power of two g such that no width between multiples of g is cheaper.

    From 1 on the step is doubled while the middles of the doubled blocks save nothing. What they save is a slope, fitted
    to all probed blocks: the part of what cost in proportion to width would save. It counts if it is above a third and
    twice above its standard deviation, so that noise does not break a staircase up.

    Args:
        widths: probed widths, increasing.
        costs: at these widths, any unit.
        n_channels: the full width; the step is at most that and at most 64.

    Example:
        >>> widths = list(range(1, 65))
        >>> find_step(widths, [-(-w // 16) for w in widths], 64)
        16
        >>> find_step(widths, widths, 64)
        1
    """
    cost = dict(zip(widths, costs, strict=True))
    step = 1
    while step * 2 <= min(n_channels, 64) and _middles_save_nothing(cost, step * 2):
        step *= 2
    return step


def _middles_save_nothing(cost: Mapping[int, float], block: int) -> bool:
    """Tell whether blocks of this many channels cost as much when half filled; at least one must be probed.

    The first block counts only where there is no other: below one step engines often take another path.
    """
    half = block // 2
    middles = [w for w in cost if w % block == half and w + half in cost]
    middles = [w for w in middles if w > block] or middles
    if not middles:
        return False
    proportional = np.array([half / (w + half) for w in middles])
    saved = np.array([1 - cost[w] / cost[w + half] for w in middles])
    slope = proportional @ saved / (proportional @ proportional)
    deviation = np.sqrt(2) * TOLERANCE_FRAC / np.sqrt(proportional @ proportional)
    return bool(slope <= max(_LEAST_SLOPE, _SURE * deviation))


def staircase(group: str, n_channels: int, costs: Mapping[int, float]) -> Staircase:
    """Return a group's staircase from its probed costs (milliseconds by width)."""
    widths = tuple(sorted(costs))
    values = tuple(costs[w] for w in widths)
    step = find_step(widths, values, n_channels)
    cliffs = tuple(w for w in widths if _is_cliff(w, costs, max(step, _GRAIN)))
    return Staircase(group=group, widths=widths, costs_ms=values, step=step, cliffs=cliffs)


def _is_cliff(width: int, costs: Mapping[int, float], step: int) -> bool:
    larger = [w for w in costs if w > width and (w % step == 0 or w == max(costs))]
    return bool(larger) and costs[width] > (1 + _CLIFF_FRAC) * costs[min(larger)]


def candidate_widths(n_channels: int, step: int, least: int = _GRAIN) -> tuple[int, ...]:
    """Return the widths worth costing: multiples of the step (thinned to at most 32), some below one step, and the full.

    Args:
        n_channels: the full width.
        step: of the staircase.
        least: the smallest width to offer, also where it is below a step, such as 1.

    Example:
        >>> candidate_widths(64, 16)
        (4, 8, 12, 16, 32, 48, 64)
        >>> candidate_widths(64, 16, 1)
        (1, 4, 8, 12, 16, 32, 48, 64)
        >>> candidate_widths(12, 2)
        (4, 6, 8, 10, 12)
    """
    n_steps = -(-n_channels // step)
    stride = step * -(-n_steps // _MAX_LEVELS)
    part = max(_GRAIN, step // 4)
    widths = {least, *range(part, step, part), *range(stride, n_channels, stride)}
    return tuple(sorted({w for w in widths if least <= w < n_channels} | {n_channels}))


def corner_widths(widths: Iterable[int], cost: Callable[[int], float]) -> tuple[int, ...]:
    """Return the widths at which no larger one costs as little: the corners of the staircase.

    Args:
        widths: candidates.
        cost: cost of a width, any unit.

    Example:
        >>> corner_widths([8, 12, 16], {8: 1.0, 12: 2.0, 16: 1.9}.get)
        (8, 16)
    """
    kept: list[int] = []
    cheapest = float("inf")
    for width in sorted(widths, reverse=True):
        if cost(width) < cheapest * (1 - TOLERANCE_FRAC / 4):
            kept.append(width)
            cheapest = cost(width)
    return tuple(reversed(kept))


def probe_plan(layers: Sequence[Layer], dense: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Yield the widths of all networks that must be measured so that each group is probed at each of its widths.

    Groups that share no layer are varied at the same time, so few networks suffice.
    """
    for colour in _independent_groups(layers, dense):
        plans = {name: probe_widths(dense[name])[::-1] for name in colour}
        for i in range(max(map(len, plans.values()))):
            yield dict(dense) | {name: widths[i] for name, widths in plans.items() if i < len(widths)}


def _independent_groups(layers: Sequence[Layer], dense: Mapping[str, int]) -> list[list[str]]:
    neighbours: dict[str, set[str]] = {name: set() for name in dense}
    for layer in layers:
        for name in layer.groups:
            neighbours[name].update(layer.groups)
    colours: list[list[str]] = []
    for name in dense:
        free = next((c for c in colours if not neighbours[name].intersection(c)), None)
        if free is None:
            colours.append([name])
        else:
            free.append(name)
    return colours
