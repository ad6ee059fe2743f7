"""One DSP slice that multiplies four int4 weights by one uint4 activation, with carries told from predicted bits."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.rtl.stages import registered, wired
from silicut.numerics import DspPacking

_ACTIVATION_BITS, _WEIGHT_BITS, _PRODUCT_BITS = 4, 4, 8


class QuadSlice(wiring.Component):
    """Products of four weights with the activation that they share, each a field of one product.

    A field is too narrow for its product; what it lacks is the carry into the field above, -1..1. Without the carry, that
    field's two lowest bits follow from the two lowest bits of its operands; what is there differs from them by the carry.

    Args:
        packing: offsets of the weights: `INT4_QUAD_E1`, whose weights are -7..7, or `INT4_QUAD_E2` for all int4, which needs
            a port of 27 bits.

    Members:
        weights: In, 4 x int4, cycle t.
        activation: In, uint4, cycle t.
        products: Out, 4 x signed 8 bits, cycle t + 4.
    """

    def __init__(self, packing: DspPacking) -> None:
        self._packing, n = packing, len(packing.weight_offsets)
        weights, products = data.ArrayLayout(signed(_WEIGHT_BITS), n), data.ArrayLayout(signed(_PRODUCT_BITS), n)
        super().__init__({"weights": In(weights), "activation": In(unsigned(_ACTIVATION_BITS)), "products": Out(products)})

    def elaborate(self, platform: Any) -> Module:
        """Registers A and B, M, P, and one of fields; predictions go beside them."""
        m = Module()
        offsets = self._packing.weight_offsets
        packed = sum(weight << offset for weight, offset in zip(self.weights, offsets, strict=True))
        wide = packed[: self._packing.wide_port_bits].as_signed()
        product = registered(m, registered(m, wide) * registered(m, Cat(self.activation, Const(0, 1)).as_signed()))
        total = registered(m, product)
        low_bits = Cat((weight.as_unsigned()[:2] * self.activation[:2])[:2] for weight in self.weights)
        predicted = registered(m, registered(m, registered(m, low_bits)))
        carries = [Const(0, signed(2))]
        for i, offset in enumerate(offsets[1:], start=1):
            carry = total[offset : offset + 2] - predicted[2 * i : 2 * i + 2]
            carries.append(wired(m, carry[:2].as_signed()))
        for i, offset in enumerate(offsets):
            end = offsets[i + 1] if i + 1 < len(offsets) else offset + _PRODUCT_BITS
            above = carries[i + 1] << (end - offset) if i + 1 < len(offsets) else 0
            m.d.sync += self.products[i].eq(total[offset:end] + above - carries[i])
        return m
