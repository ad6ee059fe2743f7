"""What lies in the banks of a core, as numbers: planes or words put together again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm, SetProduct, SetTaps
from silicut.accelerators.gemm.program.tiles import n_input_columns
from silicut.accelerators.gemm.simulate.machine import CoreMemories
from silicut.accelerators.gemm.simulate.moves import Interval

Numbers = NDArray[np.int16]


def lut_operands(gemm: Gemm, product: SetProduct, core: CoreMemories, when: Interval) -> tuple[Numbers, Numbers]:
    """Return the matrices of a product of the LUT core, arrays (pixels, k) and (filters, k), k filled up to whole words.

    Raises:
        Fault: a word that is needed was never written.
    """
    n = product.n_words
    left = _lut(core.lhs, gemm.lhs_base, (gemm.n_pixels, n, product.lhs_bits), bool(product.lhs_signed), when)
    right = _lut(core.rhs, gemm.rhs_base, (gemm.n_filters, n, product.rhs_bits), bool(product.rhs_signed), when)
    return left, right


def _lut(banks: Any, base: int, sizes: tuple[int, int, int], is_signed: bool, when: Interval) -> Numbers:
    """Return numbers of planes: row i in bank i % n_banks, at base + (i // n_banks * bits + plane) * n_words + word."""
    n, n_words, bits = sizes
    n_banks, stripe = len(banks.bytes), bits * n_words
    _note_rows(banks, base, n, stripe, when)
    key = ("lut", base, sizes, is_signed)
    known = banks.known(key)
    if known is not None:
        return known  # type: ignore[no-any-return]
    n_stripes = -(-n // n_banks)
    words = banks.bytes[:, base : base + n_stripes * stripe].reshape(n_banks, n_stripes, bits, -1)
    rows = words.transpose(2, 1, 0, 3).reshape(bits, n_stripes * n_banks, -1)[:, :n]
    planes = np.unpackbits(rows, axis=2, bitorder="little")
    raw = planes[0]
    for plane in range(1, bits):
        raw = raw | planes[plane] << np.uint8(plane)
    return banks.remember(key, base, n_stripes * stripe, _signed(raw, bits, is_signed))  # type: ignore[no-any-return]


def _note_rows(banks: Any, base: int, n: int, stripe: int, when: Interval) -> None:
    """Note that n rows are read, one a bank, stripe behind stripe."""
    n_full, rest = divmod(n, len(banks.bytes))
    end = base + n_full * stripe
    banks.times.read((slice(None), slice(base, end)), *when)
    if rest:
        banks.times.read((slice(rest), slice(end, end + stripe)), *when)


def _signed(raw: NDArray[np.uint8], bits: int, is_signed: bool) -> Numbers:
    """Return the low bits of bytes as numbers."""
    if not is_signed:
        return raw.astype(np.int16)
    unused = np.uint8(8 - bits)
    return ((raw << unused).view(np.int8) >> np.int8(unused)).astype(np.int16)


def dsp_operands(gemm: Gemm, product: SetProduct, core: CoreMemories, when: Interval) -> tuple[Numbers, Numbers]:
    """Return the matrices of a product of the DSP core, as `lut_operands` does."""
    bits, n_words, shape = product.lhs_bits, product.n_words, core.shape
    _note_rows(core.lhs, gemm.lhs_base, gemm.n_pixels, n_words, when)
    _note_filters(gemm, n_words, core, when)
    key = ("dsp", gemm.lhs_base, gemm.n_pixels, n_words, bits)
    left = core.lhs.known(key)
    if left is None:
        n_stripes = shape.n_stripes(gemm)
        words = core.lhs.bytes[:, gemm.lhs_base : gemm.lhs_base + n_stripes * n_words]
        rows = words.reshape(shape.n_rows, n_stripes, -1).transpose(1, 0, 2).reshape(n_stripes * shape.n_rows, -1)
        left = core.lhs.remember(key, gemm.lhs_base, n_stripes * n_words, _elements(rows[: gemm.n_pixels], bits, False))
    key = ("dsp", gemm.rhs_base, gemm.n_filters, n_words, bits)
    right = core.rhs.known(key)
    if right is None:
        n_tiles, n_passes = shape.n_tiles(gemm), shape.n_passes
        n_lines = n_tiles * n_words * n_passes
        words = core.rhs.bytes[:, gemm.rhs_base : gemm.rhs_base + n_lines]
        lines = words.reshape(shape.n_banks, n_tiles, n_words, n_passes, -1).transpose(1, 3, 0, 2, 4)
        rows = lines.reshape(n_tiles * shape.n_filters, -1)[: gemm.n_filters]
        right = core.rhs.remember(key, gemm.rhs_base, n_lines, _elements(rows, bits, True))
    return left, right


def _note_filters(gemm: Gemm, n_words: int, core: CoreMemories, when: Interval) -> None:
    """Note which lines are read: of the last tile only the banks of filters that are valid."""
    shape, n_tile = core.shape, n_words * core.shape.n_passes
    n_full, rest = divmod(gemm.n_filters, shape.n_filters)
    end = gemm.rhs_base + n_full * n_tile
    core.rhs.times.read((slice(None), slice(gemm.rhs_base, end)), *when)
    for turn in range(shape.n_passes if rest else 0):
        n_banks = min(max(rest - turn * shape.n_banks, 0), shape.n_banks)
        core.rhs.times.read((slice(n_banks), slice(end + turn, end + n_tile, shape.n_passes)), *when)


def _elements(rows: NDArray[np.uint8], bits: int, is_weight: bool) -> Numbers:
    """Return rows of bytes as numbers: uint4 or int8 on the left, int4 or int8 on the right."""
    if bits == 4:
        raw = np.stack([rows & np.uint8(15), rows >> np.uint8(4)], axis=-1).reshape(*rows.shape[:-1], -1)
        return _signed(raw, 4, is_weight)
    return np.ascontiguousarray(rows).view(np.int8).astype(np.int16)


def depthwise_operands(depthwise: Depthwise, taps: SetTaps, core: CoreMemories, when: Interval) -> tuple[Numbers, Numbers]:
    """Return the columns, array (rows, columns, kh, channels), and the taps, array (kh, kw, channels).

    Raises:
        Fault: a word that is needed was never written.
    """
    height, bits = taps.height, taps.bits
    n_columns = n_input_columns(depthwise.n_columns, taps.width, taps.stride_x)
    part = (slice(depthwise.n_rows), slice(depthwise.lhs_base, depthwise.lhs_base + n_columns * height))
    core.lhs.times.read(part, *when)
    columns = _elements(core.lhs.bytes[part], bits, False).reshape(depthwise.n_rows, n_columns, height, -1)
    weights = []
    for tap in range(taps.width):
        turn, bank = divmod(tap, core.shape.n_banks)
        base = depthwise.rhs_base + turn * height
        line = (slice(bank, bank + 1), slice(base, base + height))
        core.rhs.times.read(line, *when)
        weights.append(_elements(core.rhs.bytes[line][0], bits, True))
    n = depthwise.n_channels
    return columns[..., :n], np.stack(weights, axis=1)[..., :n]
