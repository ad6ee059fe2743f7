"""The rules by which annealing and tabu search move."""

import math

import numpy as np
import pytest

from silicut.search import Annealing, Outcome, Tabu
from silicut.search.annealing import _starting_temperature, _Walk
from silicut.search.tabu import _Candidate, _Memory

BROKEN = Outcome(5.0, 0.5, ("too large",))


def test_the_starting_temperature_accepts_the_median_rise_as_often_as_asked():
    rises = [0.1, 0.4, 0.2, 0.0, math.inf]
    assert math.exp(-0.2 / _starting_temperature(rises, 0.8)) == pytest.approx(0.8)
    assert _starting_temperature([0.0, math.inf], 0.8) == 1.0


@pytest.mark.parametrize(
    ("outcome", "rise"), [(Outcome(12.0), 0.2), (Outcome(10.0, 0.1, ("a",)), 0.3), (Outcome(11.0, 0.2, ("a",)), 0.7)]
)
def test_what_is_worse_is_accepted_by_its_rise_in_energy(outcome, rise):
    n_accepted, temperature = 0, 0.5
    for seed in range(1000):
        walk = _Walk(Annealing(penalty=3.0), np.random.default_rng(seed), "here", Outcome(10.0))
        walk.scale = 10.0
        walk.consider("there", outcome, temperature)
        n_accepted += walk.state == "there"
        assert walk.best == "here"
    assert n_accepted / 1000 == pytest.approx(math.exp(-rise / temperature), abs=0.05)


def test_what_is_no_worse_is_always_accepted_and_what_is_infinite_never():
    walk = _Walk(Annealing(), np.random.default_rng(0), "here", Outcome(10.0))
    walk.consider("nowhere", Outcome(math.inf, 0.1, ("no room",)), 1e9)
    assert walk.state == "here"
    walk.consider("there", Outcome(10.0), 1e-9)
    assert walk.state == "there"
    walk.consider("better", Outcome(9.0), 1e-9)
    assert (walk.state, walk.best) == ("better", "better")


def candidate(attribute, cost):
    return _Candidate(attribute, f"{attribute} at {cost}", Outcome(cost))


def test_what_was_moved_is_tabu_for_the_tenure_unless_it_leads_to_the_best():
    memory = _Memory(Tabu(tenure=3), "start", Outcome(10.0))
    memory.step(candidate("a", 9.0))
    for other in ("b", "c", "d"):
        assert not memory.allows(candidate("a", 9.5))
        assert memory.allows(candidate("a", 8.0))
        assert memory.allows(candidate(other, 20.0))
        memory.step(candidate(other, 9.5))
    assert memory.allows(candidate("a", 9.5))


def test_of_moves_that_lose_those_made_often_are_put_back():
    memory = _Memory(Tabu(), "start", Outcome(10.0))
    for _ in range(5):
        memory.step(candidate("often", 10.5))
    here = Outcome(10.5)
    assert memory.rank(candidate("often", 11.0), here) > memory.rank(candidate("rare", 11.2), here)
    assert memory.rank(candidate("often", 10.1), here) < memory.rank(candidate("rare", 10.2), here)  # gains are not


def test_a_walk_that_finds_nothing_returns_to_the_best_and_then_begins_anew():
    memory = _Memory(Tabu(patience=2), "start", Outcome(10.0))
    memory.step(candidate("a", 8.0))
    turns = []
    for _ in range(8):
        memory.step(None)
        if memory.is_stuck:
            turns.append(memory.begins_anew())
    assert turns == [False, True, False, True]
    assert memory.best == "a at 8.0"


def test_what_breaks_limits_is_compared_by_how_much():
    memory = _Memory(Tabu(), "start", BROKEN)
    assert memory.rank(_Candidate("a", "x", BROKEN), BROKEN) == (0.5, 5.0)
    assert memory.allows(candidate("a", 99.0))
