"""Memories that know when each of their words was written and last read, so that no wrong access goes unnoticed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]

NEVER = -1


class Fault(Exception):
    """A wrong access to a memory; whoever knows the instruction makes a `BadProgram` of it."""


@dataclass(frozen=True)
class Occupancy:
    """How full a memory was, a word being in use from its write to its last read.

    Attributes:
        n_words: size of the memory.
        n_touched: words that were ever written.
        peak: most words in use at once.
        mean: words in use, averaged over the run.
    """

    n_words: int
    n_touched: int
    peak: int
    mean: float


class Tracked:
    """Times of accesses to the words of a memory. Accesses must come in the order of their starts.

    Args:
        name: of the memory, for messages.
        shape: (words,), or (banks, words).

    An access lasts from `start` to `end`. A word may be read from the end of its last write on, and written from the end of
    its last read on; whatever else happens is a race that hardware may lose.
    """

    def __init__(self, name: str, *shape: int) -> None:
        self.name = name
        self._ready: Times = np.full(shape, NEVER, np.int64)
        self._since: Times = np.zeros(shape, np.int64)
        self._busy: Times = np.zeros(shape, np.int64)
        self._past: list[tuple[Times, Times]] = []

    def read(self, index: Any, start: int, end: int) -> None:
        """Note that words are read.

        Raises:
            Fault: one was never written, or its write has not ended.
        """
        ready = self._ready[index]
        if ready.size and (ready.min() < 0 or ready.max() > start):
            self._complain_of_read(index, ready, start)
        self._busy[index] = np.maximum(self._busy[index], end)

    def _complain_of_read(self, index: Any, ready: Times, start: int) -> None:
        unwritten = ready == NEVER
        if unwritten.any():
            raise Fault(f"reads {self._where(index, unwritten)}, which nothing has written")
        raise Fault(
            f"reads {self._where(index, ready > start)} in cycle {start}, but its write ends in cycle {int(ready.max())}"
        )

    def write(self, index: Any, start: int, end: int) -> None:
        """Note that words are written.

        Raises:
            Fault: one is still being read.
        """
        busy = self._busy[index]
        if busy.size and busy.max() > start:
            where = self._where(index, busy > start)
            raise Fault(f"overwrites {where} in cycle {start}, but it is read until cycle {int(busy.max())}")
        since = self._since[index]
        is_new = busy > since  # words that have been read since they were written begin a new life
        if is_new.any():
            self._past.append((since[is_new], busy[is_new]))
        self._since[index] = np.where(is_new | (self._ready[index] == NEVER), start, since)
        self._ready[index] = end

    def _where(self, index: Any, wrong: NDArray[np.bool_]) -> str:
        numbers = np.arange(self._ready.size).reshape(self._ready.shape)[index][wrong]
        place = [int(i) for i in np.unravel_index(numbers.min(), self._ready.shape)]
        return f"{self.name} {f'bank {place[0]} ' if len(place) == 2 else ''}word {place[-1]}"

    def occupancy(self, cycles: int) -> Occupancy:
        """Return how full the memory was in a run of some cycles; of banks the first one counts for all."""
        if self._ready.ndim == 2:
            since, busy, ready = self._since[0], self._busy[0], self._ready[0]
        else:
            since, busy, ready = self._since, self._busy, self._ready
        used = busy > since
        starts = np.concatenate([since[used], *(past[0] for past in self._past)])
        ends = np.concatenate([busy[used], *(past[1] for past in self._past)])
        n_banks = 1 if self._ready.ndim == 1 else len(self._ready)
        return Occupancy(
            n_words=len(ready),
            n_touched=int((ready != NEVER).sum()),
            peak=-(-_peak(starts, ends) // n_banks),
            mean=float((ends - starts).sum()) / max(1, cycles) / n_banks,
        )


def _peak(starts: Times, ends: Times) -> int:
    """Return how many of some intervals overlap at most."""
    if not len(starts):
        return 0
    times = np.concatenate([starts, ends])
    changes = np.repeat([1, -1], len(starts))
    order = np.lexsort((changes, times))
    return int(np.cumsum(changes[order]).max())
