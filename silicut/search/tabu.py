"""Tabu search: always move on, to the best state near, but do not undo what was just done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, fields
from typing import Generic

import numpy as np

from silicut.records import ConfigError
from silicut.search.neighbourhood import Neighbourhood, State
from silicut.search.outcome import Objective, Outcome, Search
from silicut.search.space import Point


@dataclass(frozen=True)
class Tabu:
    """Tabu search with aspiration and diversification by frequency (Glover 1989, 1990).

    A step looks at neighbours one by one and takes the first that is better than the state where it stands; where none is,
    the best of them. What a move changed is tabu for some steps, except where that leads to the best state so far.

    Attributes:
        n_candidates: how many neighbours a step looks at before it takes the best of them.
        tenure: for how many steps what was moved stays tabu.
        patience: after this many steps without a new best state the walk goes back to the best; the second time in a row it
            begins anew.

    Raises:
        ConfigError: one of them is below 1.
    """

    n_candidates: int = 40
    tenure: int = 5
    patience: int = 12
    name = "tabu"

    def __post_init__(self) -> None:
        values = [(f.name, getattr(self, f.name)) for f in fields(self)]
        if problems := [f"{name} must be at least 1, not {value}" for name, value in values if value < 1]:
            raise ConfigError(*problems)

    def search(self, objective: Objective, _n_evaluations: int, rng: np.random.Generator) -> Search[Point]:
        """Return the search over the points of an objective, which never ends."""
        return tabu(objective.space, self, rng)


def tabu(neighbourhood: Neighbourhood[State], options: Tabu, rng: np.random.Generator) -> Search[State]:
    """Return tabu search over any states, which ends only where a state has no neighbour."""
    state = neighbourhood.start(rng)
    outcome = yield state
    memory: _Memory[State] = _Memory(options, state, outcome)
    while True:
        chosen: _Candidate[State] | None = None
        n_near = 0
        for attribute, near in neighbourhood.neighbours(state, rng, options.n_candidates):
            n_near += 1
            candidate = _Candidate(attribute, near, (yield near))
            if not memory.allows(candidate):
                continue
            if chosen is None or memory.rank(candidate, outcome) < memory.rank(chosen, outcome):
                chosen = candidate
            if candidate.outcome.is_better_than(outcome):
                break
        if not n_near:
            return
        if chosen is not None:
            state, outcome = chosen.state, chosen.outcome
        memory.step(chosen)
        if memory.is_stuck:
            state, outcome = memory.best, memory.best_outcome
            if memory.begins_anew():
                state = neighbourhood.start(rng)
                outcome = yield state


@dataclass(frozen=True)
class _Candidate(Generic[State]):
    attribute: Hashable
    state: State
    outcome: Outcome


class _Memory(Generic[State]):
    """What is tabu until when, how often each attribute was moved, and the best state so far."""

    def __init__(self, options: Tabu, state: State, outcome: Outcome) -> None:
        self._options, self._n_steps, self._n_idle, self._n_returns = options, 0, 0, 0
        self._until: dict[Hashable, int] = {}
        self._n_moves: Counter[Hashable] = Counter()
        self.best, self.best_outcome = state, outcome

    def allows(self, candidate: _Candidate[State]) -> bool:
        """Tell whether a move is not tabu, or leads to the best state so far."""
        is_free = self._until.get(candidate.attribute, 0) <= self._n_steps
        return is_free or candidate.outcome.is_better_than(self.best_outcome)

    def rank(self, candidate: _Candidate[State], here: Outcome) -> tuple[float, ...]:
        """Return what candidates are compared by; moves that lose are put back the more, the oftener they were made."""
        violation, cost = candidate.outcome.rank
        if candidate.outcome.is_better_than(here) or not candidate.outcome.is_feasible:
            return violation, cost
        often_frac = self._n_moves[candidate.attribute] / max(1, self._n_steps)
        return violation, cost + often_frac * (cost - here.cost if here.is_feasible else 0.0)

    def step(self, chosen: _Candidate[State] | None) -> None:
        """Note the move that was made, if any was allowed."""
        self._n_steps += 1
        self._n_idle += 1
        if chosen is None:
            return
        self._until[chosen.attribute] = self._n_steps + self._options.tenure
        self._n_moves[chosen.attribute] += 1
        if chosen.outcome.is_better_than(self.best_outcome):
            self.best, self.best_outcome = chosen.state, chosen.outcome
            self._n_idle = self._n_returns = 0

    @property
    def is_stuck(self) -> bool:
        """Whether there was no new best state for a while."""
        return self._n_idle >= self._options.patience

    def begins_anew(self) -> bool:
        """Forget what is tabu after a walk that led nowhere, and tell whether returning to the best was tried before."""
        self._until.clear()
        self._n_idle = 0
        self._n_returns = (self._n_returns + 1) % 2
        return self._n_returns == 0
