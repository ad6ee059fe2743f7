"""Exact sums of (cost, value) lists: choose one item of each list, keep what no other choice beats in both.

Costs are real numbers; there are no bins. Lists are merged two by two in a balanced tree, and after each merge only
points remain that are worth more than every cheaper one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from silicut.search.indexed import Bools, Floats, Ints

_CHUNK = 2_000_000


@dataclass(frozen=True, eq=False)
class Front:
    """Choices that no other choice beats, by rising cost and rising value.

    Attributes:
        costs: shape (n,), rising.
        values: shape (n,), rising.
        picks: which item of each list, shape (n, number of lists).
        error: for every choice there is a point that costs no more and is worth at most this much less; 0 if exact.
    """

    costs: Floats
    values: Floats
    picks: Ints
    error: float = 0.0


@dataclass(frozen=True)
class Pruning:
    """What a merge may leave out because it cannot lead to the choice sought.

    Attributes:
        budget: the most all lists together may cost.
        max_points: fronts with more points are thinned out, at an error that is stated; None never does.
        price: value for each unit of cost (a Lagrange multiplier), used with `slack`.
        slack: a point is left out if value - price * cost is more than this below the greatest of its lists.
    """

    budget: float = math.inf
    max_points: int | None = None
    price: float = 0.0
    slack: float = math.inf


def pareto_front(lists: Sequence[tuple[Floats, Floats]], pruning: Pruning | None = None) -> Front:
    """Return every choice of one item from each list that fits the budget and that no other beats.

    Args:
        lists: costs and values of the items of each list, both of shape (n,); at least one list.
        pruning: what may be left out; nothing by default.

    Returns:
        The front; without points if nothing fits the budget.

    Example:
        >>> a = np.array([0.0, 2.0]), np.array([0.0, 3.0])
        >>> b = np.array([1.0, 2.0]), np.array([1.0, 5.0])
        >>> front = pareto_front([a, b], Pruning(budget=3.0))
        >>> front.costs.tolist(), front.values.tolist(), front.picks.tolist()
        ([1.0, 2.0], [1.0, 5.0], [[0, 0], [0, 1]])
    """
    pruning = pruning or Pruning()
    total_least = sum(float(costs.min()) for costs, _ in lists)
    nodes = [_leaf(costs, values, pruning, total_least) for costs, values in lists]
    while len(nodes) > 1:
        merged = [_merge(a, b, pruning, total_least) for a, b in zip(nodes[::2], nodes[1::2], strict=False)]
        nodes = merged + nodes[len(merged) * 2 :]
    return nodes[0].front


@dataclass(frozen=True, eq=False)
class _Node:
    """A front with the least cost and the greatest value - price * cost of its lists."""

    front: Front
    least: float
    top: float


def _leaf(costs: Floats, values: Floats, pruning: Pruning, total_least: float) -> _Node:
    order = best_first(costs, values)
    least, top = float(costs.min()), float((values - pruning.price * costs).max())
    front = Front(costs[order], values[order], order[:, None])
    may = _may_help(front.costs, front.values, pruning, (total_least - least, top, 0.0))
    return _Node(Front(front.costs[may], front.values[may], front.picks[may]), least, top)


def _merge(left: _Node, right: _Node, pruning: Pruning, total_least: float) -> _Node:
    a, b = left.front, right.front
    least, top, error = left.least + right.least, left.top + right.top, a.error + b.error
    costs, values, rows, columns = np.zeros(0), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64)
    step = max(1, _CHUNK // max(1, len(b.costs)))
    for start in range(0, len(a.costs), step):
        part = slice(start, start + step)
        more_costs = np.add.outer(a.costs[part], b.costs).ravel()
        more_values = np.add.outer(a.values[part], b.values).ravel()
        may = np.flatnonzero(_may_help(more_costs, more_values, pruning, (total_least - least, top, error)))
        costs, values = np.concatenate([costs, more_costs[may]]), np.concatenate([values, more_values[may]])
        rows = np.concatenate([rows, start + may // len(b.costs)])
        columns = np.concatenate([columns, may % len(b.costs)])
        order = best_first(costs, values)
        costs, values, rows, columns = costs[order], values[order], rows[order], columns[order]
    front = Front(costs, values, np.concatenate([a.picks[rows], b.picks[columns]], axis=1), error)
    return _Node(_thin(front, pruning.max_points), least, top)


def best_first(costs: Floats, values: Floats) -> Ints:
    """Return the indices of the items that no other beats, by rising cost; of equal ones the first."""
    order = np.lexsort((-values, costs))
    ordered = values[order]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(ordered)[:-1]])
    best: Ints = order[ordered > before]
    return best


def _may_help(costs: Floats, values: Floats, pruning: Pruning, node: tuple[float, float, float]) -> Bools:
    others_least, top, error = node
    fits = costs <= pruning.budget - others_least + 1e-12 * abs(pruning.budget)
    near: Bools = fits & (values - pruning.price * costs >= top - pruning.slack - error)
    return near


def _thin(front: Front, max_points: int | None) -> Front:
    """Keep the cheapest point of each of `max_points` equal slices of the value range."""
    if max_points is None or len(front.costs) <= max_points:
        return front
    height = float(front.values[-1] - front.values[0]) / max_points
    slices = np.floor((front.values - front.values[0]) / height)
    kept = np.flatnonzero(np.diff(slices, prepend=-1.0) > 0)
    return Front(front.costs[kept], front.values[kept], front.picks[kept], front.error + height)
