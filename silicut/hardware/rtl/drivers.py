"""Drivers of streams: they offer or take payloads beside a running model, and stall as a test wants.

They run inside the compiled model, so that millions of cycles cost no call of Python.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.hardware.rtl.ports import Port
from silicut.records import NumericMismatch


@dataclass(frozen=True)
class Stalls:
    """When a side of a stream stalls: a pattern over cycles that is repeated.

    Attributes:
        pattern: array (n,) of uint8, 1 where it stalls; empty for never.
    """

    pattern: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    @classmethod
    def random(cls, stall_frac: float, seed: int, n: int = 4093) -> Stalls:
        """Return a pattern in which each cycle stalls with a probability."""
        return cls((np.random.default_rng(seed).random(n) < stall_frac).astype(np.uint8))

    @classmethod
    def bursts(cls, n_running: int, n_stalled: int) -> Stalls:
        """Return a pattern that runs for some cycles and stalls for some."""
        return cls(np.repeat(np.array([0, 1], np.uint8), [n_running, n_stalled]))


class _Driver:
    def __init__(self, library: Any, model: Any, number: int) -> None:
        self._library, self._model, self._number = library, model, number

    @property
    def n_exchanged(self) -> int:
        """How many payloads have been exchanged."""
        return int(self._library.silicut_n_exchanged(self._model, self._number))

    @property
    def cycles(self) -> NDArray[np.uint64]:
        """The cycles of the exchanges, array (n_exchanged,)."""
        cycles = np.zeros(self.n_exchanged, np.uint64)
        self._library.silicut_cycles(self._model, self._number, cycles.ctypes.data)
        return cycles


class Source(_Driver):
    """Offers payloads one after the other; an offer stands until it is taken."""


class Sink(_Driver):
    """Takes payloads, and checks that what is offered stays until it is taken."""

    def __init__(self, library: Any, model: Any, number: int, payload: Port) -> None:
        super().__init__(library, model, number)
        self._payload = payload

    @property
    def taken(self) -> NDArray[Any]:
        """What was taken, array (n_exchanged, *axes).

        Raises:
            NumericMismatch: the model withdrew or changed what it had offered.
        """
        broken = self._library.silicut_broken(self._model, self._number)
        if broken >= 0:
            raise NumericMismatch(f"{self._payload.name} must stay as it is until it is taken, not change in cycle {broken}")
        chunks = np.zeros((self.n_exchanged, self._payload.n_chunks), np.uint32)
        self._library.silicut_taken(self._model, self._number, chunks.ctypes.data)
        return self._payload.from_chunks(chunks)
