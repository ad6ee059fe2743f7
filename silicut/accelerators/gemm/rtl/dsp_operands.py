"""What the two ports of a DSP slice get, and which fields of its product are read.

All modes share one slice and one rounding constant, as the sum that is wanted always lies in the *main* field at bit 16:

    8-bit, one filter     wide = w << 16                    narrow = x             main = w x
    8-bit, two filters    wide = w0 + (w1 << 16)            narrow = x             low = w0 x, main = w1 x
    4-bit, dot product    wide = (w1 << 4) + (w0 << 16)     narrow = x0 + (x1 << 12)   main = w0 x0 + w1 x1

The second is `numerics.INT8_PAIR_TRACKED` and the third `numerics.INT4_DOT_12`, four bits higher; both are read after every
product, so no carries need be tracked. What lies below the main field is a signed number of 16 bits; adding 2^15 to the
product takes its borrow out of the main field, and inverts its own top bit. The constant is added inside of the slice.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Mux

WIDE_BITS, NARROW_BITS = 25, 18
MAIN_BIT, FIELD_BITS = 16, 16
ROUNDING = 1 << (MAIN_BIT - 1)
_NIBBLE = 4


def wide_operand(bytes_: list[Any], is_4bit: Any) -> Any:
    """Return the weights of a slice as its wide port takes them, 25 bits.

    Args:
        bytes_: a byte of the weights of one filter, or of two where an 8-bit slice multiplies for two filters at once: int8,
            or the int4 elements 0 (low) and 1 of a dot product, which uses the first byte only.
        is_4bit: whether it is a dot product.
    """
    first = bytes_[0]
    low, high = first[:_NIBBLE].as_signed(), first[_NIBBLE:].as_signed()
    dot = (low << MAIN_BIT) + (high << _NIBBLE)
    other = bytes_[0].as_signed() if len(bytes_) > 1 else 0
    whole = (bytes_[-1].as_signed() << MAIN_BIT) + other
    return Mux(is_4bit, dot, whole)[:WIDE_BITS]


def narrow_operand(byte: Any, is_4bit: Any) -> Any:
    """Return the activations of a slice as its narrow port takes them, 18 bits: int8, or the uint4 elements 0 and 1."""
    dot = Cat(byte[:_NIBBLE], Const(0, 12 - _NIBBLE), byte[_NIBBLE:])
    return Mux(is_4bit, dot, byte.as_signed())


def main_field(product: Any, is_4bit: Any) -> Any:
    """Return the main field, 16 bits signed; the sum of a dot product has 12 bits, junk lies above."""
    field = product[MAIN_BIT : MAIN_BIT + FIELD_BITS]
    sign = field[11].replicate(4)
    return Cat(field[:12], Mux(is_4bit, sign, field[12:])).as_signed()


def low_field(product: Any) -> Any:
    """Return the field below, 16 bits signed, of two filters at once."""
    return Cat(product[: FIELD_BITS - 1], ~product[FIELD_BITS - 1]).as_signed()
