"""The concave front of value over one cost: every choice that is best at some price, and a bound for every budget.

Between two neighbouring choices of the front lies at most what is best at the price that makes the two equal. So the front
is found from its ends inwards (Eisner and Severance, J. ACM 23, 1976), each choice with one or two eliminations.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from silicut.records import ConfigError, Record
from silicut.search.elimination import Elimination
from silicut.search.indexed import Floats, Indexed, Ints
from silicut.search.problem import FIT_TOLERANCE, Problem
from silicut.search.simplify import simplify

_TOLERANCE = 1e-10  # relative: a choice that is not this far above the line between two others is on it


@dataclass(frozen=True, kw_only=True)
class HullPoint:
    """One choice of the front.

    Attributes:
        cost, value: exact.
        levels: variable -> level.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    cost: float
    value: float
    levels: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Hull(Record):
    """The concave front of value over the cost of one resource.

    Attributes:
        resource: whose cost.
        points: by rising cost and rising value.
        prices: values of a unit of cost that were tried.
        reached: the greatest value - price x cost of any choice, or a bound on it, for each of `prices`.
        is_complete: every choice that is best at some price is among the points (of several equal ones, one is).
        time_s: wall-clock seconds spent.
        problem_hash: `Problem.hash` of the problem.
    """

    schema: ClassVar[str] = "hull/1"

    resource: str
    points: tuple[HullPoint, ...]
    prices: tuple[float, ...]
    reached: tuple[float, ...]
    is_complete: bool
    time_s: float
    problem_hash: str

    def bound(self, budget: float) -> float:
        """Return what the value of no choice within a budget exceeds: the least of reached + price x budget."""
        return float((np.array(self.reached) + np.array(self.prices) * budget).min())

    def best(self, budget: float) -> HullPoint | None:
        """Return the best point within a budget, None where there is none; `bound` says what may lie above it."""
        within = [point for point in self.points if point.cost <= budget + FIT_TOLERANCE * abs(budget)]
        return within[-1] if within else None


def hull(problem: Problem, resource: str, time_limit_s: float = 30.0, max_points: int = 10_000) -> Hull:
    """Return the concave front of a problem, whatever the budget of its resource.

    Args:
        problem: tables of any kind; without budgets of other resources.
        resource: one of its resources.
        time_limit_s: wall-clock seconds; when they are over the points found so far are returned, and bounds hold.
        max_points: likewise.

    Raises:
        ConfigError: the resource is unknown, or another one has a budget.
    """
    started = time.monotonic()
    if resource not in problem.costs:
        raise ConfigError(f"resource must be one of {list(problem.resources)}, not {resource!r}")
    if others := sorted(set(problem.budgets) - {resource}):
        raise ConfigError(f"budgets must be of {resource} alone for a front, not of {', '.join(others)} too; use a solver")
    search = _Search(Indexed(simplify(problem)), 1 + problem.resources.index(resource))
    while search.has_more() and len(search.found) < max_points and time.monotonic() - started < time_limit_s:
        search.step()
    return Hull(
        resource=resource,
        points=tuple(search.points()),
        prices=tuple(search.prices),
        reached=tuple(search.reached),
        is_complete=not search.has_more() and not search.elimination.n_split,
        time_s=time.monotonic() - started,
        problem_hash=problem.hash,
    )


class _Search:
    """Choices found so far, and the pairs of neighbours between which there may be more."""

    def __init__(self, indexed: Indexed, cost: int) -> None:
        self._indexed, self._cost = indexed, cost
        self.elimination = Elimination(indexed)
        self.found: list[tuple[float, float, Ints]] = []
        self.prices: list[float] = []
        self.reached: list[float] = []
        self._pairs: list[tuple[float, int, int]] = []
        top, least = self._best_at(0.0), self._cheapest()
        self._add_pair(least, top)

    def has_more(self) -> bool:
        """Whether some pair has not been looked between."""
        return bool(self._pairs)

    def step(self) -> None:
        """Look between the two neighbours that leave most room."""
        _, left, right = heapq.heappop(self._pairs)
        (cost, value, _), (other_cost, other_value, _) = self.found[left], self.found[right]
        price = (other_value - value) / (other_cost - cost)
        middle = self._best_at(price)
        gain = (self.found[middle][1] - value) - price * (self.found[middle][0] - cost)
        if gain > _TOLERANCE * (abs(value) + abs(price * cost)) and cost < self.found[middle][0] < other_cost:
            self._add_pair(left, middle)
            self._add_pair(middle, right)
        else:
            self.found.pop()

    def points(self) -> Iterator[HullPoint]:
        """Yield what was found, by rising cost, without what another beats."""
        best = -np.inf
        for cost, value, state in sorted(self.found, key=lambda entry: (entry[0], -entry[1])):
            if value > best:
                best = value
                yield HullPoint(cost=cost, value=value, levels=self._indexed.levels(state))

    def _add_pair(self, left: int, right: int) -> None:
        (cost, value, _), (other_cost, other_value, _) = self.found[left], self.found[right]
        if other_cost > cost and other_value > value:
            heapq.heappush(self._pairs, (-(other_cost - cost) * (other_value - value), left, right))

    def _best_at(self, price: float) -> int:
        minimum = self.elimination.minimise(self._weights(1.0, price))
        self.prices.append(price)
        self.reached.append(-minimum.bound)
        return self._keep(minimum.state)

    def _cheapest(self) -> int:
        return self._keep(self.elimination.minimise(self._weights(0.0, 1.0)).state)

    def _weights(self, value: float, cost: float) -> Floats:
        weights = np.zeros(self._indexed.n_losses)
        weights[0], weights[self._cost] = value, cost
        return weights

    def _keep(self, state: Ints) -> int:
        losses = self._indexed.losses(state[None])[0]
        self.found.append((float(losses[self._cost]), -float(losses[0]), state))
        return len(self.found) - 1
