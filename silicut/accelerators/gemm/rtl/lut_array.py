"""The bit-serial array: n_rows x n_columns units that share words, steps and the way out."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.config import LutCore
from silicut.accelerators.gemm.rtl.common_ones import count_latency_cycles
from silicut.accelerators.gemm.rtl.dot_product_unit import SUM_BITS, AddStep, DotProductUnit, store_step
from silicut.accelerators.gemm.rtl.stages import delayed, registered

READ_LATENCY_CYCLES = 2
"""From the choice of sums to their being there."""


def sum_choice(n_banks: int, n_rows: int, n_groups: int) -> data.StructLayout:
    """Return the layout of what is read: a bank, a row, and a group of neighbouring filters."""
    return data.StructLayout({"bank": range(n_banks), "row": range(n_rows), "group": range(n_groups)})


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
        self._n_groups = -(-core.n_columns // n_lanes)
        super().__init__(
            {
                "left": In(data.ArrayLayout(core.word_bits, core.n_rows)),
                "right": In(data.ArrayLayout(core.word_bits, core.n_columns)),
                "add": In(AddStep),
                "store": In(store_step(core.n_accumulator_banks)),
                "read": In(sum_choice(core.n_accumulator_banks, core.n_rows, self._n_groups)),
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
        row, group = registered(m, self.read.row), registered(m, self.read.group)
        rows = [sums[r * self._core.n_columns :][: self._core.n_columns] for r in range(self._core.n_rows)]
        for lane in range(self._n_lanes):
            choices = Array(Array(self._group(columns, lane))[group] for columns in rows)
            m.d.sync += self.sums[lane].eq(choices[row])
        return m

    def _group(self, columns: list[Any], lane: int) -> list[Any]:
        """Return the sums that a lane may get of a row, one for each group."""
        found = columns[lane :: self._n_lanes]
        return found + [0] * (self._n_groups - len(found))
