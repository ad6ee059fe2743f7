"""The best choice with a proof of how much better any other could be, by HiGHS through SciPy.

First the linear relaxation: it bounds the objective, and its reduced costs say of every column how much worse the
objective must at least get if that column is used. A choice is rounded from it and improved by local moves. What costs
more than the gap between the two cannot be part of a better choice and is left out of the mixed-integer model, which
HiGHS solves in the time that is left. HiGHS answers to a tolerance, so its choice is evaluated exactly; one that breaks
a limit is excluded by a row of its own and the model is solved again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its modules are loaded on first use: they are slow to import

from silicut.search.indexed import Bools, Floats, Goal, Indexed, Ints
from silicut.search.local_moves import Walk, improve, repair
from silicut.search.pair_model import PairModel, build_pair_model
from silicut.search.prices import best_prices, without_hopeless_levels
from silicut.search.silence import without_debug_lines
from silicut.search.solution import relative_gap

_OBJECTIVE_SIZE = 1e4
"""The objective is scaled to numbers of this size, so that HiGHS' absolute gap of 1e-6 means 1e-10."""

_LIMIT_SIZE = 1.0
"""Limits are scaled to numbers of this size: what HiGHS takes as kept may be over by 1e-6 of it."""

_LOCAL_FRAC = 0.2
"""The most of the time left that local moves may take before HiGHS goes on."""

_PRICES_FRAC = 0.3  # of the time limit that prices may take, at most
_MAX_CUTS = 200
_LEAST_TIME_S = 0.05
_PROVEN_GAP_FRAC = 1e-9
_SOLVED, _INFEASIBLE = 0, 2


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the search found.

    Attributes:
        state: the best choice found, or None.
        bound: no choice within the limits has a smaller objective loss than this.
        is_infeasible: true if it was proven that no choice is within the limits.
    """

    state: Ints | None
    bound: float
    is_infeasible: bool = False


def optimise(indexed: Indexed, goal: Goal, time_limit_s: float, gap_frac: float, starts: Iterable[Ints] = ()) -> Outcome:
    """Return the choice with the smallest objective loss within the limits.

    Args:
        indexed: the problem.
        goal: what to minimise under which limits.
        time_limit_s: wall-clock seconds; when they are over the best choice so far is returned with its bound.
        gap_frac: stop when the relative distance of the bound is at most this.
        starts: choices to begin with; one that breaks limits is repaired.
    """
    search = _Search(indexed, goal, time.monotonic() + time_limit_s, gap_frac)
    for start in starts:
        search.offer(start)
    if not search.is_done():
        program = _Program(indexed, goal)
        columns = search.relax(program)
        if not search.is_done() and (search.best is None or search.has_time()):
            search.branch(program, columns)
    return Outcome(search.best, search.bound, search.is_infeasible)


def proven(indexed: Indexed, goal: Goal, time_limit_s: float, gap_frac: float, starts: Iterable[Ints] = ()) -> Outcome:
    """Return the choice with the smallest objective loss within the limits: by prices, and by `optimise` what they leave.

    Prices bound the loss on problems of any size, and tell which levels no better choice can have; without those the
    mixed-integer model is small.

    Args:
        indexed: the problem, simplified.
        goal, time_limit_s, gap_frac: as for `optimise`.
        starts: choices to begin with where prices gave none.
    """
    started = time.monotonic()
    priced = best_prices(indexed, goal, started + _PRICES_FRAC * time_limit_s, gap_frac)
    if priced.state is not None and relative_gap(priced.loss, priced.bound) <= max(gap_frac, _PROVEN_GAP_FRAC):
        return Outcome(priced.state, priced.bound)
    left = Indexed(without_hopeless_levels(indexed, priced))
    known = starts if priced.state is None else [left.state(indexed.levels(priced.state))]
    found = optimise(left, goal, time_limit_s - (time.monotonic() - started), gap_frac, known)
    state = priced.state if found.state is None else indexed.state(left.levels(found.state))
    return Outcome(state, max(priced.bound, min(found.bound, priced.loss)), found.is_infeasible)


class _Program:
    """The pair model, scaled, with its objective and its limits: what HiGHS is given."""

    def __init__(self, indexed: Indexed, goal: Goal) -> None:
        self.model = build_pair_model(indexed)
        self._fixed = float(indexed.fixed[goal.objective])
        row = self.model.losses[goal.objective]
        self.scale = _OBJECTIVE_SIZE / (float(np.abs(row).max()) or 1.0)
        self._objective = row * self.scale
        limited = np.isfinite(goal.upper)
        rows, upper = self.model.losses[limited], (goal.limit - indexed.fixed)[limited]
        sizes = np.maximum(np.abs(rows).max(axis=1), np.abs(upper))
        scales = _LIMIT_SIZE / np.where(sizes > 0.0, sizes, 1.0)
        self._rows, self._upper = rows * scales[:, None], upper * scales

    def loss(self, scaled: float) -> float:
        """Return the objective loss that a scaled objective stands for."""
        return self._fixed + scaled / self.scale

    def relax(self, time_limit_s: float) -> Any:
        """Solve the linear relaxation."""
        return scipy.optimize.linprog(
            self._objective,
            A_ub=self._rows if len(self._upper) else None,
            b_ub=self._upper if len(self._upper) else None,
            A_eq=self.model.matrix,
            b_eq=self.model.rhs,
            bounds=(0, None),
            method="highs",
            options={"time_limit": time_limit_s, "presolve": False},  # presolve takes 2-3 times what it saves
        )

    def branch(self, columns: Bools, cuts: list[Ints], time_limit_s: float, gap_frac: float) -> Any:
        """Solve the mixed-integer model over some columns, without the choices in `cuts`."""
        matrix = self.model.matrix[:, columns]
        filled = np.diff(matrix.indptr) > 0
        constraints = [scipy.optimize.LinearConstraint(matrix[filled], self.model.rhs[filled], self.model.rhs[filled])]
        if len(self._upper):
            constraints.append(scipy.optimize.LinearConstraint(self._rows[:, columns], -np.inf, self._upper))
        for state in cuts:
            row = np.zeros(len(columns))
            row[self.model.starts[:-1] + state] = 1.0
            constraints.append(scipy.optimize.LinearConstraint(row[None, columns], -np.inf, len(state) - 1.0))
        with without_debug_lines():
            return scipy.optimize.milp(
                self._objective[columns],
                integrality=np.ones(int(columns.sum())),
                bounds=scipy.optimize.Bounds(0.0, 1.0),
                constraints=constraints,
                options={"time_limit": time_limit_s, "mip_rel_gap": gap_frac},
            )


class _Search:
    """The best choice so far and the bound so far."""

    def __init__(self, indexed: Indexed, goal: Goal, deadline: float, gap_frac: float) -> None:
        self.indexed, self.goal, self.deadline = indexed, goal, deadline
        self.gap_frac = gap_frac
        smallest = (float(block.losses[..., goal.objective].min()) for block in indexed.blocks)
        self.bound = float(indexed.fixed[goal.objective]) + sum(smallest)
        self.best: Ints | None = None
        self.best_loss = np.inf
        self.is_infeasible = False

    def is_done(self) -> bool:
        """Whether nothing is left to find out."""
        if self.best is None:
            return self.is_infeasible
        return self.best_loss <= self.bound or relative_gap(self.best_loss, self.bound) <= max(
            self.gap_frac, _PROVEN_GAP_FRAC
        )

    def offer(self, state: Ints) -> None:
        """Repair and improve a choice and keep it if it is the best; the first one is repaired whatever the time."""
        walk = Walk(self.indexed, self.goal, state)
        now = time.monotonic()
        deadline = now + _LOCAL_FRAC * (self.deadline - now)
        if not repair(walk, math.inf if self.best is None else deadline):
            return
        improve(walk, deadline)
        loss = float(walk.losses[self.goal.objective])
        if self.goal.is_met(walk.losses) and loss < self.best_loss:
            self.best, self.best_loss = walk.state, loss

    def has_time(self) -> bool:
        """Whether the time is not over."""
        return time.monotonic() < self.deadline

    def left_s(self) -> float:
        """Seconds left, never so few that HiGHS cannot start."""
        return max(_LEAST_TIME_S, self.deadline - time.monotonic())

    def relax(self, program: _Program) -> Bools:
        """Solve the linear relaxation, take bound and choice from it, and return the columns that may still help."""
        everything = np.ones(program.model.matrix.shape[1], dtype=np.bool_)
        result = program.relax(self.left_s())
        self.is_infeasible = self.best is None and result.status == _INFEASIBLE
        if result.status != _SOLVED:
            return everything
        self.bound = max(self.bound, program.loss(result.fun))
        self.offer(self._rounded(program.model, result.x))
        if self.best is None:
            return everything
        gap = max(0.0, self.best_loss - self.bound) + _PROVEN_GAP_FRAC * max(1.0, abs(self.best_loss))
        may_help: Bools = result.lower.marginals / program.scale <= gap
        return may_help

    def branch(self, program: _Program, columns: Bools) -> None:
        """Solve the mixed-integer model over some columns; at the end either the gap is closed or the time is over."""
        cuts: list[Ints] = []
        while len(cuts) <= _MAX_CUTS:
            result = program.branch(columns, cuts, self.left_s(), self.gap_frac)
            self._take_bound(result, program)
            if result.x is None:
                return
            full = np.zeros(len(columns))
            full[columns] = result.x
            state = self._rounded(program.model, full)
            self.offer(state)
            if self.goal.is_met(self.indexed.losses(state[None])[0]) or not self.has_time():
                return
            cuts.append(state)

    def _take_bound(self, result: Any, program: _Program) -> None:
        """A choice better than the best known is in the model that was solved, so its bound holds below that one."""
        if result.status == _INFEASIBLE:
            self.is_infeasible = self.best is None
            self.bound = self.best_loss if self.best is not None else self.bound
        elif result.mip_dual_bound is not None and np.isfinite(result.mip_dual_bound):
            self.bound = max(self.bound, min(program.loss(result.mip_dual_bound), self.best_loss))

    def _rounded(self, model: PairModel, columns: Floats) -> Ints:
        """Return the choice nearest to a solution of the model, with every tie kept."""
        parts = model.one_hot(columns)
        state = np.array([int(np.argmax(part)) for part in parts], dtype=np.int64)
        for tie in self.indexed.ties:
            if parts[tie[0]][0] >= 0.5 or any(len(parts[column]) == 1 for column in tie):
                state[list(tie)] = 0
            else:
                state[list(tie)] = [1 + int(np.argmax(parts[column][1:])) for column in tie]
        return state
