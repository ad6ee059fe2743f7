"""Sessions that take turns, so that whatever slows the machine down slows all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

RUNS_PER_TURN = 4


class Timed(Protocol):
    """What can be timed."""

    def time_once(self) -> float:
        """Return the seconds of one inference."""


def take_turns(sessions: Sequence[Timed], n_runs: int) -> np.ndarray:
    """Return the seconds of all sessions' runs, of shape (sessions, turns, RUNS_PER_TURN).

    Args:
        sessions: each runs 1 + RUNS_PER_TURN times in a turn; the first of these is discarded.
        n_runs: runs of each that count, rounded up to whole turns.
    """
    n_turns = math.ceil(n_runs / RUNS_PER_TURN)
    seconds = np.empty((len(sessions), n_turns, RUNS_PER_TURN))
    for turn in range(n_turns):
        for i, session in enumerate(sessions):
            session.time_once()
            seconds[i, turn] = [session.time_once() for _ in range(RUNS_PER_TURN)]
    return seconds


@dataclass(frozen=True)
class Turns:
    """How often a network is profiled beside the dense one, both loaded anew each time.

    Attributes:
        min_turns, max_turns: fewest and most.
        runs_s: seconds for which the dense network runs in one of them, about.
        min_runs, max_runs: fewest and most runs in one.
    """

    min_turns: int
    max_turns: int
    runs_s: float
    min_runs: int
    max_runs: int

    def go_on(self, ratios: Sequence[float], asked_frac: float) -> bool:
        """Tell whether there should be another turn, so that the ratio's standard error is what was asked for."""
        if len(ratios) < self.min_turns:
            return True
        return len(ratios) < self.max_turns and error_frac(ratios) > asked_frac

    def n_runs(self, dense: Timed) -> int:
        """Return the runs of one turn."""
        return int(np.clip(self.runs_s / dense.time_once(), self.min_runs, self.max_runs))


def error_frac(ratios: Sequence[float]) -> float:
    """Return the standard error of a median, relative to it, from the spread of what it is the median of."""
    return float(1.25 * np.std(ratios, ddof=1) / np.sqrt(len(ratios)) / np.median(ratios))


def whole_runs(plain: np.ndarray, reference: np.ndarray | None = None) -> dict[str, Any]:
    """Return "run_us", "reference_us" and "ratio" of seconds of shape (turns, runs of a turn).

    The first two are 10 % quantiles; the ratio is the median over the turns of the fastest run over the reference's.
    Without a reference the last two are None.
    """
    run_us = 1e6 * float(np.quantile(plain, 0.1))
    if reference is None:
        return {"run_us": run_us, "reference_us": None, "ratio": None}
    ratio = float(np.median(plain.min(axis=1) / reference.min(axis=1)))
    return {"run_us": run_us, "reference_us": 1e6 * float(np.quantile(reference, 0.1)), "ratio": ratio}


def random_array(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Return a fixed input: normal deviates for floats, zeros else (valid as index, length or flag)."""
    is_float = np.issubdtype(dtype, np.floating)
    values = np.random.default_rng(0).standard_normal(tuple(shape)) if is_float else np.zeros(tuple(shape))
    return values.astype(dtype)
