"""Products as DSP slices take them: registers behind the multipliers and behind the sum."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module

from silicut.accelerators.gemm.rtl.stages import registered

_PIECE_BITS = 17  # of an operand that is wider than a port of 18 bits


def long_product(m: Module, value: Any, multiplier: Any) -> Any:
    """Return a signed value of up to 35 bits times an unsigned multiplier of up to 24, two cycles later: two slices.

    Args:
        m: where registers go.
        value: cycle t, best a register.
        multiplier: cycle t, likewise.
    """
    factor = Cat(multiplier, Const(0, 1)).as_signed()
    low, high = Cat(value[:_PIECE_BITS], Const(0, 1)).as_signed(), value[_PIECE_BITS:].as_signed()
    lower, upper = registered(m, low * factor), registered(m, high * factor)
    return registered(m, ((upper << _PIECE_BITS) + lower)[: len(value) + len(multiplier)].as_signed())


def short_product(m: Module, value: Any, multiplier: Any) -> Any:
    """Return a signed value of up to 18 bits times an unsigned multiplier of up to 24, two cycles later: one slice."""
    return registered(m, registered(m, value * Cat(multiplier, Const(0, 1)).as_signed()))


def sum_of_products(m: Module, factors: tuple[tuple[Any, Any], tuple[Any, Any]]) -> Any:
    """Return the sum of two products of signed values by unsigned multipliers, two cycles later: two slices."""
    first, second = (registered(m, value * Cat(by, Const(0, 1)).as_signed()) for value, by in factors)
    return registered(m, first + second)
