"""Rows of a map as windows see them: elements out of a feature buffer, pad values around."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import GRANULE
from silicut.accelerators.gemm.program.places import unpack_rows
from silicut.accelerators.gemm.program.queues import Unit
from silicut.accelerators.gemm.program.registers import Windows
from silicut.accelerators.gemm.program.window_instructions import SetSlab
from silicut.accelerators.gemm.simulate.machine import Buffer
from silicut.accelerators.gemm.simulate.moves import Interval


class PixelRun(NamedTuple):
    """Neighbouring pixels of one output row.

    Attributes:
        row, column: of the first one.
        n: how many.
        at: position of the first one among the pixels of the instruction.
    """

    row: int
    column: int
    n: int
    at: int


def pixel_runs(first_pixel: int, n_pixels: int, width: int) -> Iterator[PixelRun]:
    """Yield pixels row by row, from a flat range of them."""
    at = 0
    while at < n_pixels:
        row, column = divmod(first_pixel + at, width)
        n = min(width - column, n_pixels - at)
        yield PixelRun(row, column, n, at)
        at += n


class RowReader:
    """The map that windows move over, read during one instruction.

    Args:
        buffer: the feature buffer.
        windows: the registers.
        unit: whose buffer it is; the LUT core stores planes, the others elements.
        when: the time of the instruction.
    """

    def __init__(self, buffer: Buffer, windows: Windows, unit: Unit, when: Interval) -> None:
        self._buffer, self._windows, self._unit, self._when = buffer, windows, unit, when
        self._is_signed = unit is Unit.POST and bool(windows.map.is_signed)
        pad = windows.map.pad_value
        self._pad = pad - (1 << windows.map.bits) if self._is_signed and pad >> (windows.map.bits - 1) else pad

    def seen(self, slab: SetSlab, run: PixelRun, tap_row: int) -> NDArray[np.int16]:
        """Return what the windows of a run see of a slab in one tap row, array (columns, pitch), pad values filled in.

        Window i of the run sees, at tap j, column i * stride_x + j * dilation_x of it.
        """
        kernel = self._windows.kernel
        y = run.row * kernel.stride_y + tap_row * kernel.dilation_y - kernel.pad_top
        first = run.column * kernel.stride_x - kernel.pad_left
        n = (run.n - 1) * kernel.stride_x + (kernel.width - 1) * kernel.dilation_x + 1
        return self.columns(slab, y, first, n)

    def columns(self, slab: SetSlab, y: int, first: int, n: int) -> NDArray[np.int16]:
        """Return n columns of a row of a slab, from `first` on, array (n, pitch); rows and columns may lie outside."""
        map = self._windows.map
        low, high = max(first, 0), min(first + n, map.width)
        columns = np.full((n, slab.pitch), self._pad, np.int16)
        if 0 <= y < map.height and low < high:
            elements = self._elements(slab, y, low * slab.pitch, (high - low) * slab.pitch)
            columns[low - first : high - first] = elements.reshape(high - low, slab.pitch)
        return columns

    def _elements(self, slab: SetSlab, y: int, first: int, n: int) -> NDArray[np.int16]:
        bits = self._windows.map.bits
        base = slab.base + y % slab.ring_rows * slab.row_words
        return read_elements(self._buffer, base, (first, n), bits, self._when, self._decode)

    def _decode(self, words: Any, bits: int) -> NDArray[np.int16]:
        if self._unit is Unit.LUT:
            return unpack_rows(words, bits, False)
        raw: NDArray[np.uint8] = words.astype("<u8").view(np.uint8)
        if bits == 4:
            raw = np.stack([raw & np.uint8(15), raw >> np.uint8(4)], axis=-1)
        top = np.int16(1 << bits - 1 if self._is_signed else 0)
        elements: NDArray[np.int16] = (raw.astype(np.int16) ^ top) - top
        return elements


def read_elements(
    buffer: Buffer, base: int, elements: tuple[int, int], bits: int, when: Interval, decode: Any
) -> NDArray[np.int16]:
    """Return some elements of a row in a buffer.

    Args:
        buffer: of rows of granules.
        base: first word of the row.
        elements: number of the first element, and how many.
        bits: words of a granule.
        when: time of the access.
        decode: function of words, array (1, n), and bits that returns the elements of whole granules.
    """
    first, n = elements
    granule, last = first // GRANULE, (first + n - 1) // GRANULE
    part = slice(base + granule * bits, base + (last + 1) * bits)
    buffer.times.read(part, *when)
    skipped = first - granule * GRANULE
    whole: NDArray[np.int16] = decode(buffer.words[part][None], bits).reshape(-1)
    return whole[skipped : skipped + n]
