"""Sessions that take turns, so that whatever slows the machine down slows all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
