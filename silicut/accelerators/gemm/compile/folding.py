"""Weights as the banks hold them and biases with zero points folded in.

The arrays multiply what lies in memory: a number x of the input, plus `offset` where the DSP core's window unit inverts the
top bit. What the layer means is sum of w * (x - zero point) + bias, so the bias takes -(zero point + offset) * sum of w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.compile.views import NOTHING, Part
from silicut.accelerators.gemm.program import Unit
from silicut.numerics import IntegerFormat, signed_bits

Array = NDArray[Any]


@dataclass(frozen=True)
class Operand:
    """How a unit reads activations.

    Attributes:
        bits: width of an element in its window unit.
        is_signed: what the array takes them for.
        flips: whether the top bit is inverted.
        offset: what that adds to each number.
        pad_value: the bits of the zero point.
    """

    bits: int
    is_signed: bool
    flips: bool
    offset: int
    pad_value: int


def operand_of(unit: Unit, format: IntegerFormat, element_bits: int, zero_point: int) -> Operand:
    """Return how a unit reads numbers of a format.

    Example:
        >>> operand_of(Unit.DSP, IntegerFormat(8, is_signed=False), 8, zero_point=3)
        Operand(bits=8, is_signed=True, flips=True, offset=-128, pad_value=3)
    """
    if unit is not Unit.DSP:
        bits = element_bits if unit is Unit.POST else format.bits
        return Operand(bits, format.is_signed, False, 0, zero_point % (1 << bits))
    takes_signed = element_bits == 8
    fits = IntegerFormat(element_bits, is_signed=takes_signed)
    flips = format.min < fits.min or format.max > fits.max
    offset = (1 << (element_bits - 1)) * (1 if format.is_signed else -1) if flips else 0
    return Operand(element_bits, takes_signed, flips, offset, zero_point % (1 << element_bits))


def weight_width(weights: Array) -> int:
    """Return the bits that weights need as signed numbers; 1 for none but zeros."""
    return signed_bits(int(weights.min()), int(weights.max())) if weights.size else 1


def rows_of(weight: Array, filters: Sequence[int], parts: Sequence[Part]) -> Array:
    """Return the rows of filters in the order in which the window unit gives the elements of a window.

    Args:
        weight: array (n, c, kh, kw).
        filters: which, -1 for a row of zeros.
        parts: of the slab table; their channels are those of the weights.

    Returns:
        Array (len(filters), elements of a window) of int64.
    """
    chosen = taken(weight, filters, axis=0)
    rows = [taken(chosen, part.channels, axis=1).transpose(0, 2, 3, 1).reshape(len(filters), -1) for part in parts]
    return np.concatenate(rows, axis=1)


def taken(array: Array, indices: Sequence[int], axis: int) -> Array:
    """Return indices along an axis, zeros for -1."""
    index = np.asarray(indices)
    shape = [1] * array.ndim
    shape[axis] = -1
    taken: Array = np.take(array, np.maximum(index, 0), axis=axis) * (index != NOTHING).reshape(shape)
    return taken


def folded_bias(sums: Array, bias: Array | None, filters: Sequence[int], shift: int) -> Array:
    """Return the biases of filters.

    Args:
        sums: array (len(filters),): the sum of the weights of each.
        bias: array (n,) of the layer, None without.
        filters: which, -1 for none.
        shift: zero point plus offset of the operand.
    """
    own = np.zeros(len(filters), np.int64)
    if bias is not None:
        own += taken(bias.astype(np.int64), filters, axis=0)
    folded: Array = own - shift * sums
    return folded


def spread(numbers: Array, filters: Sequence[int]) -> Array:
    """Return a requantiser's numbers, one for all or one a channel, for filters; zeros for none."""
    if len(numbers) == 1:
        return np.full(len(filters), int(numbers[0]), np.int64)
    return taken(numbers.astype(np.int64), filters, axis=0)
