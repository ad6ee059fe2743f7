"""Drivers of streams: they offer or take payloads beside a running model, and stall as a test wants.

They run inside the compiled model, so that millions of cycles cost no call of Python.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

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


class Running(NamedTuple):
    """A driver in a running model.

    Attributes:
        library: that the model was built into.
        model: its address there.
        number: of the driver.
        owner: the simulation, which must live as long as its drivers are asked.
    """

    library: Any
    model: Any
    number: int
    owner: object


class _Driver:
    def __init__(self, running: Running) -> None:
        self._running = running
        self._library, self._model, self._number, _ = running

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

    def __init__(self, running: Running, payload: Port) -> None:
        super().__init__(running)
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


MEMORY_PORTS = (
    *("araddr", "arlen", "arvalid", "arready", "rdata", "rlast", "rvalid", "rready"),
    *("awaddr", "awlen", "awvalid", "awready", "wdata", "wlast", "wvalid", "wready", "bvalid", "bready"),
)
"""The members of a memory port, in the order in which the driver takes them."""


@dataclass(frozen=True)
class MemoryTiming:
    """How a memory answers. One beat moves in a cycle, of a read or of a write.

    Attributes:
        latency_cycles: from the cycle in which the address of a read is taken to its first beat, at least 1.
        refresh_every: beats after which the memory pauses; 0 for never.
        refresh_cycles: length of a pause.
        address_stalls: when it takes no addresses.
        data_stalls: when it offers and takes no beats.
    """

    latency_cycles: int = 1
    refresh_every: int = 0
    refresh_cycles: int = 0
    address_stalls: Stalls = field(default_factory=Stalls)
    data_stalls: Stalls = field(default_factory=Stalls)


class MemoryDriver(_Driver):
    """A memory at a `MemoryPort`; its cycles are those of beats.

    Attributes:
        words: array of uint64, its content at any time.
    """

    def __init__(self, running: Running, words: NDArray[np.uint64]) -> None:
        super().__init__(running)
        self.words = words

    def check(self) -> None:
        """Check that the master has kept the rules of the port so far.

        Raises:
            NumericMismatch: an offer changed before it was taken, a burst lay outside of the memory, off its beats or across
                4 KiB, or the last beat of a write was marked wrongly.
        """
        broken = self._library.silicut_broken(self._model, self._number)
        if broken >= 0:
            raise NumericMismatch(
                f"the master of a memory must keep the rules of its port, not break them in cycle {broken}"
            )
