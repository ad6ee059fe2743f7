"""Solver for tables over several variables and any number of budgets: proven, or with a stated gap.

The cost of an operator depends on the widths on both of its sides, so pruning two neighbours saves more than the sum
of pruning each. This solver sees that. Prices on the budgets give a bound and a choice near it
(`silicut.search.prices`), and tell which levels no better choice can have; what is left is a small mixed-integer
model, written down in `silicut.search.pair_model`.
"""

from __future__ import annotations

import time

from silicut.search.cheapest import fit_or_explain
from silicut.search.indexed import Goal, Indexed
from silicut.search.mixed_integer import proven
from silicut.search.problem import Problem
from silicut.search.simplify import simplify
from silicut.search.solution import Proof, Solution, make_solution


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
    indexed, goal = Indexed(simplify(problem)), Goal.best_value(problem)
    outcome = proven(indexed, goal, time_limit_s, gap_frac)
    levels, note = None if outcome.state is None else indexed.levels(outcome.state), ""
    if levels is None:
        levels = fit_or_explain(indexed.problem, time_limit_s)
        note = "the time limit was over before a choice that meets the budgets was found; this one was found after it"
    proof = Proof(solver="coupled", bound=-outcome.bound, time_s=time.monotonic() - started, gap_frac=gap_frac, note=note)
    return make_solution(problem, levels, proof)
