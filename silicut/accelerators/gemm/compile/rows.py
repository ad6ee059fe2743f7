"""Rings of rows: which rows of a map lie in a buffer at a time, and the loads that bring them there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from silicut.accelerators.gemm.compile.builder import Builder
from silicut.accelerators.gemm.compile.geometry import Geometry
from silicut.accelerators.gemm.compile.jobs import Access, Memory
from silicut.accelerators.gemm.compile.views import Stored, View
from silicut.accelerators.gemm.program import LoadResidual, LoadRows, Unit, row_words

_MAX_LOAD_WORDS = (1 << 14) - 1


@dataclass(frozen=True, kw_only=True)
class RowRing:
    """Rows of one slab in a buffer: row y lies at base + y % n_rows * row_words.

    Attributes:
        memory, unit: the buffer.
        base: its first word.
        n_rows: rows that it holds.
        row_words: words of a row.
    """

    memory: Memory
    unit: Unit
    base: int
    n_rows: int
    row_words: int

    def runs(self, rows: range) -> Iterator[range]:
        """Yield rows in runs that lie side by side."""
        start = rows.start
        while start < rows.stop:
            stop = min(rows.stop, (start // self.n_rows + 1) * self.n_rows)
            yield range(start, stop)
            start = stop

    def address(self, row: int) -> int:
        """Return where a row lies."""
        return self.base + row % self.n_rows * self.row_words

    def accesses(self, rows: range, *, is_write: bool = False) -> Iterator[Access]:
        """Yield the addresses of some rows, at most as many as the ring holds."""
        for run in self.runs(rows):
            start = self.address(run.start)
            yield Access(self.memory, self.unit, start, start + len(run) * self.row_words, is_write)


def rings_of(
    builder: Builder, memory: Memory, unit: Unit, slabs: Sequence[Stored], n_rows: int, element_bits: int = 0
) -> dict[Stored, RowRing]:
    """Return rings for the rows of some slabs, side by side in a buffer.

    Args:
        builder: gives the addresses.
        memory, unit: the buffer.
        slabs: whose rows.
        n_rows: of each ring.
        element_bits: what an element takes there; 0 for as many bits as in memory.
    """
    words = [row_words(slab.width * slab.pitch, element_bits or slab.bits) for slab in slabs]
    base, rings = builder.ring(memory, unit).take(n_rows * sum(words)), {}
    for slab, n_words in zip(slabs, words, strict=True):
        rings[slab] = RowRing(memory=memory, unit=unit, base=base, n_rows=n_rows, row_words=n_words)
        base += n_rows * n_words
    return rings


def distinct_slabs(view: View) -> tuple[Stored, ...]:
    """Return the slabs of a view, each once, in order."""
    return tuple(dict.fromkeys(part.slab for part in view.parts))


class Reader(Protocol):
    """Who needs rows: a core on its way over the map."""

    def lowest_row(self) -> int | None:
        """Return the lowest row that it still needs in this pass, None at its end."""
        ...

    def advance(self) -> None:
        """Do the next step."""
        ...


class RowFeeder:
    """Brings the rows of a layer's input into the feature buffers, each row once for all units that share it.

    Args:
        builder: takes the loads.
        view: the input.
        geometry: of the windows.
        rings: of each unit, by slab.
        wide_units: units whose elements have 8 bits in the DSP core's layout.
    """

    def __init__(
        self, builder: Builder, view: View, geometry: Geometry, rings: dict[Unit, dict[Stored, RowRing]], *, is_wide: bool
    ) -> None:
        self.builder, self.view, self.geometry, self.rings, self.is_wide = builder, view, geometry, rings, is_wide
        self.readers: list[Reader] = []
        self.n_rows = next(iter(next(iter(rings.values())).values())).n_rows
        self._loaded, self._pass = 0, 0
        self._stream = ".".join(unit.label for unit in rings) + ".rows"

    def require(self, rows: range, pass_: int, reader: Reader) -> None:
        """Load rows up to those that a step needs.

        Args:
            rows: which it needs.
            pass_: how often its core has walked over the map before.
            reader: who needs them.
        """
        if pass_ != self._pass and self.n_rows < self.geometry.size[0]:
            self._loaded = 0
        self._pass = pass_
        while self._loaded < rows.stop:
            stop = self._stop(rows.stop, reader)
            self._load(range(self._loaded, stop))
            self._loaded = stop

    def _stop(self, stop: int, reader: Reader) -> int:
        """Return up to which row may be loaded now; others that still need what lies in the way do their steps first."""
        for other in self.readers:
            while other is not reader and (low := other.lowest_row()) is not None and low <= self._loaded - self.n_rows:
                other.advance()
        lows = [low for other in self.readers if (low := other.lowest_row()) is not None]
        return min(stop, self._loaded + self.n_rows, *(low + self.n_rows for low in lows))

    def accesses(self, unit: Unit, rows: range) -> Iterator[Access]:
        """Yield the addresses of some rows in the feature buffer of a unit."""
        for ring in self.rings[unit].values():
            yield from ring.accesses(rows)

    def _load(self, rows: range) -> None:
        for run in self._needed(rows):
            for slab in distinct_slabs(self.view):
                most = max(1, _MAX_LOAD_WORDS // slab.row_words)
                for whole in next(iter(self.rings.values()))[slab].runs(run):
                    for start in range(whole.start, whole.stop, most):
                        self._load_slab(slab, range(start, min(start + most, whole.stop)))

    def _needed(self, rows: range) -> Iterator[range]:
        """Yield runs of rows that windows see at all: strides may skip some."""
        if self.geometry.stride[0] <= self.geometry.extent:
            yield rows
            return
        for row in rows:
            if (row + self.geometry.padding[0]) % self.geometry.stride[0] < self.geometry.extent:
                yield range(row, row + 1)

    def _load_slab(self, slab: Stored, rows: range) -> None:
        address, n_words = slab.address + rows.start * slab.row_words, len(rows) * slab.row_words
        accesses = [Access(Memory.DRAM, Unit.POST, address, address + n_words)]
        fields = {}
        for unit in Unit:
            fields[f"to_{unit.label}"] = int(unit in self.rings)
            fields[f"{unit.label}_address"] = self.rings[unit][slab].address(rows.start) if unit in self.rings else 0
            if unit in self.rings:
                accesses += self.rings[unit][slab].accesses(rows, is_write=True)
        self.builder.move(
            LoadRows,
            self._stream,
            accesses,
            dram_address=address,
            n_words=n_words,
            bits=slab.bits,
            is_signed=int(self.view.format.is_signed),
            wide_elements=int(self.is_wide),
            **fields,
        )


class ResidualFeeder:
    """Brings the rows of what is added into the residual buffer of one unit.

    Args:
        builder: takes the loads.
        unit: whose buffer.
        rings: by slab; only those that the unit needs.
        height: rows of the map.
    """

    def __init__(self, builder: Builder, unit: Unit, rings: dict[Stored, RowRing], height: int) -> None:
        self.builder, self.unit, self.rings, self.height = builder, unit, rings, height
        self.n_rows = next(iter(rings.values())).n_rows
        self._loaded, self._pass = 0, 0

    def require(self, rows: range, pass_: int) -> None:
        """Load rows up to those that a step needs, from the start again in another pass if the ring cannot hold all."""
        if pass_ != self._pass and self.n_rows < self.height:
            self._loaded = 0
        self._pass = pass_
        if self._loaded < rows.stop:
            for slab, ring in self.rings.items():
                for run in ring.runs(range(self._loaded, rows.stop)):
                    self._load(slab, ring, run)
            self._loaded = rows.stop

    def accesses(self, rows: range) -> Iterator[Access]:
        """Yield the addresses of some rows."""
        for ring in self.rings.values():
            yield from ring.accesses(rows)

    def _load(self, slab: Stored, ring: RowRing, rows: range) -> None:
        address, n_words = slab.address + rows.start * slab.row_words, len(rows) * slab.row_words
        targets = {f"to_{unit.label}": int(unit is self.unit) for unit in Unit}
        places = {f"{unit.label}_address": ring.address(rows.start) if unit is self.unit else 0 for unit in Unit}
        reads = Access(Memory.DRAM, Unit.POST, address, address + n_words)
        self.builder.move(
            LoadResidual,
            f"{self.unit.label}.residual",
            [reads, *ring.accesses(rows, is_write=True)],
            dram_address=address,
            n_words=n_words,
            **targets,
            **places,
        )
