"""Layers that multiply: convolutions and fully connected layers on one core or on both, each with some of the filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from silicut.accelerators.gemm.compile.builder import RESULT_QUEUES, WINDOW_QUEUES, Builder
from silicut.accelerators.gemm.compile.folding import Array, folded_bias, operand_of, rows_of, spread
from silicut.accelerators.gemm.compile.geometry import Geometry, PartShape
from silicut.accelerators.gemm.compile.jobs import Access, Memory
from silicut.accelerators.gemm.compile.order import Effort
from silicut.accelerators.gemm.compile.partition import Epilogue
from silicut.accelerators.gemm.compile.results import (
    Output,
    ResidualPlace,
    ResultStage,
    make_outputs,
    part_of,
    residual_slabs,
)
from silicut.accelerators.gemm.compile.rows import ResidualFeeder, RowFeeder, distinct_slabs, rings_of
from silicut.accelerators.gemm.compile.schedule import LayerSchedule, ProductSchedule, Step, UnitSchedule
from silicut.accelerators.gemm.compile.views import Part, View
from silicut.accelerators.gemm.compile.windows import set_window
from silicut.accelerators.gemm.config import WINDOW_STARTUP_CYCLES
from silicut.accelerators.gemm.program import (
    Expand,
    Gemm,
    LoadTable,
    LoadWeights,
    SetProduct,
    Unit,
    dsp_lines,
    lut_lines,
    table_words,
)
from silicut.numerics import IntegerFormat


@dataclass(frozen=True, eq=False, kw_only=True)
class Product:
    """What a layer multiplies, its filters in the order in which they are written.

    Attributes:
        name: of the layer.
        view: the input, its channels those of the weights.
        geometry: of the windows.
        weight: array (n, c, kh, kw).
        bias: array (n,), None without.
        input_zero_point: what padding holds.
        epilogue: what follows.
        order: filters, -1 for elements without a meaning, which a tensor that is added may ask for.
        formats: of the result and of its copy, None for what nobody reads.
        residual: the tensor that is added, None without.
        residual_first: its element that is added to the first of `order`.
        channel_of: the output tensor's channel of each filter.
    """

    name: str
    view: View
    geometry: Geometry
    weight: Array
    bias: Array | None
    input_zero_point: int
    epilogue: Epilogue
    order: tuple[int, ...]
    formats: tuple[IntegerFormat | None, IntegerFormat | None]
    residual: View | None = None
    residual_first: int = 0
    channel_of: tuple[int, ...] = ()

    def channels(self, filters: Sequence[int]) -> list[int]:
        """Return the output's channels of filters."""
        return [self.channel_of[f] if f >= 0 else f for f in filters]


def part_shapes(parts: Sequence[Part]) -> tuple[PartShape, ...]:
    """Return what schedules know of the parts of a view."""
    return tuple(PartShape(len(part.channels), part.is_whole) for part in parts)


def cut_parts(parts: Sequence[Part], nest: ProductSchedule) -> list[Part]:
    """Return the parts of a view as the schedule cuts them."""
    if not nest.longest_segment:
        return list(parts)
    pieces = []
    for part in parts:
        shape = PartShape(len(part.channels), part.is_whole)
        fits = max(shape.segments(nest.geometry)) <= nest.longest_segment
        pieces += [part] if fits else list(part.cut(shape.pieces(nest.longest_segment)))
    return pieces


def emit_product(
    builder: Builder, product: Product, schedule: LayerSchedule
) -> tuple[list[tuple[Output, list[int]]], list[tuple[Output, list[int]]]]:
    """Append a layer; return what was written of the result and of the copy, each with the output's channels, in order."""
    filters, start = [], 0
    for unit in schedule.units:
        assert isinstance(unit.nest, ProductSchedule)
        filters.append(product.order[start : start + unit.nest.n_filters])
        start += unit.nest.n_filters
    feeders = _feeders(builder, product, schedule)
    cores, first = [], product.residual_first
    for unit, own in zip(schedule.units, filters, strict=True):
        cores.append(_Core(builder, product, unit, own, first, feeders[unit.unit]))
        first += len(own)
    for core in cores:
        core.begin()
    while left := [core for core in cores if not core.is_done]:
        min(left, key=lambda core: core.progress).advance()
    written = [item for core in cores for item in core.written]
    return [item for item in written if item[0].index == 0], [item for item in written if item[0].index == 1]


def _feeders(builder: Builder, product: Product, schedule: LayerSchedule) -> dict[Unit, RowFeeder]:
    rings, is_wide = {}, False
    for unit in schedule.units:
        assert isinstance(unit.nest, ProductSchedule)
        bits = unit.nest.element_bits if unit.unit is Unit.DSP else 0
        is_wide |= bits == 8
        slabs, n_rows = distinct_slabs(product.view), unit.rings.feature_rows
        rings[unit.unit] = rings_of(builder, Memory.FEATURES, unit.unit, slabs, n_rows, bits)
    if schedule.shares_rows:
        shared = RowFeeder(builder, product.view, product.geometry, rings, is_wide=is_wide)
        return dict.fromkeys(rings, shared)
    return {
        unit: RowFeeder(builder, product.view, product.geometry, {unit: own}, is_wide=is_wide) for unit, own in rings.items()
    }


class _Core:
    """One core on its way through a layer."""

    def __init__(
        self,
        builder: Builder,
        product: Product,
        schedule: UnitSchedule,
        filters: Sequence[int],
        residual_first: int,
        feeder: RowFeeder,
    ) -> None:
        assert isinstance(schedule.nest, ProductSchedule)
        self.builder, self.product, self.unit, self.nest = builder, product, schedule.unit, schedule.nest
        self.rings, self.filters, self.feeder = schedule.rings, filters, feeder
        feeder.readers.append(self)
        self.operand = operand_of(self.unit, product.view.format, self.nest.element_bits, product.input_zero_point)
        self.parts = cut_parts(product.view.parts, self.nest)
        self.steps = list(self.nest.steps())
        self.position, self.work, self.total = 0, 0, sum(len(s.pixels) * len(s.tiles) for s in self.steps)
        self.written: list[tuple[Output, list[int]]] = []
        self.weights = _Weights(builder, self.unit, self.nest, rows_of(product.weight, filters, self.parts))
        self.residual_first = residual_first
        self.results = ResultStage(builder, self.unit, product.epilogue, product.geometry.output_size, self._residual())
        self.lhs_base = self.group_base = -1
        self.chunk = self.product_words = -1
        self.slab_first = 0

    def _residual(self) -> ResidualPlace | None:
        view = self.product.residual
        if view is None:
            return None
        first = self.residual_first
        starts = residual_slabs(view, range(first, first + len(self.filters)), self.product.name)
        rings = rings_of(self.builder, Memory.RESIDUAL, self.unit, list(starts), self.rings.residual_rows)
        feeder = ResidualFeeder(self.builder, self.unit, rings, view.height)
        return ResidualPlace(view=view, first=first, feeder=feeder, starts=starts)

    # What rows feeders ask of their readers.

    def lowest_row(self) -> int | None:
        for step in self.steps[self.position :]:
            if step.is_expanded:
                return self._input_rows(step).start
        return None

    def advance(self) -> None:
        step = self.steps[self.position]
        if step.chunk != self.chunk:
            self._begin_chunk(step)
        if step.is_expanded:
            self._expand(step)
        self._multiply(step)
        self._store(step)
        self.work += len(step.pixels) * len(step.tiles)
        self.position += 1

    @property
    def is_done(self) -> bool:
        return self.position == len(self.steps)

    @property
    def progress(self) -> float:
        return self.work / self.total

    def begin(self) -> None:
        """Set the registers that hold for the whole layer."""
        set_window(
            self.builder,
            WINDOW_QUEUES[self.unit],
            self.product.geometry,
            self.operand,
            self.parts,
            self.feeder.rings[self.unit],
        )
        self.results.set_registers()
        self.table = _Table(self)

    def _set_outputs(self, filters: range) -> None:
        outputs = make_outputs(
            self.builder,
            self.unit,
            len(filters),
            self.product.geometry.output_size,
            self.product.formats,
            self.rings.output_rows,
        )
        self.results.set_outputs(outputs)
        channels = self.product.channels(self.filters[filters.start : filters.stop])
        self.written += [(output, channels) for output in outputs]

    def _begin_chunk(self, step: Step) -> None:
        self.chunk = step.chunk
        chunks, together = self.nest.chunks, self.rings.slab_chunks
        filters = self.nest.filters(chunks[step.chunk])
        if step.chunk % together == 0:
            last = min(step.chunk + together, len(chunks)) - 1
            slab = range(filters.start, self.nest.filters(chunks[last]).stop)
            self._set_outputs(slab)
            self.slab_first = slab.start
            if self.results.residual is not None and step.chunk:
                self.results.set_residual_map(self.residual_first + slab.start)
        self.table.begin_chunk(filters, self.slab_first)
        self.weights.begin_chunk(step.chunk)

    def _input_rows(self, step: Step) -> range:
        return self.product.geometry.input_rows(self.product.geometry.output_rows(step.pixels))

    def _expand(self, step: Step) -> None:
        rows, nest = self._input_rows(step), self.nest
        self.feeder.require(rows, step.pass_, self)
        k = nest.k_chunks[step.k]
        stripe_words = k.n_words * nest.lhs_planes
        if nest.keeps_lhs:
            if self.lhs_base < 0:
                self.lhs_base = self._lhs(nest.n_stripes(range(nest.n_pixels)) * stripe_words)
            base = self.lhs_base + step.pixels.start // nest.stripe_pixels * stripe_words
        else:
            base = self._lhs(nest.n_stripes(step.pixels) * stripe_words)
        self.group_base, n_words = base, nest.n_stripes(step.pixels) * stripe_words
        cycles = WINDOW_STARTUP_CYCLES + len(step.pixels) * nest.pixel_cycles(self.builder.config.fill_bits, step.k)
        self.builder.add(
            Expand,
            WINDOW_QUEUES[self.unit],
            [*self.feeder.accesses(self.unit, rows), Access(Memory.LHS, self.unit, base, base + n_words, True)],
            Effort(execute=cycles),
            first_pixel=step.pixels.start,
            n_pixels=len(step.pixels),
            lhs_base=base,
            first_segment=k.first_segment,
            n_segments=k.n_segments,
        )

    def _lhs(self, n_words: int) -> int:
        return self.builder.ring(Memory.LHS, self.unit).take(n_words)

    def _multiply(self, step: Step) -> None:
        nest, k = self.nest, self.nest.k_chunks[step.k]
        geometry, filters = self.product.geometry, nest.filters(step.tiles)
        output_rows = geometry.output_rows(step.pixels)
        if self.results.residual is not None:
            self.results.residual.feeder.require(output_rows, step.chunk)
        self._set_product(k.n_words)
        rhs_base, rhs_lines = self.weights.load(step)
        stripe_words = k.n_words * nest.lhs_planes
        base = self.group_base
        if nest.keeps_lhs:
            base = self.lhs_base + step.pixels.start // nest.stripe_pixels * stripe_words
        is_last = step.k == len(nest.k_chunks) - 1
        lhs_words = nest.n_stripes(step.pixels) * stripe_words
        accesses = [
            Access(Memory.LHS, self.unit, base, base + lhs_words),
            Access(Memory.RHS, self.unit, rhs_base, rhs_base + rhs_lines),
        ]
        if is_last:
            accesses += [*self.table.accesses(filters), *self.results.accesses(output_rows)]
        first_filter = filters.start - self.table.first_filter
        self.builder.add(
            Gemm,
            RESULT_QUEUES[self.unit],
            accesses,
            self._effort(step, is_last),
            lhs_base=base,
            rhs_base=rhs_base,
            first_pixel=step.pixels.start,
            n_pixels=len(step.pixels),
            first_filter=first_filter,
            n_filters=len(filters),
            is_first=int(step.k == 0),
            is_last=int(is_last),
        )

    def _effort(self, step: Step, is_last: bool) -> Effort:
        nest, lanes = self.nest, self.builder.config.n_lanes
        n_tiles = nest.n_stripes(step.pixels) * len(step.tiles)
        result = min(nest.stripe_pixels, len(step.pixels)) * -(-min(nest.tile_filters, nest.n_filters) // lanes)
        execute = nest.k_chunks[step.k].n_words * nest.word_cycles
        return Effort(execute=execute, result=result if is_last else 0, tiles=n_tiles)

    def _set_product(self, n_words: int) -> None:
        if n_words == self.product_words:
            return
        self.product_words = n_words
        self.builder.add(
            SetProduct,
            RESULT_QUEUES[self.unit],
            n_words=n_words,
            lhs_bits=self.operand.bits,
            rhs_bits=self.nest.weight_bits,
            lhs_signed=int(self.operand.is_signed),
            rhs_signed=1,
        )

    def _store(self, step: Step) -> None:
        n_chunks = step.chunk + 1
        is_last = n_chunks % self.rings.slab_chunks == 0 or n_chunks == len(self.nest.chunks)
        if step.completes and is_last:
            height, width = self.product.geometry.output_size
            stop = height if step.pixels.stop == self.nest.n_pixels else step.pixels.stop // width
            self.results.store(stop)


class _Weights:
    """The weights of a core: in memory tile by tile, in the RHS banks chunk by chunk."""

    def __init__(self, builder: Builder, unit: Unit, nest: ProductSchedule, rows: Array) -> None:
        self.builder, self.unit, self.nest, self.rows = builder, unit, nest, rows
        core = builder.config.lut if unit is Unit.LUT else builder.config.dsp
        assert core is not None
        self.fits_tile = nest.tile_lines <= core.rhs_depth
        self.loaded: dict[tuple[int, int], int] = {}
        self.stored: dict[tuple[int, int], tuple[int, int]] = {}
        self.base = 0
        self.chunk = range(0)

    def begin_chunk(self, number: int) -> None:
        """Take room in the banks for a chunk of tiles."""
        self.chunk = self.nest.chunks[number]
        self.loaded = {}
        if self.fits_tile:
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

    def _place(self, tile: int, k: int) -> int:
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


class _Table:
    """The scale table of a core: all of a layer's entries at once where they fit, else those of a chunk."""

    def __init__(self, core: _Core) -> None:
        self.core, self.builder = core, core.builder
        self.size = self.builder.config.buffers.table_entries
        self.words = self._entries()
        self.is_whole = len(self.words) <= self.size
        self.base, self.start, self.first_filter = 0, 0, 0
        self.address = self.builder.image.put(self.words, "tables")
        if self.is_whole:
            self._load(range(len(self.words)))

    def _entries(self) -> Array:
        core, product = self.core, self.core.product
        step = product.epilogue.requantise
        assert step is not None
        shift = product.input_zero_point + core.operand.offset
        bias = folded_bias(core.weights.rows.sum(axis=1), product.bias, core.filters, shift) - step.input_zero_point
        return table_words(bias, spread(step.multiplier, core.filters), spread(step.shift, core.filters))

    def begin_chunk(self, filters: range, first_filter: int) -> None:
        """Make the entries of a chunk's filters ready.

        Args:
            filters: of the core.
            first_filter: the one that is channel 0 of the output slabs.
        """
        is_new = first_filter != self.first_filter or self.core.chunk == 0 or not self.is_whole
        self.first_filter = first_filter
        if not self.is_whole:
            self._load(filters)
        if is_new:
            self.core.results.set_requantiser((self.base - self.start + first_filter) % self.size)

    def accesses(self, filters: range) -> Iterator[Access]:
        """Yield the entries of some filters."""
        yield from self._accesses(filters, is_write=False)

    def _accesses(self, filters: range, *, is_write: bool) -> Iterator[Access]:
        first = (self.base + filters.start - self.start) % self.size
        stop = first + len(filters)
        yield Access(Memory.TABLE, self.core.unit, first, min(stop, self.size), is_write)
        if stop > self.size:
            yield Access(Memory.TABLE, self.core.unit, 0, stop - self.size, is_write)

    def _load(self, filters: range) -> None:
        self.base, self.start = self.builder.ring(Memory.TABLE, self.core.unit).take_wrapped(len(filters)), filters.start
        self.builder.move_table(
            LoadTable,
            self.core.unit,
            list(self._accesses(filters, is_write=True)),
            dram_address=self.address + filters.start,
            base=self.base,
            n_entries=len(filters),
        )


def written_parts(written: Sequence[tuple[Output, list[int]]]) -> tuple[Part, ...]:
    """Return the parts of a view of what was written."""
    return tuple(part_of(output, channels) for output, channels in written)
