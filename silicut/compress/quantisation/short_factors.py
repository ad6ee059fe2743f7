"""Factors so short that float32 multiplies by them exactly: runtimes then make the integers of the network, to the bit.

A runtime multiplies sums by float32 scales and rounds; an integer network multiplies by multiplier / 2^shift and rounds. The
two round the same number where float32 holds the product: the whole part of a result of b bits takes b of its 24, so factors
may be multiples of 2^(b - 24). The scales of weights are free, so a layer's scales are raised until its factors are such.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from silicut.numerics import IntegerFormat, Quantisation

SUM_BITS = 14
"""Of multipliers of additions: sums of two products with numbers of 8 bits are exact in float32."""
_FLOAT32_BITS = 24
_LEAST_EXACT = 500  # of a mean's multiplier, which is rounded: to a thousandth


def unit_of(made: IntegerFormat) -> float:
    """Return the number whose multiples are short factors, for results of a format.

    Example:
        >>> unit_of(IntegerFormat(8, is_signed=False)) == 2**-16
        True
    """
    return 2.0 ** (made.bits - _FLOAT32_BITS)


def short_scales(scales: NDArray[np.float64], read: Quantisation, made: Quantisation) -> NDArray[np.float64]:
    """Return scales of weights raised to the next ones at which the factor behind the layer is short.

    A scale at a factor of few units may double, which is hardly seen: a unit is how far one step of a weight of an input of
    8 bits can move the result by 1/256 of a step. Scales at less than half a unit stay (sums beyond 2^24, which float32 does
    not hold anyway).

    Args:
        scales: array (filters,).
        read, made: the quantisations of what the layer reads and of its rounded result, each with one scale.

    Example:
        >>> x, y = (Quantisation.per_tensor(IntegerFormat(14), scale) for scale in (1.0, 2.0))
        >>> (short_scales(np.array([0.1, 0.125]), x, y) * 2**9).tolist()  # 51.2 and 64 before
        [52.0, 64.0]
    """
    unit = scale_unit(read, made)
    short = np.ceil(scales / unit * (1 - 2.0**-24)) * unit
    return np.where(scales < unit / 2, scales, short)


def scale_unit(read: Quantisation, made: Quantisation) -> float:
    """Return the scale of weights at which the factor behind the layer is one unit."""
    return unit_of(made.format) * made.scales[0] / read.scales[0]


def short_factor(factor: float, made: IntegerFormat) -> float:
    """Return the short factor next to one, or itself where that would change it by more than a thousandth.

    Example:
        >>> uint8 = IntegerFormat(8, is_signed=False)
        >>> short_factor(1 / 49, uint8) * 2**16, short_factor(1e-4, uint8)
        (1337.0, 0.0001)
    """
    unit = unit_of(made)
    return round(factor / unit) * unit if factor > _LEAST_EXACT * unit else factor
