"""Random points: what every other search must be better than."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from silicut.search.outcome import Objective, Search
from silicut.search.space import Point


@dataclass(frozen=True)
class RandomPoints:
    """Points drawn one after the other, all equally likely."""

    name = "random"

    def search(self, objective: Objective, _n_evaluations: int, rng: np.random.Generator) -> Search[Point]:
        """Return the search, which never ends."""
        while True:
            yield objective.space.random(rng)
