"""What a core multiplies by and how it rounds: weights in its RHS banks, entries in its scale table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from silicut.accelerators.gemm.compile.builder import Builder
from silicut.accelerators.gemm.compile.folding import Array
from silicut.accelerators.gemm.compile.jobs import Access, Memory
from silicut.accelerators.gemm.compile.results import ResultStage
from silicut.accelerators.gemm.compile.schedule import ProductSchedule, Step
from silicut.accelerators.gemm.program import LoadTable, LoadWeights, Unit, dsp_lines, lut_lines
from silicut.numerics import IntegerFormat


class Weights:
    """The weights of a core: in memory tile by tile, in the RHS banks chunk by chunk.

    Args:
        builder: takes the loads.
        unit: which core.
        nest: its loops.
        rows: of the filters, array (n_filters, elements of a window).
    """

    def __init__(self, builder: Builder, unit: Unit, nest: ProductSchedule, rows: Array) -> None:
        self.builder, self.unit, self.nest, self.rows = builder, unit, nest, rows
        core = builder.config.lut if unit is Unit.LUT else builder.config.dsp
        assert core is not None
        self.fits_tile = nest.tile_lines <= core.rhs_depth
        self.takes_pieces = nest.is_k_split and nest.tile_lines + self._largest_piece <= core.rhs_depth
        self.loaded: dict[tuple[int, int], int] = {}
        self.stored: dict[tuple[int, int], tuple[int, int]] = {}
        self.base = 0
        self.chunk = range(0)

    def begin_chunk(self, number: int) -> None:
        """Take room in the banks for a chunk of tiles."""
        self.chunk = self.nest.chunks[number]
        self.loaded = {}
        if self.fits_tile and not self.takes_pieces:
            self.base = self.builder.ring(Memory.RHS, self.unit).take(len(self.chunk) * self.nest.tile_lines)

    def load(self, step: Step) -> tuple[int, int]:
        """Load what a step needs and is not there yet; return the first line of it and how many there are."""
        nest = self.nest
        if not self.fits_tile:
            lines = nest.k_chunks[step.k].n_words * nest.rhs_lines
            base = self.builder.ring(Memory.RHS, self.unit).take(lines)
            self._load(step.tiles.start, step.k, base)
            return base, lines
        for tile in step.tiles:
            for k in range(len(nest.k_chunks)):
                if (tile, k) not in self.loaded:
                    self.loaded[tile, k] = self._place(tile, k)
                    self._load(tile, k, self.loaded[tile, k])
        lines = nest.k_chunks[step.k].n_words * nest.rhs_lines if nest.is_k_split else len(step.tiles) * nest.tile_lines
        return self.loaded[step.tiles.start, step.k], lines

    @property
    def _largest_piece(self) -> int:
        return max(chunk.n_words for chunk in self.nest.k_chunks) * self.nest.rhs_lines

    def _place(self, tile: int, k: int) -> int:
        """Return the first line of a piece of a tile; those of one tile lie apart wherever in the ring they begin."""
        if self.takes_pieces:
            return self.builder.ring(Memory.RHS, self.unit).take(self.nest.k_chunks[k].n_words * self.nest.rhs_lines)
        before = sum(chunk.n_words for chunk in self.nest.k_chunks[:k]) * self.nest.rhs_lines
        return self.base + (tile - self.chunk.start) * self.nest.tile_lines + before

    def _load(self, tile: int, k: int, base: int) -> None:
        n_banks, address = self._stored(tile, k)
        lines = self.nest.k_chunks[k].n_words * self.nest.rhs_lines
        self.builder.move(
            LoadWeights,
            f"{self.unit.label}.weights",
            [Access(Memory.RHS, self.unit, base, base + lines, True)],
            unit=self.unit,
            dram_address=address,
            rhs_base=base,
            n_lines=lines,
            n_banks=n_banks,
        )

    def _stored(self, tile: int, k: int) -> tuple[int, int]:
        """Return the banks and the address of a tile's weights in memory; they are put there once."""
        if (tile, k) not in self.stored:
            n_banks, words = self._lines(tile, k)
            self.stored[tile, k] = n_banks, self.builder.image.put(words, "weights")
        return self.stored[tile, k]

    def _lines(self, tile: int, k: int) -> tuple[int, Array]:
        chunk = self.nest.k_chunks[k]
        filters = self.nest.filters(range(tile, tile + 1))
        rows = self.rows[filters.start : filters.stop, chunk.first_element : chunk.first_element + chunk.n_elements]
        if self.unit is Unit.LUT:
            lut = self.builder.config.lut
            assert lut is not None
            return len(rows), lut_lines(rows, IntegerFormat(self.nest.weight_bits), lut.word_bits)
        dsp = self.builder.config.dsp
        assert dsp is not None
        n_banks = min(dsp.n_columns, len(rows))
        padded = np.zeros((dsp.n_passes * dsp.n_columns, rows.shape[1]), np.int64)
        padded[: len(rows)] = rows
        by_pass = padded.reshape(dsp.n_passes, dsp.n_columns, -1)[:, :n_banks].reshape(dsp.n_passes * n_banks, -1)
        return n_banks, dsp_lines(by_pass, self.nest.element_bits, dsp.n_inputs, dsp.n_passes)


class Table:
    """The scale table of a core: all of a layer's entries at once where they fit, else those of a chunk.

    Args:
        results: the result stage that reads it.
        words: the entries of all filters.
    """

    def __init__(self, results: ResultStage, words: Array) -> None:
        self.results, self.builder, self.unit, self.words = results, results.builder, results.unit, words
        self.size = self.builder.config.buffers.table_entries
        self.is_whole = len(self.words) <= self.size
        self.base, self.start, self.first_filter = 0, 0, -1
        self.address = self.builder.image.put(self.words, "tables")
        if self.is_whole:
            self._load(range(len(self.words)))

    def begin_chunk(self, filters: range, first_filter: int) -> None:
        """Make the entries of a chunk's filters ready.

        Args:
            filters: of the core.
            first_filter: the one that is channel 0 of the output slabs.
        """
        is_new = first_filter != self.first_filter or not self.is_whole
        self.first_filter = first_filter
        if not self.is_whole:
            self._load(filters)
        if is_new:
            self.results.set_requantiser((self.base - self.start + first_filter) % self.size)

    def accesses(self, filters: range, *, is_write: bool = False) -> Iterator[Access]:
        """Yield the entries of some filters."""
        return table_accesses(self.unit, self.base + filters.start - self.start, len(filters), self.size, is_write=is_write)

    def _load(self, filters: range) -> None:
        self.base, self.start = self.builder.ring(Memory.TABLE, self.unit).take_wrapped(len(filters)), filters.start
        self.builder.move_table(
            LoadTable,
            self.unit,
            list(self.accesses(filters, is_write=True)),
            dram_address=self.address + filters.start,
            base=self.base,
            n_entries=len(filters),
        )


def table_accesses(unit: Unit, first: int, n: int, size: int, *, is_write: bool = False) -> Iterator[Access]:
    """Yield neighbouring entries of a scale table, which go on at 0 behind the last."""
    first %= size
    yield Access(Memory.TABLE, unit, first, min(first + n, size), is_write)
    if first + n > size:
        yield Access(Memory.TABLE, unit, 0, first + n - size, is_write)
