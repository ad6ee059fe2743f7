"""Simulated annealing: a random walk that accepts what is worse ever more rarely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic

import numpy as np

from silicut.records import ConfigError
from silicut.search.neighbourhood import Neighbourhood, State
from silicut.search.outcome import Objective, Outcome, Search
from silicut.search.space import Point


@dataclass(frozen=True)
class Annealing:
    """Simulated annealing with geometric cooling and restarts (Kirkpatrick, Gelatt, Vecchi 1983).

    The energy of an outcome is its cost, relative to the first one that kept all limits, plus `penalty` times its violation.

    Attributes:
        acceptance_frac: the starting temperature accepts this part of the typical (median) rise of energy.
        cooling: the temperature is multiplied by this after every step.
        end_frac: at this part of the starting temperature the walk begins anew from the best state, as warm as before.
        penalty: energy of exceeding one limit once by its own size.
        n_probes: neighbours that are looked at to set the starting temperature.

    Raises:
        ConfigError: a fraction is not between 0 and 1, penalty is negative, or there is no probe.
    """

    acceptance_frac: float = 0.8
    cooling: float = 0.98
    end_frac: float = 1e-3
    penalty: float = 3.0
    n_probes: int = 12
    name = "annealing"

    def __post_init__(self) -> None:
        fractions = ("acceptance_frac", "cooling", "end_frac")
        problems = [
            f"{name} must be above 0 and below 1, not {getattr(self, name)}"
            for name in fractions
            if not 0 < getattr(self, name) < 1
        ]
        if not self.penalty >= 0:
            problems.append(f"penalty must be at least 0, not {self.penalty}")
        if self.n_probes < 1:
            problems.append(f"n_probes must be at least 1, not {self.n_probes}")
        if problems:
            raise ConfigError(*problems)

    def search(self, objective: Objective, _n_evaluations: int, rng: np.random.Generator) -> Search[Point]:
        """Return the search over the points of an objective, which never ends."""
        return annealing(objective.space, self, rng)


def annealing(neighbourhood: Neighbourhood[State], options: Annealing, rng: np.random.Generator) -> Search[State]:
    """Return simulated annealing over any states, which ends only where a state has no neighbour.

    While the walk has met no state that keeps all limits it goes downhill; only then are there costs to set a temperature
    by.
    """
    state = neighbourhood.start(rng)
    walk = _Walk(options, rng, state, (yield state))
    while not walk.best_outcome.is_feasible:
        if not (moves := neighbourhood.neighbours(walk.state, rng, 1)):
            return
        outcome = yield moves[0][1]
        if outcome.rank <= walk.outcome.rank:
            walk.go(moves[0][1], outcome)
    walk.scale = abs(walk.outcome.cost) or 1.0
    rises = []
    for _, near in neighbourhood.neighbours(walk.state, rng, options.n_probes):
        outcome = yield near
        walk.notice(near, outcome)
        rises.append(abs(walk.energy(outcome) - walk.energy(walk.outcome)))
    start = _starting_temperature(rises, options.acceptance_frac)
    while True:
        walk.go(walk.best, walk.best_outcome)
        temperature = start
        while temperature > start * options.end_frac:
            if not (moves := neighbourhood.neighbours(walk.state, rng, 1)):
                return
            walk.consider(moves[0][1], (yield moves[0][1]), temperature)
            temperature *= options.cooling


def _starting_temperature(rises: list[float], acceptance_frac: float) -> float:
    """Return the temperature at which the median of these rises of energy is accepted with a probability."""
    changed = [rise for rise in rises if 0 < rise < math.inf]
    return float(np.median(changed)) / -math.log(acceptance_frac) if changed else 1.0


class _Walk(Generic[State]):
    """Where the walk stands, and the best state that it has met."""

    def __init__(self, options: Annealing, rng: np.random.Generator, state: State, outcome: Outcome) -> None:
        self._options, self._rng, self.scale = options, rng, 1.0
        self.state, self.outcome = state, outcome
        self.best, self.best_outcome = state, outcome

    def energy(self, outcome: Outcome) -> float:
        return outcome.cost / self.scale + self._options.penalty * outcome.violation

    def notice(self, state: State, outcome: Outcome) -> None:
        """Remember a state if it is the best so far."""
        if outcome.is_better_than(self.best_outcome):
            self.best, self.best_outcome = state, outcome

    def go(self, state: State, outcome: Outcome) -> None:
        """Move to a state."""
        self.notice(state, outcome)
        self.state, self.outcome = state, outcome

    def consider(self, state: State, outcome: Outcome, temperature: float) -> None:
        """Move to a state if it is no worse, and else with the probability that its rise has at this temperature."""
        self.notice(state, outcome)
        rise = self.energy(outcome) - self.energy(self.outcome)
        if rise <= 0 or self._rng.random() < math.exp(-rise / temperature):
            self.go(state, outcome)
