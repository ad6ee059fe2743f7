"""A factor and a bias for each channel as an integer layer: batch norms that follow no layer, and normalised images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from silicut.compress.quantisation.short_factors import scale_unit
from silicut.compress.quantisation.weights import IntegerWeights, integer_bias, with_room_for_bias
from silicut.numerics import Convolution2d, Quantisation


def affine_layer(
    factors: NDArray[np.float64], bias: NDArray[np.float64], read: Quantisation, made: Quantisation
) -> tuple[Convolution2d, NDArray[np.float64]]:
    """Return x * factor + bias as a depthwise convolution of size 1, and the scale of each channel's accumulators.

    Args:
        factors, bias: arrays (channels,).
        read, made: the quantisations of what it reads and of its rounded result, each with one scale.
    """
    weights = with_room_for_bias(factor_weights(factors, read, made), bias, read, made)
    scales = read.scales[0] * weights.scales
    layer = Convolution2d(
        weight=weights.values,
        bias=integer_bias(bias, scales),
        input_format=read.format,
        weight_format=weights.format,
        input_zero_point=read.zero_points[0],
        groups=len(factors),
    )
    return layer, scales


def factor_weights(factors: NDArray[np.float64], read: Quantisation, made: Quantisation) -> IntegerWeights:
    """Return one weight of 8 bits for each channel: the products of weight and short scale that come closest to factors.

    Args:
        factors: array (channels,).
        read, made: as for `short_scales`.

    Returns:
        Weights in the shape (channels, 1, 1, 1).
    """
    unit, numbers = scale_unit(read, made), np.arange(64, 128)
    wanted = np.abs(factors)[:, None] / unit
    multipliers = np.maximum(np.rint(wanted / numbers), 1)
    best = np.abs(numbers * multipliers - wanted).argmin(axis=1)
    scales = multipliers[np.arange(len(best)), best] * unit
    values = np.clip(np.rint(factors / scales), -127, 127).astype(np.int8)
    return IntegerWeights(values.reshape(-1, 1, 1, 1), scales, 8)
