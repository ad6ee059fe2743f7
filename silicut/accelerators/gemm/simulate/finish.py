"""What becomes of finished sums: all steps of post-processing, and the write into the output buffer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import GRANULE, LOOKUP_ENTRIES
from silicut.accelerators.gemm.program.places import unpack_rows
from silicut.accelerators.gemm.program.registers import Results
from silicut.accelerators.gemm.program.result_registers import ROUNDINGS, SetOutput
from silicut.accelerators.gemm.program.tables import table_entries
from silicut.accelerators.gemm.simulate.machine import OutputBuffer, PostMemories, Sums
from silicut.accelerators.gemm.simulate.moves import Interval
from silicut.accelerators.gemm.simulate.products import wrapped
from silicut.accelerators.gemm.simulate.rows import read_elements
from silicut.accelerators.gemm.simulate.tracked import Fault
from silicut.numerics import shift_right


class Places(NamedTuple):
    """Where results belong.

    Attributes:
        pixels: flat output pixels, array (pixels,).
        first_channel: channel of the output slabs of the first column.
    """

    pixels: NDArray[np.int64]
    first_channel: int


def finish(sums: Sums, places: Places, results: Results, memories: PostMemories, when: Interval) -> None:
    """Do what registers say with sums, array (pixels, channels).

    Raises:
        Fault: a table, a residual row or an entry of a function is missing, or an output word is still being read.
    """
    values = _requantised(sums, places, results, memories, when)
    if results.residual.is_enabled:
        values = _added(values, places, results, memories, when)
    values = _looked_up(values, results, memories, when)
    for number, output in results.outputs.items():
        written = values if number == 0 else _copied(values, results)
        write_output(written, places, output, results.pixels.width, memories.output, when)


def _rounded(products: Sums, shift: Any, step: Any, zero_point: int) -> Sums:
    """Return products shifted right, a zero point added, within the limits of a step."""
    return np.clip(shift_right(products, shift, ROUNDINGS[step.rounding]) + zero_point, step.low, step.high)


def _requantised(sums: Sums, places: Places, results: Results, memories: PostMemories, when: Interval) -> Sums:
    step = results.requantise
    if not step.is_enabled:
        return sums
    bias: Any
    multiplier: Any
    shift: Any
    if step.uses_table:
        channels = step.table_base + places.first_channel + np.arange(sums.shape[1])
        entries = channels % len(memories.table.words)
        memories.table.times.read(entries, *when)
        bias, multiplier, shift = table_entries(memories.table.words[entries])
    else:
        assert results.constant is not None
        bias, multiplier, shift = results.constant.bias, results.constant.multiplier, results.constant.shift
    return _rounded(wrapped(sums + bias) * multiplier, shift, step, step.zero_point)


def _added(values: Sums, places: Places, results: Results, memories: PostMemories, when: Interval) -> Sums:
    step = results.residual
    other = _residual(values.shape[1], places, results, memories, when)
    total = (values - step.zero_point) * step.multiplier + (other - step.residual_zero_point) * step.residual_multiplier
    return _rounded(total, step.shift, step, step.output_zero_point)


def _residual(n_channels: int, places: Places, results: Results, memories: PostMemories, when: Interval) -> Sums:
    """Return the elements of the other tensor at some pixels and channels."""
    map, width = results.residual_map, results.pixels.width
    assert map is not None
    other = np.zeros((len(places.pixels), n_channels), np.int64)
    first = map.first_channel + places.first_channel
    starts = np.flatnonzero(np.diff(places.pixels // width, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(places.pixels)], strict=True):
        (y, x), n = divmod(int(places.pixels[start]), width), int(stop - start)
        for slab in results.residual_slabs:
            low, high = max(first, slab.first_channel), min(first + n_channels, slab.first_channel + slab.n_channels)
            if low < high:
                base = slab.base + y % slab.ring_rows * slab.row_words
                span = (x * slab.pitch, n * slab.pitch)
                row = read_elements(memories.residual, base, span, map.bits, when, _planes(bool(map.is_signed)))
                seen = row.reshape(n, slab.pitch)[:, low - slab.first_channel : high - slab.first_channel]
                other[start:stop, low - first : high - first] = seen
    return other


def _planes(is_signed: bool) -> Any:
    return lambda words, bits: unpack_rows(words, bits, is_signed)


def _looked_up(values: Sums, results: Results, memories: PostMemories, when: Interval) -> Sums:
    step = results.lookup
    if step.is_enabled:
        memories.lookup_times.read(slice(step.table, step.table + 1), *when)
        entries = values - step.first
        if entries.size and not (entries.min() >= 0 and entries.max() < LOOKUP_ENTRIES):
            raise Fault(f"looks up entry {int(entries.min())}..{int(entries.max())} of a table of {LOOKUP_ENTRIES}")
        found = memories.lookup[step.table][entries]
        values = (found.view(np.int8) if step.is_signed else found).astype(np.int64)
    return np.clip(values, step.low, step.high)


def _copied(values: Sums, results: Results) -> Sums:
    step = results.copy
    assert step is not None
    return _rounded((values - step.input_zero_point) * step.multiplier, step.shift, step, step.zero_point)


def write_output(values: Sums, places: Places, output: SetOutput, width: int, buffer: OutputBuffer, when: Interval) -> None:
    """Write the low bits of values, array (pixels, channels), into rows of an output buffer.

    Raises:
        Fault: a word is still being read.
    """
    y, x = np.divmod(places.pixels, width)
    first = output.first_channel + places.first_channel
    elements = x[:, None] * output.pitch + first + np.arange(values.shape[1])
    words = (output.base + y % output.ring_rows * output.row_words)[:, None] + elements // GRANULE * output.bits
    numbers = elements % GRANULE
    is_touched = np.zeros(len(buffer.bits), bool)
    is_touched[words] = True
    first_words = np.flatnonzero(is_touched)
    buffer.times.write((first_words[:, None] + np.arange(output.bits)).reshape(-1), *when)
    raw = values.astype(np.uint8)
    for plane in range(output.bits):
        buffer.bits[words + plane, numbers] = raw >> np.uint8(plane) & np.uint8(1)
