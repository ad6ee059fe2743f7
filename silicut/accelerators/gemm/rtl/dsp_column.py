"""One column of DSP slices for one pixel: products of a word, their sum, and the sums of the column's filters."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.config import DspCore
from silicut.accelerators.gemm.rtl.dsp_operands import FIELD_BITS, NARROW_BITS, WIDE_BITS
from silicut.accelerators.gemm.rtl.dsp_slice import DspSlice
from silicut.accelerators.gemm.rtl.stages import pair_sums, registered
from silicut.accelerators.gemm.rtl.sum_banks import SUM_BITS, SumBanks, store_step


def column_step(core: DspCore) -> data.StructLayout:
    """Return the layout of what happens to the sum of a word: the pass, or pair of passes, that it is of, and its bank."""
    return data.StructLayout({"turn": range(core.n_passes), "store": store_step(core.n_accumulator_banks)})


def tree_cycles(core: DspCore) -> int:
    """Return the levels of the sum over a word."""
    return max(1, (core.n_inputs - 1).bit_length())


class DspColumn(wiring.Component):
    """n_inputs slices, which work for one filter of a tile in a cycle or for two, and banks for n_passes filters.

    Args:
        core: n_inputs, n_passes, macs_per_slice_8bit, n_accumulator_banks.

    Members:
        wide, narrow: In, n_inputs packed operands each, cycle t.
        is_4bit: In, what they are, cycle t + 3.
        is_twofold: In, whether they are of two filters, cycle t + 4 + l, where l = tree_cycles(core); not there where slices
            multiply for one filter only.
        step: In, column_step, cycle t + 4 + l. Turn i is pass i, or where it is twofold passes 2 i (low fields) and 2 i + 1.
            Banks hold the sum from t + 5 + l on.
        read_bank: In, a bank, cycle r.
        sums: Out, n_passes sums of 32 bits, what the bank held at r, cycle r + 1.
    """

    def __init__(self, core: DspCore) -> None:
        self._core, n = core, core.n_inputs
        self._has_pairs = core.macs_per_slice_8bit == 2
        ports = {"wide": In(data.ArrayLayout(signed(WIDE_BITS), n)), "narrow": In(data.ArrayLayout(signed(NARROW_BITS), n))}
        ports |= {"is_4bit": In(1), **({"is_twofold": In(1)} if self._has_pairs else {})}
        ports |= {"step": In(column_step(core)), "read_bank": In(range(core.n_accumulator_banks))}
        super().__init__({**ports, "sums": Out(data.ArrayLayout(signed(SUM_BITS), core.n_passes))})

    def elaborate(self, platform: Any) -> Module:
        """Multiply, add, accumulate."""
        m = Module()
        slices = [DspSlice(has_low_field=self._has_pairs) for _ in range(self._core.n_inputs)]
        for i, slice in enumerate(slices):
            m.submodules[f"slice{i}"] = slice
            m.d.comb += [slice.wide.eq(self.wide[i]), slice.narrow.eq(self.narrow[i]), slice.is_4bit.eq(self.is_4bit)]
        main = self._total(m, [slice.main for slice in slices])
        low = self._total(m, [slice.low for slice in slices]) if self._has_pairs else main
        for number in range(self._core.n_passes):
            banks = SumBanks(self._core.n_accumulator_banks, FIELD_BITS + tree_cycles(self._core))
            m.submodules[f"pass{number}"] = banks
            value, is_meant = main, self.step.turn == number
            if self._has_pairs:
                value = Mux(self.is_twofold, main if number % 2 else low, main)
                is_meant = self.step.turn == Mux(self.is_twofold, number // 2, number)
            m.d.comb += [
                banks.value.eq(value),
                banks.store.eq(self.step.store),
                banks.store.is_stored.eq(self.step.store.is_stored & is_meant),
                banks.read_bank.eq(self.read_bank),
                self.sums[number].eq(banks.sum),
            ]
        return m

    def _total(self, m: Module, values: list[Any]) -> Any:
        """Return the sum of all slices, a register behind each level of a balanced tree."""
        for _ in range(tree_cycles(self._core)):
            values = [registered(m, value) for value in pair_sums(values)]
        return values[0]
