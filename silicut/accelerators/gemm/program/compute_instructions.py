"""The instructions that multiply. Each has an execute part and a result part.

Tokens of stripes and weights are taken at dispatch and given when the last tile has been executed; then the next
instruction may be dispatched. Tokens of outputs and residuals are taken when the first result starts and given
RESULT_LATENCY_CYCLES after the last one has ended. Instructions without results take and give the latter in their turn,
behind the results before them.

The sums of one tile (LUT: n_rows pixels x n_columns filters; DSP: n_rows pixels x n_outputs filters) lie in one of
n_accumulator_banks banks of accumulators, which are used in turn, while the next tiles are computed into the others.
`program.result_registers` says what becomes of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.accelerators.gemm.program.queues import Queue
from silicut.hardware import Instruction, unsigned


@dataclass(frozen=True, kw_only=True)
class SetProduct(Instruction):
    """Registers: how long sums are and what is multiplied.

    The LUT core multiplies 1..8 by 1..8 bits, each signed or not. The DSP core multiplies uint4 by int4 or int8 by int8:
    both widths 4 and only the right one signed, or both 8 and signed.
    """

    mnemonic: ClassVar[str] = "set_product"

    n_words: int = unsigned(14, "words of a row, t_k")
    lhs_bits: int = unsigned(4, "of activations")
    rhs_bits: int = unsigned(4, "of weights")
    lhs_signed: int = unsigned(1, "activations are two's complement")
    rhs_signed: int = unsigned(1, "weights are two's complement")


@dataclass(frozen=True, kw_only=True)
class Gemm(Instruction):
    """Multiply rows of the matrix by filters.

    ::

        for tile in range(ceil(n_filters / tile_filters)):               # LUT: n_columns filters, DSP: n_outputs
            for stripe in range(ceil(n_pixels / n_rows)):
                if is_first: acc[:][:] = 0
                for word in range(t_k):                                  # LUT: a * w cycles a word, DSP: n_tile_cycles
                    for r in range(n_rows):                              # in parallel
                        for f in range(tile_filters):                    # in parallel; DSP: n_passes filters in turn
                            acc[r][f] += dot(lhs row r of stripe, rhs filter f of tile, word)
                if is_last:
                    for r, f that are valid:
                        result(pixel first_pixel + stripe * n_rows + r, channel first_filter + tile * tile_filters + f)

    Sums are int32 and wrap. Where the operands of a word lie:

    - LUT: plane p at lhs[r][lhs_base + (stripe * a + p) * t_k + word] and rhs[f][rhs_base + (tile * w + p) * t_k + word];
    - DSP: lhs[r][lhs_base + stripe * t_k + word]; filter f = pass * columns + c of the tile, with columns = n_outputs /
      n_passes, in rhs[c][rhs_base + (tile * t_k + word) * n_passes + pass].

    Only one tile of one stripe may be cut into several instructions (is_first and is_last not both 1), and nothing but
    registers may stand between these.

    Time: execute takes t_k * a * w (LUT) or t_k * n_tile_cycles (DSP) cycles a tile, result n_valid_pixels *
    ceil(n_valid_filters / n_lanes). Execution of a tile starts when the one before it has been executed and the result of
    the one n_accumulator_banks before it has ended; its result starts latency_cycles after its execution, when the result
    before has ended.
    """

    mnemonic: ClassVar[str] = "gemm"

    lhs_base: int = unsigned(15, "first word in the LHS banks")
    rhs_base: int = unsigned(15, "first word in the RHS banks")
    first_pixel: int = unsigned(20, "y * width + x of the first output pixel")
    n_pixels: int = unsigned(12, "output pixels")
    first_filter: int = unsigned(12, "channel of the output slabs of the first filter")
    n_filters: int = unsigned(12, "filters")
    is_first: int = unsigned(1, "sums start at 0")
    is_last: int = unsigned(1, "sums are finished")


@dataclass(frozen=True, kw_only=True)
class SetTaps(Instruction):
    """Registers: the kernel of a depthwise layer. Operands are uint4 by int4 or int8 by int8."""

    mnemonic: ClassVar[str] = "set_taps"

    queue: str = Queue.DSP_COMPUTE

    height: int = unsigned(8, "taps down")
    width: int = unsigned(8, "taps across; at most n_outputs")
    stride_x: int = unsigned(6, "columns between windows")
    bits: int = unsigned(4, "of an operand, 4 or 8")


@dataclass(frozen=True, kw_only=True)
class Depthwise(Instruction):
    """Filter a block of channels, each by a kernel of its own, as a transposed FIR filter: lanes are channels, columns taps.

    ::

        for column in range((n_columns - 1) * stride_x + width):
            for i in range(height):                                     # ceil(width / columns) cycles each
                for r in range(n_rows):                                 # in parallel
                    for j in range(width):                              # in parallel, in n_passes turns
                        for lane in range(n_channels):                  # in parallel
                            acc[r][column - j][lane] += lhs[r][lhs_base + column * height + i][lane]
                                    * rhs[j % columns][rhs_base + j // columns * height + i][lane]
            if (column - width + 1) is a multiple of stride_x, x = that multiple, at least 0:
                for r, lane: result(pixel (first_row + r) * map width + first_column + x, channel first_channel + lane)

    with columns = n_outputs / n_passes of the DSP core; the map's width is that of `set_pixels`. Time: the n_columns output
    columns are tiles; the first is executed in width * height * ceil(width / columns) cycles, each other one in stride_x *
    height * ceil(width / columns), and its result takes n_rows * ceil(n_channels / n_lanes).
    """

    mnemonic: ClassVar[str] = "depthwise"

    queue: str = Queue.DSP_COMPUTE

    lhs_base: int = unsigned(15, "first word in the LHS banks")
    rhs_base: int = unsigned(15, "first word in the RHS banks")
    first_row: int = unsigned(11, "first output row")
    n_rows: int = unsigned(5, "output rows, one a bank")
    first_column: int = unsigned(11, "first output column")
    n_columns: int = unsigned(11, "output columns")
    first_channel: int = unsigned(12, "channel of the output slabs of lane 0")
    n_channels: int = unsigned(8, "valid lanes")
