"""What evaluating one point of a space gives, and what can be evaluated.

Black-box searches see nothing of what they optimise but outcomes. A point that breaks limits has an outcome too: by how
much it breaks them, and why in words.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from silicut.records import ConfigError
from silicut.search.space import Point, Space

State = TypeVar("State")

Search = Generator[State, "Outcome", None]
"""A solver at work: it yields what to evaluate next (a point, or whatever it walks through) and is sent the outcome. It ends
when it has nothing more to try.

A search depends on nothing but its options, its random generator and the outcomes it is sent. Sending the outcomes of an
interrupted run therefore brings a new search to where that run stopped.
"""


@dataclass(frozen=True)
class Outcome:
    """What one evaluation found.

    Attributes:
        cost: what is minimised (cycles, or whatever the goal is); infinite only where a limit is broken.
        violation: the sum over all broken limits of the excess relative to the limit; 0 where every limit is kept.
        reasons: one sentence for each broken limit; none where every limit is kept.
        details: further numbers by name, for tables and reports; JSON values.

    Raises:
        ConfigError: the attributes are not as above.

    Example:
        >>> fits, breaks = Outcome(12.0), Outcome(9.0, 0.5, ("150 slices are used, the part has 100",))
        >>> fits.is_feasible, breaks.is_feasible, fits.is_better_than(breaks)
        (True, False, True)
    """

    cost: float
    violation: float = 0.0
    reasons: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        if not (math.isfinite(self.violation) and self.violation >= 0):
            problems.append(f"violation must be a finite number of at least 0, not {self.violation}")
        if math.isnan(self.cost) or self.cost == -math.inf or (self.cost == math.inf and self.is_feasible):
            problems.append(f"cost must be finite, or infinite where a limit is broken, not {self.cost}")
        if bool(self.reasons) == self.is_feasible:
            problems.append(f"reasons must be given exactly where violation is above 0, not {self.reasons}")
        if problems:
            raise ConfigError(*problems)

    @property
    def is_feasible(self) -> bool:
        """Whether every limit is kept."""
        return self.violation == 0.0

    @property
    def rank(self) -> tuple[float, float]:
        """What outcomes are compared by: less violation first, then less cost; smaller is better."""
        return self.violation, self.cost

    def is_better_than(self, other: Outcome | None) -> bool:
        """Tell whether this outcome is to be preferred; anything is better than None.

        What keeps all limits is better than what breaks one; of two that break some, the one with less violation is.
        """
        return other is None or self.rank < other.rank


@dataclass(frozen=True)
class Evaluation(Generic[State]):
    """One point and its outcome.

    Attributes:
        point: what was evaluated.
        outcome: what was found.
        is_known: whether it came from a store of trials instead of being evaluated now.
    """

    point: State
    outcome: Outcome
    is_known: bool = False


class Objective(Protocol):
    """What a black-box search minimises: a pure function of the points of a space."""

    @property
    def name(self) -> str:
        """What tells this function from others: two objectives of one name have equal outcomes at equal points."""
        ...

    @property
    def space(self) -> Space:
        """Where to search."""
        ...

    def evaluate(self, point: Point) -> Outcome:
        """Return the outcome of a point; equal points have equal outcomes, in every process."""
        ...


@runtime_checkable
class Described(Protocol):
    """What an objective may tell besides: what is known of its parameters before they are chosen."""

    @property
    def features(self) -> Mapping[str, tuple[float, ...]]:
        """Equally many numbers for each parameter that belongs to a part of the network (a layer's shape, say).

        Parameters that are not there describe the machine, and concern all parts.
        """
        ...
