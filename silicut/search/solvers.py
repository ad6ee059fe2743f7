"""The solvers by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from silicut.records import ConfigError
from silicut.search import coupled, descent, knapsack, lagrangian
from silicut.search.problem import Problem
from silicut.search.solution import Solution

Solver = Callable[[Problem, float], Solution]


def _knapsack(problem: Problem, _time_limit_s: float) -> Solution:
    return knapsack.solve(problem)


SOLVERS: dict[str, Solver] = {
    "coupled": coupled.solve,
    "descent": descent.solve,
    "knapsack": _knapsack,
    "lagrangian": lagrangian.solve,
}
"""Solver name -> function of a problem and a time limit in seconds (which the knapsack does not need)."""


def solve(problem: Problem, solver: str = "coupled", time_limit_s: float = 10.0) -> Solution:
    """Return the solution of a problem by a named solver.

    Args:
        problem: what to solve.
        solver: "coupled" (proven, any tables), "lagrangian" (a bound and a choice near it, any size), "descent" (quick,
            unproven) or "knapsack" (one budget, independent costs).
        time_limit_s: wall-clock seconds, above 0.

    Raises:
        ConfigError: the solver is unknown, the time limit is not above 0, or the problem is not for this solver.
        DoesNotFit: no choice meets the budgets; the message names the smallest reachable cost.
    """
    problems = []
    if solver not in SOLVERS:
        near = difflib.get_close_matches(solver, SOLVERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        problems.append(f"solver must be one of {sorted(SOLVERS)}, not {solver!r}{hint}")
    if not time_limit_s > 0:
        problems.append(f"time_limit_s must be above 0, not {time_limit_s:g}")
    if problems:
        raise ConfigError(*problems)
    return SOLVERS[solver](problem, time_limit_s)
