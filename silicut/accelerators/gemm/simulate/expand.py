"""What the window units do with data: rows of the matrix, and columns for depthwise layers."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from silicut.accelerators.gemm.program.queues import Unit
from silicut.accelerators.gemm.program.registers import Segment, Windows
from silicut.accelerators.gemm.program.tiles import is_bit_serial, n_input_columns
from silicut.accelerators.gemm.program.window_instructions import Expand, ExpandColumns
from silicut.accelerators.gemm.simulate.machine import Banks, Machine
from silicut.accelerators.gemm.simulate.moves import Interval
from silicut.accelerators.gemm.simulate.rows import PixelRun, RowReader, pixel_runs


def expand(instruction: Expand, windows: Windows, unit: Unit, machine: Machine, when: Interval) -> None:
    """Fill LHS banks with windows.

    Raises:
        Fault: a row was never written, or a bank is still read.
    """
    segments = windows.segments[instruction.first_segment : instruction.first_segment + instruction.n_segments]
    matrix = np.empty((instruction.n_pixels, sum(s.n_elements for s in segments)), np.uint8)
    reader = RowReader(machine.units[unit].features, windows, unit, when)
    for run in pixel_runs(instruction.first_pixel, instruction.n_pixels, windows.map.output_width):
        _fill_rows(matrix[run.at : run.at + run.n], run, segments, windows, reader)
    if windows.map.flip:
        matrix ^= np.uint8(1 << windows.map.bits - 1)
    core = machine.cores[unit]
    words = (
        plane_words(matrix, windows.map.bits, core.shape.bank_bits)
        if is_bit_serial(unit)
        else element_words(matrix, windows.map.bits, core.shape.bank_bits)
    )
    _write_stripes(core.lhs, instruction.lhs_base, words, when)


def _fill_rows(
    rows: NDArray[np.uint8], run: PixelRun, segments: tuple[Segment, ...], windows: Windows, reader: RowReader
) -> None:
    """Put the windows of a run into rows of the matrix."""
    kernel, at, seen_of = windows.kernel, 0, (-1, -1)
    for segment in segments:
        slab = windows.slabs[segment.slab]
        if seen_of != segment[:2]:
            seen, seen_of = reader.seen(slab, run, segment.tap_row), (segment.slab, segment.tap_row)
        if segment.tap is None:
            step = kernel.stride_x * slab.pitch
            part = sliding_window_view(seen.reshape(-1), segment.n_elements)[::step]
        else:
            channels = slice(slab.first_channel, slab.first_channel + slab.n_channels)
            part = seen[segment.tap * kernel.dilation_x :: kernel.stride_x, channels]
        rows[:, at : at + segment.n_elements] = part[: run.n]
        at += segment.n_elements


def plane_words(matrix: NDArray[np.uint8], bits: int, word_bits: int) -> NDArray[np.uint8]:
    """Return rows of elements as words of planes, array (rows, bits * t_k, bytes of a word)."""
    n, k = matrix.shape
    n_words = -(-k // word_bits)
    padded = np.zeros((n, n_words * word_bits), np.uint8)
    padded[:, :k] = matrix
    planes = [np.packbits(padded & np.uint8(1 << plane), axis=1, bitorder="little") for plane in range(bits)]
    return np.stack(planes, axis=1).reshape(n, bits * n_words, word_bits // 8)


def element_words(matrix: NDArray[np.uint8], bits: int, word_bits: int) -> NDArray[np.uint8]:
    """Return rows of elements of 4 or 8 bits as words of elements, array (rows, t_k, bytes of a word)."""
    n, k = matrix.shape
    n_words = -(-k * bits // word_bits)
    padded = np.zeros((n, n_words * word_bits // bits), np.uint8)
    padded[:, :k] = matrix
    if bits == 4:
        padded = padded[:, 0::2] | padded[:, 1::2] << 4
    return padded.reshape(n, n_words, word_bits // 8)


def _write_stripes(lhs: Banks, base: int, words: NDArray[np.uint8], when: Interval) -> None:
    """Put row i into bank i % n_rows, stripe i // n_rows."""
    n_rows, (n, n_words) = len(lhs.bytes), words.shape[:2]
    n_full, rest = divmod(n, n_rows)
    end = base + n_full * n_words
    if n_full:
        full = words[: n_full * n_rows].reshape(n_full, n_rows, n_words, -1).transpose(1, 0, 2, 3)
        lhs.times.write((slice(n_rows), slice(base, end)), *when)
        lhs.bytes[:, base:end] = full.reshape(n_rows, n_full * n_words, -1)
    if rest:
        lhs.times.write((slice(rest), slice(end, end + n_words)), *when)
        lhs.bytes[:rest, end : end + n_words] = words[n_full * n_rows :]
    lhs.changed(base, -(-n // n_rows) * n_words)


def expand_columns(instruction: ExpandColumns, windows: Windows, machine: Machine, when: Interval) -> None:
    """Fill LHS banks of the DSP core with columns of a block of channels.

    Raises:
        Fault: a row was never written, or a bank is still read.
    """
    kernel, slab = windows.kernel, windows.slabs[instruction.slab]
    reader = RowReader(machine.units[Unit.DSP].features, windows, Unit.DSP, when)
    n = n_input_columns(instruction.n_columns, kernel.width, kernel.stride_x)
    first = instruction.first_column * kernel.stride_x - kernel.pad_left
    channels = slice(instruction.first_channel, instruction.first_channel + instruction.n_channels)
    lhs, bits = machine.cores[Unit.DSP].lhs, windows.map.bits
    part = slice(instruction.lhs_base, instruction.lhs_base + n * kernel.height)
    lhs.times.write((slice(instruction.n_rows), part), *when)
    lhs.changed(part.start, n * kernel.height)
    for r in range(instruction.n_rows):
        top = (instruction.first_row + r) * kernel.stride_y - kernel.pad_top
        rows = [reader.columns(slab, top + i * kernel.dilation_y, first, n)[:, channels] for i in range(kernel.height)]
        matrix = np.stack(rows, axis=1).reshape(n * kernel.height, -1).astype(np.uint8)
        if windows.map.flip:
            matrix ^= np.uint8(1 << bits - 1)
        lhs.bytes[r, part] = element_words(matrix, bits, lhs.bytes.shape[2] * 8)[:, 0]
