"""Banks of accumulators: sums that are complete or wait for their next part, read one while another one is stored."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

SUM_BITS = 32


def store_step(n_banks: int) -> data.StructLayout:
    """Return the layout of what happens to a value: whether it is stored, on top of what is there, and in which bank."""
    return data.StructLayout({"is_stored": 1, "adds": 1, "bank": range(n_banks)})


class SumBanks(wiring.Component):
    """Sums of one place of a tile.

    ::

        if is_stored: banks[bank] = value + (banks[bank] if adds else 0)

    in 32 bits that wrap; stores may follow each other in every cycle.

    Args:
        n_banks: how many.
        value_bits: of a value, signed.

    Members:
        value: In, and store: In, a store_step, cycle t; the bank holds the sum from t + 1 on.
        read_bank: In, a bank, cycle r.
        sum: Out, what the bank held at r, cycle r + 1.
    """

    def __init__(self, n_banks: int, value_bits: int) -> None:
        self._n_banks = n_banks
        inputs = {"value": In(signed(value_bits)), "store": In(store_step(n_banks)), "read_bank": In(range(n_banks))}
        super().__init__({**inputs, "sum": Out(signed(SUM_BITS))})

    def elaborate(self, platform: Any) -> Module:
        """Read, add and write in one cycle: a memory of look-up tables."""
        m = Module()
        m.submodules.banks = banks = Memory(shape=signed(SUM_BITS), depth=self._n_banks, init=[])
        write, stored, read = banks.write_port(), banks.read_port(domain="comb"), banks.read_port()
        m.d.comb += [
            stored.addr.eq(self.store.bank),
            write.addr.eq(self.store.bank),
            write.en.eq(self.store.is_stored),
            write.data.eq(self.value + Mux(self.store.adds, stored.data, 0)),
            read.addr.eq(self.read_bank),
            read.en.eq(1),
            self.sum.eq(read.data),
        ]
        return m
