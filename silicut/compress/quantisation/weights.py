"""Weights as integers: symmetric about 0, one scale for each filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.compress.quantisation.short_factors import short_scales
from silicut.numerics import IntegerFormat, Quantisation

LARGEST_BIAS = 2**22
"""Biases stay below this on the accumulators' scale: float32, in which QONNX files have them, still tells them apart."""


@dataclass(frozen=True, eq=False)
class IntegerWeights:
    """The weights of one layer as integers.

    Attributes:
        values: array of int8 in the shape of the weight, filters on axis 0.
        scales: array (filters,): weight = value * scale.
        bits: the width of the widest filter.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float64]
    bits: int

    @property
    def format(self) -> IntegerFormat:
        """The narrow format that holds all of them (-7..7 for 4 bits)."""
        return IntegerFormat(self.bits, is_narrow=True)

    @property
    def floats(self) -> NDArray[np.float32]:
        """The numbers that they stand for, in the shape of the weight."""
        numbers: NDArray[np.float32] = (self.values * _along_filters(self.scales, self.values)).astype(np.float32)
        return numbers


Candidates = Mapping[int, Mapping[str, IntegerWeights]]
"""By width, the weights of every layer by its name."""


def _along_filters(numbers: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    return numbers.reshape(-1, *[1] * (weight.ndim - 1))


def largest_levels(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the largest integer of each width.

    Example:
        >>> largest_levels(np.array([2, 8])).tolist()
        [1, 127]
    """
    return (1 << (bits - 1)) - 1


def weight_scales(weight: NDArray[Any], bits: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the scale of each filter at which its largest weight is the largest integer; 1 for filters of zeros.

    Scales are float32 numbers.

    Args:
        weight: array with filters on axis 0.
        bits: array (filters,).
    """
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1, initial=0).astype(np.float64)
    scales = (largest / largest_levels(bits)).astype(np.float32).astype(np.float64)
    return np.where(scales < np.finfo(np.float32).tiny, 1.0, scales)


def quantise_weights(
    weight: NDArray[Any], bits: NDArray[np.int64], scales: NDArray[np.float64] | None = None
) -> IntegerWeights:
    """Return weights rounded to the nearest integers (halves to even), saturated where the scales are small.

    Args:
        weight: floats with filters on axis 0.
        bits: width of each filter, array (filters,).
        scales: array (filters,); those of `weight_scales` by default.

    Example:
        >>> made = quantise_weights(np.array([[0.6, -1.0], [3.0, 0.0]]), np.array([4, 2]))
        >>> made.values.tolist(), made.format.name
        ([[4, -7], [1, 0]], 'int4_narrow')
    """
    scales = weight_scales(weight, bits) if scales is None else scales
    limit = _along_filters(largest_levels(bits), weight)
    values = np.clip(np.rint(weight / _along_filters(scales, weight)), -limit, limit).astype(np.int8)
    return IntegerWeights(values, scales, int(bits.max()))


def integer_bias(bias: NDArray[Any], scales: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return a bias in steps of the accumulators, one scale a filter."""
    return np.rint(bias.astype(np.float64) / scales).astype(np.int64)


def with_room_for_bias(
    weights: IntegerWeights, bias: NDArray[Any] | None, read: Quantisation, made: Quantisation
) -> IntegerWeights:
    """Return weights whose scales are large enough that biases fit float32 and factors their multipliers.

    A filter of tiny weights beside a large bias (a dead channel after folding) would need more bits; its scale is raised,
    and its weights, which hardly matter, are rounded again.

    Args:
        weights: of one layer.
        bias: array (filters,), or None.
        read, made: the quantisations of what the layer reads and of its rounded result, each with one scale.
    """
    needed = np.full(len(weights.scales), made.scales[0] / 2**30)
    if bias is not None:
        needed = np.maximum(needed, np.abs(bias.astype(np.float64)) / LARGEST_BIAS)
    least = needed / read.scales[0]
    if (weights.scales >= least).all():
        return weights
    scales = np.where(weights.scales >= least, weights.scales, short_scales(least, read, made))
    ratio = _along_filters(weights.scales / scales, weights.values)
    return IntegerWeights(np.rint(weights.values * ratio).astype(np.int8), scales, weights.bits)
