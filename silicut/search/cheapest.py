"""The smallest cost that can be had: of anything, or of anything better than what is known."""

from __future__ import annotations

import math
import time

import numpy as np

from silicut.records import ConfigError, DoesNotFit, OutcomeError
from silicut.search.indexed import Goal, Indexed
from silicut.search.mixed_integer import optimise, proven
from silicut.search.problem import Problem, evaluate, fits
from silicut.search.simplify import simplify
from silicut.search.solution import Proof, Solution, make_solution

_BETTER_FRAC = 1e-9
_ANY_GAP_FRAC = 1e9


def cheapest(problem: Problem, resource: str, time_limit_s: float = 10.0) -> Solution:
    """Return the choice with the smallest cost of one resource, whatever its value and whatever the budgets.

    Args:
        problem: where to choose.
        resource: one of its resources.
        time_limit_s: wall-clock seconds; when they are over, the bound tells how much smaller the cost may be.

    Raises:
        ConfigError: the resource is unknown.
    """
    started = time.monotonic()
    _check_resource(problem, resource)
    goal = _cost_goal(problem, resource, {})
    indexed = Indexed(simplify(problem))
    outcome = proven(indexed, goal, time_limit_s, 0.0, [np.zeros(indexed.n_variables, dtype=np.int64)])
    assert outcome.state is not None, "without limits every choice is one"
    proof = Proof(solver="coupled", bound=outcome.bound, time_s=time.monotonic() - started, gap_frac=0.0, objective=resource)
    return make_solution(problem, indexed.levels(outcome.state), proof)


def cheapest_better(
    problem: Problem, value: float, resource: str, time_limit_s: float = 10.0, gap_frac: float = 1e-4
) -> Solution | None:
    """Return the choice with the smallest cost of one resource among those whose value is greater than a given one.

    With the value of the best choice found, this is the next step up; a bound (`Solution.bound`, here of the cost)
    above the resource's budget proves that nothing better fits it. The other budgets hold.

    Args:
        problem: where to choose.
        value: to be exceeded by at least 1e-9 of it (or of the greatest entry of the value tables).
        resource: whose cost is minimised and whose own budget is ignored.
        time_limit_s: wall-clock seconds.
        gap_frac: relative distance of the bound at which to stop.

    Returns:
        The choice, or None if it is proven that there is none.

    Raises:
        ConfigError: the resource is unknown.
        OutcomeError: neither was found out in time.
    """
    started = time.monotonic()
    _check_resource(problem, resource)
    greatest = max((float(np.abs(table.array).max()) for table in problem.values), default=0.0)
    floor = value + _BETTER_FRAC * max(abs(value), greatest)
    goal = _cost_goal(problem, resource, {key: b for key, b in problem.budgets.items() if key != resource}, floor)
    indexed = Indexed(simplify(problem))
    outcome = proven(indexed, goal, time_limit_s, gap_frac, [indexed.dense_state()])
    if outcome.is_infeasible:
        return None
    if outcome.state is None:
        raise OutcomeError(
            f"whether a choice of value above {value:.6g} exists could not be decided in {time_limit_s:g} s; "
            "raise time_limit_s"
        )
    proof = Proof(
        solver="coupled", bound=outcome.bound, time_s=time.monotonic() - started, gap_frac=gap_frac, objective=resource
    )
    return make_solution(problem, indexed.levels(outcome.state), proof)


def fit_or_explain(problem: Problem, time_limit_s: float) -> dict[str, int]:
    """Return some choice that meets every budget.

    Raises:
        DoesNotFit: there is none, or none was found in time; the message names the smallest reachable cost.
    """
    alone = {key: cheapest(problem, key, time_limit_s) for key in sorted(problem.budgets)}
    dear = [found for key, found in alone.items() if not fits(problem, found.costs, key)]
    if dear:
        raise DoesNotFit("; ".join(_too_dear(problem, found) for found in dear))
    indexed, goal = Indexed(problem), Goal.best_value(problem)
    starts = [indexed.state(found.levels) for found in alone.values()]
    outcome = optimise(indexed, goal, time_limit_s, _ANY_GAP_FRAC, starts)
    if outcome.state is None:
        raise DoesNotFit(_not_together(problem, outcome.is_infeasible, time_limit_s))
    return indexed.levels(outcome.state)


def round_up(number: float, n_digits: int = 6) -> str:
    """Return a number as text with few digits that is never below it, so that it can serve as a budget.

    Example:
        >>> round_up(3.14159265), round_up(12.0)
        ('3.1416', '12')
    """
    text = f"{number:.{n_digits}g}"
    if float(text) < number:
        step = 10.0 ** (math.floor(math.log10(abs(number))) - n_digits + 1)
        text = f"{float(text) + step:.{n_digits}g}"
    return text


def _too_dear(problem: Problem, found: Solution) -> str:
    key, budget = found.objective, problem.budgets[found.objective]
    smallest = round_up(found.costs[key])
    if not fits(problem, {key: found.bound}, key):
        return f"the smallest reachable {key} is {smallest}, above its budget of {budget:.6g}; raise the budget to that"
    return (
        f"the smallest {key} found in {found.time_s:.1f} s is {smallest}, above its budget of {budget:.6g} "
        f"(it cannot be below {found.bound:.6g}); raise the budget to that, or time_limit_s"
    )


def _not_together(problem: Problem, is_proven: bool, time_limit_s: float) -> str:
    """Return why budgets that can each be met alone are not met together."""
    if not is_proven:
        return f"no choice that meets all budgets was found in {time_limit_s:g} s; raise a budget or time_limit_s"
    ways = []
    indexed = Indexed(problem)
    for key in sorted(problem.budgets):
        goal = _cost_goal(problem, key, {other: b for other, b in problem.budgets.items() if other != key})
        state = optimise(indexed, goal, time_limit_s, 0.0).state
        if state is not None:
            smallest = round_up(evaluate(problem, indexed.levels(state))[1][key])
            ways.append(f"{key} to {smallest} (its budget is {problem.budgets[key]:.6g})")
    if not ways:
        return "each budget can be met alone but not all together; raise at least two of them"
    return f"each budget can be met alone but not all together; raise {' or '.join(ways)}, the smallest reachable"


def _check_resource(problem: Problem, resource: str) -> None:
    if resource not in problem.costs:
        raise ConfigError(f"resource must be one of {list(problem.resources)}, not {resource!r}")


def _cost_goal(problem: Problem, resource: str, budgets: dict[str, float], floor: float = -math.inf) -> Goal:
    upper = [-floor, *(budgets.get(key, math.inf) for key in problem.resources)]
    return Goal(1 + problem.resources.index(resource), np.array(upper))
