"""What every solver returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.records import Record
from silicut.search.problem import Problem, evaluate

_BOUND_TOLERANCE = 1e-7  # relative: a bound from linear programming is as exact as its solver's tolerances
TINY = 1e-12
"""Stands in for a value of 0 where a gap is relative to it."""


@dataclass(frozen=True, kw_only=True)
class Solution(Record):
    """A choice of levels, what it is worth, and how much better any other could be.

    Attributes:
        levels: variable -> chosen level.
        value: its exact value (`evaluate`).
        costs: resource -> its exact cost (`evaluate`).
        objective: "value" if the value was maximised, else the resource whose cost was minimised.
        bound: no choice that meets the budgets has a greater value (or a smaller cost, where a cost was minimised)
            than this. For a solver that changes the cost model (`knapsack`) it holds for that model; the note says so.
        gap_frac: the distance of the bound relative to what was reached, at least 0.
        time_s: wall-clock seconds spent.
        solver: name of the solver.
        is_proven: true if the gap asked for was reached and the bound holds for the problem itself.
        note: what a reader should know besides, may be empty.
        problem_hash: `Problem.hash` of the problem solved.
    """

    schema: ClassVar[str] = "solution/1"

    levels: dict[str, int]
    value: float
    costs: dict[str, float]
    objective: str = "value"
    bound: float
    gap_frac: float
    time_s: float
    solver: str
    is_proven: bool
    note: str = ""
    problem_hash: str


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How a choice was found: the part of a `Solution` that only the solver knows.

    Attributes:
        solver: name of the solver.
        bound: see `Solution.bound`.
        time_s: wall-clock seconds spent.
        gap_frac: the gap asked for; the choice counts as proven when it is reached.
        is_valid: false if the bound holds for another model only.
        objective: see `Solution.objective`.
        note: see `Solution.note`.
    """

    solver: str
    bound: float
    time_s: float
    gap_frac: float = 0.0
    is_valid: bool = True
    objective: str = "value"
    note: str = ""


def relative_gap(reached: float, bound: float) -> float:
    """Return |bound - reached| / |reached|, with a tiny number for a `reached` of 0.

    Example:
        >>> relative_gap(10.0, 10.5)
        0.05
    """
    return abs(bound - reached) / max(abs(reached), TINY)


def make_solution(problem: Problem, levels: dict[str, int], proof: Proof) -> Solution:
    """Return the solution for a choice, exactly evaluated; a bound on the wrong side by rounding is moved to it."""
    value, costs = evaluate(problem, levels)
    is_value = proof.objective == "value"
    reached = value if is_value else costs[proof.objective]
    bound = proof.bound
    if proof.is_valid:
        bound = max(bound, reached) if is_value else min(bound, reached)
    gap = relative_gap(reached, bound)
    return Solution(
        levels=levels,
        value=value,
        costs=costs,
        objective=proof.objective,
        bound=bound,
        gap_frac=gap,
        time_s=proof.time_s,
        solver=proof.solver,
        is_proven=proof.is_valid and gap <= proof.gap_frac + _BOUND_TOLERANCE,
        note=proof.note,
        problem_hash=problem.hash,
    )
