"""Progress is told to a callback; nothing in the library prints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One step of long work done.

    Attributes:
        stage: what is being done ("profile", "epoch 3").
        n_done: steps done, 0..n_total.
        n_total: steps in all.
        left_s: estimated seconds left, or None before the first step is done.
        note: a short figure or remark, may be empty.
    """

    stage: str
    n_done: int
    n_total: int
    left_s: float | None
    note: str


Progress = Callable[[Event], None]


def silent(_event: Event) -> None:
    """Ignore progress: the default everywhere."""


class Tracker:
    """Counts the steps of one stage and tells a callback how many seconds are left.

    Example:
        >>> seen = []
        >>> tracker = Tracker(seen.append, "probe", 2)
        >>> tracker.step("first")
        >>> (seen[-1].n_done, seen[-1].n_total, seen[-1].note)
        (1, 2, 'first')
    """

    def __init__(self, progress: Progress, stage: str, n_total: int) -> None:
        self._progress, self._stage, self._n_total = progress, stage, n_total
        self._n_done, self._start = 0, time.monotonic()
        progress(Event(stage, 0, n_total, None, ""))

    def step(self, note: str = "") -> None:
        """Tell that one more step is done."""
        self._n_done += 1
        elapsed_s = time.monotonic() - self._start
        left_s = elapsed_s / self._n_done * max(self._n_total - self._n_done, 0)
        self._progress(Event(self._stage, self._n_done, self._n_total, left_s, note))
