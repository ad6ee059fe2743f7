"""Staircases: how the latency of a group's layers depends on its width, and which widths are worth having.

Engines work in blocks of channels, so latency falls in steps, and a width that is no whole number of blocks can be slower
than the next larger one (a cliff). The probe finds step and cliffs of every group; legal widths are the corners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from silicut.targets.layers import Layer

TOLERANCE_FRAC = 0.02  # of a group's cost: smaller differences count as none
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
        step: the smallest power of two such that widths between its multiples save nothing.
        cliffs: probed widths that cost more than the next larger multiple of the step.
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
    around = {c - d for c in _CENTRES if c < n_channels for d in (0, 1, 2, 4, 8)}
    far = {n_channels // 2, 3 * n_channels // 4, 12, 8, 4, 2, 1}
    return tuple(sorted(w for w in near_full | around | far if 1 <= w <= n_channels))


def find_step(widths: Sequence[int], costs: Sequence[float], n_channels: int) -> int:
    """Return the step of a staircase: the smallest power of two g such that nothing inside (k g - g, k g) is cheaper.

    A width inside a block saves something when its cost lies below the block's by more than the tolerance and more than
    a third of what proportional cost would save.

    Example:
        >>> widths = list(range(1, 65))
        >>> find_step(widths, [-(-w // 16) for w in widths], 64)
        16
        >>> find_step(widths, widths, 64)
        1
    """
    cost = dict(zip(widths, costs, strict=True))
    step = 1
    while step * 2 <= min(n_channels, 64) and _saves_nothing_inside(cost, step * 2):
        step *= 2
    return step


def _saves_nothing_inside(cost: Mapping[int, float], step: int) -> bool:
    """Tell whether no probed width inside a block of `step` is cheaper than the block; at least one must be probed."""
    inside = [(w, -(-w // step) * step) for w in cost if w % step and -(-w // step) * step in cost and w > step]
    inside = inside or [(w, step) for w in cost if w < step and step in cost]

    def saves(width: int, top: int) -> bool:
        saved = 1 - cost[width] / cost[top]
        return saved > max(TOLERANCE_FRAC, (1 - width / top) / 3)

    return bool(inside) and not any(saves(width, top) for width, top in inside)


def staircase(group: str, n_channels: int, costs: Mapping[int, float]) -> Staircase:
    """Return a group's staircase from its probed costs (milliseconds by width)."""
    widths = tuple(sorted(costs))
    values = tuple(costs[w] for w in widths)
    step = find_step(widths, values, n_channels)
    cliffs = tuple(w for w in widths if _is_cliff(w, costs, step))
    return Staircase(group=group, widths=widths, costs_ms=values, step=step, cliffs=cliffs)


def _is_cliff(width: int, costs: Mapping[int, float], step: int) -> bool:
    larger = [costs[w] for w in costs if w > width and (w % max(step, 4) == 0 or w == max(costs))]
    return bool(larger) and costs[width] > (1 + TOLERANCE_FRAC) * min(larger)


def candidate_widths(n_channels: int, step: int, least: int = _GRAIN) -> tuple[int, ...]:
    """Return the widths worth costing: multiples of the step (thinned to at most 32), some below one step, and the full.

    Args:
        n_channels: the full width.
        step: of the staircase.
        least: one more width below the step to offer, such as 1.

    Example:
        >>> candidate_widths(64, 16)
        (4, 8, 12, 16, 32, 48, 64)
        >>> candidate_widths(16, 8)
        (4, 8, 16)
    """
    n_steps = -(-n_channels // step)
    stride = step * -(-n_steps // _MAX_LEVELS)
    below = {least, *range(_GRAIN, step, max(_GRAIN, step // 4))}
    return tuple(sorted({w for w in below | set(range(stride, n_channels, stride)) if w < n_channels} | {n_channels}))


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
