"""The bit-serial array: n_rows x n_columns units that share words, steps and the way out."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.config import LutCore
from silicut.accelerators.gemm.rtl.common_ones import count_latency_cycles
from silicut.accelerators.gemm.rtl.dot_product_unit import AddStep, DotProductUnit
from silicut.accelerators.gemm.rtl.stages import delayed
from silicut.accelerators.gemm.rtl.sum_banks import SUM_BITS, store_step
from silicut.accelerators.gemm.rtl.sum_choice import chosen_sums, sum_choice


class LutArray(wiring.Component):
    """Units r, c: row r of the left operand times column c of the right one.

    Args:
        core: the shape.
        n_lanes: sums that are read at once.

    Members:
        left: In, n_rows words, cycle t.
        right: In, n_columns words, cycle t.
        add: In, AddStep of all units for these words, cycle t.
        store: In, store_step of all units for these words, cycle t; sums are stored in t + core.latency_cycles - 2.
        read: In, sum_choice, cycle r.
        sums: Out, n_lanes sums of columns group * n_lanes ..., 0 behind the last column; cycle r + READ_LATENCY_CYCLES.
    """

    def __init__(self, core: LutCore, n_lanes: int) -> None:
        self._core, self._n_lanes = core, n_lanes
        super().__init__(
            {
                "left": In(data.ArrayLayout(core.word_bits, core.n_rows)),
                "right": In(data.ArrayLayout(core.word_bits, core.n_columns)),
                "add": In(AddStep),
                "store": In(store_step(core.n_accumulator_banks)),
                "read": In(sum_choice(core.n_accumulator_banks, core.n_rows, core.n_columns, n_lanes)),
                "sums": Out(data.ArrayLayout(signed(SUM_BITS), n_lanes)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Spread words and steps over the units, and choose among their sums."""
        m = Module()
        n_cycles = count_latency_cycles(self._core)
        add = delayed(m, self.add.as_value(), n_cycles)
        store = delayed(m, self.store.as_value(), n_cycles + 1)
        sums = []
        for r in range(self._core.n_rows):
            for c in range(self._core.n_columns):
                m.submodules[f"unit{r}_{c}"] = unit = DotProductUnit(self._core)
                m.d.comb += [unit.left.eq(self.left[r]), unit.right.eq(self.right[c])]
                m.d.comb += [unit.add.eq(add), unit.store.eq(store), unit.read_bank.eq(self.read.bank)]
                sums.append(unit.sum)
        rows = [sums[r * self._core.n_columns :][: self._core.n_columns] for r in range(self._core.n_rows)]
        m.d.sync += self.sums.eq(chosen_sums(m, rows, self.read, self._n_lanes))
        return m
