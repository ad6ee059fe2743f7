"""The smallest cost, of anything and of anything better, against trying every choice."""

import pytest
from hypothesis import given, settings
from search_cases import best_value, every_choice, meets, random_problem, resnet56_like
from test_problem import FEATURES, SEEDS

from silicut.records import ConfigError
from silicut.search import cheapest, cheapest_better
from silicut.search.cheapest import round_up
from silicut.search.coupled import solve as solve_coupled


@settings(max_examples=25, deadline=None)
@given(SEEDS, FEATURES)
def test_cheapest_is_the_least_cost_of_all(seed: int, features: frozenset[str]) -> None:
    problem = random_problem(seed, features)
    for key in problem.costs:
        found = cheapest(problem, key)
        assert found.costs[key] == pytest.approx(min(costs[key] for _, _, costs in every_choice(problem)), abs=1e-8)
        assert found.objective == key
        assert found.bound <= found.costs[key]
        assert found.is_proven


@settings(max_examples=40, deadline=None)
@given(SEEDS, FEATURES)
def test_cheapest_better_is_the_least_cost_above_the_value(seed: int, features: frozenset[str]) -> None:
    problem = random_problem(seed, features)
    best = best_value(problem)
    for value in () if best is None else (best, best - 1.5):
        better = [
            costs["cost0"]
            for _, other, costs in every_choice(problem)
            if other > value + 1e-6 and meets(problem, costs, besides="cost0")
        ]
        found = cheapest_better(problem, value, "cost0", gap_frac=0.0)
        if not better:
            assert found is None
            continue
        assert found is not None
        assert found.value > value
        assert found.costs["cost0"] == pytest.approx(min(better), abs=1e-7)
        assert meets(problem, found.costs, besides="cost0")


def test_nothing_better_fits_between_the_cost_found_and_the_budget() -> None:
    problem = resnet56_like(0.5)
    budget = problem.budgets["latency_ms"]
    best = solve_coupled(problem, 60.0, gap_frac=0.0)
    assert best.is_proven
    above = cheapest_better(problem, best.value, "latency_ms", 60.0)
    assert above is not None
    assert above.value > best.value
    assert above.is_proven
    assert above.bound > budget >= best.costs["latency_ms"]


def test_the_resource_must_exist() -> None:
    problem = resnet56_like(0.5)
    message = r"^resource must be one of \['latency_ms'\], not 'ms'$"
    with pytest.raises(ConfigError, match=message):
        cheapest(problem, "ms")
    with pytest.raises(ConfigError, match=message):
        cheapest_better(problem, 1.0, "ms")


@pytest.mark.parametrize(
    ("number", "text"), [(1.0000001, "1.00001"), (999999.5, "1e+06"), (-1.23456789, "-1.23456"), (0.0, "0"), (2e-9, "2e-09")]
)
def test_rounding_up_never_gives_less(number: float, text: str) -> None:
    assert round_up(number) == text
    assert float(text) >= number
