"""Static checks of single instructions: fields legal, and inside of what the build has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from silicut.accelerators.gemm.config import GRANULE, LOOKUP_TABLES, GemmConfig
from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm, SetProduct, SetTaps
from silicut.accelerators.gemm.program.memory_instructions import (
    LoadInstructions,
    LoadLookup,
    LoadResidual,
    LoadRows,
    LoadTable,
    LoadWeights,
    Store,
    Sync,
)
from silicut.accelerators.gemm.program.post_instructions import Pool
from silicut.accelerators.gemm.program.queues import UNIT_OF, Queue, Unit
from silicut.accelerators.gemm.program.registers import RegisterFile, Results, Windows
from silicut.accelerators.gemm.program.result_registers import (
    ROUNDINGS,
    SetConstant,
    SetCopy,
    SetLookup,
    SetOutput,
    SetPixels,
    SetRequantise,
    SetResidual,
    SetResidualMap,
    SetResidualSlab,
)
from silicut.accelerators.gemm.program.tiles import (
    CoreShape,
    columns_lhs_words,
    depthwise_lhs_words,
    depthwise_turns,
    lhs_row_words,
    lhs_stripe_words,
    rhs_tile_lines,
)
from silicut.accelerators.gemm.program.transfers import moved_words
from silicut.accelerators.gemm.program.window_instructions import Expand, ExpandColumns, SetKernel, SetMap, SetSlab
from silicut.hardware import Instruction
from silicut.numerics import MAX_SHIFT

MAX_PLANES = 8
ALL_BYTES = 255


def bound_problems(
    instruction: Instruction, registers: RegisterFile, config: GemmConfig, memory_words: int
) -> Iterator[str]:
    """Yield what is wrong with an instruction whose fields fit their widths.

    Args:
        instruction: of any queue.
        registers: those of its queue when it is dispatched.
        config: the build.
        memory_words: size of the DRAM.
    """
    try:
        if isinstance(instruction, Sync):
            if instruction.resource and instruction.queue != Queue.MEMORY:
                yield f"resource must be 0 outside of memory, not {instruction.resource}"
        elif instruction.queue == Queue.MEMORY:
            yield from _memory(instruction, config, memory_words)
        elif type(instruction) in _REGISTER_CHECKS:
            yield from _REGISTER_CHECKS[type(instruction)](instruction, config)
        elif type(instruction) in _ACTION_CHECKS:
            unit = UNIT_OF[Queue(instruction.queue)]
            yield from _ACTION_CHECKS[type(instruction)](instruction, registers, unit, config)
    except ValueError as error:
        yield str(error)


def _within(what: str, first: int, n: int, size: int) -> Iterator[str]:
    if first + n > size:
        yield f"{what} {first}..{first + n - 1} must be within 0..{size - 1}"


def _at_least(instruction: Instruction, least: int, *names: str) -> Iterator[str]:
    for name in names:
        value = getattr(instruction, name)
        if value < least:
            yield f"{name} must be at least {least}, not {value}"


def _unit(number: int, config: GemmConfig, *, with_post: bool = True) -> Unit:
    if number > (Unit.POST if with_post else Unit.DSP):
        raise ValueError(f"unit must be 0..{2 if with_post else 1}, not {number}")
    unit = Unit(number)
    if unit is not Unit.POST:
        CoreShape.of(unit, config)
    return unit


# MEMORY.


def _memory(instruction: Instruction, config: GemmConfig, memory_words: int) -> Iterator[str]:
    buffers = config.buffers
    match instruction:
        case LoadRows():
            yield from _rows(instruction, config)
        case LoadResidual():
            yield from _targets(instruction, config)
            for unit, address in instruction.targets:
                yield from _within(f"{unit.label}.residual words", address, instruction.n_words, buffers.residual_words)
        case LoadWeights():
            shape = CoreShape.of(_unit(instruction.unit, config, with_post=False), config)
            yield from _at_least(instruction, 1, "n_banks", "n_lines")
            yield from _within("banks", 0, instruction.n_banks, shape.n_banks)
            yield from _within("rhs words", instruction.rhs_base, instruction.n_lines, shape.rhs_depth)
        case LoadTable():
            _unit(instruction.unit, config)
            yield from _within("table entries", instruction.base, 1, buffers.table_entries)
            yield from _within("table entries", 0, instruction.n_entries, buffers.table_entries)
        case LoadLookup():
            _unit(instruction.unit, config)
            yield from _within("lookup tables", instruction.table, 1, LOOKUP_TABLES)
        case Store():
            unit = _unit(instruction.unit, config)
            words = buffers.output_words
            yield from _within(f"{unit.label}.output words", instruction.address, instruction.n_words, words)
            if instruction.kept_bytes == ALL_BYTES:
                yield "kept_bytes must leave a byte to be written"
        case LoadInstructions():
            pass
        case _:
            return
    n_words = moved_words(instruction, config)
    if not n_words:
        yield "it must move at least one word"
    yield from _within("dram words", instruction.dram_address, n_words, memory_words)


def _targets(instruction: LoadRows | LoadResidual, config: GemmConfig) -> Iterator[str]:
    if not instruction.targets:
        yield "at least one of to_lut, to_dsp, to_post must be 1"
    for unit, _ in instruction.targets:
        _unit(unit, config)


def _rows(load: LoadRows, config: GemmConfig) -> Iterator[str]:
    yield from _targets(load, config)
    if not 1 <= load.bits <= MAX_PLANES:
        yield f"bits must be 1..{MAX_PLANES}, not {load.bits}"
        return
    if load.n_words % load.bits:
        yield f"n_words must be a multiple of bits ({load.bits}), not {load.n_words}"
    wide = 8 if load.wide_elements else 4
    if (load.to_dsp or load.to_post) and load.bits > wide:
        yield f"bits must be at most {wide}, the width of an element in the DSP core and POST, not {load.bits}"
    for unit, address in load.targets:
        n_words = load.n_words if unit is Unit.LUT else load.n_words // load.bits * wide
        yield from _within(f"{unit.label}.features words", address, n_words, config.buffers.feature_words)


# Registers.


def _map(map: SetMap, _: GemmConfig) -> Iterator[str]:
    yield from _at_least(map, 1, "height", "width", "output_width")
    has_planes = map.queue == Queue.LUT_WINDOW
    if map.bits not in (range(1, MAX_PLANES + 1) if has_planes else (4, 8)):
        yield f"bits must be {'1..8' if has_planes else '4 or 8'}, not {map.bits}"
    elif map.pad_value >> map.bits:
        yield f"pad_value must have {map.bits} bits, not be {map.pad_value}"
    if map.flip and map.queue != Queue.DSP_WINDOW:
        yield "flip must be 0 outside of dsp.window, not 1"


def _kernel(kernel: SetKernel, _: GemmConfig) -> Iterator[str]:
    yield from _at_least(kernel, 1, "n_slabs", "height", "width", "stride_y", "stride_x", "dilation_y", "dilation_x")


def _slab(slab: SetSlab, config: GemmConfig) -> Iterator[str]:
    yield from _at_least(slab, 1, "n_channels", "ring_rows", "row_words")
    yield from _within("channels", slab.first_channel, slab.n_channels, slab.pitch)
    yield from _within("features words", slab.base, slab.ring_rows * slab.row_words, config.buffers.feature_words)


def _residual_slab(slab: SetResidualSlab, config: GemmConfig) -> Iterator[str]:
    yield from _at_least(slab, 1, "n_channels", "ring_rows", "row_words")
    yield from _within("channels", 0, slab.n_channels, slab.pitch)
    yield from _within("residual words", slab.base, slab.ring_rows * slab.row_words, config.buffers.residual_words)


def _output(output: SetOutput, config: GemmConfig) -> Iterator[str]:
    if not output.is_enabled:
        return
    if not 1 <= output.bits <= MAX_PLANES:
        yield f"bits must be 1..{MAX_PLANES}, not {output.bits}"
    yield from _at_least(output, 1, "pitch", "ring_rows", "row_words")
    yield from _within("channels", output.first_channel, 1, output.pitch)
    yield from _within("output words", output.base, output.ring_rows * output.row_words, config.buffers.output_words)


def _product(product: SetProduct, _: GemmConfig) -> Iterator[str]:
    yield from _at_least(product, 1, "n_words")
    widths = (product.lhs_bits, product.rhs_bits)
    if product.queue == Queue.LUT_COMPUTE:
        if not all(1 <= bits <= MAX_PLANES for bits in widths):
            yield f"lhs_bits and rhs_bits must be 1..{MAX_PLANES}, not {widths[0]} and {widths[1]}"
    elif (*widths, product.lhs_signed, product.rhs_signed) not in ((4, 4, 0, 1), (8, 8, 1, 1)):
        kinds = [f"{'' if s else 'u'}int{b}" for b, s in zip(widths, (product.lhs_signed, product.rhs_signed), strict=True)]
        yield f"the DSP core multiplies uint4 by int4 or int8 by int8, not {kinds[0]} by {kinds[1]}"


def _taps(taps: SetTaps, config: GemmConfig) -> Iterator[str]:
    yield from _at_least(taps, 1, "height", "width", "stride_x")
    if taps.bits not in (4, 8):
        yield f"bits must be 4 or 8, not {taps.bits}"
    shape = CoreShape.of(Unit.DSP, config)
    if taps.width > shape.n_filters:
        yield f"width must be at most {shape.n_filters}, the core's n_outputs, not {taps.width}"


def _pixels(pixels: SetPixels, _: GemmConfig) -> Iterator[str]:
    yield from _at_least(pixels, 1, "width")


def _rounded(step: Any, _: GemmConfig) -> Iterator[str]:
    if getattr(step, "rounding", 0) >= len(ROUNDINGS):
        yield f"rounding must be 0..{len(ROUNDINGS) - 1}, not {step.rounding}"
    if getattr(step, "shift", 0) > MAX_SHIFT:
        yield f"shift must be 0..{MAX_SHIFT}, not {step.shift}"
    if getattr(step, "low", 0) > getattr(step, "high", 0):
        yield f"low must be at most high ({step.high}), not {step.low}"


def _residual_map(map: SetResidualMap, _: GemmConfig) -> Iterator[str]:
    if not 1 <= map.bits <= MAX_PLANES:
        yield f"bits must be 1..{MAX_PLANES}, not {map.bits}"


_Check = Callable[[Any, GemmConfig], Iterator[str]]
_REGISTER_CHECKS: dict[type[Instruction], _Check] = {
    SetMap: _map,
    SetKernel: _kernel,
    SetSlab: _slab,
    SetProduct: _product,
    SetTaps: _taps,
    SetPixels: _pixels,
    SetRequantise: _rounded,
    SetConstant: _rounded,
    SetResidual: _rounded,
    SetResidualMap: _residual_map,
    SetResidualSlab: _residual_slab,
    SetLookup: _rounded,
    SetOutput: _output,
    SetCopy: _rounded,
}

# Actions.


def _expand(expand: Expand, registers: RegisterFile, unit: Unit, config: GemmConfig) -> Iterator[str]:
    yield from _at_least(expand, 1, "n_pixels", "n_segments")
    windows, shape = registers.windows, CoreShape.of(unit, config)
    yield from _within("segments", expand.first_segment, expand.n_segments, len(windows.segments))
    yield from _row_fits(windows)
    words = lhs_stripe_words(lhs_row_words(expand, windows, shape, unit), windows.map.bits, unit)
    yield from _within("lhs words", expand.lhs_base, shape.n_stripes(expand) * words, shape.lhs_depth)


def _row_fits(windows: Windows) -> Iterator[str]:
    for slab in windows.slabs:
        needed = -(-windows.map.width * slab.pitch // GRANULE) * windows.map.bits
        if slab.row_words < needed:
            yield f"row_words of slab {slab.index} must be at least {needed}, not {slab.row_words}"


def _columns(expand: ExpandColumns, registers: RegisterFile, unit: Unit, config: GemmConfig) -> Iterator[str]:
    yield from _at_least(expand, 1, "n_rows", "n_columns", "n_channels")
    windows, shape = registers.windows, CoreShape.of(unit, config)
    slab = registers.slab(expand.slab)
    yield from _within("slabs", expand.slab, 1, windows.kernel.n_slabs)
    if windows.kernel.dilation_x != 1:
        yield f"dilation_x must be 1, not {windows.kernel.dilation_x}"
    yield from _row_fits(windows)
    yield from _within("rows of the core", 0, expand.n_rows, shape.n_rows)
    yield from _within("channels", expand.first_channel, expand.n_channels, slab.pitch)
    yield from _within("lanes", 0, expand.n_channels, shape.bank_bits // windows.map.bits)
    yield from _within("output columns", expand.first_column, expand.n_columns, windows.map.output_width)
    yield from _within("lhs words", expand.lhs_base, columns_lhs_words(expand, windows), shape.lhs_depth)


def _gemm(gemm: Gemm, registers: RegisterFile, unit: Unit, config: GemmConfig) -> Iterator[str]:
    yield from _at_least(gemm, 1, "n_pixels", "n_filters")
    product, shape = registers.get(SetProduct), CoreShape.of(unit, config)
    n_stripes, n_tiles = shape.n_stripes(gemm), shape.n_tiles(gemm)
    words = lhs_stripe_words(product.n_words, product.lhs_bits, unit)
    yield from _within("lhs words", gemm.lhs_base, n_stripes * words, shape.lhs_depth)
    yield from _within("rhs words", gemm.rhs_base, n_tiles * rhs_tile_lines(product, shape, unit), shape.rhs_depth)
    if not (gemm.is_first and gemm.is_last) and n_stripes * n_tiles > 1:
        yield f"a sum in parts must be of one tile, not {n_stripes} stripes of {n_tiles} tiles"
    if gemm.is_last:
        yield from _results(registers.results, gemm.first_filter, gemm.n_filters)


def _depthwise(depthwise: Depthwise, registers: RegisterFile, unit: Unit, config: GemmConfig) -> Iterator[str]:
    yield from _at_least(depthwise, 1, "n_rows", "n_columns", "n_channels")
    taps, shape = registers.get(SetTaps), CoreShape.of(unit, config)
    yield from _within("rows of the core", 0, depthwise.n_rows, shape.n_rows)
    yield from _within("lanes", 0, depthwise.n_channels, shape.bank_bits // taps.bits)
    yield from _within("lhs words", depthwise.lhs_base, depthwise_lhs_words(depthwise, taps), shape.lhs_depth)
    yield from _within("rhs words", depthwise.rhs_base, depthwise_turns(taps, shape) * taps.height, shape.rhs_depth)
    results = registers.results
    yield from _within("output columns", depthwise.first_column, depthwise.n_columns, results.pixels.width)
    yield from _results(results, depthwise.first_channel, depthwise.n_channels)


def _pool(pool: Pool, registers: RegisterFile, unit: Unit, config: GemmConfig) -> Iterator[str]:
    del unit, config
    yield from _at_least(pool, 1, "n_pixels", "n_channels")
    windows, results = registers.windows, registers.results
    yield from _within("slabs", pool.slab, 1, windows.kernel.n_slabs)
    yield from _within("channels", pool.first_channel, pool.n_channels, registers.slab(pool.slab).pitch)
    yield from _row_fits(windows)
    if windows.map.output_width != results.pixels.width:
        yield f"set_pixels must have the width of set_map ({windows.map.output_width}), not {results.pixels.width}"
    yield from _results(results, pool.output_channel, pool.n_channels)


def _results(results: Results, first_channel: int, n_channels: int) -> Iterator[str]:
    for number, output in results.outputs.items():
        first = output.first_channel + first_channel
        yield from _within(f"channels of output {number}", first, n_channels, output.pitch)
        needed = -(-results.pixels.width * output.pitch // GRANULE) * output.bits
        if output.row_words < needed:
            yield f"row_words of output {number} must be at least {needed}, not {output.row_words}"
    if results.residual_map is None:
        return
    first = results.residual_map.first_channel + first_channel
    held = {c for slab in results.residual_slabs for c in range(slab.first_channel, slab.first_channel + slab.n_channels)}
    lacking = [c for c in range(first, first + n_channels) if c not in held]
    if lacking:
        yield f"residual slabs must hold channels {first}..{first + n_channels - 1}, but lack {lacking[0]}"
    for slab in results.residual_slabs:
        needed = -(-results.pixels.width * slab.pitch // GRANULE) * results.residual_map.bits
        if slab.row_words < needed:
            yield f"row_words of residual slab {slab.index} must be at least {needed}, not {slab.row_words}"


_Action = Callable[[Any, RegisterFile, Unit, GemmConfig], Iterator[str]]
_ACTION_CHECKS: dict[type[Instruction], _Action] = {
    Expand: _expand,
    ExpandColumns: _columns,
    Gemm: _gemm,
    Depthwise: _depthwise,
    Pool: _pool,
}
