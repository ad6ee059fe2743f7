"""Solver by prices: a choice near a bound that holds, on problems of any size.

Prices on the budgets give the bound and choices near it (`silicut.search.prices`); local moves use what room they leave.
"""

from __future__ import annotations

import time

from silicut.search.cheapest import fit_or_explain
from silicut.search.indexed import Goal, Indexed
from silicut.search.prices import best_prices
from silicut.search.problem import Problem
from silicut.search.simplify import simplify
from silicut.search.solution import Proof, Solution, make_solution


def solve(problem: Problem, time_limit_s: float = 10.0, gap_frac: float = 1e-4) -> Solution:
    """Return a choice that meets every budget, with a bound on any other that is seldom far away.

    Every budget has a price. A problem whose graph is so dense that tables would grow too large is solved with tables
    that are split; then the bound is weaker, and the note says so.

    Args:
        problem: what to solve; tables of any kind.
        time_limit_s: wall-clock seconds.
        gap_frac: a choice this close to the bound counts as proven.

    Raises:
        DoesNotFit: no choice meets every budget.
    """
    started = time.monotonic()
    indexed = Indexed(simplify(problem))
    found = best_prices(indexed, Goal.best_value(problem), started + time_limit_s, gap_frac)
    levels = fit_or_explain(indexed.problem, time_limit_s) if found.state is None else indexed.levels(found.state)
    proof = Proof(
        solver="lagrangian",
        bound=-found.bound,
        time_s=time.monotonic() - started,
        gap_frac=gap_frac,
        note=_note(found.n_split),
    )
    return make_solution(problem, levels, proof)


def _note(n_split: int) -> str:
    if not n_split:
        return ""
    return (
        f"tables of {n_split} variables would have been too large and were split, so the bound is weaker than prices can "
        "give"
    )
