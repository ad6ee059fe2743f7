"""Smaller problems have the same best value, and no level goes that some neighbour may need."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_cases import best_value, every_choice, random_problem
from test_problem import FEATURES, SEEDS

from silicut.search import Problem, SumVariable, Table, Variable, drop_dominated, evaluate, merge_tables, simplify


def problem_of(a: list[float], pair: list[list[float]], ties: tuple[tuple[str, ...], ...] = ()) -> Problem:
    """Return a problem of a (levels 0, 1, 2) worth `a`, and b (levels 0, 1), with a pair cost table."""
    return Problem(
        variables=(Variable("a", (0, 1, 2)), Variable("b", (0, 1))),
        ties=ties,
        values=(Table.of(("a",), a), Table.of(("b",), [0.0, 1.0])),
        costs={"ms": (Table.of(("a", "b"), pair), Table.of(("b",), [0.0, 0.5]))},
    )


def levels_of_a(problem: Problem) -> tuple[int, ...]:
    return drop_dominated(problem).variables[0].levels


def test_a_level_that_is_worth_less_and_never_cheaper_goes() -> None:
    assert levels_of_a(problem_of([0.0, 1.0, 2.0], [[0, 0], [5, 6], [5, 6]])) == (0, 2)


def test_a_level_that_is_cheaper_beside_one_neighbour_stays() -> None:
    assert levels_of_a(problem_of([0.0, 1.0, 2.0], [[0, 0], [5, 5], [5, 6]])) == (0, 1, 2)


def test_of_equal_levels_the_greatest_stays() -> None:
    assert levels_of_a(problem_of([1.0, 1.0, 1.0], [[3, 4], [3, 4], [3, 4]])) == (2,)


def test_level_0_of_a_tie_is_neither_dropped_nor_a_replacement() -> None:
    assert levels_of_a(problem_of([2.0, 1.0, 2.0], [[0, 0], [1, 1], [1, 1]], (("a", "b"),))) == (0, 2)
    assert levels_of_a(problem_of([0.0, 1.0, 2.0], [[9, 9], [1, 1], [1, 1]], (("a", "b"),))) == (0, 2)


def test_the_worst_case_is_taken_over_all_tables_together() -> None:
    problem = problem_of([0.0, 1.0, 1.0], [[0, 0], [5, 5], [4, 6]])
    more = Problem(
        variables=problem.variables,
        values=problem.values,
        costs={"ms": (*problem.costs["ms"], Table.of(("a",), [0.0, 1.0, 0.0]))},
    )
    assert levels_of_a(problem) == (0, 1, 2)
    assert levels_of_a(more) == (0, 2)


def test_levels_are_compared_through_sums() -> None:
    problem = Problem(
        variables=(Variable("a", (1, 2)), Variable("b", (4, 8))),
        sums=(SumVariable("s", ("a", "b")),),
        values=(Table.of(("a",), [1.0, 2.0]),),
        costs={"ms": (Table.of(("s",), [5.0, 5.0, 8.0, 7.0]),)},  # sums 5, 6, 9, 10
    )
    assert simplify(problem).variables[0].levels == (2,)
    assert simplify(problem).levels["s"] == (6,)  # beside a = 2, level 8 of b costs more and is worth the same


def test_tables_are_added_in_the_axis_order_of_the_first() -> None:
    merged = merge_tables([Table.of(("a", "b"), [[1, 2], [3, 4]]), Table.of(("b", "a"), [[10, 20], [30, 40]])])
    assert merged == (Table.of(("a", "b"), [[11, 32], [23, 44]]),)


@settings(max_examples=60, deadline=None)
@given(SEEDS, FEATURES)
def test_the_best_value_and_the_least_cost_stay(seed: int, features: frozenset[str]) -> None:
    problem = random_problem(seed, features)
    smaller = simplify(problem)
    best, again = best_value(problem), best_value(smaller)
    assert again == (None if best is None else pytest.approx(best, abs=1e-9))
    for key in problem.costs:
        least = min(costs[key] for _, _, costs in every_choice(problem))
        assert min(costs[key] for _, _, costs in every_choice(smaller)) == pytest.approx(least, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(SEEDS, FEATURES, st.data())
def test_what_is_left_evaluates_as_before(seed: int, features: frozenset[str], data: st.DataObject) -> None:
    problem = random_problem(seed, features)
    smaller = simplify(problem)
    levels, _, _ = data.draw(st.sampled_from(list(every_choice(smaller))))
    value, costs = evaluate(problem, levels)
    assert evaluate(smaller, levels) == (pytest.approx(value, abs=1e-12), pytest.approx(costs, abs=1e-12))
