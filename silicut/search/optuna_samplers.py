"""Evolution and tree-structured Parzen estimators, as Optuna has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from silicut.records import ConfigError
from silicut.search.outcome import Objective, Search
from silicut.search.space import Parameter, Point, Space
from silicut.search.storage import imported_optuna, without_chatter

_LIMITS = "limits"
_MAX_SEED = 2**32


@dataclass(frozen=True)
class Evolution:
    """NSGA-II (Deb et al. 2002): generations of crossed and mutated points; what keeps limits dominates what breaks them.

    Attributes:
        population_size: points of a generation, at least 2.
        crossover_frac: the part of the children that have two parents.

    Raises:
        ConfigError: the attributes are not as above.
    """

    population_size: int = 30
    crossover_frac: float = 0.9
    name = "evolution"

    def __post_init__(self) -> None:
        problems = []
        if self.population_size < 2:
            problems.append(f"population_size must be at least 2, not {self.population_size}")
        if not 0 <= self.crossover_frac <= 1:
            problems.append(f"crossover_frac must be 0..1, not {self.crossover_frac}")
        if problems:
            raise ConfigError(*problems)

    def search(self, objective: Objective, _n_evaluations: int, rng: np.random.Generator) -> Search[Point]:
        """Return the search over the points of an objective, which never ends.

        Raises:
            ToolMissing: Optuna is not installed (extra "search").
        """
        sampler = imported_optuna().samplers.NSGAIISampler(
            population_size=self.population_size, crossover_prob=self.crossover_frac, seed=int(rng.integers(_MAX_SEED))
        )
        return _asked(sampler, objective.space)


@dataclass(frozen=True)
class Tpe:
    """The tree-structured Parzen estimator (Bergstra et al. 2011), all parameters together, limits as constraints.

    Attributes:
        n_startup: random points before the estimator is used, at least 1.

    Raises:
        ConfigError: there are none.
    """

    n_startup: int = 20
    name = "tpe"

    def __post_init__(self) -> None:
        if self.n_startup < 1:
            raise ConfigError(f"n_startup must be at least 1, not {self.n_startup}")

    def search(self, objective: Objective, _n_evaluations: int, rng: np.random.Generator) -> Search[Point]:
        """Return the search over the points of an objective, which never ends.

        Raises:
            ToolMissing: Optuna is not installed (extra "search").
        """
        seed = int(rng.integers(_MAX_SEED))
        sampler = imported_optuna().samplers.TPESampler(n_startup_trials=self.n_startup, multivariate=True, seed=seed)
        return _asked(sampler, objective.space)


def _asked(sampler: Any, space: Space) -> Search[Point]:
    """Yield what a sampler of Optuna suggests, by places of levels, since their order is what is known of them."""
    with without_chatter():
        study = imported_optuna().create_study(sampler=sampler)
    distributions = {parameter.name: _places(parameter) for parameter in space.parameters}
    while True:
        trial = study.ask(distributions)
        outcome = yield space.at([trial.params[parameter.name] for parameter in space.parameters])
        trial.set_constraint(_LIMITS, outcome.violation)
        study.tell(trial, float(outcome.cost))


def _places(parameter: Parameter) -> Any:
    return imported_optuna().distributions.IntDistribution(0, len(parameter.levels) - 1)
