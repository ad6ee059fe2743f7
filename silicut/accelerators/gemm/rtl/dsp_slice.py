"""One DSP slice: a product and a constant, written so that DSP48E1 takes in all of its registers."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.rtl.dsp_operands import (
    FIELD_BITS,
    NARROW_BITS,
    ROUNDING,
    WIDE_BITS,
    low_field,
    main_field,
)
from silicut.accelerators.gemm.rtl.stages import registered

SLICE_CYCLES = 4
"""From operands to fields: operands (1), product (1), sum (1), fields (1)."""


class DspSlice(wiring.Component):
    """Multiplies packed operands, and takes the product apart.

    Args:
        has_low_field: whether two filters are ever multiplied at once.

    Members:
        wide: In, signed 25 bits, as `wide_operand` makes it, cycle t.
        narrow: In, signed 18 bits, as `narrow_operand` makes it, cycle t.
        is_4bit: In, what the operands are, cycle t + 3.
        main, low: Out, signed 16 bits, cycle t + 4; `low` only with has_low_field.
    """

    def __init__(self, *, has_low_field: bool = False) -> None:
        self._has_low_field = has_low_field
        ports = {"wide": In(signed(WIDE_BITS)), "narrow": In(signed(NARROW_BITS)), "is_4bit": In(1)}
        fields = ("main", "low") if has_low_field else ("main",)
        super().__init__({**ports, **{field: Out(signed(FIELD_BITS)) for field in fields}})

    def elaborate(self, platform: Any) -> Module:
        """Registers A and B, M, P, and one of fields."""
        m = Module()
        product = registered(m, registered(m, self.wide) * registered(m, self.narrow))
        total = registered(m, product + ROUNDING)
        m.d.sync += self.main.eq(main_field(total, self.is_4bit))
        if self._has_low_field:
            m.d.sync += self.low.eq(low_field(total))
        return m
