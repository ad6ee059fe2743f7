"""Solver for tables over several variables and any number of budgets: proven, or with a stated gap.

The cost of an operator depends on the widths on both of its sides, so pruning two neighbours saves more than the sum
of pruning each. This solver sees that. Prices on the budgets give a bound and a choice near it
(`silicut.search.lagrangian`), and tell which levels no better choice can have; what is left is a small mixed-integer
model, written down in `silicut.search.pair_model`.
"""

from __future__ import annotations

import time

from silicut.search.cheapest import fit_or_explain
from silicut.search.indexed import Goal, Indexed
from silicut.search.lagrangian import Priced, best_prices
from silicut.search.mixed_integer import optimise
from silicut.search.problem import Problem
from silicut.search.simplify import restrict, simplify
from silicut.search.solution import Proof, Solution, make_solution, relative_gap

_PRICES_FRAC = 0.3  # of the time limit, at most
_LEAST_GAP_FRAC = 1e-9


def solve(problem: Problem, time_limit_s: float = 10.0, gap_frac: float = 1e-4) -> Solution:
    """Return the choice of greatest value that meets every budget, with a bound on any other.

    Args:
        problem: what to solve; tables of any kind.
        time_limit_s: wall-clock seconds; then the best choice so far is returned with its gap.
        gap_frac: relative gap at which to stop; 0 solves to the end.

    Raises:
        DoesNotFit: no choice meets every budget; finding out why may take the time limit again for each resource.
    """
    started = time.monotonic()
    indexed = Indexed(simplify(problem))
    priced = best_prices(indexed, started + _PRICES_FRAC * time_limit_s, gap_frac)
    levels, bound, note = None, priced.bound, ""
    if priced.state is not None:
        levels = indexed.levels(priced.state)
    if priced.state is None or relative_gap(priced.loss, bound) > max(gap_frac, _LEAST_GAP_FRAC):
        left = Indexed(_without_hopeless_levels(indexed, priced))
        starts = [left.dense_state() if levels is None else left.state(levels)]
        outcome = optimise(left, Goal.best_value(problem), time_limit_s - (time.monotonic() - started), gap_frac, starts)
        bound = max(bound, min(outcome.bound, priced.loss))
        levels = levels if outcome.state is None else left.levels(outcome.state)
    if levels is None:
        levels = fit_or_explain(indexed.problem, time_limit_s)
        note = "the time limit was over before a choice that meets the budgets was found; this one was found after it"
    proof = Proof(solver="coupled", bound=-bound, time_s=time.monotonic() - started, gap_frac=gap_frac, note=note)
    return make_solution(problem, levels, proof)


def _without_hopeless_levels(indexed: Indexed, priced: Priced) -> Problem:
    """Return the problem without levels that make a choice cost more than the best one known, at the best prices."""
    if priced.least_with is None or priced.state is None:
        return indexed.problem
    slack = _LEAST_GAP_FRAC * max(1.0, abs(priced.loss))
    keep = [least <= priced.loss + slack for least in priced.least_with]
    for mask, level in zip(keep, priced.state, strict=True):
        mask[level] = True
    return restrict(indexed.problem, keep)
