"""Descent keeps every budget, never beats the best, and rarely misses it."""

import numpy as np
import pytest
from hypothesis import given, settings
from search_cases import best_value, random_problem
from test_problem import FEATURES, SEEDS

from silicut.records import DoesNotFit
from silicut.search import evaluate, fits, solve
from silicut.search.indexed import Goal, Indexed
from silicut.search.local_moves import Walk


@settings(max_examples=50, deadline=None)
@given(SEEDS, FEATURES)
def test_descent_fits_and_is_never_better_than_the_best(seed: int, features: frozenset[str]) -> None:
    problem = random_problem(seed, features)
    best = best_value(problem)
    if best is None:
        with pytest.raises(DoesNotFit):
            solve(problem, "descent")
        return
    solution = solve(problem, "descent")
    assert fits(problem, solution.costs)
    assert solution.value <= best + 1e-9
    assert solution.bound >= best - 1e-9
    assert (solution.value, solution.costs) == evaluate(problem, solution.levels)


def test_descent_is_mostly_optimal_on_small_problems() -> None:
    missed, n = 0, 0
    for seed in range(60):
        problem = random_problem(seed, frozenset({"tie"}))
        best = best_value(problem)
        if best is not None:
            n += 1
            missed += solve(problem, "descent").value < best - 1e-9
    assert missed <= 0.2 * n


@settings(max_examples=25, deadline=None)
@given(SEEDS, FEATURES)
def test_changes_kept_up_to_date_are_those_computed_anew(seed: int, features: frozenset[str]) -> None:
    problem = random_problem(seed, features)
    indexed, goal = Indexed(problem), Goal.best_value(problem)
    walk = Walk(indexed, goal, indexed.dense_state())
    rng = np.random.default_rng(seed)
    for _ in range(5):
        legal = np.flatnonzero(walk.is_legal)
        if not len(legal):
            return
        walk.take(int(rng.choice(legal)))
        fresh = Walk(indexed, goal, walk.state)
        assert np.allclose(walk.changes, fresh.changes, atol=1e-9)
        assert np.array_equal(walk.is_legal, fresh.is_legal)
        value, costs = evaluate(problem, indexed.levels(walk.state))
        assert np.allclose(walk.losses, [-value, *(costs[key] for key in problem.resources)], atol=1e-9)
