"""Solver for one budget and independent costs: the multiple-choice ("group") knapsack of latency-guided pruning.

This is the formulation of the literature (HALP, SP-LAMP): every group of channels has one list of (cost, value), the
cost of its levels while all other groups are as they were. Problems whose tables couple two groups are *separated* that
way first, so the cost it promises is not the true one; the note of the solution says both. It is here to compare with
`coupled`, and because it is exact and instant where costs really are independent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from silicut.records import ConfigError, DoesNotFit
from silicut.search.cheapest import round_up
from silicut.search.indexed import Floats, Goal, Indexed, Ints
from silicut.search.pareto import Pruning, best_first, pareto_front
from silicut.search.problem import Problem
from silicut.search.solution import Proof, Solution, make_solution

_N_BISECTIONS = 60
_N_DOUBLINGS = 200


@dataclass(frozen=True, eq=False)
class Pick:
    """One item of each list.

    Attributes:
        picks: the items, shape (number of lists,).
        cost: their sum of costs.
        value: their sum of values.
        bound: no choice within the budget is worth more.
    """

    picks: Ints
    cost: float
    value: float
    bound: float


def solve(problem: Problem, max_points: int = 4000) -> Solution:
    """Return the best choice of the separated problem; its true cost may miss the budget on either side.

    The cost of a level of a variable is what it changes, in all tables of the variable, while every other variable is
    at its greatest level; a tie is one variable whose levels are combinations. The budget applies to the sum of these.

    Args:
        problem: with exactly one budget.
        max_points: see `best_pick`; the time is bounded by it.

    Raises:
        ConfigError: there is not exactly one budget.
        DoesNotFit: nothing fits by the separated costs.
    """
    started = time.monotonic()
    if len(problem.budgets) != 1:
        raise ConfigError(f"budgets must be exactly one for the knapsack, not {len(problem.budgets)}; use 'coupled'")
    (resource,) = problem.budgets
    indexed = Indexed(problem)
    cost = 1 + problem.resources.index(resource)
    dense = indexed.dense_state()
    dense_value, dense_cost = -indexed.losses(dense[None])[0, 0], indexed.losses(dense[None])[0, cost]
    groups = _separate(indexed, dense, cost)
    lists = [(group.costs, group.values) for group in groups]
    least = dense_cost + sum(float(costs.min()) for costs, _ in lists)
    limit = Goal.best_value(problem).limit[cost]
    if least > limit:
        raise DoesNotFit(
            f"the smallest reachable {resource} is {round_up(least)} by the separated costs of the knapsack, above its "
            f"budget of {problem.budgets[resource]:.6g}; raise the budget to that, or use 'coupled'"
        )
    best = best_pick(lists, limit - dense_cost, max_points)
    state = dense.copy()
    for group, item in zip(groups, best.picks, strict=True):
        state[list(group.columns)] = group.settings[item]
    proof = Proof(
        solver="knapsack",
        bound=dense_value + best.bound,
        time_s=time.monotonic() - started,
        is_valid=_is_separable(indexed),
        note=_note(indexed, state, cost, dense_cost + best.cost),
    )
    return make_solution(problem, indexed.levels(state), proof)


def best_pick(lists: Sequence[tuple[Floats, Floats]], budget: float, max_points: int | None = 4000) -> Pick:
    """Return the choice of one item from each list with the greatest value whose cost is within the budget.

    A Lagrangian start gives a choice and a bound; only points that could still beat that choice take part in the
    merge of the lists, which keeps it small. It is exact unless a front grows beyond `max_points`; then the bound says
    by how much it may be off. Without `max_points` it is always exact, and may need much memory.

    Args:
        lists: costs and values of the items of each list, both of shape (n,).
        budget: not below the sum of the least costs.
        max_points: the most points kept after each merge.

    Example:
        >>> a = np.array([1.0, 3.0]), np.array([0.0, 2.0])
        >>> b = np.array([1.0, 2.0]), np.array([0.0, 3.0])
        >>> best = best_pick([a, b], 4.0)
        >>> best.picks.tolist(), best.cost, best.value
        ([0, 1], 3.0, 3.0)
    """
    price, bound, start = _lagrangian(lists, budget)
    start = _fill(lists, start, budget)
    cost, value = _totals(lists, start)
    slack = max(0.0, bound - value) + 1e-12 * max(1.0, abs(bound))
    front = pareto_front(lists, Pruning(budget, max_points, price, slack))
    if len(front.values) and front.values[-1] > value:
        start, cost, value = front.picks[-1], float(front.costs[-1]), float(front.values[-1])
    return Pick(start, cost, value, min(bound, value + front.error))


def _totals(lists: Sequence[tuple[Floats, Floats]], picks: Ints) -> tuple[float, float]:
    pairs = [(float(costs[i]), float(values[i])) for (costs, values), i in zip(lists, picks, strict=True)]
    return sum(cost for cost, _ in pairs), sum(value for _, value in pairs)


def _lagrangian(lists: Sequence[tuple[Floats, Floats]], budget: float) -> tuple[float, float, Ints]:
    """Return a price of cost, the bound on the value that it proves, and a choice within the budget.

    For any price >= 0, sum_i max_k(value - price * cost) + price * budget bounds the value of every choice within the
    budget; the price is bisected to where the maximising choice just fits.
    """
    width = max(len(costs) for costs, _ in lists)
    orders = [best_first(costs, values) for costs, values in lists]
    cost, value = np.zeros((len(lists), width)), np.full((len(lists), width), -np.inf)
    for i, ((costs, values), order) in enumerate(zip(lists, orders, strict=True)):
        cost[i, : len(order)], value[i, : len(order)] = costs[order], values[order]
    rows = np.arange(len(lists))

    def choose(price: float) -> tuple[Ints, float, float]:
        worth = value - price * cost
        items = worth.argmax(axis=1)
        return items, float(cost[rows, items].sum()), float(worth[rows, items].sum()) + price * budget

    low, high = 0.0, 0.0
    items, total, bound = choose(high)
    for _ in range(_N_DOUBLINGS):
        if total <= budget:
            break
        low, high = high, max(2.0 * high, float(np.ptp(value[np.isfinite(value)])) / max(float(np.ptp(cost)), 1e-300))
        items, total, bound = choose(high)
    if total > budget:  # prices too steep for float64: the least costs fit by the caller's word
        items = np.zeros(len(lists), dtype=np.int64)
    for _ in range(_N_BISECTIONS if high > 0.0 else 0):
        middle = (low + high) / 2
        tried, total, tried_bound = choose(middle)
        if total <= budget:
            high, items, bound = middle, tried, tried_bound
        else:
            low = middle
    return high, bound, np.array([order[item] for order, item in zip(orders, items, strict=True)], dtype=np.int64)


def _fill(lists: Sequence[tuple[Floats, Floats]], picks: Ints, budget: float) -> Ints:
    """Use the room left: change the one item that gains most and fits, while there is one."""
    picks = picks.copy()
    while True:
        room, best = budget - _totals(lists, picks)[0], (0.0, -1, -1)
        for i, (costs, values) in enumerate(lists):
            gain = np.where(costs - costs[picks[i]] <= room, values - values[picks[i]], -np.inf)
            item = int(np.argmax(gain))
            best = max(best, (float(gain[item]), i, item))
        if best[0] <= 0.0:
            return picks
        picks[best[1]] = best[2]


@dataclass(frozen=True, eq=False)
class _Group:
    """One variable, or one tie: its settings and what each changes, taken from the dense state."""

    columns: tuple[int, ...]
    settings: Ints
    costs: Floats
    values: Floats


def _separate(indexed: Indexed, dense: Ints, cost: int) -> list[_Group]:
    tied = {column for tie in indexed.ties for column in tie}
    free = [column for column in range(indexed.n_variables) if column not in tied]
    singles = [_single(indexed, dense, cost, column) for column in free]
    return singles + [_joint(indexed, dense, cost, tie) for tie in indexed.ties]


def _single(indexed: Indexed, dense: Ints, cost: int, column: int) -> _Group:
    settings = np.arange(len(indexed.numbers[column]), dtype=np.int64)[:, None]
    change = indexed.changes(dense, [column], settings)
    return _Group((column,), settings, change[:, cost], -change[:, 0])


def _joint(indexed: Indexed, dense: Ints, cost: int, tie: tuple[int, ...]) -> _Group:
    """Combine the members' levels above 0 (only combinations that no other beats), and remove all at once."""
    removed = np.zeros((1, len(tie)), dtype=np.int64)
    change = indexed.changes(dense, tie, removed)
    costs, values = change[:, cost], -change[:, 0]
    members = [_single(indexed, dense, cost, column) for column in tie]
    if any(len(member.settings) == 1 for member in members):
        return _Group(tie, removed, costs, values)
    front = pareto_front([(member.costs[1:], member.values[1:]) for member in members])
    settings = np.concatenate([removed, front.picks + 1])
    return _Group(tie, settings, np.concatenate([costs, front.costs]), np.concatenate([values, front.values]))


def _is_separable(indexed: Indexed) -> bool:
    return all(len(block.axes) == 1 and block.axes[0] < indexed.n_variables for block in indexed.blocks)


def _note(indexed: Indexed, state: Ints, cost: int, predicted: float) -> str:
    problem = indexed.problem
    resource = problem.resources[cost - 1]
    true = float(indexed.losses(state[None])[0, cost])
    if _is_separable(indexed):
        return ""
    return (
        f"the separated costs predict {resource} {predicted:.6g} (budget {problem.budgets[resource]:.6g}); "
        f"the true cost is {true:.6g}; the bound holds for the separated costs only"
    )
