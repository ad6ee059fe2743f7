"""Depthwise convolutions on the DSP core: lanes are channels, columns are taps."""

from __future__ import annotations

import numpy as np

from silicut.accelerators.gemm.compile.banks import table_accesses
from silicut.accelerators.gemm.compile.builder import RESULT_QUEUES, WINDOW_QUEUES, Builder
from silicut.accelerators.gemm.compile.channelwise import Channelwise, Walk
from silicut.accelerators.gemm.compile.folding import Array, folded_bias, operand_of, spread, taken
from silicut.accelerators.gemm.compile.jobs import Access, Memory
from silicut.accelerators.gemm.compile.order import Effort
from silicut.accelerators.gemm.compile.schedule import DepthwiseSchedule, UnitSchedule
from silicut.accelerators.gemm.config import WINDOW_STARTUP_CYCLES
from silicut.accelerators.gemm.program import (
    Depthwise,
    ExpandColumns,
    LoadWeights,
    SetTaps,
    Unit,
    depthwise_lines,
    table_words,
)

_MAX_LOADS = 8


class DepthwiseWalk(Walk):
    """The DSP core on its way over the map of a depthwise layer."""

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
        """Append the layer."""
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
