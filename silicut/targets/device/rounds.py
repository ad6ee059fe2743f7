"""The rounds of the measuring protocol: all candidates in every round, in random order, loaded anew every few rounds.

Why it is done so stands in `silicut.targets.measure`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np

from .turns import Timed


class Options(Protocol):
    """How long and how carefully to measure; see `silicut.targets.MeasureOptions`."""

    @property
    def n_rounds(self) -> int: ...
    @property
    def max_rounds(self) -> int: ...
    @property
    def runs_per_round(self) -> int: ...
    @property
    def rounds_per_session(self) -> int: ...
    @property
    def n_warmup(self) -> int: ...
    @property
    def max_s(self) -> float: ...
    @property
    def ci_frac(self) -> float: ...
    @property
    def n_resamples(self) -> int: ...
    @property
    def seed(self) -> int: ...


class Rounds:
    """The rounds measured so far.

    Args:
        load: opens the candidate of a number.
        n_candidates: how many there are.
        reference_at: number of the candidate that ratios are relative to.
        options: how to measure.

    Attributes:
        sessions: seconds of each session's rounds, of shape (rounds, candidates, runs).
        elapsed_s: seconds that they took.
        widest_frac: half-width of the widest interval of a ratio, relative to it; infinite before the first session.
    """

    def __init__(
        self, load: Callable[[int], AbstractContextManager[Timed]], n_candidates: int, reference_at: int, options: Options
    ) -> None:
        self._load, self._n_candidates, self._reference_at, self._options = load, n_candidates, reference_at, options
        self._order = np.random.default_rng(options.seed)
        self.sessions: list[np.ndarray] = []
        self.elapsed_s = 0.0
        self.widest_frac = np.inf

    @property
    def n_rounds(self) -> int:
        """Rounds so far."""
        return len(self.sessions) * self._options.rounds_per_session

    def add(self, seconds: np.ndarray, elapsed_s: float) -> None:
        """Take over one session's rounds."""
        self.sessions.append(seconds)
        self.elapsed_s += elapsed_s
        self.widest_frac = max(_half_width_frac(ratios, self._options) for ratios in self.ratios())

    def measure_session(self, after_round: Callable[[], None] = lambda: None) -> None:
        """Load every candidate anew, measure the rounds of one session and add them."""
        options, started_s = self._options, time.monotonic()
        seconds = np.empty((options.rounds_per_session, self._n_candidates, options.runs_per_round))
        with contextlib.ExitStack() as stack:
            loaded: dict[int, Timed] = {}
            for i in self._order.permutation(self._n_candidates):  # memory fills up in this order
                loaded[i] = stack.enter_context(self._load(int(i)))
                _burst(loaded[i], options.n_warmup)
            for round_ in seconds:
                for i in self._order.permutation(self._n_candidates):
                    round_[i] = _burst(loaded[i], 1 + options.runs_per_round)[1:]
                after_round()
        self.add(seconds, time.monotonic() - started_s)

    def is_done(self) -> bool:
        """Return whether the intervals are narrow enough, or no more rounds may be had."""
        if not self.sessions:
            return False
        options, next_s = self._options, self.elapsed_s / len(self.sessions)
        is_late = self.n_rounds >= options.max_rounds or self.elapsed_s + next_s > options.max_s
        return is_late or (self.n_rounds >= options.n_rounds and self.widest_frac <= options.ci_frac)

    def ratios(self) -> np.ndarray:
        """Return the ratios to the reference in the same round, of shape (candidates, sessions, rounds)."""
        fastest = np.stack(self.sessions).min(axis=-1)
        return np.moveaxis(fastest / fastest[..., self._reference_at, None], -1, 0)

    def runs_ms(self) -> np.ndarray:
        """Return the milliseconds of all runs that count, of shape (candidates, runs)."""
        return 1e3 * np.moveaxis(np.stack(self.sessions), 2, 0).reshape(self._n_candidates, -1)


def interval(ratios: np.ndarray, options: Options) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of the median of ratios of shape (sessions, rounds).

    Each resample draws sessions with replacement, then rounds of each drawn session with replacement.
    """
    rng = np.random.default_rng(options.seed)
    n_sessions, n_rounds = ratios.shape
    sessions = rng.integers(n_sessions, size=(options.n_resamples, n_sessions, 1))
    rounds = rng.integers(n_rounds, size=(options.n_resamples, n_sessions, n_rounds))
    medians = np.median(ratios[sessions, rounds].reshape(options.n_resamples, -1), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def _burst(session: Timed, n_runs: int) -> list[float]:
    return [session.time_once() for _ in range(n_runs)]


def _half_width_frac(ratios: np.ndarray, options: Options) -> float:
    low, high = interval(ratios, options)
    return (high - low) / 2 / float(np.median(ratios))
