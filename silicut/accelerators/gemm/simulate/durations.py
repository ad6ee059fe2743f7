"""How long each instruction keeps its stage busy, in cycles, dispatch left out."""

from __future__ import annotations

from itertools import islice

from silicut.accelerators.gemm.config import POST_STARTUP_CYCLES, WINDOW_STARTUP_CYCLES, GemmConfig
from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm, SetProduct, SetTaps
from silicut.accelerators.gemm.program.post_instructions import Pool
from silicut.accelerators.gemm.program.queues import Unit
from silicut.accelerators.gemm.program.registers import RegisterFile, Windows
from silicut.accelerators.gemm.program.tiles import CoreShape, depthwise_turns, is_bit_serial, n_input_columns
from silicut.accelerators.gemm.program.window_instructions import Expand, ExpandColumns
from silicut.hardware import Instruction


def window_cycles(instruction: Instruction, registers: RegisterFile, unit: Unit, config: GemmConfig) -> int:
    """Return the cycles of an instruction of a window unit: elements leave in pieces of `fill_bits`."""
    match instruction:
        case Expand():
            return WINDOW_STARTUP_CYCLES + instruction.n_pixels * _pixel_cycles(instruction, registers.windows, unit, config)
        case ExpandColumns():
            kernel = registers.windows.kernel
            columns = n_input_columns(instruction.n_columns, kernel.width, kernel.stride_x)
            word = -(-instruction.n_channels * registers.windows.map.bits // config.fill_bits)
            return WINDOW_STARTUP_CYCLES + instruction.n_rows * columns * kernel.height * word
    return 0


def _pixel_cycles(expand: Expand, windows: Windows, unit: Unit, config: GemmConfig) -> int:
    segments = islice(windows.segments, expand.first_segment, expand.first_segment + expand.n_segments)
    bits = windows.map.bits
    if is_bit_serial(unit):
        return bits * sum(-(-segment.n_elements // config.fill_bits) for segment in segments)
    return sum(-(-segment.n_elements * bits // config.fill_bits) for segment in segments)


def pool_cycles(pool: Pool, windows: Windows, config: GemmConfig) -> int:
    """Return the cycles of a pool: a word of channels after the other, read tap by tap while the one before is finished."""
    n_taps = windows.kernel.height * windows.kernel.width
    word = config.vector_word_bits // windows.map.bits
    words = (min(word, pool.n_channels - start) for start in range(0, pool.n_channels, word))
    return POST_STARTUP_CYCLES + pool.n_pixels * sum(max(n_taps, -(-n // config.n_vector_lanes)) for n in words)


def tile_cycles(
    instruction: Gemm | Depthwise, registers: RegisterFile, unit: Unit, config: GemmConfig
) -> list[tuple[int, int]]:
    """Return the cycles of execute and of result of every tile, in order."""
    shape = CoreShape.of(unit, config)
    if isinstance(instruction, Depthwise):
        return _column_cycles(instruction, registers.get(SetTaps), shape, config)
    execute = product_cycles(registers.get(SetProduct), unit, config)
    lanes = config.n_lanes
    return [(execute, pixels * -(-filters // lanes)) for pixels, filters in shape.tiles(instruction)]


def product_cycles(product: SetProduct, unit: Unit, config: GemmConfig) -> int:
    """Return how long a tile is executed: all pairs of planes, or all passes, of each word."""
    if is_bit_serial(unit):
        return product.n_words * product.lhs_bits * product.rhs_bits
    assert config.dsp is not None
    return product.n_words * config.dsp.n_tile_cycles(product.lhs_bits)


def _column_cycles(depthwise: Depthwise, taps: SetTaps, shape: CoreShape, config: GemmConfig) -> list[tuple[int, int]]:
    column = taps.height * depthwise_turns(taps, shape)
    result = depthwise.n_rows * -(-depthwise.n_channels // config.n_lanes)
    return [(taps.width * column, result), *[(taps.stride_x * column, result)] * (depthwise.n_columns - 1)]


def array_latency_cycles(unit: Unit, config: GemmConfig) -> int:
    """Return the cycles from the last word of a tile to its finished sums."""
    core = config.lut if unit is Unit.LUT else config.dsp
    assert core is not None
    return core.latency_cycles
