"""One unit of the bit-serial array: counts, doubles, adds, and keeps finished sums in banks."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.config import LutCore
from silicut.accelerators.gemm.rtl.common_ones import CommonOnes
from silicut.accelerators.gemm.rtl.sum_banks import SUM_BITS, SumBanks, store_step

AddStep = data.StructLayout({"is_first": 1, "shifts": 1, "negates": 1})
"""What happens to the sum: it starts at 0, it is doubled before the count is added, the count is subtracted."""


class DotProductUnit(wiring.Component):
    """Dot product of two numbers of planes, one pair of words a cycle.

    ::

        sum = (0 if is_first else 2 * sum if shifts else sum) + (-count if negates else count)

    in 32 bits that wrap; finished sums go into banks.

    Args:
        core: word_bits and n_accumulator_banks.

    Members:
        left, right: In, word_bits each, cycle t.
        add: In, AddStep, cycle t + c, where c = count_latency_cycles(core).
        store: In, store_step of the sum, cycle t + c + 1: the bank holds it from t + c + 2 on. Of words that are executed in
            cycle t - 3 that is core.latency_cycles after the end of their execution.
        read_bank: In, a bank, cycle r.
        sum: Out, signed 32 bits, what the bank held at r, cycle r + 1.
    """

    def __init__(self, core: LutCore) -> None:
        self._core, n_banks = core, core.n_accumulator_banks
        ports = {"left": In(core.word_bits), "right": In(core.word_bits), "add": In(AddStep)}
        ports |= {"store": In(store_step(n_banks)), "read_bank": In(range(n_banks)), "sum": Out(signed(SUM_BITS))}
        super().__init__(ports)

    def elaborate(self, platform: Any) -> Module:
        """Count, accumulate, store."""
        m = Module()
        m.submodules.ones = ones = CommonOnes(self._core)
        m.submodules.banks = banks = SumBanks(self._core.n_accumulator_banks, SUM_BITS)
        total = Signal(SUM_BITS, reset_less=True)
        m.d.comb += [ones.left.eq(self.left), ones.right.eq(self.right)]
        m.d.sync += total.eq(self._added(total, ones.count))
        m.d.comb += [banks.value.eq(total), banks.store.eq(self.store)]
        m.d.comb += [banks.read_bank.eq(self.read_bank), self.sum.eq(banks.sum)]
        return m

    def _added(self, total: Signal, count: Any) -> Any:
        """Return the next sum, by one adder whose carry comes in from a bit below."""
        so_far = Mux(self.add.is_first, 0, Mux(self.add.shifts, Cat(0, total)[:SUM_BITS], total))
        other = count ^ self.add.negates.replicate(len(count))
        sign = self.add.negates.replicate(SUM_BITS - len(count))
        return (Cat(self.add.negates, so_far) + Cat(self.add.negates, other, sign))[1 : SUM_BITS + 1]
