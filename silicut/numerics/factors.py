"""Real factors as integers: multiplication by multiplier / 2^shift, the only fractions that integer networks know.

The product of two scales over a third is real; hardware multiplies by an integer and shifts right. `encode_factor` picks
the closest pair, `scaled` applies it exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from silicut.numerics.formats import Integers
from silicut.numerics.rounding import MAX_SHIFT, Rounding, shift_right

MULTIPLIER_BITS = 16
"""The default width of multipliers, as signed numbers: relative error at most 2^-15; accumulators of up to 48 bits fit."""

_PRODUCT_LIMIT = 2**63 - 1


@dataclass(frozen=True)
class Factor:
    """A positive real number as multiplier / 2^shift.

    Attributes:
        multiplier: positive.
        shift: 0..62.
    """

    multiplier: int
    shift: int

    @property
    def exact(self) -> Fraction:
        """The number that it is."""
        return Fraction(self.multiplier, 1 << self.shift)


def encode_factor(factor: float | Fraction, multiplier_bits: int = MULTIPLIER_BITS) -> Factor:
    """Return the closest multiplier / 2^shift to a positive factor.

    Its relative error is at most e = 2^(1 - multiplier_bits) where the factor is at least 2^(multiplier_bits - 64); below,
    where the shift has reached 62, its error is at most 2^-63. Hence an integer x scaled by it and rounded to the nearest
    is off from x * factor by at most 1/2 + |x| * factor * e.

    Args:
        factor: above 2^-63, at most the largest multiplier.
        multiplier_bits: width of the multiplier as a signed number, 2..32.

    Raises:
        ValueError: the factor is not positive, or too large or too small for the multiplier.

    Example:
        >>> encode_factor(0.75), encode_factor(1 / 3, multiplier_bits=8)
        (Factor(multiplier=3, shift=2), Factor(multiplier=85, shift=8))
    """
    if not 2 <= multiplier_bits <= 32:
        raise ValueError(f"multiplier_bits must be 2..32, not {multiplier_bits}")
    exact, largest = _positive(factor), (1 << (multiplier_bits - 1)) - 1
    shift = _longest_shift(exact, largest)
    multiplier = round(exact * (1 << shift)) if shift >= 0 else 0
    if not 1 <= multiplier <= largest:
        raise ValueError(
            f"factor must be above 2^-{MAX_SHIFT + 1} and at most {largest} with {multiplier_bits}-bit multipliers, "
            f"not {float(factor):.6g}"
        )
    common = min(shift, (multiplier & -multiplier).bit_length() - 1)
    return Factor(multiplier >> common, shift - common)


def _positive(factor: float | Fraction) -> Fraction:
    if not math.isfinite(factor) or factor <= 0:
        raise ValueError(f"factor must be positive and finite, not {factor}")
    return Fraction(factor)


def _longest_shift(factor: Fraction, largest: int) -> int:
    """Return the longest shift, at most 62, at which the rounded multiplier is not above the largest."""
    log2_floor = factor.numerator.bit_length() - factor.denominator.bit_length() - 1  # or one more
    shift = min(MAX_SHIFT, largest.bit_length() - log2_floor)
    while shift >= 0 and round(factor * (1 << shift)) > largest:
        shift -= 1
    return shift


def encode_factors(
    factors: Iterable[float | Fraction], multiplier_bits: int = MULTIPLIER_BITS
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return multipliers and shifts of several factors, one for each channel.

    Example:
        >>> encode_factors([0.5, 0.375])
        (array([1, 3]), array([1, 3]))
    """
    encoded = [encode_factor(factor, multiplier_bits) for factor in factors]
    return np.array([f.multiplier for f in encoded], np.int64), np.array([f.shift for f in encoded], np.int64)


def encode_together(
    factors: Iterable[float | Fraction], multiplier_bits: int = MULTIPLIER_BITS
) -> tuple[tuple[int, ...], int]:
    """Return multipliers of several factors over one common shift, the longest at which the largest multiplier fits.

    Each multiplier is off by at most 1/2, so the error of a sum of products is bounded by that of its largest factor.

    Raises:
        ValueError: a factor is not positive, the largest is too large, or the smallest vanishes beside it.

    Example:
        >>> encode_together([1.0, 0.25], multiplier_bits=8)
        ((64, 16), 6)
    """
    exact = [_positive(factor) for factor in factors]
    encode_factor(max(exact), multiplier_bits)
    shift = _longest_shift(max(exact), (1 << (multiplier_bits - 1)) - 1)
    multipliers = tuple(round(factor * (1 << shift)) for factor in exact)
    if min(multipliers) < 1:
        raise ValueError(
            f"factors must be positive and within 2^{multiplier_bits - 1} of each other, not "
            f"{float(min(exact)):.6g} and {float(max(exact)):.6g}"
        )
    return multipliers, shift


def scaled(
    values: Integers, multiplier: Integers | int, shift: Integers | int, rounding: Rounding = Rounding.HALF_EVEN
) -> NDArray[np.int64]:
    """Return values * multiplier / 2^shift rounded to integers, exactly, in int64.

    Args:
        values: integers; the largest magnitude times the largest multiplier must fit int64.
        multiplier: one number, or an array that broadcasts with values.
        shift: 0..62, likewise.
        rounding: what becomes of fractions.

    Raises:
        ValueError: a product could exceed int64.

    Example:
        >>> scaled(np.array([-100, 50, 100]), multiplier=3, shift=3).tolist()
        [-38, 19, 38]
    """
    values, factor = values.astype(np.int64, copy=False), np.asarray(multiplier, np.int64)
    if largest_magnitude(values) * largest_magnitude(factor) > _PRODUCT_LIMIT:
        raise ValueError(
            f"products must fit int64, not reach {largest_magnitude(values)} * {largest_magnitude(factor)}; "
            "take narrower multipliers"
        )
    return shift_right(values * factor, shift, rounding)


def largest_magnitude(values: Integers) -> int:
    """Return the largest absolute value of an integer array, 0 for an empty one."""
    return max(int(values.max()), -int(values.min())) if values.size else 0
