"""What a walk from state to state needs to know of its states."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol, TypeVar

import numpy as np

State = TypeVar("State")


class Neighbourhood(Protocol[State]):
    """Where a walk begins, and what lies near a state; `Space` is one, whatever has moves of its own may be another.

    States are evaluated once for each `key`, so equal states must have equal keys.
    """

    def start(self, rng: np.random.Generator) -> State:
        """Return a state to begin with; another call gives another, where a walk begins anew."""
        ...

    def neighbours(self, state: State, rng: np.random.Generator, n: int) -> Sequence[tuple[Hashable, State]]:
        """Return at most n states near a state, each with the attribute of the move that leads there.

        The attribute is what tabu search forbids for some steps after such a move: what was moved ("layer 3"), so that
        it is not moved back at once.
        """
        ...

    def key(self, state: State) -> Hashable:
        """Return what is equal for equal states only."""
        ...
