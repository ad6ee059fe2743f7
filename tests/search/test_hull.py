"""The front holds exactly the choices that are best at some price, and its bound holds for every budget."""

import numpy as np
import pytest
from hypothesis import given, settings
from search_cases import every_choice, random_problem, resnet50_like
from test_problem import FEATURES, SEEDS

from silicut.records import ConfigError
from silicut.search import Hull, evaluate, hull, solve


def corners(choices: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of the upper concave front of (cost, value) points, from the cheapest to the most valuable."""
    least = min(cost for cost, _ in choices)
    points = [max((c, v) for c, v in choices if c == least)]
    while True:
        cost, value = points[-1]
        better = [(c, v) for c, v in choices if v > value + 1e-12]
        if not better:
            return points
        steepest = max((v - value) / (c - cost) for c, v in better)
        points.append(max((c, v) for c, v in better if (v - value) / (c - cost) > steepest * (1 - 1e-12)))


@settings(max_examples=60, deadline=None)
@given(SEEDS, FEATURES.filter(lambda f: "two budgets" not in f and "whole" not in f))
def test_it_has_the_corners_of_all_choices(seed: int, features: frozenset[str]) -> None:
    problem = random_problem(seed, features)
    expected = corners([(costs["cost0"], value) for _, value, costs in every_choice(problem)])
    front = hull(problem, "cost0")
    assert front.is_complete
    assert [(p.cost, p.value) for p in front.points] == [pytest.approx(corner, abs=1e-8) for corner in expected]
    for point in front.points:
        value, costs = evaluate(problem, point.levels)
        assert (point.cost, point.value) == (pytest.approx(costs["cost0"]), pytest.approx(value))


@settings(max_examples=40, deadline=None)
@given(SEEDS, FEATURES.filter(lambda f: "two budgets" not in f))
def test_the_bound_holds_for_every_budget(seed: int, features: frozenset[str]) -> None:
    problem = random_problem(seed, features)
    choices = [(costs["cost0"], value) for _, value, costs in every_choice(problem)]
    whole, cut = hull(problem, "cost0"), hull(problem, "cost0", max_points=3)
    for budget in np.linspace(min(c for c, _ in choices), max(c for c, _ in choices), 7):
        best = max(value for cost, value in choices if cost <= budget)
        assert whole.bound(budget) >= best - 1e-8
        assert cut.bound(budget) >= whole.bound(budget) - 1e-8
        point = whole.best(float(budget))
        assert point is not None
        assert point.value <= best + 1e-8


def test_its_bound_is_that_of_the_solver_by_prices() -> None:
    problem = resnet50_like(0.5)
    front = hull(problem, "latency_ms")
    for frac in (0.6, 1.0, 1.3):
        budget = frac * problem.budgets["latency_ms"]
        alone = solve(resnet50_like(0.5 * frac), "lagrangian", 60.0)
        assert front.bound(budget) == pytest.approx(alone.bound, rel=1e-8)
        point = front.best(budget)
        assert point is not None
        assert point.value <= alone.value


def test_between_two_points_lies_little() -> None:
    front = hull(resnet50_like(0.5), "latency_ms")
    gains = [b.value - a.value for a, b in zip(front.points, front.points[1:], strict=False)]
    slopes = [(b.value - a.value) / (b.cost - a.cost) for a, b in zip(front.points, front.points[1:], strict=False)]
    assert min(gains) > 0
    assert slopes == sorted(slopes, reverse=True)
    assert len(front.points) > 50


def test_below_the_cheapest_point_there_is_none(tmp_path: object) -> None:
    front = hull(random_problem(2), "cost0")
    assert front.best(front.points[0].cost - 1e-3) is None
    assert Hull.load(front.save(f"{tmp_path}/hull.json")) == front


def test_messages() -> None:
    problem = random_problem(1, frozenset({"two budgets"}))
    with pytest.raises(ConfigError, match=r"^resource must be one of \['cost0', 'cost1'\], not 'ms'$"):
        hull(problem, "ms")
    with pytest.raises(ConfigError, match=r"^budgets must be of cost0 alone for a front, not of cost1 too; use a solver$"):
        hull(problem, "cost0")
