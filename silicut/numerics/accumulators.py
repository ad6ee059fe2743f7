"""How wide sums of products become: the exact worst case of given weights, not a rule of thumb.

The two's complement width of a layer's accumulator follows from its weights and from the range of its inputs. Operators
check it when they are made, and choose by it the fastest arithmetic that is still exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silicut.numerics.factors import largest_magnitude
from silicut.numerics.formats import IntegerFormat, Integers, signed_bits
from silicut.records import AccumulatorTooNarrow

FLOAT32_EXACT = 2**24
"""All integers of at most this magnitude are float32 numbers, so sums that never leave it are exact in any order."""
FLOAT64_EXACT = 2**53
"""The same for float64."""


@dataclass(frozen=True)
class Bounds:
    """The exact range of a sum of products over all inputs, for each output channel.

    Attributes:
        low: array (channels,) of Python integers: the smallest sum, bias included.
        high: array (channels,): the largest.
        partial: the largest magnitude of any sum of some of the products, in any order, without the bias.
    """

    low: NDArray[np.object_]
    high: NDArray[np.object_]
    partial: int

    @property
    def bits_per_channel(self) -> tuple[int, ...]:
        """The two's complement width that each channel needs."""
        return tuple(signed_bits(low, high) for low, high in zip(self.low, self.high, strict=True))

    @property
    def bits(self) -> int:
        """The two's complement width that the widest channel needs."""
        return max(self.bits_per_channel, default=1)


def sum_bounds(weight: Integers, low: int, high: int, bias: Integers | None = None) -> Bounds:
    """Return the exact range of weight @ x + bias over all x of low..high.

    Both ends are reached, each by the inputs that take `high` under weights of one sign and `low` under the others. Partial
    sums of a two's complement accumulator may wrap without harm as long as the sum itself fits.

    Args:
        weight: array (channels, ...): all weights of a channel.
        low: the smallest input, at most 0 (inputs are taken less their zero point).
        high: the largest input, at least 0.
        bias: array (channels,), or None.

    Example:
        >>> bounds = sum_bounds(np.array([[1, -2, 3], [0, 0, 7]]), 0, 15)
        >>> bounds.low.tolist(), bounds.high.tolist(), bounds.bits_per_channel
        ([-30, 0], [60, 105], (7, 8))
    """
    rows = weight.reshape(len(weight), -1)
    up, down = _exact_sums(np.maximum(rows, 0)), _exact_sums(np.minimum(rows, 0))
    lowest, highest = up * low + down * high, up * high + down * low
    partial = max((max(-a, b) for a, b in zip(lowest, highest, strict=True)), default=0)
    if bias is None:
        return Bounds(lowest, highest, partial)
    added = bias.astype(object)
    return Bounds(lowest + added, highest + added, partial)


def _exact_sums(rows: Integers) -> NDArray[np.object_]:
    """Return the sum of each row as a Python integer."""
    fits_int64 = largest_magnitude(rows) * rows.shape[1] < 2**63
    numbers = rows.astype(np.int64 if fits_int64 else object)
    sums: NDArray[np.object_] = numbers.sum(axis=1).astype(object)
    return sums


def check_accumulator(bounds: Bounds, format: IntegerFormat, what: str) -> None:
    """Check that every sum fits an accumulator.

    Raises:
        AccumulatorTooNarrow: it does not; the message names the channel that is widest and the width it needs.
    """
    needed = bounds.bits_per_channel
    wrong = [i for i in range(len(needed)) if bounds.low[i] < format.min or bounds.high[i] > format.max]
    if wrong:
        widest = max(wrong, key=lambda i: needed[i])
        raise AccumulatorTooNarrow(
            f"{what}: channel {widest} can reach {bounds.low[widest]}..{bounds.high[widest]}, "
            f"which needs int{needed[widest]}, not {format.name}; widen the accumulator or narrow weights or inputs"
        )


def exact_matmul_type(partial: int) -> type[np.float32 | np.float64 | np.int64]:
    """Return the fastest type in which products are summed without error.

    Floating point is exact while no partial sum exceeds the mantissa, whatever the order of summation; NumPy sums floats by
    BLAS, integers by a plain loop some 20 to 40 times slower.

    Args:
        partial: the largest magnitude of any partial sum.

    Example:
        >>> exact_matmul_type(2**24), exact_matmul_type(2**24 + 1), exact_matmul_type(2**53 + 1)
        (<class 'numpy.float32'>, <class 'numpy.float64'>, <class 'numpy.int64'>)
    """
    if partial <= FLOAT32_EXACT:
        return np.float32
    return np.float64 if partial <= FLOAT64_EXACT else np.int64
