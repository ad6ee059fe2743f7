"""Values from measured divergences, beside divergences that are known by a formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from silicut.compress import (
    GroupScore,
    learned,
    random_plans,
    rank_correlation,
    sensitivity,
    sensitivity_plans,
    value_of,
)
from silicut.graph import Block
from silicut.search import Variable

SIZES = {"a": 32, "b": 16, "c": 48, "d": 64}
VARIABLES = (
    Variable("a", (4, 8, 16, 24, 32)),
    Variable("b", (0, 4, 8, 12, 16)),
    Variable("c", (0, 16, 32, 48)),
    Variable("d", (64,)),
)
BLOCKS = (
    Block("one", "add1", "x", frozenset({"b"}), ("b",), "b"),
    Block("two", "add2", "y", frozenset({"c"}), ("c",), "c"),
)
WEIGHTS = {"a": 0.5, "b": 4.0, "c": 0.02, "d": 1.0}
REMOVAL = {"b": 9.0, "c": 0.3}


def base_scores() -> dict[str, GroupScore]:
    """Value of k of n channels: minus (1 - k/n)^2, as much for every group; a removed block loses 2."""
    scores = {}
    for name, n in SIZES.items():
        values = -((1 - np.arange(n + 1) / n) ** 2)
        values[0] = -2.0
        scores[name] = GroupScore(np.arange(n)[::-1], values)
    return scores


def divergence(plan: dict[str, int]) -> float:
    """What the network loses in truth: every group by its weight, blocks by theirs."""
    total = 0.0
    for name, width in plan.items():
        total += REMOVAL[name] if width == 0 else WEIGHTS[name] * (1 - width / SIZES[name]) ** 2
    return total


# Sensitivity


def test_plans_prune_one_group_or_block_each() -> None:
    dense = {v.name: v.levels[-1] for v in VARIABLES}
    plans = sensitivity_plans(VARIABLES, BLOCKS)
    changed = [{name: width for name, width in plan.items() if width != dense[name]} for plan in plans]
    assert changed == [
        {"a": 4}, {"a": 8}, {"a": 16}, {"a": 24},
        {"b": 4}, {"b": 8}, {"b": 12},
        {"c": 16}, {"c": 32},
        {"b": 0}, {"c": 0},
    ]  # fmt: skip


def test_values_are_minus_the_divergences_where_measured_and_between_them_elsewhere() -> None:
    plans = sensitivity_plans(VARIABLES, BLOCKS)
    scores = sensitivity(VARIABLES, BLOCKS, base_scores(), [divergence(plan) for plan in plans])
    for plan in plans:
        assert value_of(scores, plan) == pytest.approx(-divergence(plan))
    for name, score in scores.items():
        assert np.all(np.diff(score.values[1:]) >= 0)
        assert score.values[-1] == 0.0
        assert score.order is base_scores()[name].order or list(score.order) == list(base_scores()[name].order)
    assert -scores["a"].values[20] == pytest.approx(0.5 * (1 - 20 / 32) ** 2, rel=0.15)  # interpolated


def test_noise_is_made_monotone_and_infinity_finite() -> None:
    variables = (VARIABLES[0],)
    scores = sensitivity(variables, (), base_scores(), [np.inf, 0.2, 0.3, -0.1])
    lost = -scores["a"].values
    assert lost[[4, 8, 16, 24, 32]] == pytest.approx([0.3, 0.3, 0.3, 0.0, 0.0])


def test_a_removed_block_is_never_worth_more_than_its_smallest_width() -> None:
    plans = sensitivity_plans(VARIABLES, BLOCKS)
    measured = [0.0 if plan["b"] == 0 else divergence(plan) for plan in plans]
    scores = sensitivity(VARIABLES, BLOCKS, base_scores(), measured)
    assert scores["b"].values[0] == scores["b"].values[4]


# Learned scales


def test_scales_are_found_again() -> None:
    """Divergences that are such a sum, of as many plans as can tell the groups apart."""
    plans = random_plans(VARIABLES, BLOCKS, 60, seed=1)
    assert any(plan["b"] == 0 for plan in plans)
    scores = learned(base_scores(), BLOCKS, plans, [divergence(plan) for plan in plans])
    fresh = random_plans(VARIABLES, BLOCKS, 40, seed=2)
    truth = [-divergence(plan) for plan in fresh]
    found = [value_of(scores, plan) for plan in fresh]
    assert rank_correlation(found, [divergence(plan) for plan in fresh]) > 0.95
    assert rank_correlation(found, [divergence(p) for p in fresh]) > rank_correlation(
        [value_of(base_scores(), plan) for plan in fresh], [divergence(p) for p in fresh]
    )
    assert np.corrcoef(found, truth)[0, 1] > 0.95


def test_with_few_plans_scales_stay_near_the_common_one() -> None:
    plans = [{"a": 16, "b": 8, "c": 32, "d": 64}]
    scores = learned(base_scores(), (), plans, [1.0])
    lost = {
        name: float(s.values[-1] - s.values[width]) for (name, s), width in zip(scores.items(), (16, 8, 32, 64), strict=True)
    }
    assert sum(lost.values()) == pytest.approx(1.0, rel=0.1)
    assert min(lost["a"], lost["b"], lost["c"]) > 0.05


def test_scales_are_never_negative_and_order_is_kept() -> None:
    rng = np.random.default_rng(0)
    plans = random_plans(VARIABLES, BLOCKS, 12, seed=3)
    scores = learned(base_scores(), BLOCKS, plans, rng.exponential(1.0, len(plans)).tolist())
    for name, score in scores.items():
        assert np.all(np.diff(score.values[1:]) >= -1e-12)
        assert list(score.order) == list(base_scores()[name].order)


# Random prunings and rank correlation


def test_random_prunings_are_legal_varied_and_repeatable() -> None:
    plans = random_plans(VARIABLES, BLOCKS, 50, seed=4)
    assert plans == random_plans(VARIABLES, BLOCKS, 50, seed=4) != random_plans(VARIABLES, BLOCKS, 50, seed=5)
    for plan in plans:
        assert all(plan[v.name] in v.levels for v in VARIABLES)
    kept = [sum(plan.values()) / sum(SIZES.values()) for plan in plans]
    assert min(kept) < 0.65
    assert max(kept) > 0.9


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    values, divergences = zip(*pairs, strict=True)
    found = rank_correlation(values, divergences)
    if len(set(values)) == 1 or len(set(divergences)) == 1:
        assert found == 0.0
    else:
        assert found == pytest.approx(spearmanr(values, [-d for d in divergences]).statistic)
