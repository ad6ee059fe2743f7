"""Real numbers as integers and back: value = (integer - zero point) * scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silicut.numerics.formats import IntegerFormat, Integers
from silicut.numerics.rounding import Overflow, Rounding, fit, round_floats
from silicut.records import ConfigError

_WRAP_LIMIT = 2.0**62


@dataclass(frozen=True)
class Quantisation:
    """Which real numbers the integers of a tensor stand for.

    Attributes:
        format: of the integers.
        scales: the step between neighbours, positive: one for the tensor, or one for each index of an axis.
        zero_points: the integers that stand for 0.0, numbers of the format, as many as scales.
        axis: along which scales differ; None for one scale.

    Raises:
        ConfigError: the attributes are not as above.
    """

    format: IntegerFormat
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None = None

    def __post_init__(self) -> None:
        problems = []
        if not self.scales or not all(math.isfinite(scale) and scale > 0 for scale in self.scales):
            problems.append(f"scales must be positive numbers, not {self.scales}")
        if not all(self.format.min <= zero <= self.format.max for zero in self.zero_points):
            problems.append(f"zero_points must be numbers of {self.format.name}, not {self.zero_points}")
        if len(self.scales) != len(self.zero_points):
            problems.append(f"zero_points must be as many as scales, not {len(self.zero_points)} for {len(self.scales)}")
        if self.axis is None and len(self.scales) > 1:
            problems.append(f"scales must be one where axis is None, not {len(self.scales)}")
        if problems:
            raise ConfigError(*problems)

    @classmethod
    def per_tensor(cls, format: IntegerFormat, scale: float, zero_point: int = 0) -> Quantisation:
        """Return a quantisation with one scale."""
        return cls(format, (float(scale),), (int(zero_point),))

    @classmethod
    def per_channel(
        cls, format: IntegerFormat, scales: ArrayLike, zero_points: ArrayLike | None = None, axis: int = 0
    ) -> Quantisation:
        """Return a quantisation with one scale for each index of an axis; zero points are 0 where none are given."""
        steps = tuple(np.asarray(scales, np.float64).tolist())
        zeros = (0,) * len(steps) if zero_points is None else tuple(np.asarray(zero_points, np.int64).tolist())
        return cls(format, steps, zeros, axis)

    def _along_axis(self, numbers: tuple[Any, ...], dtype: Any, values: NDArray[Any]) -> NDArray[Any]:
        if self.axis is None:
            return np.asarray(numbers[0], dtype)
        if values.shape[self.axis] != len(numbers):
            raise ValueError(
                f"values must have {len(numbers)} indices along axis {self.axis}, one for each scale, "
                f"not shape {values.shape}"
            )
        shape = [1] * values.ndim
        shape[self.axis] = len(numbers)
        return np.asarray(numbers, dtype).reshape(shape)


def quantise(
    values: NDArray[np.floating[Any]],
    quantisation: Quantisation,
    rounding: Rounding = Rounding.HALF_EVEN,
    overflow: Overflow = Overflow.SATURATE,
) -> Integers:
    """Return round(value / scale) + zero point, in the type of the format.

    The division is done in the type of the values, so that float32 values become what ONNX QuantizeLinear makes of them.

    Args:
        values: floats; infinities saturate.
        quantisation: format, scales and zero points.
        rounding: what becomes of fractions.
        overflow: what becomes of numbers outside of the format.

    Raises:
        TypeError: the values are no floats.
        ValueError: a value is not a number, the axis has another size, or a number is too far away to wrap.

    Example:
        >>> steps = Quantisation.per_tensor(IntegerFormat(8, is_signed=False), scale=0.5, zero_point=10)
        >>> quantise(np.array([-9.0, 0.0, 0.25, 0.75, 1000.0]), steps).tolist()
        [0, 10, 10, 12, 255]
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        raise TypeError(f"values must be a NumPy array of floats, not {getattr(values, 'dtype', type(values).__name__)}")
    scale = quantisation._along_axis(quantisation.scales, values.dtype, values)
    zero_point = quantisation._along_axis(quantisation.zero_points, np.int64, values)
    with np.errstate(over="ignore"):
        whole = round_floats(values / scale, rounding).astype(np.float64, copy=False)
    if np.isnan(whole).any():
        raise ValueError("values must be numbers, not nan; look for the operator that made them")
    return fit(_as_integers(whole, overflow) + zero_point, quantisation.format, overflow)


def _as_integers(whole: NDArray[np.float64], overflow: Overflow) -> NDArray[np.int64]:
    """Return whole floats as integers; what is beyond 2^62 lies outside of every format and saturates in any case."""
    if overflow is Overflow.WRAP and not (np.abs(whole) <= _WRAP_LIMIT).all():
        raise ValueError("values must be within 2^62 scales of 0 to wrap; saturate, or take a larger scale")
    return np.clip(whole, -_WRAP_LIMIT, _WRAP_LIMIT).astype(np.int64)


def dequantise(integers: Integers, quantisation: Quantisation, dtype: Any = np.float32) -> NDArray[np.floating[Any]]:
    """Return (integer - zero point) * scale.

    Args:
        integers: numbers of the format.
        quantisation: format, scales and zero points.
        dtype: of the result, in which the product is taken (float32 as ONNX DequantizeLinear).

    Raises:
        TypeError: the array holds no integers.
        ValueError: a number is outside of the format.

    Example:
        >>> steps = Quantisation.per_channel(IntegerFormat(4), [0.5, 2.0])
        >>> dequantise(np.array([[-8, 7], [1, 2]]), steps).tolist()
        [[-4.0, 3.5], [2.0, 4.0]]
    """
    quantisation.format.check(integers, "integers")
    zero_point = quantisation._along_axis(quantisation.zero_points, np.int64, integers)
    scale = quantisation._along_axis(quantisation.scales, dtype, integers)
    return np.asarray((integers - zero_point).astype(dtype) * scale)
