"""One lane of post-processing: what becomes of a finished sum, step by step, a sum a cycle.

The steps are those of `program.result_registers`. Registers travel with the sums: each field is wanted in the cycle in which
its step is done, so results of two instructions may follow each other without a gap.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.config import LOOKUP_ENTRIES, LOOKUP_TABLES
from silicut.accelerators.gemm.program.result_registers import SetCopy, SetLookup, SetRequantise, SetResidual
from silicut.accelerators.gemm.rtl.products import long_product, short_product, sum_of_products
from silicut.accelerators.gemm.rtl.registers import register_layout
from silicut.accelerators.gemm.rtl.settle import RESULT_BITS, Settle
from silicut.accelerators.gemm.rtl.stages import registered
from silicut.accelerators.gemm.rtl.sum_banks import SUM_BITS
from silicut.hardware import Instruction

LANE_CYCLES = 21
"""From a sum to its two results."""
OTHER_CYCLES = 6
"""From a sum to the element that is added to it."""
_RAW_BITS = 11  # of a value that was not requantised; a larger magnitude saturates
_WORD_ENTRIES = 8

ENTRY_CYCLES = {"bias": 0, "multiplier": 1, "shift": 3}
"""In which cycle behind the sum each part of its entry of the scale table is wanted."""

REGISTER_CYCLES: dict[type[Instruction], dict[str, int]] = {
    SetRequantise: {"rounding": 4, "zero_point": 5, "low": 5, "high": 5, "is_enabled": 6},
    SetResidual: {
        **{"zero_point": 6, "residual_zero_point": 6, "multiplier": 7, "residual_multiplier": 7, "shift": 9},
        **{"rounding": 10, "output_zero_point": 11, "low": 11, "high": 11, "is_enabled": 12},
    },
    SetLookup: {"first": 12, "table": 13, "is_enabled": 14, "is_signed": 14, "low": 14, "high": 14},
    SetCopy: {
        **{"input_zero_point": 15, "multiplier": 16, "shift": 18},
        **{"rounding": 19, "zero_point": 20, "low": 20, "high": 20},
    },
}
"""In which cycle behind the sum each field of the registers is wanted; fields left out concern no lane."""

STEP_NAMES = {SetRequantise: "requantise", SetResidual: "residual", SetLookup: "lookup", SetCopy: "copy"}
"""The ports of a lane for these registers."""

ScaleEntry = data.StructLayout({"bias": SUM_BITS, "multiplier": 24, "shift": 6})
"""An entry of the scale table, as it lies in memory."""

LookupWrite = data.StructLayout(
    {"is_written": 1, "address": range(LOOKUP_TABLES * LOOKUP_ENTRIES // _WORD_ENTRIES), "data": 8 * _WORD_ENTRIES}
)
"""A word of eight entries of the tables of functions: table in the top bit of the address."""


class PostLane(wiring.Component):
    """Bias, requantisation, addition of another tensor, function and limits, copy.

    Members:
        sum: In, signed 32 bits, cycle t.
        entry: In, ScaleEntry, its parts in the cycles t + ENTRY_CYCLES.
        other: In, signed 9 bits, the element that is added, cycle t + OTHER_CYCLES.
        requantise, residual, lookup, copy: In, registers, their fields in the cycles t + REGISTER_CYCLES.
        lookup_write: In, LookupWrite, any cycle; read from the next one on.
        result, copied: Out, signed 9 bits, cycle t + LANE_CYCLES.

    A sum that is not requantised is taken for the nearest number of 11 bits, which changes nothing unless it is an operand
    of an addition.
    """

    def __init__(self) -> None:
        registers = {name: In(register_layout(kind)) for kind, name in STEP_NAMES.items()}
        inputs = {"sum": In(signed(SUM_BITS)), "entry": In(ScaleEntry), "other": In(signed(RESULT_BITS))}
        results = {"result": Out(signed(RESULT_BITS)), "copied": Out(signed(RESULT_BITS))}
        super().__init__({**inputs, **registers, "lookup_write": In(LookupWrite), **results})

    def elaborate(self, platform: Any) -> Module:
        """One step behind the other; values that a step is not meant for go beside it."""
        m = Module()
        requantised = self._requantised(m)
        added = self._added(m, requantised)
        limited = self._limited(m, added)
        m.d.sync += self.result.eq(_later(m, limited, 5))
        m.d.comb += self.copied.eq(self._copied(m, limited))
        return m

    def _requantised(self, m: Module) -> Any:
        """Return the value in t + 6."""
        biased = registered(m, (self.sum + self.entry.bias)[:SUM_BITS])
        product = long_product(m, biased, self.entry.multiplier)
        settled = _settled(m, "requantise", product, self.entry.shift, self.requantise)
        raw = _later(m, registered(m, _nearest(self.sum, _RAW_BITS)), 5)
        return Mux(self.requantise.is_enabled, settled, raw)

    def _added(self, m: Module, value: Any) -> Any:
        """Return the value in t + 12."""
        step = self.residual
        own, other = registered(m, value - step.zero_point), registered(m, self.other - step.residual_zero_point)
        total = sum_of_products(m, ((own, step.multiplier), (other, step.residual_multiplier)))
        settled = _settled(m, "residual", total, step.shift, step, zero_point=step.output_zero_point)
        return Mux(step.is_enabled, settled, _later(m, value, 6))

    def _limited(self, m: Module, value: Any) -> Any:
        """Return the value in t + 15: that of a function, within its limits."""
        step, write = self.lookup, self.lookup_write
        m.submodules.tables = tables = Memory(shape=8 * _WORD_ENTRIES, depth=64, init=[])
        written, read = tables.write_port(), tables.read_port()
        index = registered(m, (value - step.first)[:8])
        part = registered(m, index[:3])
        m.d.comb += [written.addr.eq(write.address), written.data.eq(write.data), written.en.eq(write.is_written)]
        m.d.comb += [read.addr.eq(Cat(index[3:], step.table)), read.en.eq(1)]
        entry = read.data.word_select(part, 8)
        found = Cat(entry, step.is_signed & entry[7]).as_signed()
        seen = Signal(signed(_RAW_BITS))
        m.d.comb += seen.eq(Mux(step.is_enabled, found, _later(m, value, 2)))
        limited = Mux(seen > step.high, step.high, Mux(seen < step.low, step.low, seen))
        return registered(m, limited[:RESULT_BITS].as_signed())

    def _copied(self, m: Module, value: Any) -> Any:
        """Return the copy in t + 21."""
        step = self.copy
        product = short_product(m, registered(m, value - step.input_zero_point), step.multiplier)
        return _settled(m, "copy", product, step.shift, step)


def _settled(m: Module, name: str, value: Any, shift: Any, step: Any, zero_point: Any = None) -> Any:
    """Return a product shifted, rounded and saturated by registers, three cycles later."""
    m.submodules[name] = settle = Settle(len(value))
    m.d.comb += [settle.value.eq(value), settle.shift.eq(shift), settle.rounding.eq(step.rounding)]
    m.d.comb += settle.limits.zero_point.eq(step.zero_point if zero_point is None else zero_point)
    m.d.comb += [settle.limits.low.eq(step.low), settle.limits.high.eq(step.high)]
    return settle.result


def _later(m: Module, value: Any, n_cycles: int) -> Any:
    for _ in range(n_cycles):
        value = registered(m, value)
    return value


def _nearest(value: Any, bits: int) -> Any:
    """Return the nearest number of some bits."""
    top = value[bits - 1 :]
    is_inside = (top == 0) | top.all()
    ends = Cat((~value[-1]).replicate(bits - 1), value[-1])
    return Mux(is_inside, value[:bits], ends).as_signed()
