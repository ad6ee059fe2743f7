"""What becomes of a fraction and of an overflow: named modes, one definition for floats and for integers."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.numerics.formats import IntegerFormat, Integers

MAX_SHIFT = 62
"""The longest right shift."""


class Rounding(StrEnum):
    """How a fraction becomes an integer.

    The default everywhere is HALF_EVEN, that of ONNX QuantizeLinear, `numpy.rint` and `torch.round`. A shift register that
    drops bits does FLOOR; adding half of the last place before dropping them is HALF_UP.
    """

    HALF_EVEN = "half_even"
    """To the nearest; halves to the even neighbour."""
    HALF_UP = "half_up"
    """To the nearest; halves towards plus infinity."""
    HALF_AWAY = "half_away"
    """To the nearest; halves away from zero."""
    FLOOR = "floor"
    """Towards minus infinity."""
    TRUNCATE = "truncate"
    """Towards zero."""


class Overflow(StrEnum):
    """What becomes of a number outside of a format; WRAP is never a default."""

    SATURATE = "saturate"
    """The nearest number of the format."""
    WRAP = "wrap"
    """The number of the format that is equal modulo its number of levels (the low bits of two's complement)."""


def round_floats(values: NDArray[np.floating[Any]], rounding: Rounding = Rounding.HALF_EVEN) -> NDArray[np.floating[Any]]:
    """Return floats rounded to whole numbers, exactly as the mode says, in their own type.

    Example:
        >>> halves = np.array([-1.5, -0.5, 0.5, 2.5])
        >>> {mode.value: round_floats(halves, mode).astype(int).tolist() for mode in Rounding}
        {'half_even': [-2, 0, 0, 2], 'half_up': [-1, 0, 1, 3], 'half_away': [-2, -1, 1, 3], 'floor': [-2, -1, 0, 2], \
'truncate': [-1, 0, 0, 2]}
    """
    simple = {Rounding.HALF_EVEN: np.rint, Rounding.FLOOR: np.floor}.get(rounding, np.trunc)
    whole: NDArray[np.floating[Any]] = simple(values)
    if rounding not in (Rounding.HALF_UP, Rounding.HALF_AWAY):
        return whole
    # Adding 0.5 first would round 0.49999999999999994 up; the part behind the point is exact.
    rest = values - whole
    down = rest <= -0.5 if rounding is Rounding.HALF_AWAY else rest < -0.5
    up = rest >= 0.5
    nearest: NDArray[np.floating[Any]] = whole + up.astype(values.dtype) - down.astype(values.dtype)
    return nearest


def shift_right(values: Integers, shift: Integers | int, rounding: Rounding = Rounding.HALF_EVEN) -> NDArray[np.int64]:
    """Return values / 2^shift rounded to integers, exact for every int64.

    Args:
        values: integers that fit int64.
        shift: 0..62, one number or an array that broadcasts with values.
        rounding: what becomes of the bits that are shifted out.

    Example:
        >>> shift_right(np.array([-6, -2, 2, 6, 7]), 2).tolist()
        [-2, 0, 0, 2, 2]
    """
    amount = np.asarray(shift, np.int64)
    if amount.size and (amount.min() < 0 or amount.max() > MAX_SHIFT):
        raise ValueError(f"shift must be 0..{MAX_SHIFT}, not {int(amount.min())}..{int(amount.max())}")
    values = values.astype(np.int64, copy=False)
    whole = values >> amount
    if rounding is Rounding.FLOOR:
        return whole
    # No half is added before the shift, as it could overflow: the rest, 0..2^shift-1, decides.
    rest = values - (whole << amount)
    half = (np.int64(1) << amount) >> 1
    rounded: NDArray[np.int64] = whole + _rounds_up(values, whole, rest, half, rounding)
    return rounded


def _rounds_up(values: Any, whole: Any, rest: Any, half: Any, rounding: Rounding) -> Any:
    """Tell where the number above `whole` is taken; half is 0 where nothing is shifted out."""
    if rounding is Rounding.TRUNCATE:
        return (rest > 0) & (values < 0)
    is_half = (rest == half) & (half > 0)
    if rounding is Rounding.HALF_EVEN:
        return (rest > half) | (is_half & (whole & 1 == 1))
    if rounding is Rounding.HALF_AWAY:
        return (rest > half) | (is_half & (values > 0))
    return (rest > half) | is_half


def fit(values: Integers, format: IntegerFormat, overflow: Overflow = Overflow.SATURATE) -> Integers:
    """Return integers as numbers of a format, in the format's type.

    Args:
        values: integers that fit int64.
        format: what they become.
        overflow: what becomes of those outside of it.

    Raises:
        ValueError: wrapping into a narrow format, which has no meaning in hardware.

    Example:
        >>> far = np.array([-9, -8, 7, 8])
        >>> fit(far, IntegerFormat(4)).tolist(), fit(far, IntegerFormat(4), Overflow.WRAP).tolist()
        ([-8, -8, 7, 7], [7, -8, 7, -8])
    """
    if overflow is Overflow.SATURATE:
        return np.clip(values.astype(np.int64, copy=False), format.min, format.max).astype(format.dtype)
    if format.is_narrow:
        raise ValueError(f"{format.name} cannot wrap, as it lacks a bit pattern; saturate, or use int{format.bits}")
    return wrapped(values, format).astype(format.dtype)


def wrapped(values: Integers, format: IntegerFormat) -> NDArray[np.int64]:
    """Return the low bits of integers, read as numbers of a format."""
    values = values.astype(np.int64, copy=False)
    if not format.is_signed:
        return values & format.max
    unused = 64 - format.bits
    return (values << unused) >> unused
