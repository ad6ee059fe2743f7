"""The problem record: what it accepts, refuses, stores and evaluates."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_cases import every_choice, random_problem

from silicut.records import BadFile, ConfigError
from silicut.search import Problem, SumVariable, Table, Variable, dense_levels, evaluate, fits

FEATURES = st.frozensets(st.sampled_from(["sum", "tie", "triple", "two budgets", "whole"]))
SEEDS = st.integers(0, 2**32 - 1)


def small() -> Problem:
    return Problem(
        variables=(Variable("a", (0, 8, 16)), Variable("b", (0, 8))),
        sums=(SumVariable("both", ("a", "b")),),
        ties=(("a", "b"),),
        values=(Table.of(("a",), [0.0, 2.0, 3.0]), Table.of(("b",), [0, 1])),
        costs={"latency_ms": (Table.of(("both", "b"), np.arange(8.0).reshape(4, 2)),), "bytes": ()},
        fixed={"bytes": 7.0},
        budgets={"latency_ms": 6.0},
    )


@settings(max_examples=40, deadline=None)
@given(SEEDS, FEATURES)
def test_evaluate_adds_up_the_same_entries_as_plain_loops(seed: int, features: frozenset[str]) -> None:
    problem = random_problem(seed, features)
    for levels, value, costs in list(every_choice(problem))[:20]:
        got_value, got_costs = evaluate(problem, levels)
        assert got_value == pytest.approx(value, abs=1e-12)
        assert got_costs == pytest.approx(costs, abs=1e-12)


def test_sums_have_every_reachable_level_and_parts_may_count_twice() -> None:
    variables = [Variable("a", (0, 8, 16)), Variable("b", (4, 8))]
    assert SumVariable("s", ("a", "b")).levels(variables) == (4, 8, 12, 16, 20, 24)
    assert SumVariable("s", ("a", "b", "a")).levels(variables) == (4, 8, 20, 24, 36, 40)


def test_dense_is_every_variable_at_its_greatest_level() -> None:
    problem = small()
    assert dense_levels(problem) == {"a": 16, "b": 8}
    assert evaluate(problem, dense_levels(problem)) == (4.0, {"latency_ms": 7.0, "bytes": 7.0})


def test_a_cost_at_its_budget_fits_and_one_just_above_does_not() -> None:
    assert fits(small(), {"latency_ms": 6.0 * (1 + 0.9e-9), "bytes": 99.0})
    assert not fits(small(), {"latency_ms": 6.0 * (1 + 1.1e-9), "bytes": 0.0})


@settings(max_examples=15, deadline=None)
@given(SEEDS, FEATURES)
def test_round_trip_by_file(tmp_path_factory: pytest.TempPathFactory, seed: int, features: frozenset[str]) -> None:
    problem = random_problem(seed, features)
    path = problem.save(tmp_path_factory.mktemp("problem") / "problem.json")
    loaded = Problem.load(path)
    assert loaded == problem
    assert loaded.hash == problem.hash
    assert np.array_equal(loaded.values[0].array, problem.values[0].array)


def test_the_hash_depends_on_content_only() -> None:
    # Golden value: made by this code when the schema was fixed; a change of it needs a new schema version.
    assert small().hash == replace(small(), budgets={"latency_ms": 6.0}).hash == "bcf104dddf151336"
    assert small().hash != replace(small(), budgets={"latency_ms": 6.5}).hash


def test_table_arrays_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        small().values[0].array[0] = 1.0


def test_a_file_with_an_unknown_field_in_a_variable_is_refused() -> None:
    data = small().to_json()
    data["variables"][0]["step"] = 8
    with pytest.raises(BadFile, match=r"variables\.0\.step is unknown"):
        Problem.from_json(data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Variable("", (1,)), "variable.name must be a non-empty text, not ''"),
        (lambda: Variable("a", (8, 8)), "variable 'a': levels must be strictly increasing integers 0..10000000, not (8, 8)"),
        (lambda: Variable("a", ()), "variable 'a': levels must be strictly increasing integers 0..10000000, not ()"),
        (lambda: SumVariable("s", ()), "sum 's': parts must name at least one variable, not none"),
        (lambda: Table.of((), 1.0), "table (): variables must be one to three distinct names, not ()"),
        (
            lambda: Table.of(("a", "a"), [[1.0]]),
            "table (a, a): variables must be one to three distinct names, not ('a', 'a')",
        ),
        (
            lambda: Table(("a",), (2,), (1.0,)),
            "table (a): shape must have one axis for each variable and hold all entries, not (2,) for 1 entries",
        ),
        (lambda: Table.of(("a",), [np.nan]), "table (a): entries must be finite, not nan or infinite"),
    ],
)
def test_parts_refuse_what_makes_no_sense(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        make()  # type: ignore[operator]


def test_a_file_whose_parts_do_not_agree_is_refused() -> None:
    data = small().to_json()
    data["variables"][0]["levels"] = [0, 8]
    with pytest.raises(ConfigError, match=r"^values: table \(a\) must have shape \(2,\) \(its levels\), not \(3,\)"):
        Problem.from_json(data)


def test_all_mistakes_of_a_problem_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Problem(
            variables=(Variable("a", (0, 1)), Variable("b", (1, 2)), Variable("a", (1,))),
            sums=(SumVariable("s", ("a", "z")),),
            ties=(("a", "b"), ("a",)),
            values=(),
            costs={"latency_ms": ()},
            fixed={"bytes": 1.0},
            budgets={"latency_ms": float("inf")},
        )
    assert caught.value.problems == (
        "variables and sums must have distinct names, not ['a'] twice",
        "sum 's': parts must be variables of the problem, not ['z']",
        "tie ('a', 'b'): members must be variables that have level 0, not ['b']",
        "tie ('a',): members must be at least two distinct variables, not ['a']",
        "ties must not share variables, not ['a'] in two of them; join those ties into one",
        "fixed must be of resources in costs ['latency_ms'], not ['bytes']",
        "budgets must be finite, not [inf] for ['latency_ms']",
    )


def test_tables_must_match_their_variables() -> None:
    with pytest.raises(ConfigError) as caught:
        replace(small(), values=(Table.of(("a",), [1.0]),), costs={"latency_ms": (Table.of(("x",), [1.0]),), "bytes": ()})
    assert caught.value.problems == (
        "values: table (a) must have shape (3,) (its levels), not (1,)",
        "costs 'latency_ms': table (x) must be over variables or sums of the problem, not ['x']",
    )


def test_evaluate_names_every_wrong_level() -> None:
    with pytest.raises(ConfigError) as caught:
        evaluate(small(), {"a": 9, "c": 1})
    assert caught.value.problems == (
        "levels must name every variable, not leave out ['b']",
        "levels must name variables of the problem, not ['c']",
        "level of 'a' must be one of (0, 8, 16), not 9",
    )
    with pytest.raises(ConfigError, match=re.escape("levels of tie ('a', 'b') must be all 0 or all above 0, not [0, 8]")):
        evaluate(small(), {"a": 0, "b": 8})
