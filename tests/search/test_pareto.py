"""Fronts of summed lists against trying every choice."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silicut.search import Pruning, pareto_front

NUMBERS = st.one_of(st.integers(-3, 6).map(float), st.floats(-5.0, 5.0, allow_subnormal=False))
ITEMS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5)
LISTS = st.lists(ITEMS, min_size=1, max_size=5)


def as_arrays(lists: list[list[tuple[float, float]]]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.array([c for c, _ in items]), np.array([v for _, v in items])) for items in lists]


def sums(lists: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    return [(sum(c for c, _ in choice), sum(v for _, v in choice)) for choice in itertools.product(*lists)]


@settings(max_examples=150, deadline=None)
@given(LISTS, st.data())
def test_no_choice_within_the_budget_beats_the_front_and_all_of_it_can_be_had(
    lists: list[list[tuple[float, float]]], data: st.DataObject
) -> None:
    everything = sums(lists)
    budget = data.draw(st.sampled_from(everything))[0] + 1e-9
    front = pareto_front(as_arrays(lists), Pruning(budget=budget))
    assert (np.diff(front.costs) >= 0).all()
    assert (np.diff(front.values) > 0).all()
    for cost, value in everything:
        if cost <= budget - 2e-9:
            assert ((front.costs <= cost + 1e-9) & (front.values >= value - 1e-9)).any()
    for picks, cost, value in zip(front.picks, front.costs, front.values, strict=True):
        items = [items[pick] for items, pick in zip(lists, picks, strict=True)]
        assert cost == pytest.approx(sum(c for c, _ in items), abs=1e-9)
        assert value == pytest.approx(sum(v for _, v in items), abs=1e-9)
        assert cost <= budget + 1e-9


@settings(max_examples=100, deadline=None)
@given(LISTS, st.integers(1, 6))
def test_a_thinned_front_is_off_by_no_more_than_it_says(lists: list[list[tuple[float, float]]], max_points: int) -> None:
    front = pareto_front(as_arrays(lists), Pruning(max_points=max_points))
    assert len(front.costs) <= max_points + 1 or len(lists) == 1
    for cost, value in sums(lists):
        assert ((front.costs <= cost + 1e-9) & (front.values >= value - front.error - 1e-9)).any()


def test_nothing_fits_gives_an_empty_front() -> None:
    front = pareto_front([(np.array([2.0]), np.array([1.0]))] * 2, Pruning(budget=3.0))
    assert front.picks.shape == (0, 2)
