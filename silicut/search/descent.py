"""Solver by steepest descent from the dense network: quick, priced by the true tables, without proof."""

from __future__ import annotations

import time

from silicut.search.cheapest import fit_or_explain
from silicut.search.indexed import Goal, Indexed
from silicut.search.local_moves import Walk, improve, repair
from silicut.search.problem import Problem
from silicut.search.simplify import simplify
from silicut.search.solution import Proof, Solution, make_solution


def solve(problem: Problem, time_limit_s: float = 10.0) -> Solution:
    """Return a choice that meets every budget and that no move of one or two variables improves.

    From the dense choice, the move (a variable to another level, a block removed) that loses least value for each part
    of the excess cost it saves is made until the budgets are met; then single moves, exchanges of two, and moves that
    gain followed by the repair of what they break are made while they help. The bound is the plain one: every table
    at its greatest entry.

    Args:
        problem: what to solve; tables of any kind.
        time_limit_s: wall-clock seconds.

    Raises:
        DoesNotFit: no choice meets every budget.
    """
    started = time.monotonic()
    deadline = started + time_limit_s
    indexed, goal = Indexed(simplify(problem)), Goal.best_value(problem)
    walk = Walk(indexed, goal, indexed.dense_state())
    if not repair(walk, deadline):
        walk = Walk(indexed, goal, indexed.state(fit_or_explain(indexed.problem, time_limit_s)))
    improve(walk, deadline)
    bound = sum(float(-block.losses[..., 0].min()) for block in indexed.blocks)
    proof = Proof(solver="descent", bound=bound, time_s=time.monotonic() - started)
    return make_solution(problem, indexed.levels(walk.state), proof)
