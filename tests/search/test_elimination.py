"""Elimination finds the least priced loss of all choices, and of all choices with one level; split tables bound it."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_cases import densenet_like, every_choice, random_problem, resnet50_like, resnet56_like
from test_problem import FEATURES, SEEDS

from silicut.search import Problem, SumVariable, Table, Variable
from silicut.search.elimination import Elimination
from silicut.search.indexed import Indexed

PRICES = st.tuples(*[st.sampled_from([0.0, 1e-6, 0.3, 1.0, 7.0])] * 2)


def priced_choices(problem: Problem, prices: np.ndarray) -> list[tuple[dict[str, int], float]]:
    """Return every choice with its priced loss, by plain loops."""
    return [
        (levels, -prices[0] * value + sum(p * costs[key] for p, key in zip(prices[1:], problem.resources, strict=True)))
        for levels, value, costs in every_choice(problem)
    ]


def full_prices(problem: Problem, prices: tuple[float, ...]) -> np.ndarray:
    return np.array([1.0, *prices[: len(problem.resources)]])


@settings(max_examples=60, deadline=None)
@given(SEEDS, FEATURES, PRICES)
def test_the_least_of_all_choices_is_found(seed: int, features: frozenset[str], prices: tuple[float, ...]) -> None:
    problem = random_problem(seed, features)
    weights = full_prices(problem, prices)
    choices = priced_choices(problem, weights)
    indexed = Indexed(problem)
    elimination = Elimination(indexed)
    found = elimination.minimise(weights)
    least = min(loss for _, loss in choices)
    assert elimination.n_split == 0
    assert found.bound == pytest.approx(least, abs=1e-9)
    assert dict(indexed.levels(found.state)) in [levels for levels, loss in choices if loss <= least + 1e-9]


@settings(max_examples=40, deadline=None)
@given(SEEDS, FEATURES, PRICES)
def test_the_least_of_all_choices_with_each_level(seed: int, features: frozenset[str], prices: tuple[float, ...]) -> None:
    problem = random_problem(seed, features)
    weights = full_prices(problem, prices)
    choices = priced_choices(problem, weights)
    for variable, least in zip(problem.variables, Elimination(Indexed(problem)).least_with(weights), strict=True):
        for level, found in zip(variable.levels, least, strict=True):
            expected = min((loss for levels, loss in choices if levels[variable.name] == level), default=np.inf)
            assert found == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(SEEDS, FEATURES, PRICES, st.integers(1, 20))
def test_split_tables_bound_the_least(seed: int, features: frozenset[str], prices: tuple[float, ...], size: int) -> None:
    problem = random_problem(seed, features)
    weights = full_prices(problem, prices)
    choices = priced_choices(problem, weights)
    indexed = Indexed(problem)
    found = Elimination(indexed, max_entries=size).minimise(weights)
    assert found.bound <= min(loss for _, loss in choices) + 1e-9
    levels = indexed.levels(found.state)
    assert any(levels == other for other, _ in choices)  # every tie is kept


def test_split_tables_without_a_limit_are_not_split() -> None:
    indexed = Indexed(resnet50_like(0.5))
    weights = np.array([1.0, 10.0])
    whole, split = Elimination(indexed), Elimination(indexed, max_entries=2000)
    assert whole.n_split == 0 < split.n_split
    assert split.minimise(weights).bound <= whole.minimise(weights).bound


@pytest.mark.parametrize(
    ("problem", "most"),
    [(resnet50_like(0.5), 10**6), (resnet56_like(0.5), 10**5), (densenet_like(0.5, 24, 32), 10**6)],
    ids=["bottlenecks", "padded shortcuts", "dense block"],
)
def test_networks_need_small_tables(problem: Problem, most: int) -> None:
    """Streams, inner groups and sums that grow by one variable: the order keeps them apart."""
    elimination = Elimination(Indexed(problem))
    assert elimination.n_split == 0
    assert elimination.n_entries < most


def test_a_sum_of_one_variable_beside_that_variable() -> None:
    """Both axes are one node; only the diagonal counts."""
    problem = Problem(
        variables=(Variable("a", (1, 2)),),
        sums=(SumVariable("s", ("a",)),),
        values=(Table.of(("a", "s"), [[1.0, 50.0], [60.0, 3.0]]),),
        costs={"ms": (Table.of(("s",), [1.0, 1.5]),)},
    )
    assert Elimination(Indexed(problem)).minimise(np.array([1.0, 2.0])).bound == pytest.approx(0.0)
    assert Elimination(Indexed(problem)).minimise(np.array([1.0, 10.0])).bound == pytest.approx(9.0)


def test_a_variable_that_no_table_knows() -> None:
    problem = Problem(variables=(Variable("a", (1, 2)), Variable("b", (3,))), values=(), costs={"ms": ()}, fixed={"ms": 4.0})
    found = Elimination(Indexed(problem)).minimise(np.array([1.0, 2.0]))
    assert found.bound == 8.0
    assert found.state.shape == (2,)


def test_ties_of_three() -> None:
    names = ("a", "b", "c")
    problem = Problem(
        variables=tuple(Variable(name, (0, 1, 2)) for name in names),
        ties=(names,),
        values=tuple(
            Table.of((name,), gains) for name, gains in zip(names, itertools.permutations([5, 1, 0]), strict=False)
        ),
        costs={"ms": ()},
    )
    indexed = Indexed(problem)
    best = max(value for _, value, _ in every_choice(problem))
    found = Elimination(indexed).minimise(np.array([1.0, 0.0]))
    assert found.bound == -best
