"""The array of DSP slices: n_rows x n_columns columns that share words, steps and the way out."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.config import DspCore
from silicut.accelerators.gemm.rtl.dsp_column import DspColumn, column_step, tree_cycles
from silicut.accelerators.gemm.rtl.dsp_operands import narrow_operand, wide_operand
from silicut.accelerators.gemm.rtl.dsp_slice import SLICE_CYCLES
from silicut.accelerators.gemm.rtl.stages import delayed
from silicut.accelerators.gemm.rtl.sum_banks import SUM_BITS
from silicut.accelerators.gemm.rtl.sum_choice import chosen_sums, sum_choice
from silicut.records import ConfigError


class DspArray(wiring.Component):
    """Columns r, c: row r of the left operand times the filters c, columns + c, 2 columns + c ... of a tile.

    Args:
        core: the shape; slices multiply 4 by 4 bits twice in a cycle.
        n_lanes: sums that are read at once.

    Members:
        left: In, n_rows words of n_inputs bytes, cycle t.
        right: In, n_columns times macs_per_slice_8bit words, cycle t: those of the filters of this turn; where a slice could
            multiply for two filters but does not (4 bits), the second is not read.
        is_4bit: In, whether bytes are two elements of 4 bits (uint4 left, int4 right) or one int8, cycle t.
        step: In, column_step of all columns for these words, cycle t; sums are stored in t + core.latency_cycles - 3.
        read: In, sum_choice, cycle r.
        sums: Out, n_lanes sums of filters group * n_lanes ..., 0 behind the last one; cycle r + READ_LATENCY_CYCLES.

    Raises:
        ConfigError: on elaboration, slices multiply 4 by 4 bits four times in a cycle, which this array does not do.
    """

    def __init__(self, core: DspCore, n_lanes: int) -> None:
        self._core, self._n_lanes = core, n_lanes
        word = data.ArrayLayout(8, core.n_inputs)
        super().__init__(
            {
                "left": In(data.ArrayLayout(word, core.n_rows)),
                "right": In(data.ArrayLayout(data.ArrayLayout(word, core.macs_per_slice_8bit), core.n_columns)),
                "is_4bit": In(1),
                "step": In(column_step(core)),
                "read": In(sum_choice(core.n_accumulator_banks, core.n_rows, core.n_outputs, n_lanes)),
                "sums": Out(data.ArrayLayout(signed(SUM_BITS), n_lanes)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Pack operands once for each row and each column, spread them, and choose among the sums."""
        if self._core.macs_per_slice_4bit != 2:
            raise ConfigError(f"dsp.macs_per_slice_4bit must be 2 in hardware, not {self._core.macs_per_slice_4bit}")
        m = Module()
        n_cycles, n_inputs = SLICE_CYCLES + tree_cycles(self._core), range(self._core.n_inputs)
        is_field_4bit, is_sum_4bit = (delayed(m, self.is_4bit, n) for n in (SLICE_CYCLES - 1, n_cycles))
        step = delayed(m, self.step.as_value(), n_cycles)
        rows = []
        for r in range(self._core.n_rows):
            columns = []
            for c in range(self._core.n_columns):
                m.submodules[f"column{r}_{c}"] = column = DspColumn(self._core)
                for i in n_inputs:
                    bytes_ = [self.right[c][slot][i] for slot in range(self._core.macs_per_slice_8bit)]
                    m.d.comb += column.wide[i].eq(wide_operand(bytes_, self.is_4bit))
                    m.d.comb += column.narrow[i].eq(narrow_operand(self.left[r][i], self.is_4bit))
                m.d.comb += [column.is_4bit.eq(is_field_4bit), column.step.eq(step), column.read_bank.eq(self.read.bank)]
                if self._core.macs_per_slice_8bit == 2:
                    m.d.comb += column.is_twofold.eq(~is_sum_4bit)
                columns.append(column)
            rows.append([column.sums[number] for number in range(self._core.n_passes) for column in columns])
        m.d.sync += self.sums.eq(chosen_sums(m, rows, self.read, self._n_lanes))
        return m
