"""Layers that multiply: convolutions and fully connected layers on one core or on both, each with some of the filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from silicut.accelerators.gemm.compile.banks import Table, Weights
from silicut.accelerators.gemm.compile.builder import RESULT_QUEUES, WINDOW_QUEUES, Builder
from silicut.accelerators.gemm.compile.folding import Array, folded_bias, operand_of, rows_of, spread
from silicut.accelerators.gemm.compile.fused import Epilogue
from silicut.accelerators.gemm.compile.geometry import Geometry, PartShape
from silicut.accelerators.gemm.compile.jobs import Access, Memory
from silicut.accelerators.gemm.compile.order import Effort
from silicut.accelerators.gemm.compile.results import (
    JointSlabs,
    Output,
    ResidualPlace,
    ResultStage,
    make_outputs,
    part_of,
    residual_slabs,
)
from silicut.accelerators.gemm.compile.rows import ResidualFeeder, RowFeeder, distinct_slabs, rings_of
from silicut.accelerators.gemm.compile.schedule import LayerSchedule, ProductSchedule, Step, UnitSchedule
from silicut.accelerators.gemm.compile.views import Part, Stored, View
from silicut.accelerators.gemm.compile.windows import set_window
from silicut.accelerators.gemm.config import GRANULE, WINDOW_STARTUP_CYCLES
from silicut.accelerators.gemm.program import (
    Expand,
    Gemm,
    SetProduct,
    Unit,
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
        joint: indices of the outputs that both cores write into one slab.
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
    joint: tuple[int, ...] = ()

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
    cores, first, size = [], 0, product.geometry.output_size
    slabs = {
        i: builder.image.slab(GRANULE, *size, f.bits) for i, f in enumerate(product.formats) if f and i in product.joint
    }
    for unit, own in zip(schedule.units, filters, strict=True):
        joint = JointSlabs(slabs=slabs, first=first)
        cores.append(_Core(builder, product, unit, own, joint, feeders[unit.unit]))
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
        joint: JointSlabs,
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
        self.weights = Weights(builder, self.unit, self.nest, rows_of(product.weight, filters, self.parts))
        self.joint, self.residual_first = joint, product.residual_first + joint.first
        self.results = ResultStage(builder, self.unit, product.epilogue, product.geometry.output_size, None)
        self.lhs_base = self.group_base = -1
        self.chunk = self.product_words = -1
        self.slab_first = 0

    def _set_added(self, view: View, filters: range) -> None:
        """Say where lies what is added to the filters of a chunk; its slabs get rings unless they have some."""
        elements = range(self.residual_first + filters.start, self.residual_first + filters.stop)
        starts, first = residual_slabs(view, elements, self.product.name), self.residual_first + self.slab_first
        before = self.results.residual
        if before is None or starts != before.starts:
            rings = rings_of(self.builder, Memory.RESIDUAL, self.unit, list(starts), self.rings.residual_rows)
            feeder = ResidualFeeder(self.builder, self.unit, rings, view.height)
            self.results.set_added(ResidualPlace(view=view, first=first, feeder=feeder, starts=starts))
        elif first != before.first:
            self.results.set_residual_map(first)

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
        self.table = Table(self.results, self._entries())

    def _entries(self) -> Array:
        """Return the entries of the scale table of all filters."""
        step = self.product.epilogue.requantise
        assert step is not None
        shift = self.product.input_zero_point + self.operand.offset
        bias = folded_bias(self.weights.rows.sum(axis=1), self.product.bias, self.filters, shift) - step.input_zero_point
        return table_words(bias, spread(step.multiplier, self.filters), spread(step.shift, self.filters))

    def _set_outputs(self, filters: range) -> None:
        outputs = make_outputs(
            self.builder,
            self.unit,
            len(filters),
            self.product.geometry.output_size,
            self.product.formats,
            self.rings.output_rows,
            self.joint,
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
        if self.product.residual is not None:
            self._set_added(self.product.residual, filters)
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


def written_parts(written: Sequence[tuple[Output, list[int]]]) -> tuple[Part, ...]:
    """Return the parts of a view of what was written, one for each slab."""
    channels: dict[Stored, list[int]] = {}
    for output, own in written:
        channels.setdefault(output.slab, []).extend(own)
    return tuple(part_of(slab, own) for slab, own in channels.items())
