"""Entries of scale tables and of tables of functions, and weights as lines of RHS banks: what compilers put into DRAM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import LOOKUP_ENTRIES
from silicut.accelerators.gemm.program.places import Words
from silicut.numerics import IntegerFormat, Integers

MULTIPLIER_LIMIT = 1 << 24
"""Multipliers of tables are smaller."""


def table_words(bias: Integers, multiplier: Integers, shift: Integers) -> Words:
    """Return entries of a scale table: bias in bits 31..0 (two's complement), multiplier in 55..32, shift in 61..56.

    Args:
        bias, multiplier, shift: arrays (n,); a bias counts modulo 2^32.

    Raises:
        ValueError: a multiplier is not 0..2^24-1, or a shift not 0..62.

    Example:
        >>> [hex(word) for word in table_words(np.array([-1]), np.array([3]), np.array([16]))]
        ['0x10000003ffffffff']
    """
    if multiplier.size and not (multiplier.min() >= 0 and multiplier.max() < MULTIPLIER_LIMIT):
        raise ValueError(f"multipliers must be 0..{MULTIPLIER_LIMIT - 1}, not {multiplier.min()}..{multiplier.max()}")
    if shift.size and not (shift.min() >= 0 and shift.max() <= 62):
        raise ValueError(f"shifts must be 0..62, not {shift.min()}..{shift.max()}")
    low = bias.astype(np.int64) & 0xFFFFFFFF
    return (low | multiplier.astype(np.int64) << 32 | shift.astype(np.int64) << 56).astype(np.uint64)


def table_entries(words: Words) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return bias, multiplier and shift of entries: the inverse of `table_words`."""
    numbers = words.astype(np.int64)
    bias = ((numbers & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
    return bias, numbers >> 32 & 0xFFFFFF, numbers >> 56 & 0x3F


def lookup_words(table: Integers) -> Words:
    """Return a table of a function as 32 words, one byte an entry; entries it lacks are 0."""
    entries = np.zeros(LOOKUP_ENTRIES, np.uint8)
    entries[: len(table)] = table.astype(np.int64).astype(np.uint8)
    return entries.view("<u8").astype(np.uint64)


def lut_lines(weights: Integers, format: IntegerFormat, word_bits: int) -> Words:
    """Return the lines of one tile for the LUT core.

    Args:
        weights: array (n_banks, k): the rows of the filters, k in the order of `expand`.
        format: of 1..8 bits.
        word_bits: of the core.

    Returns:
        Array (bits * t_k, line_words): for each plane, for each word of the row, one line.
    """
    n_banks, k = weights.shape
    n_words = -(-k // word_bits)
    padded = np.zeros((n_banks, n_words * word_bits), np.uint8)
    padded[:, :k] = format.check(weights, "weights").astype(np.int64).astype(np.uint8)
    planes = np.stack([(padded >> plane) & 1 for plane in range(format.bits)]).astype(np.uint8)
    lines = planes.reshape(format.bits, n_banks, n_words, word_bits).transpose(0, 2, 1, 3)
    return _words_of_bits(lines.reshape(format.bits * n_words, n_banks * word_bits))


def dsp_lines(weights: Integers, element_bits: int, n_inputs: int, n_passes: int) -> Words:
    """Return the lines of one tile for the DSP core.

    Args:
        weights: array (n_passes * n_banks, k): filter pass * n_banks + c of the tile goes to bank c.
        element_bits: 4 or 8.
        n_inputs, n_passes: of the core.

    Returns:
        Array (t_k * n_passes, line_words): for each word of the row, for each pass, one line.
    """
    n_filters, k = weights.shape
    n_banks, per_word = n_filters // n_passes, n_inputs * 8 // element_bits
    n_words = -(-k // per_word)
    padded = np.zeros((n_filters, n_words * per_word), np.uint8)
    padded[:, :k] = IntegerFormat(element_bits).check(weights, "weights").astype(np.int64).astype(np.uint8)
    lines = padded.reshape(n_passes, n_banks, n_words, per_word).transpose(2, 0, 1, 3).reshape(n_words * n_passes, -1)
    return _words_of_elements(lines, element_bits)


def depthwise_lines(weights: Integers, element_bits: int, n_inputs: int, n_columns: int) -> Words:
    """Return the lines of one block of channels for `depthwise`.

    Args:
        weights: array (channels, kh, kw), at most one word of channels.
        element_bits: 4 or 8.
        n_inputs: of the core.
        n_columns: physical columns of the core, all of whose banks get words.

    Returns:
        Array (ceil(kw / n_columns) * kh, line_words): line turn * kh + i has tap (i, turn * n_columns + c) in bank c.
    """
    channels, kh, kw = weights.shape
    n_turns, per_word = -(-kw // n_columns), n_inputs * 8 // element_bits
    padded = np.zeros((per_word, kh, n_turns * n_columns), np.uint8)
    padded[:channels, :, :kw] = IntegerFormat(element_bits).check(weights, "weights").astype(np.int64).astype(np.uint8)
    lines = padded.reshape(per_word, kh, n_turns, n_columns).transpose(2, 1, 3, 0).reshape(n_turns * kh, -1)
    return _words_of_elements(lines, element_bits)


def _words_of_elements(lines: NDArray[np.uint8], bits: int) -> Words:
    bits_of = np.unpackbits(lines[:, :, None], axis=2, bitorder="little")[:, :, :bits]
    return _words_of_bits(bits_of.reshape(len(lines), -1))


def _words_of_bits(lines: NDArray[np.uint8]) -> Words:
    """Return rows of bits as rows of words, zeros behind."""
    packed = np.packbits(lines, axis=1, bitorder="little")
    padded = np.zeros((len(lines), -(-packed.shape[1] // 8) * 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view("<u8").astype(np.uint64)
