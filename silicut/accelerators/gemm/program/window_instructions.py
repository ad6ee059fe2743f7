"""The instructions of the window units, which make rows of a matrix of windows over a map ("im2col", on the fly).

Registers hold what a whole layer has in common. POST has the same ones for the windows of its pools.

A tensor is a list of slabs (see `program.places`). Row y of slab s lies in the feature buffer at

    base[s] + y % ring_rows[s] * row_words[s]

as elements e = x * pitch[s] + c: element e is number e % 64 of granule e // 64, and a granule is `bits` words, in the LUT
core one for each plane, in the DSP core and in POST 64 / bits elements each. Outside of the map lies `pad_value`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.accelerators.gemm.program.queues import Queue
from silicut.hardware import Instruction, unsigned


@dataclass(frozen=True, kw_only=True)
class SetMap(Instruction):
    """Registers: the map that windows move over.

    `bits` counts the planes of an element in LUT.WINDOW; in DSP.WINDOW and POST it is 4 or 8, the width of an element.
    `flip` inverts the top bit of every element, pad values included, on its way into the banks of the DSP core, which
    multiplies uint4 or int8: it makes uint4 of int4 (adds 8) and int8 of uint8 (subtracts 128).
    """

    mnemonic: ClassVar[str] = "set_map"

    height: int = unsigned(12, "rows of the input")
    width: int = unsigned(12, "columns of the input")
    output_width: int = unsigned(12, "windows in a row")
    bits: int = unsigned(4, "of an element")
    is_signed: int = unsigned(1, "elements are two's complement; read by POST only")
    flip: int = unsigned(1, "invert the top bit; DSP.WINDOW only")
    pad_value: int = unsigned(8, "bits of an element outside of the map")


@dataclass(frozen=True, kw_only=True)
class SetKernel(Instruction):
    """Registers: where the taps of a window lie. Window (y, x) sees, at tap (i, j), the element of

    ::

        row y * stride_y + i * dilation_y - pad_top, column x * stride_x + j * dilation_x - pad_left
    """

    mnemonic: ClassVar[str] = "set_kernel"

    n_slabs: int = unsigned(8, "slabs of the table that are read")
    height: int = unsigned(8, "taps down")
    width: int = unsigned(8, "taps across")
    stride_y: int = unsigned(6, "rows between windows")
    stride_x: int = unsigned(6, "columns between windows")
    dilation_y: int = unsigned(6, "rows between taps")
    dilation_x: int = unsigned(6, "columns between taps")
    pad_top: int = unsigned(8, "rows above the map")
    pad_left: int = unsigned(8, "columns left of it")


@dataclass(frozen=True, kw_only=True)
class SetSlab(Instruction):
    """Registers: one slab of the table.

    A slab gives the windows *segments*, runs of neighbouring elements of a row: one for each tap row if it is read whole
    (first_channel = 0, n_channels = pitch) and dilation_x = 1, of kernel.width * pitch elements; else one for each tap, of
    n_channels elements.
    """

    mnemonic: ClassVar[str] = "set_slab"

    index: int = unsigned(7, "in the table")
    pitch: int = unsigned(15, "elements of a pixel")
    first_channel: int = unsigned(15, "first element of a pixel that is read")
    n_channels: int = unsigned(15, "elements of a pixel that are read")
    base: int = unsigned(15, "first word of its ring in the feature buffer")
    ring_rows: int = unsigned(12, "rows that the ring holds")
    row_words: int = unsigned(15, "words of a row in the feature buffer")


@dataclass(frozen=True, kw_only=True)
class Expand(Instruction):
    """Make rows of the matrix: the windows of neighbouring output pixels, one behind the other in the banks.

    ::

        for i in range(n_pixels):
            y, x = divmod(first_pixel + i, output_width)
            row = []                                          # segments of all slabs, in the order slab, tap row, tap
            for segment in range(first_segment, first_segment + n_segments):
                row += elements of the segment in window (y, x)
            row = row + zeros up to whole words               # t_k words
            bank, stripe = i % n_rows, i // n_rows
            LUT: for plane in range(bits): for word in range(t_k):
                     lhs[bank][lhs_base + stripe * bits * t_k + plane * t_k + word] = that plane of word_bits elements
            DSP: for word in range(t_k):
                     lhs[bank][lhs_base + stripe * t_k + word] = n_word_inputs elements

    Time: n_pixels * bits * sum over segments of ceil(elements / fill_bits) in the LUT core, n_pixels * sum over segments of
    ceil(elements * bits / fill_bits) in the DSP core, and WINDOW_STARTUP_CYCLES.
    """

    mnemonic: ClassVar[str] = "expand"

    first_pixel: int = unsigned(22, "y * output_width + x of the first window")
    n_pixels: int = unsigned(13, "windows")
    lhs_base: int = unsigned(15, "first word in the banks")
    first_segment: int = unsigned(14, "first segment of the window")
    n_segments: int = unsigned(14, "segments")


@dataclass(frozen=True, kw_only=True)
class ExpandColumns(Instruction):
    """Make what a depthwise layer reads: columns of a block of channels, for windows of one output row a bank.

    ::

        for r in range(n_rows):                                          # output row first_row + r, in bank r
            for column in range((n_columns - 1) * stride_x + kernel.width):
                x = first_column * stride_x - pad_left + column
                for i in range(kernel.height):
                    y = (first_row + r) * stride_y + i * dilation_y - pad_top
                    lhs[r][lhs_base + column * kernel.height + i] = channels first_channel ... + n_channels of (y, x)

    Lanes above n_channels are 0. dilation_x is 1. `first_channel` counts from the slab's first element of a pixel.
    Time: n_rows * columns * kernel.height * ceil(n_channels * bits / fill_bits) and WINDOW_STARTUP_CYCLES.
    """

    mnemonic: ClassVar[str] = "expand_columns"

    queue: str = Queue.DSP_WINDOW

    first_row: int = unsigned(12, "first output row")
    n_rows: int = unsigned(6, "output rows")
    first_column: int = unsigned(12, "first output column")
    n_columns: int = unsigned(12, "output columns")
    lhs_base: int = unsigned(15, "first word in the banks")
    slab: int = unsigned(7, "of the table")
    first_channel: int = unsigned(15, "first channel of the block")
    n_channels: int = unsigned(8, "channels, at most the elements of a word")
