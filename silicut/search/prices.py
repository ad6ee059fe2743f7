"""Budgets replaced by prices: a bound that holds, and choices near it.

With a price on each resource a problem falls apart into tables that variable elimination minimises exactly
(`silicut.search.elimination`). For any prices >= 0

    F(prices) + prices . budgets,    F(prices) = max over choices of value - prices . costs

bounds the value of every choice within the budgets (Everett, Oper. Res. 11, 1963). The least such bound is found with
cutting planes: every choice seen is a linear function of the prices below F, the prices are set where the highest of
them is least, and the choice that is best there is the next one. With one resource these are the crossings of two lines,
so the end is reached exactly, after few steps. What the choices leave of a budget is filled by local moves.

What is minimised may also be a cost, with a least value among the limits: then the value has a price.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy  # its modules are loaded on first use: they are slow to import

from silicut.search.elimination import Elimination
from silicut.search.indexed import Floats, Goal, Indexed, Ints
from silicut.search.local_moves import Walk, improve, repair
from silicut.search.problem import Problem
from silicut.search.simplify import restrict

_N_STEPS = 100
_N_REPAIRED = 4  # of the choices beyond the limits
_MOVES_FRAC = 0.5  # the most of the time that is left for each start of local moves
_LARGEST_PRICE = 1e3  # at which all that can be saved is worth this many times all there is to gain
_LEVEL_FRAC = 1e-6
_EXACT_FRAC = 1e-10
_LEAST_GAP_FRAC = 1e-9


@dataclass(frozen=True, eq=False)
class Priced:
    """What pricing the budgets gave.

    Attributes:
        state: the best choice within the limits, or None.
        loss: what it has of the loss that is minimised.
        bound: no choice within the limits has less of it.
        least_with: for each variable and level, what no choice with it that is within the limits has less of; None where
            tables were split.
        n_split: see `Elimination`.
    """

    state: Ints | None
    loss: float
    bound: float
    least_with: list[Floats] | None
    n_split: int


def best_prices(indexed: Indexed, goal: Goal, deadline: float, gap_frac: float) -> Priced:
    """Return the best prices, their bound, and the best choice that was seen or reached from one by local moves.

    Args:
        indexed: the problem, simplified.
        goal: what to minimise under which limits.
        deadline: `time.monotonic` at which to stop.
        gap_frac: stop when the choice is this close to the bound, relative to what it reaches.
    """
    dual = _Dual(indexed, goal)
    n_steps = 1
    while dual.step() and n_steps < _N_STEPS and time.monotonic() < deadline:
        n_steps += 1
    best, best_loss = None, math.inf
    is_late = time.monotonic() > deadline
    for state in [indexed.dense_state()] if is_late else [*dual.nearest(), indexed.dense_state()]:
        now = time.monotonic()
        if best is not None and (now > deadline or best_loss - dual.bound <= gap_frac * abs(best_loss)):
            break
        walk = Walk(indexed, goal, state)
        if not repair(walk, math.inf if best is None else deadline):
            continue
        improve(walk, now + _MOVES_FRAC * (deadline - now))
        loss = float(walk.losses[goal.objective])
        if goal.is_met(walk.losses) and loss < best_loss:
            best, best_loss = walk.state, loss
    return Priced(best, best_loss, dual.bound, dual.least_with(), dual.elimination.n_split)


def without_hopeless_levels(indexed: Indexed, priced: Priced) -> Problem:
    """Return the problem without levels that no choice better than the best one known can have."""
    if priced.least_with is None or priced.state is None:
        return indexed.problem
    slack = _LEAST_GAP_FRAC * max(1.0, abs(priced.loss))
    keep = [least <= priced.loss + slack for least in priced.least_with]
    for mask, level in zip(keep, priced.state, strict=True):
        mask[level] = True
    return restrict(indexed.problem, keep)


class _Dual:
    """Cutting planes over the prices of the limited losses; everything is minimised here, as in `Indexed`.

    Attributes:
        cuts: the choices seen, each with its losses.
        bound: the best so far.
        weights: of all losses, at which it was reached: prices, and 1 for what is minimised.
    """

    def __init__(self, indexed: Indexed, goal: Goal) -> None:
        self.indexed, self.goal = indexed, goal
        self.elimination = Elimination(indexed)
        self._limited = np.flatnonzero(np.isfinite(goal.upper))
        self._limit = goal.limit[self._limited]
        self._unit = _price_units(indexed, goal.objective)[self._limited]
        self.cuts: list[tuple[Ints, Floats]] = []
        self.bound, self.weights = -math.inf, np.zeros(indexed.n_losses)
        for loss in self._limited:
            cheapest = np.zeros(indexed.n_losses)
            cheapest[loss] = 1.0
            self._see(self.elimination.minimise(cheapest).state)

    def step(self) -> bool:
        """Minimise at the next prices; return whether there may be better ones."""
        model, prices = self._next_prices()
        weights = np.zeros(self.indexed.n_losses)
        weights[self._limited] = prices
        weights[self.goal.objective] += 1.0
        found = self.elimination.minimise(weights)
        bound = found.bound - float(prices @ self._limit)
        if bound > self.bound:
            self.bound, self.weights = bound, weights
        has_news = self._see(found.state) or model == math.inf
        return has_news and len(self._limit) > 0 and model - bound > _EXACT_FRAC * max(1.0, abs(bound))

    def _see(self, state: Ints) -> bool:
        if any(np.array_equal(state, other) for other, _ in self.cuts):
            return False
        self.cuts.append((state, self.indexed.losses(state[None])[0]))
        return True

    def _next_prices(self) -> tuple[float, Floats]:
        """Return the prices at which the lowest of the lines seen is highest, and how high; no prices at first."""
        if not len(self._limit) or self.bound == -math.inf:
            return math.inf, np.zeros(len(self._limit))
        losses = np.array([losses for _, losses in self.cuts])
        excess = losses[:, self._limited] - self._limit
        if len(self._limit) == 1:
            return _highest_crossing(losses[:, self.goal.objective], excess[:, 0])
        return _highest_floor(losses[:, self.goal.objective], excess, _LARGEST_PRICE * self._unit)

    def least_with(self) -> list[Floats] | None:
        """Return `Elimination.least_with` at the best prices, what the budgets are worth there subtracted."""
        if self.elimination.n_split:
            return None
        own = self.weights[self._limited] - (self._limited == self.goal.objective)
        worth = float(own @ self._limit)
        return [least - worth for least in self.elimination.least_with(self.weights)]

    def nearest(self) -> Iterator[Ints]:
        """Yield a few of the choices seen: the best within the limits, then those beyond that miss the bound least."""
        ranked = [(self.goal.is_met(losses), losses, i) for i, (_, losses) in enumerate(self.cuts)]
        within = [(float(losses[self.goal.objective]), i) for is_met, losses, i in ranked if is_met]
        beyond = [(float(self.weights @ losses), i) for is_met, losses, i in ranked if not is_met]
        for _, i in [*sorted(within)[:_N_REPAIRED], *sorted(beyond)[:_N_REPAIRED]]:
            yield self.cuts[i][0]


def _price_units(indexed: Indexed, objective: int) -> Floats:
    """Return prices at which all that can be saved of a loss is worth all there is to gain, shape (n_losses,)."""
    spreads = sum(np.ptp(block.losses.reshape(-1, indexed.n_losses), axis=0) for block in indexed.blocks)
    spreads = np.where(spreads > 0.0, spreads, 1.0)
    units: Floats = spreads[objective] / spreads
    return units


def _highest_crossing(losses: Floats, excess: Floats) -> tuple[float, Floats]:
    """Return where the least of the lines losses + price x excess is greatest over prices >= 0, the smallest such price."""
    rising, falling = excess > 0.0, excess <= 0.0
    drop = np.subtract.outer(losses[falling], losses[rising])
    crossings = drop / np.add.outer(-excess[falling], excess[rising])
    prices = np.unique(np.append(np.maximum(crossings, 0.0), 0.0))
    heights = (losses + np.multiply.outer(prices, excess)).min(axis=1)
    best = int(np.argmax(heights))
    return float(heights[best]), prices[[best]]


def _highest_floor(losses: Floats, excess: Floats, largest: Floats) -> tuple[float, Floats]:
    """Return the same for several resources, by linear programming; a floor that is level is taken at small prices."""
    scaled = excess * largest
    size = max(float(np.abs(losses).max()), _LEVEL_FRAC * float(np.abs(scaled).max()), 1e-300)
    result = scipy.optimize.linprog(
        np.append(np.full(len(largest), _LEVEL_FRAC), -1.0),
        A_ub=np.column_stack([-scaled / size, np.ones(len(losses))]),
        b_ub=losses / size,
        bounds=[*[(0.0, 1.0)] * len(largest), (None, None)],
        method="highs",
    )
    if result.x is None:  # numbers too far apart for HiGHS: what was found stands
        return -math.inf, np.zeros(len(largest))
    return float(result.x[-1] * size), result.x[:-1] * largest
