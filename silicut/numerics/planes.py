"""Bit planes: integers cut into one-bit layers, as bit-serial hardware reads them.

Plane i of a tensor holds bit i of every number and weighs 2^i, the highest plane of a signed format -2^i. A dot product of
integers is then the sum over pairs of planes of the product of their weights times a count of common ones (BISMO, arXiv
1806.08862; the LUT core of N3H-Core, arXiv 2112.08193).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from silicut.numerics.formats import IntegerFormat, Integers

WordBits = Literal[32, 64]
Words = NDArray[np.unsignedinteger[Any]]

_MAX_PLANES = 8
_ONES = np.array([byte.bit_count() for byte in range(256)], np.uint8)


def plane_weights(format: IntegerFormat) -> tuple[int, ...]:
    """Return what a one in each plane counts, the lowest first.

    Example:
        >>> plane_weights(IntegerFormat(4)), plane_weights(IntegerFormat(3, is_signed=False))
        ((1, 2, 4, -8), (1, 2, 4))
    """
    weights = [1 << i for i in range(format.bits)]
    return (*weights[:-1], -weights[-1] if format.is_signed else weights[-1])


def pack_planes(values: Integers, format: IntegerFormat, word_bits: WordBits = 64) -> Words:
    """Return the bit planes of an integer array, its last axis packed into words.

    Number k of a row lies in bit k mod word_bits of word k // word_bits; the rest of the last word is 0, which adds
    nothing to a dot product.

    Args:
        values: array (..., n) of numbers of the format.
        format: of 1..8 bits.
        word_bits: 32 or 64.

    Returns:
        Array (bits, ..., ceil(n / word_bits)) of uint32 or uint64.

    Raises:
        TypeError: the values are no integers.
        ValueError: a value is outside of the format, the format is wider than 8 bits, or words are of another width.

    Example:
        >>> pack_planes(np.array([1, 2, 3, -4]), IntegerFormat(3)).tolist()
        [[5], [6], [8]]
    """
    _check_format(format)
    if word_bits not in (32, 64):
        raise ValueError(f"word_bits must be 32 or 64, not {word_bits}")
    format.check(values, "values")
    n = values.shape[-1]
    plane = np.arange(format.bits, dtype=np.int64).reshape(-1, *[1] * values.ndim)
    bits = np.zeros((format.bits, *values.shape[:-1], -(-n // word_bits) * word_bits), np.uint8)
    bits[..., :n] = (values.astype(np.int64) >> plane) & 1
    packed = np.packbits(bits, axis=-1, bitorder="little")
    return np.ascontiguousarray(packed).view(np.dtype(f"<u{word_bits // 8}"))


def unpack_planes(words: Words, format: IntegerFormat, n: int) -> Integers:
    """Return the integers of packed bit planes, in the type of the format: the inverse of `pack_planes`.

    Args:
        words: array (bits, ..., n_words).
        format: which was packed.
        n: how many numbers a row holds.

    Raises:
        ValueError: the words are not those of this format and n.
    """
    _check_format(format)
    per_word = words.dtype.itemsize * 8
    if len(words) != format.bits or words.shape[-1] != -(-n // per_word):
        raise ValueError(
            f"words must have {format.bits} planes of {-(-n // per_word)} words for {n} numbers of {format.name}, "
            f"not shape {words.shape}"
        )
    bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=-1, count=n, bitorder="little")
    return np.tensordot(np.array(plane_weights(format)), bits.astype(np.int64), 1).astype(format.dtype)


def bit_serial_matmul(
    left: Words, right: Words, left_format: IntegerFormat, right_format: IntegerFormat
) -> NDArray[np.int64]:
    """Return the matrix product left @ right.T of two packed matrices, from their planes alone.

    product[i, j] = sum over planes p, q of weight_p * weight_q * popcount(left[p, i] AND right[q, j])

    Args:
        left: planes (bits, m, n_words) of an m x k matrix.
        right: planes (bits, n, n_words) of an n x k matrix, with words of the same width.
        left_format, right_format: which were packed.

    Returns:
        Array (m, n).

    Raises:
        ValueError: the two do not belong together.

    Example:
        >>> a, b = np.array([[1, -2, 3]]), np.array([[3, 1, 2], [0, 1, 1]])
        >>> int3, uint2 = IntegerFormat(3), IntegerFormat(2, is_signed=False)
        >>> bit_serial_matmul(pack_planes(a, int3), pack_planes(b, uint2), int3, uint2).tolist()
        [[7, 1]]
    """
    if left.dtype != right.dtype or left.shape[-1] != right.shape[-1]:
        raise ValueError(
            f"both must have rows of the same words, not {left.shape[-1]} of {left.dtype} "
            f"and {right.shape[-1]} of {right.dtype}"
        )
    product = np.zeros((left.shape[1], right.shape[1]), np.int64)
    for weight, left_plane in zip(plane_weights(left_format), left, strict=True):
        for other_weight, right_plane in zip(plane_weights(right_format), right, strict=True):
            product += weight * other_weight * _common_ones(left_plane, right_plane)
    return product


def _common_ones(left: Words, right: Words) -> NDArray[np.int64]:
    """Return how many ones each row of one plane shares with each row of another."""
    rows = [_ONES[(row & right).view(np.uint8)].sum(axis=-1, dtype=np.int64) for row in left]
    return np.array(rows, np.int64).reshape(len(left), len(right))


def _check_format(format: IntegerFormat) -> None:
    if format.bits > _MAX_PLANES:
        raise ValueError(f"a format for bit planes must have 1..{_MAX_PLANES} bits, not be {format.name}")
