"""What becomes of a finished sum: registers of LUT.COMPUTE, DSP.COMPUTE and POST, the steps in the order of their use.

result(pixel, channel) of a sum `acc` (POST: of a maximum or a sum of a window) means

    value = acc
    if requantise.is_enabled:
        bias, multiplier, shift = the table's entry of the channel, or those of set_constant
        value = saturate(round((value + bias) * multiplier / 2^shift) + zero_point, low, high)
    if residual.is_enabled:
        other = the residual tensor's element at this pixel and channel
        total = (value - zero_point) * multiplier + (other - residual_zero_point) * residual_multiplier
        value = saturate(round(total / 2^shift) + output_zero_point, low, high)
    if lookup.is_enabled:
        value = lookup[table][value - first]
    value = saturate(value, lookup.low, lookup.high)
    if output 0 is enabled: its element at this pixel and channel = value
    if output 1 is enabled:
        copy = round((value - copy.input_zero_point) * copy.multiplier / 2^copy.shift) + copy.zero_point
        its element at this pixel and channel = saturate(copy, copy.low, copy.high)

Rounding is one of `ROUNDINGS`, products are exact. value + bias is an int32 and wraps: a bias may hold a folded zero point
whose sum is right only modulo 2^32. Registers take effect in the order of the queue, for the results of instructions behind
them. Every result needs set_pixels, set_requantise, set_residual, set_lookup and one set_output in its queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.hardware import Instruction, signed, unsigned
from silicut.numerics import Rounding

ROUNDINGS = tuple(Rounding)
"""Rounding modes; the position is the number in a field: half_even, half_up, half_away, floor, truncate."""


@dataclass(frozen=True, kw_only=True)
class SetPixels(Instruction):
    """Register: the width of the output map. Pixel p lies in row p // width, column p % width."""

    mnemonic: ClassVar[str] = "set_pixels"

    width: int = unsigned(12, "columns of the output")


@dataclass(frozen=True, kw_only=True)
class SetRequantise(Instruction):
    """Registers: from a sum to a number of a format.

    ::

        entry = table[(table_base + channel) % table_entries] if uses_table else set_constant
        value = saturate(round((value + entry.bias) * entry.multiplier / 2^entry.shift) + zero_point, low, high)
    """

    mnemonic: ClassVar[str] = "set_requantise"

    is_enabled: int = unsigned(1, "the step is done")
    uses_table: int = unsigned(1, "bias, multiplier and shift are those of the channel, else those of set_constant")
    table_base: int = unsigned(14, "entry of channel 0 of the output slabs")
    rounding: int = unsigned(3, "0 half_even, 1 half_up, 2 half_away, 3 floor, 4 truncate")
    zero_point: int = signed(9, "added last")
    low: int = signed(9, "smallest result")
    high: int = signed(9, "largest result")


@dataclass(frozen=True, kw_only=True)
class SetConstant(Instruction):
    """Registers: bias, multiplier and shift of all channels, where no table is used."""

    mnemonic: ClassVar[str] = "set_constant"

    bias: int = signed(32, "added first")
    multiplier: int = unsigned(24, "of the sum")
    shift: int = unsigned(6, "0..62 bits to the right")


@dataclass(frozen=True, kw_only=True)
class SetResidual(Instruction):
    """Registers: addition of another tensor, rounded once.

    ::

        total = (value - zero_point) * multiplier + (other - residual_zero_point) * residual_multiplier
        value = saturate(round(total / 2^shift) + output_zero_point, low, high)
    """

    mnemonic: ClassVar[str] = "set_residual"

    is_enabled: int = unsigned(1, "the step is done")
    multiplier: int = unsigned(16, "of the value so far")
    residual_multiplier: int = unsigned(16, "of the other tensor")
    shift: int = unsigned(6, "0..62 bits to the right")
    zero_point: int = signed(9, "of the value so far")
    residual_zero_point: int = signed(9, "of the other tensor")
    output_zero_point: int = signed(9, "added last")
    low: int = signed(9, "smallest result")
    high: int = signed(9, "largest result")
    rounding: int = unsigned(3, "as in set_requantise")


@dataclass(frozen=True, kw_only=True)
class SetResidualMap(Instruction):
    """Registers: the tensor that is added, which has the pixels and the order of channels of the output."""

    mnemonic: ClassVar[str] = "set_residual_map"

    n_slabs: int = unsigned(7, "slabs of the table")
    first_channel: int = unsigned(15, "its channel, over all slabs, that is added to channel 0 of the output slabs")
    bits: int = unsigned(4, "planes of an element")
    is_signed: int = unsigned(1, "elements are two's complement")


@dataclass(frozen=True, kw_only=True)
class SetResidualSlab(Instruction):
    """Registers: one slab of the tensor that is added, in the residual buffer.

    ::

        other = element x * pitch + (channel - first_channel) of the row at base + y % ring_rows * row_words

    for the slab with first_channel <= channel < first_channel + n_channels.
    """

    mnemonic: ClassVar[str] = "set_residual_slab"

    index: int = unsigned(6, "in the table")
    first_channel: int = unsigned(14, "the tensor's channel that is element 0 of a pixel")
    n_channels: int = unsigned(14, "channels")
    pitch: int = unsigned(14, "elements of a pixel")
    base: int = unsigned(14, "first word of its ring in the residual buffer")
    ring_rows: int = unsigned(11, "rows that the ring holds")
    row_words: int = unsigned(15, "words of a row")


@dataclass(frozen=True, kw_only=True)
class SetLookup(Instruction):
    """Registers: a function by its table, and limits.

    ::

        if is_enabled: value = lookup[table][value - first]       # a byte, two's complement if is_signed
        value = saturate(value, low, high)
    """

    mnemonic: ClassVar[str] = "set_lookup"

    is_enabled: int = unsigned(1, "the table is used")
    table: int = unsigned(1, "which of the two")
    first: int = signed(9, "the value of entry 0")
    is_signed: int = unsigned(1, "entries are two's complement")
    low: int = signed(9, "smallest result")
    high: int = signed(9, "largest result")


@dataclass(frozen=True, kw_only=True)
class SetOutput(Instruction):
    """Registers: where results go in the output buffer, and how many bits of them.

    ::

        element x * pitch + first_channel + channel of the row at base + y % ring_rows * row_words = the low bits of value

    in the layout of a slab: a granule of 64 elements is `bits` words, one a plane. Output 1 is the copy of set_copy.
    """

    mnemonic: ClassVar[str] = "set_output"

    output: int = unsigned(1, "0 the result, 1 its copy")
    is_enabled: int = unsigned(1, "it is written")
    bits: int = unsigned(4, "planes of an element")
    pitch: int = unsigned(15, "elements of a pixel")
    first_channel: int = unsigned(15, "element of a pixel that channel 0 becomes: others are another core's")
    base: int = unsigned(15, "first word of its ring in the output buffer")
    ring_rows: int = unsigned(12, "rows that the ring holds")
    row_words: int = unsigned(15, "words of a row")


@dataclass(frozen=True, kw_only=True)
class SetCopy(Instruction):
    """Registers: from the result to output 1.

    ::

        copy = saturate(round((value - input_zero_point) * multiplier / 2^shift) + zero_point, low, high)
    """

    mnemonic: ClassVar[str] = "set_copy"

    multiplier: int = unsigned(24, "of the value")
    shift: int = unsigned(6, "0..62 bits to the right")
    input_zero_point: int = signed(9, "of the value")
    zero_point: int = signed(9, "added last")
    low: int = signed(9, "smallest result")
    high: int = signed(9, "largest result")
    rounding: int = unsigned(3, "as in set_requantise")
