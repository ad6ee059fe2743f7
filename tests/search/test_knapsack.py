"""The group knapsack is exact where costs are independent, and says what it predicted where they are not."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_cases import best_value, every_choice, meets, random_problem, resnet18_like
from test_pareto import LISTS, as_arrays, sums

from silicut.records import ConfigError, DoesNotFit
from silicut.search import Problem, Table, Variable, evaluate, fits, solve
from silicut.search.knapsack import best_pick


@settings(max_examples=150, deadline=None)
@given(LISTS, st.data(), st.sampled_from([None, 2, 4000]))
def test_best_pick_is_the_best_of_all(
    lists: list[list[tuple[float, float]]], data: st.DataObject, max_points: int | None
) -> None:
    everything = sums(lists)
    budget = data.draw(st.sampled_from(everything))[0] + 1e-9
    best = max(value for cost, value in everything if cost <= budget)
    pick = best_pick(as_arrays(lists), budget, max_points)
    assert pick.cost <= budget + 1e-9
    assert pick.bound >= best - 1e-9
    if max_points != 2:
        assert pick.value >= best - 1e-8


def separable(seed: int, is_tied: bool) -> Problem:
    """Return the one-variable tables of a random problem."""
    full = random_problem(seed, frozenset({"tie"}))

    def single(tables: tuple[Table, ...]) -> tuple[Table, ...]:
        return tuple(table for table in tables if len(table.variables) == 1)

    problem = Problem(
        variables=full.variables,
        ties=full.ties if is_tied else (),
        values=single(full.values),
        costs={"ms": single(full.costs["cost0"])},
        fixed={"ms": 3.0},
    )
    costs = sorted(choice[2]["ms"] for choice in every_choice(problem))
    return replace(problem, budgets={"ms": costs[seed % len(costs)]})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_knapsack_is_exact_on_separable_problems(seed: int, is_tied: bool) -> None:
    problem = separable(seed, is_tied)
    solution = solve(problem, "knapsack")
    assert solution.value == pytest.approx(best_value(problem), abs=1e-8)
    assert fits(problem, solution.costs)
    assert solution.is_proven
    assert solution.note == ""


def test_fifty_groups_of_64_levels_are_exact_at_once() -> None:
    rng = np.random.default_rng(0)
    lists = []
    for _ in range(50):
        costs = np.cumsum(rng.uniform(0, 1, 64) * (rng.random(64) < 0.3))  # a staircase
        lists.append((costs, np.cumsum(np.sort(rng.uniform(0, 1, 64))[::-1]) + rng.normal(0, 0.5, 64)))
    budget = 0.4 * sum(float(costs.max()) for costs, _ in lists)
    pick = best_pick(lists, budget)
    assert pick.bound == pytest.approx(pick.value, rel=1e-12)
    assert pick.cost <= budget


def test_the_note_tells_the_predicted_and_the_true_cost() -> None:
    problem = resnet18_like(0.5)
    solution = solve(problem, "knapsack")
    found = re.match(
        r"the separated costs predict latency_ms ([\d.]+) \(budget ([\d.]+)\); the true cost is ([\d.]+); "
        r"the bound holds for the separated costs only$",
        solution.note,
    )
    assert found is not None
    predicted, budget, true = map(float, found.groups())
    assert predicted <= budget
    assert true == pytest.approx(solution.costs["latency_ms"], rel=1e-5)
    assert solution.costs == evaluate(problem, solution.levels)[1]
    assert not solution.is_proven


def test_a_tie_is_removed_as_a_whole() -> None:
    tables = (Table.of(("a",), [0.0, 5.0]), Table.of(("b",), [0.0, 5.0]), Table.of(("c",), [1.0, 2.0]))
    problem = Problem(
        variables=(Variable("a", (0, 8)), Variable("b", (0, 8)), Variable("c", (8, 16))),
        ties=(("a", "b"),),
        values=(Table.of(("a",), [0.0, 3.0]), Table.of(("b",), [0.0, 1.0]), Table.of(("c",), [0.0, 2.0])),
        costs={"ms": tables},
        budgets={"ms": 7.0},
    )
    assert solve(problem, "knapsack").levels == {"a": 0, "b": 0, "c": 16}
    assert meets(problem, solve(problem, "knapsack").costs)


def test_messages() -> None:
    problem = separable(0, False)
    with pytest.raises(ConfigError, match=r"^budgets must be exactly one for the knapsack, not 0; use 'coupled'$"):
        solve(replace(problem, budgets={}), "knapsack")
    least = min(costs["ms"] for _, _, costs in every_choice(problem))
    below = replace(problem, budgets={"ms": least - 1.0})
    with pytest.raises(
        DoesNotFit, match=r"^the smallest reachable ms is [-\d.]+ by the separated costs .* or use 'coupled'$"
    ):
        solve(below, "knapsack")
