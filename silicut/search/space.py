"""The points that a black-box search may try: one level for each parameter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from silicut.records import ConfigError

Level = int | float | str
"""One setting of a parameter."""

Point = Mapping[str, Level]
"""One level for each parameter of a space, by the parameter's name."""

_STEP_FRAC, _JUMP_FRAC = 0.5, 0.2  # of the neighbours; the rest changes two parameters by a step each


@dataclass(frozen=True)
class Parameter:
    """One decision.

    Attributes:
        name: unique in its space.
        levels: what to choose from, in an order in which neighbours are alike; all distinct.

    Raises:
        ConfigError: the name is empty, there is no level, or one is there twice.
    """

    name: str
    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        problems = [] if self.name else ["parameter.name must be a non-empty text, not ''"]
        if not self.levels or len(set(self.levels)) < len(self.levels):
            problems.append(f"parameter {self.name!r}: levels must be at least one and all distinct, not {self.levels}")
        if problems:
            raise ConfigError(*problems)

    @cached_property
    def position(self) -> dict[Level, int]:
        """The place of each level in the order of the levels."""
        return {level: place for place, level in enumerate(self.levels)}


@dataclass(frozen=True)
class Space:
    """All combinations of levels of some parameters, and which of them are near each other.

    Attributes:
        parameters: the decisions, with distinct names.

    Raises:
        ConfigError: there is no parameter, or two have one name.

    Example:
        >>> space = Space((Parameter("rows", (4, 8)), Parameter("columns", (1, 2, 4))))
        >>> space.size, space.key({"columns": 2, "rows": 8})
        (6, (8, 2))
    """

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        names = Counter(parameter.name for parameter in self.parameters)
        repeated = sorted(name for name, n in names.items() if n > 1)
        if not names or repeated:
            raise ConfigError(f"parameters must be at least one, with distinct names, not {repeated or 'none'}")

    @property
    def size(self) -> int:
        """The number of points."""
        return math.prod(len(parameter.levels) for parameter in self.parameters)

    def key(self, point: Point) -> tuple[Level, ...]:
        """Return the levels in the order of the parameters: equal for equal points, hashable."""
        return tuple(point[parameter.name] for parameter in self.parameters)

    def at(self, places: Iterator[int] | list[int]) -> dict[str, Level]:
        """Return the point with the levels at these places, one for each parameter in order."""
        return {p.name: p.levels[place] for p, place in zip(self.parameters, places, strict=True)}

    def places(self, point: Point) -> list[int]:
        """Return where the levels of a point stand among all levels, one place for each parameter in order."""
        return [parameter.position[point[parameter.name]] for parameter in self.parameters]

    def check(self, point: Point) -> None:
        """Raise where a mapping is not a point of this space.

        Raises:
            ConfigError: names every parameter that is missing, unknown or at no level of its own.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        problems = [f"{name} is no parameter of the space" for name in point if name not in known]
        problems += [f"{name} is missing" for name in known if name not in point]
        problems += [
            f"{name} must be one of {list(known[name].levels)}, not {level!r}"
            for name, level in point.items()
            if name in known and level not in known[name].position
        ]
        if problems:
            raise ConfigError(*problems)

    def random(self, rng: np.random.Generator) -> dict[str, Level]:
        """Return a point, every one equally likely."""
        return self.at([int(rng.integers(len(parameter.levels))) for parameter in self.parameters])

    def start(self, rng: np.random.Generator) -> dict[str, Level]:
        """Return where a walk begins: a random point (see `Neighbourhood`)."""
        return self.random(rng)

    def neighbours(self, state: Point, rng: np.random.Generator, n: int) -> list[tuple[str, dict[str, Level]]]:
        """Return random points near a point, each with the names of what changed (see `Neighbourhood`).

        Half of them change one parameter by one level, a fifth one parameter to any other level, the rest two parameters
        by one level each: under limits one part can often grow only where another shrinks.

        Args:
            state: a point.
            rng: the source of chance.
            n: how many to draw; those that are there already are dropped, so fewer may come back.
        """
        places, free = self.places(state), [i for i, p in enumerate(self.parameters) if len(p.levels) > 1]
        found: dict[tuple[int, ...], str] = {}
        for _ in range(n if free else 0):
            moved = self._moved(places, free, rng)
            found.setdefault(tuple(moved), self._changed(places, moved))
        return [(attribute, self.at(list(moved))) for moved, attribute in found.items()]

    def _moved(self, places: list[int], free: list[int], rng: np.random.Generator) -> list[int]:
        kind, moved = rng.random(), list(places)
        n_moved = 1 if kind < _STEP_FRAC + _JUMP_FRAC or len(free) == 1 else 2
        for i in rng.choice(free, size=n_moved, replace=False):
            top = len(self.parameters[i].levels) - 1
            if _STEP_FRAC <= kind < _STEP_FRAC + _JUMP_FRAC:
                other = int(rng.integers(top))
                moved[i] = other + (other >= places[i])
            else:
                moved[i] = _stepped(places[i], top, rng)
        return moved

    def _changed(self, places: list[int], moved: list[int]) -> str:
        pairs = zip(self.parameters, places, moved, strict=True)
        return " ".join(parameter.name for parameter, old, new in pairs if old != new)


def _stepped(place: int, top: int, rng: np.random.Generator) -> int:
    """Return the place before or after a place, of 0..top; at an end there is only one."""
    up = bool(rng.integers(2))
    return place + 1 if (up and place < top) or place == 0 else place - 1
