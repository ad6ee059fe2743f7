"""Everything that POST does: pools, subsamples, functions and additions of stored tensors."""

from __future__ import annotations

import numpy as np

from silicut.accelerators.gemm.compile.banks import table_accesses
from silicut.accelerators.gemm.compile.builder import WINDOW_QUEUES, Builder
from silicut.accelerators.gemm.compile.channelwise import Channelwise, Walk
from silicut.accelerators.gemm.compile.folding import operand_of, spread
from silicut.accelerators.gemm.compile.order import Effort
from silicut.accelerators.gemm.compile.schedule import PoolSchedule, UnitSchedule
from silicut.accelerators.gemm.config import POST_STARTUP_CYCLES
from silicut.accelerators.gemm.program import (
    Pool,
    Unit,
    table_words,
)
from silicut.records import DoesNotFit


class PoolWalk(Walk):
    """POST on its way over a map."""

    def __init__(self, builder: Builder, layer: Channelwise, schedule: UnitSchedule) -> None:
        assert isinstance(schedule.nest, PoolSchedule)
        self.rows_per_step, bits = schedule.nest.rows_per_step, schedule.nest.element_bits
        operand = operand_of(Unit.POST, layer.view.format, bits, layer.pad_value)
        super().__init__(builder, layer, schedule, operand)
        self.table_base = -1

    def run(self) -> None:
        """Append the layer."""
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
        config, n_taps = self.builder.config, geometry.kernel[0] * geometry.kernel[1]
        taps = n_taps * -(-n * self.operand.bits // config.vector_word_bits)
        cycles = len(rows) * width * max(taps, -(-n // config.n_vector_lanes))
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
