"""Layers that keep the order of channels: depthwise convolutions on the DSP core, and everything that POST does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from silicut.accelerators.gemm.compile.builder import RESULT_QUEUES, WINDOW_QUEUES, Builder
from silicut.accelerators.gemm.compile.folding import Array, Operand, folded_bias, operand_of, spread, taken
from silicut.accelerators.gemm.compile.geometry import Geometry
from silicut.accelerators.gemm.compile.jobs import Access, Memory
from silicut.accelerators.gemm.compile.order import Effort
from silicut.accelerators.gemm.compile.partition import Epilogue
from silicut.accelerators.gemm.compile.results import (
    Output,
    ResidualPlace,
    ResultStage,
    make_outputs,
    residual_slabs,
)
from silicut.accelerators.gemm.compile.rows import ResidualFeeder, RowFeeder, distinct_slabs, rings_of
from silicut.accelerators.gemm.compile.schedule import DepthwiseSchedule, PoolSchedule, UnitSchedule
from silicut.accelerators.gemm.compile.views import View
from silicut.accelerators.gemm.compile.windows import set_window
from silicut.accelerators.gemm.config import POST_STARTUP_CYCLES, WINDOW_STARTUP_CYCLES
from silicut.accelerators.gemm.program import (
    Depthwise,
    ExpandColumns,
    LoadTable,
    LoadWeights,
    Pool,
    SetTaps,
    Unit,
    depthwise_lines,
    table_words,
)
from silicut.numerics import IntegerFormat
from silicut.records import DoesNotFit

_MAX_LOADS = 8
Written = list[tuple[Output, list[int]]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Channelwise:
    """A layer whose output has the channels of its input, in their order.

    Attributes:
        name: of the layer.
        view: the input.
        geometry: of the windows.
        pad_value: what padding holds.
        epilogue: what follows.
        formats: of the result and of its copy, None for what nobody reads.
        residual: the tensor that is added, in the same order, None without.
        residual_first: its element that is added to the first one of the output.
        weight: array (c, kh, kw) of a depthwise layer, None in POST.
        bias: array (c,), None without.
        is_max: whether POST takes the largest number of a window, else the sum.
    """

    name: str
    view: View
    geometry: Geometry
    pad_value: int
    epilogue: Epilogue
    formats: tuple[IntegerFormat | None, IntegerFormat | None]
    residual: View | None = None
    residual_first: int = 0
    weight: Array | None = None
    bias: Array | None = None
    is_max: bool = True


def emit_channelwise(builder: Builder, layer: Channelwise, schedule: UnitSchedule) -> tuple[Written, Written]:
    """Append a layer; return what was written of the result and of the copy, each with its channels, in order."""
    kind = _DepthwiseLayer if layer.weight is not None else _PoolLayer
    walk = kind(builder, layer, schedule)
    walk.run()
    return [item for item in walk.written if item[0].index == 0], [item for item in walk.written if item[0].index == 1]


class _Walk:
    """One unit on its way over the map."""

    def __init__(self, builder: Builder, layer: Channelwise, schedule: UnitSchedule, operand: Operand) -> None:
        self.builder, self.layer, self.unit, self.rings = builder, layer, schedule.unit, schedule.rings
        self.operand, self.order = operand, layer.view.order
        bits = operand.bits if self.unit is Unit.DSP else 0
        rings = rings_of(builder, Memory.FEATURES, self.unit, distinct_slabs(layer.view), self.rings.feature_rows, bits)
        self.feeder = RowFeeder(builder, layer.view, layer.geometry, {self.unit: rings}, is_wide=bits == 8)
        self.feeder.readers.append(self)
        self.results = ResultStage(builder, self.unit, layer.epilogue, layer.geometry.output_size, self._residual())
        self.written: Written = []
        self.starts = self._starts()
        self.rows = range(0)

    def _starts(self) -> list[int]:
        """Return the first element of each part, over all parts."""
        starts, n = [], 0
        for part in self.layer.view.parts:
            starts.append(n)
            n += len(part.channels)
        return starts

    def _residual(self) -> ResidualPlace | None:
        view = self.layer.residual
        if view is None:
            return None
        first = self.layer.residual_first
        starts = residual_slabs(view, range(first, first + len(self.order)), self.layer.name)
        rings = rings_of(self.builder, Memory.RESIDUAL, self.unit, list(starts), self.rings.residual_rows)
        feeder = ResidualFeeder(self.builder, self.unit, rings, view.height)
        return ResidualPlace(view=view, first=first, feeder=feeder, starts=starts)

    def lowest_row(self) -> int | None:
        """Return the lowest input row of the step under way."""
        return self.layer.geometry.input_rows(self.rows).start

    def advance(self) -> None:
        """Never asked for: there is no other reader."""
        raise AssertionError("one unit alone reads these rows")

    def begin(self) -> None:
        set_window(
            self.builder,
            WINDOW_QUEUES[self.unit],
            self.layer.geometry,
            self.operand,
            self.layer.view.parts,
            self.feeder.rings[self.unit],
        )
        self.results.set_registers()

    def set_outputs(self, elements: range) -> None:
        """Make slabs for some elements of the output's pixels."""
        outputs = make_outputs(
            self.builder,
            self.unit,
            len(elements),
            self.layer.geometry.output_size,
            self.layer.formats,
            self.rings.output_rows,
        )
        self.results.set_outputs(outputs)
        self.written += [(output, list(self.order[elements.start : elements.stop])) for output in outputs]

    def row_groups(self, n: int) -> Iterator[range]:
        """Yield the output rows of each step."""
        height = self.layer.geometry.output_size[0]
        yield from (range(start, min(start + n, height)) for start in range(0, height, n))

    def require(self, rows: range, pass_: int, chunk: int) -> range:
        """Bring in what some output rows need; return the input rows."""
        self.rows = rows
        needed = self.layer.geometry.input_rows(rows)
        self.feeder.require(needed, pass_, self)
        if self.results.residual is not None:
            self.results.residual.feeder.require(rows, chunk)
        return needed

    def table(self, words: Array) -> int:
        """Load entries of the scale table; return the first."""
        size = self.builder.config.buffers.table_entries
        base = self.builder.ring(Memory.TABLE, self.unit).take_wrapped(len(words))
        address = self.builder.image.put(words, "tables")
        self.builder.move_table(
            LoadTable,
            self.unit,
            list(table_accesses(self.unit, base, len(words), size, is_write=True)),
            dram_address=address,
            base=base,
            n_entries=len(words),
        )
        return base


def table_accesses(unit: Unit, first: int, n: int, size: int, *, is_write: bool = False) -> Iterator[Access]:
    """Yield neighbouring entries of a scale table, which go on at 0 behind the last."""
    first %= size
    yield Access(Memory.TABLE, unit, first, min(first + n, size), is_write)
    if first + n > size:
        yield Access(Memory.TABLE, unit, 0, first + n - size, is_write)


class _DepthwiseLayer(_Walk):
    def __init__(self, builder: Builder, layer: Channelwise, schedule: UnitSchedule) -> None:
        assert isinstance(schedule.nest, DepthwiseSchedule)
        self.nest = schedule.nest
        operand = operand_of(Unit.DSP, layer.view.format, self.nest.element_bits, layer.pad_value)
        super().__init__(builder, layer, schedule, operand)
        assert layer.weight is not None
        assert builder.config.dsp is not None
        self.dsp = builder.config.dsp
        self.weight = layer.weight
        self.base = 0

    def run(self) -> None:
        self.begin()
        (kh, kw), stride = self.layer.geometry.kernel, self.layer.geometry.stride[1]
        self.builder.add(
            SetTaps, RESULT_QUEUES[self.unit], height=kh, width=kw, stride_x=stride, bits=self.nest.element_bits
        )
        for number, blocks in enumerate(self.nest.chunks):
            self._chunk(number, blocks)

    def _elements(self, block: int) -> range:
        """Return the elements of a block, over all parts."""
        part, channels = self.nest.blocks[block]
        return range(self.starts[part] + channels.start, self.starts[part] + channels.stop)

    def _chunk(self, number: int, blocks: range) -> None:
        elements = range(self._elements(blocks[0]).start, self._elements(blocks[-1]).stop)
        together, n_chunks = self.rings.slab_chunks, len(self.nest.chunks)
        if number % together == 0:
            last = self.nest.chunks[min(number + together, n_chunks) - 1]
            self.first = elements.start
            self.set_outputs(range(elements.start, self._elements(last[-1]).stop))
            if self.results.residual is not None and number:
                self.results.set_residual_map(self.layer.residual_first + elements.start)
        self.table_base, self.table_start = self.table(self._entries(elements)), elements.start
        size = self.builder.config.buffers.table_entries
        self.results.set_requantiser((self.table_base - self.table_start + self.first) % size)
        self.lines = self._load_weights(blocks)
        is_last = (number + 1) % together == 0 or number + 1 == n_chunks
        for rows in self.row_groups(self.nest.rows_per_step):
            needed = self.require(rows, number, number)
            for block in blocks:
                for columns in self.nest.column_parts:
                    self._step(block, rows, columns, needed)
            if is_last:
                self.results.store(rows.stop)

    def _entries(self, elements: range) -> Array:
        layer, filters = self.layer, self.order[elements.start : elements.stop]
        step = layer.epilogue.requantise
        assert step is not None
        assert layer.weight is not None
        sums = taken(layer.weight.reshape(len(layer.weight), -1).sum(axis=1), filters, axis=0)
        bias = folded_bias(sums, layer.bias, filters, layer.pad_value + self.operand.offset) - step.input_zero_point
        return table_words(bias, spread(step.multiplier, filters), spread(step.shift, filters))

    def _load_weights(self, blocks: range) -> dict[int, int]:
        """Load the weights of some blocks, several at once; return the first line of each."""
        n_lines = self.nest.block_lines
        base = self.builder.ring(Memory.RHS, self.unit).take(len(blocks) * n_lines)
        size = -(-len(blocks) // _MAX_LOADS)
        for start in range(0, len(blocks), size):
            part = blocks[start : start + size]
            self._load_blocks(part, base + start * n_lines)
        return {block: base + i * n_lines for i, block in enumerate(blocks)}

    def _load_blocks(self, blocks: range, base: int) -> None:
        words = [self._words(block) for block in blocks]
        n_lines = len(blocks) * self.nest.block_lines
        self.builder.move(
            LoadWeights,
            f"{self.unit.label}.weights",
            [Access(Memory.RHS, self.unit, base, base + n_lines, True)],
            unit=self.unit,
            dram_address=self.builder.image.put(np.concatenate(words), "weights"),
            rhs_base=base,
            n_lines=n_lines,
            n_banks=self.dsp.n_columns,
        )

    def _words(self, block: int) -> Array:
        """Return the lines of a block's weights."""
        elements = self._elements(block)
        taps = taken(self.weight, self.order[elements.start : elements.stop], axis=0)
        return depthwise_lines(taps, self.nest.element_bits, self.dsp.n_inputs, self.dsp.n_columns)

    def _step(self, block: int, rows: range, columns: range, needed: range) -> None:
        geometry, (part, channels) = self.layer.geometry, self.nest.blocks[block]
        (kh, kw), stride = geometry.kernel, geometry.stride[1]
        n_words = ((len(columns) - 1) * stride + kw) * kh
        base = self.builder.ring(Memory.LHS, self.unit).take(n_words)
        cycles = n_words * len(rows) * -(-len(channels) * self.nest.element_bits // self.builder.config.fill_bits)
        first = self.layer.view.parts[part].first + channels.start
        self.builder.add(
            ExpandColumns,
            WINDOW_QUEUES[self.unit],
            [*self.feeder.accesses(self.unit, needed), Access(Memory.LHS, self.unit, base, base + n_words, True)],
            Effort(execute=WINDOW_STARTUP_CYCLES + cycles),
            first_row=rows.start,
            n_rows=len(rows),
            first_column=columns.start,
            n_columns=len(columns),
            lhs_base=base,
            slab=part,
            first_channel=first,
            n_channels=len(channels),
        )
        self._multiply(block, rows, columns, (base, n_words))

    def _multiply(self, block: int, rows: range, columns: range, lhs: tuple[int, int]) -> None:
        kh, kw = self.layer.geometry.kernel
        (base, n_words), elements, rhs = lhs, self._elements(block), self.lines[block]
        size = self.builder.config.buffers.table_entries
        turns = -(-kw // self.dsp.n_columns)
        self.builder.add(
            Depthwise,
            RESULT_QUEUES[self.unit],
            [
                Access(Memory.LHS, self.unit, base, base + n_words),
                Access(Memory.RHS, self.unit, rhs, rhs + self.nest.block_lines),
                *table_accesses(self.unit, self.table_base - self.table_start + elements.start, len(elements), size),
                *self.results.accesses(rows),
            ],
            Effort(
                execute=self.layer.geometry.stride[1] * kh * turns,
                result=len(rows) * -(-len(elements) // self.builder.config.n_lanes),
                tiles=len(columns),
            ),
            lhs_base=base,
            rhs_base=rhs,
            first_row=rows.start,
            n_rows=len(rows),
            first_column=columns.start,
            n_columns=len(columns),
            first_channel=elements.start - self.first,
            n_channels=len(elements),
        )


class _PoolLayer(_Walk):
    def __init__(self, builder: Builder, layer: Channelwise, schedule: UnitSchedule) -> None:
        assert isinstance(schedule.nest, PoolSchedule)
        self.rows_per_step = schedule.nest.rows_per_step
        operand = operand_of(Unit.POST, layer.view.format, 0, layer.pad_value)
        super().__init__(builder, layer, schedule, operand)
        self.table_base = -1

    def run(self) -> None:
        self.begin()
        self._set_requantiser()
        self.set_outputs(range(len(self.order)))
        for rows in self.row_groups(self.rows_per_step):
            needed = self.require(rows, 0, 0)
            for part in range(len(self.layer.view.parts)):
                self._step(part, rows, needed)
            self.results.store(rows.stop)

    def _set_requantiser(self) -> None:
        step, (kh, kw) = self.layer.epilogue.requantise, self.layer.geometry.kernel
        bias = 0 if self.layer.is_max else -self.layer.pad_value * kh * kw
        if step is None or len(step.multiplier) == 1:
            self.results.set_requantiser(None, bias)
            return
        size = self.builder.config.buffers.table_entries
        if len(self.order) > size:
            raise DoesNotFit(
                f"the table of POST must hold the {len(self.order)} channels of {self.layer.name}, but has {size} entries; "
                "enlarge table_entries, or take one factor for all channels"
            )
        factors = (spread(step.multiplier, self.order), spread(step.shift, self.order))
        biases = np.full(len(self.order), bias - step.input_zero_point)
        self.table_base = self.table(table_words(biases, *factors))
        self.results.set_requantiser(self.table_base)

    def _step(self, part: int, rows: range, needed: range) -> None:
        geometry, piece = self.layer.geometry, self.layer.view.parts[part]
        width, n = geometry.output_size[1], len(piece.channels)
        lanes = -(-n // self.builder.config.n_lanes)
        cycles = len(rows) * width * lanes * geometry.kernel[0] * geometry.kernel[1]
        accesses = [*self.feeder.accesses(self.unit, needed), *self.results.accesses(rows)]
        if self.table_base >= 0:
            size = self.builder.config.buffers.table_entries
            accesses += table_accesses(self.unit, self.table_base + self.starts[part], n, size)
        self.builder.add(
            Pool,
            WINDOW_QUEUES[self.unit],
            accesses,
            Effort(execute=POST_STARTUP_CYCLES + cycles),
            is_max=int(self.layer.is_max),
            slab=part,
            first_channel=piece.first,
            n_channels=n,
            first_pixel=rows.start * width,
            n_pixels=len(rows) * width,
            output_channel=self.starts[part],
        )
