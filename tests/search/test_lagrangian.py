"""The solver by prices keeps every budget, never claims more than is true, and comes close to the best."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from search_cases import best_value, every_choice, random_problem, resnet18_like, resnet50_like, vit_like
from test_problem import FEATURES, SEEDS

from silicut.records import DoesNotFit
from silicut.search import Problem, Table, Variable, elimination, evaluate, fits, solve
from silicut.search.indexed import Indexed
from silicut.search.lagrangian import solve as solve_lagrangian
from silicut.search.simplify import simplify

PATIENCE_S = 120.0


@settings(max_examples=60, deadline=None)
@given(SEEDS, FEATURES)
def test_what_it_returns_fits_and_its_bound_holds(seed: int, features: frozenset[str]) -> None:
    problem = random_problem(seed, features)
    best = best_value(problem)
    if best is None:
        with pytest.raises(DoesNotFit, match=r"smallest reachable|not all together"):
            solve_lagrangian(problem, PATIENCE_S)
        return
    solution = solve_lagrangian(problem, PATIENCE_S)
    assert fits(problem, solution.costs)
    assert (solution.value, solution.costs) == evaluate(problem, solution.levels)
    assert solution.value <= best + 1e-9
    assert solution.bound >= best - 1e-9
    assert solution.note == ""


@settings(max_examples=30, deadline=None)
@given(SEEDS, FEATURES)
def test_the_bound_is_the_least_that_prices_give(seed: int, features: frozenset[str]) -> None:
    """Beside the best bound over many prices, by plain loops."""
    problem = random_problem(seed, features)
    if best_value(problem) is None:
        return
    choices = [(value, costs) for _, value, costs in every_choice(problem)]
    rng = np.random.default_rng(seed)
    bounds = []
    for _ in range(200):
        prices = {key: float(rng.choice([0.0, rng.exponential(1.0)])) for key in problem.budgets}
        worth = [
            value - sum(p * (costs[key] - problem.budgets[key]) for key, p in prices.items()) for value, costs in choices
        ]
        bounds.append(max(worth))
    assert solve_lagrangian(problem, PATIENCE_S).bound <= min(bounds) + 1e-6 * max(1.0, abs(min(bounds)))


@pytest.mark.parametrize("seed", range(12))
def test_split_tables_weaken_the_bound_and_say_so(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elimination, "MAX_ENTRIES", 3)
    problem = random_problem(seed, frozenset({"sum", "tie"} if seed % 2 else {"triple"}))
    best = best_value(problem)
    if best is None:
        return
    solution = solve_lagrangian(problem, PATIENCE_S)
    assert fits(problem, solution.costs)
    assert solution.bound >= best - 1e-9
    n_split = elimination.Elimination(Indexed(simplify(problem))).n_split
    expected = "tables of {} variables would have been too large and were split, so the bound is weaker than prices can give"
    assert solution.note == (expected.format(n_split) if n_split else "")


@pytest.mark.parametrize(
    "problem", [resnet18_like(0.4), resnet50_like(0.5), vit_like(0.5, n_blocks=4)], ids=["ResNet-18", "ResNet-50", "ViT"]
)
def test_on_networks_the_gap_is_small(problem: Problem) -> None:
    solution = solve(problem, "lagrangian", PATIENCE_S)
    assert fits(problem, solution.costs)
    assert solution.gap_frac < 1e-3
    assert solution.bound >= solve(problem, "descent", PATIENCE_S).value


def test_several_budgets_have_a_price_each() -> None:
    """Two resources that want different widths: with a price on one alone the bound would be that of one budget."""
    rng = np.random.default_rng(0)
    names = [f"v{i}" for i in range(6)]
    variables = tuple(Variable(name, tuple(range(1, 9))) for name in names)
    costs = {
        key: tuple(Table.of((name,), np.cumsum(rng.exponential(1.0, 8))) for name in names) for key in ("ms", "kB", "macs")
    }
    values = tuple(Table.of((name,), np.log(np.arange(1, 9))) for name in names)
    dense = {key: sum(float(table.array[-1]) for table in tables) for key, tables in costs.items()}
    problem = Problem(variables=variables, values=values, costs=costs, budgets={key: 0.5 * d for key, d in dense.items()})
    together = solve_lagrangian(problem)
    assert fits(problem, together.costs)
    alone = [solve_lagrangian(replace(problem, budgets={key: b})).bound for key, b in problem.budgets.items()]
    assert together.bound < min(alone)
    exact = solve(problem, "coupled", PATIENCE_S)
    assert together.bound >= exact.value >= together.value
    assert together.gap_frac < 0.05


def test_without_a_budget_the_best_value_is_proven() -> None:
    problem = replace(resnet18_like(0.5), budgets={})
    solution = solve_lagrangian(problem)
    assert solution.levels == {variable.name: variable.levels[-1] for variable in problem.variables}
    assert solution.is_proven


def test_a_budget_below_everything_names_the_least() -> None:
    problem = random_problem(5, frozenset({"sum"}))
    least = min(costs["cost0"] for _, _, costs in every_choice(problem))
    with pytest.raises(DoesNotFit, match="smallest reachable cost0 is") as caught:
        solve_lagrangian(replace(problem, budgets={"cost0": least - 0.5}))
    assert float(str(caught.value).split(" is ")[1].split(",")[0]) == pytest.approx(least, rel=1e-4)
