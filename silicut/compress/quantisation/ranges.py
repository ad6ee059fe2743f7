"""Which part of a tensor's numbers its integers should reach: everything, or less in smaller steps.

Every way maps a histogram and a width in bits to the smallest and the largest number that integers reach, with 0 between
them, for it is always one of the numbers that integers stand for (`silicut.compress.quantisation.calibration`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.compress.quantisation.weights import largest_levels, weight_scales

Floats = NDArray[np.float64]

PERCENTILE = 99.99
_SHRINKS = np.arange(100, 0, -1) / 100.0  # of the whole range, tried from the widest on
_N_ROUNDS = 3  # in which both ends of a range are improved in turn
_BINS_PER_LEVEL = 8
_SMOOTHING = 1e-6


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often the numbers of a tensor occurred.

    Attributes:
        low: the smallest number, the lower edge of the first bin.
        high: the largest number, the upper edge of the last bin.
        counts: array (bins,) over bins of equal width.
    """

    low: float
    high: float
    counts: NDArray[np.int64]

    @property
    def edges(self) -> NDArray[np.float64]:
        """The edges of the bins, array (bins + 1,)."""
        return np.linspace(self.low, self.high, len(self.counts) + 1)

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin, array (bins,)."""
        edges = self.edges
        return (edges[:-1] + edges[1:]) / 2


Range = tuple[float, float]
RangeFunction = Callable[[Histogram, int], Range]
"""Maps a histogram and a width in bits to the smallest and the largest number that integers shall reach."""


def min_max(histogram: Histogram, _bits: int) -> Range:
    """Return the smallest and the largest number that occurred, or 0 where it lies outside of them: nothing saturates.

    Example:
        >>> min_max(Histogram(-1.0, 3.0, np.array([1, 1])), 8)
        (-1.0, 3.0)
    """
    return min(0.0, histogram.low), max(0.0, histogram.high)


def percentile(histogram: Histogram, _bits: int, percent: float = PERCENTILE) -> Range:
    """Return the range that holds a percentage of all numbers, what is left out split between both ends.

    Of numbers that are never negative (or never positive) all that is left out lies at one end. The ends are known to a bin.
    """
    low, high = min_max(histogram, _bits)
    left_out = (1.0 - percent / 100.0) * histogram.counts.sum() / (2.0 if low < 0.0 < high else 1.0)
    from_below, from_above = np.cumsum(histogram.counts), np.cumsum(histogram.counts[::-1])[::-1]
    lower = histogram.edges[:-1][from_below > left_out].min(initial=0.0)
    upper = histogram.edges[1:][from_above > left_out].max(initial=0.0)
    return max(low, float(lower)), min(high, float(upper))


def mse(histogram: Histogram, bits: int) -> Range:
    """Return the range of least mean squared error, rounding and saturation together.

    Both ends are shrunk together in hundredths, then each in turn while the other stays.
    """
    return _least(histogram, bits, lambda low, high: _squared_error(histogram, bits, low, high))


def kl(histogram: Histogram, bits: int) -> Range:
    """Return the range of least Kullback-Leibler divergence of the quantised distribution from the saturated one.

    As in TensorRT's entropy calibration: of a candidate range, P is the histogram with what saturates counted in the last
    bins; Q spreads what each level stands for evenly over those of its bins that are not empty; the bin of 0 is left out.
    Levels are those of the quantiser itself, so signed tensors and all widths are treated alike. Bins are joined until
    there are at most the square root of the number of values (the rule of N3H-Core's quantiser) but 8 a level, because
    nearly empty bins say more about the sample than about the tensor. That quantiser compares cumulative curves and counts
    half of the levels of an unsigned format; neither is taken over.
    """
    centres, counts = _joined_bins(histogram, _BINS_PER_LEVEL << bits)
    return _least(histogram, bits, lambda low, high: _divergence(centres, counts, bits, low, high))


def _least(histogram: Histogram, bits: int, loss: Callable[[float, float], float]) -> Range:
    """Return the range of least loss among hundredths of the whole one; the widest of several."""
    least, most = min_max(histogram, bits)
    shrink = min(_SHRINKS, key=lambda t: loss(t * least, t * most))
    low, high = shrink * least, shrink * most
    for _ in range(_N_ROUNDS if least < 0.0 < most else 0):
        low = min(_SHRINKS * least, key=lambda end, high=high: loss(end, high))  # type: ignore[misc]
        high = min(_SHRINKS * most, key=lambda end, low=low: loss(low, end))  # type: ignore[misc]
    return float(low), float(high)


def _integers(values: Floats, bits: int, low: float, high: float) -> tuple[Floats, float]:
    """Return how many steps from 0 each value is rounded to, and the size of a step."""
    most = float((1 << bits) - 1)
    scale = (high - low) / most or 1.0
    zero_point = np.rint(-low / scale)
    return np.clip(np.rint(values / scale), -zero_point, most - zero_point), scale


def _squared_error(histogram: Histogram, bits: int, low: float, high: float) -> float:
    integers, scale = _integers(histogram.centres, bits, low, high)
    return float(histogram.counts @ (histogram.centres - integers * scale) ** 2)


def _divergence(centres: Floats, counts: Floats, bits: int, low: float, high: float) -> float:
    inside = np.flatnonzero((centres >= low) & (centres <= high))
    if not counts[inside].sum():
        return math.inf
    real = counts[inside]
    saturated = real.copy()
    saturated[0] += counts[: inside[0]].sum()
    saturated[-1] += counts[inside[-1] + 1 :].sum()
    steps = _integers(centres[inside], bits, low, high)[0]
    levels = (steps - steps[0]).astype(np.int64)
    filled = saturated > 0
    spread = np.bincount(levels, real) / np.maximum(np.bincount(levels, filled), 1.0)
    p, q = saturated[filled] / saturated.sum(), spread[levels][filled] / real.sum()
    q = (1.0 - _SMOOTHING) * q + _SMOOTHING / len(q)
    return float(p @ np.log(p / q))


def _joined_bins(histogram: Histogram, at_least: int) -> tuple[Floats, Floats]:
    """Return centres and counts of bins joined in pairs, that of 0 emptied."""
    centres, counts = histogram.centres, histogram.counts.astype(np.float64)
    counts[np.abs(centres).argmin()] = 0.0
    wanted = max(at_least, math.isqrt(int(counts.sum())))
    while len(counts) > wanted and len(counts) % 2 == 0:
        centres, counts = centres.reshape(-1, 2).mean(axis=1), counts.reshape(-1, 2).sum(axis=1)
    return centres, counts


RANGES: dict[str, RangeFunction] = {"min-max": min_max, "percentile": percentile, "mse": mse, "kl": kl}
"""The ways to choose ranges, by name."""


def mse_scales(weight: NDArray[Any], bits: NDArray[np.int64]) -> Floats:
    """Return the scale of each filter of least squared error, some hundredths of that of `weight_scales`.

    Args:
        weight: array with filters on axis 0.
        bits: array (filters,).
    """
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    limit = largest_levels(bits)[:, None]
    whole = weight_scales(weight, bits)
    best, least = whole, np.full(len(flat), np.inf)
    for shrink in _SHRINKS:
        scales = (shrink * whole).astype(np.float32).astype(np.float64)
        steps = np.clip(np.rint(flat / scales[:, None]), -limit, limit) * scales[:, None]
        error = ((flat - steps) ** 2).sum(axis=1)
        best, least = np.where(error < least, scales, best), np.minimum(error, least)
    return best


WEIGHT_SCALES: dict[str, Callable[[NDArray[Any], NDArray[np.int64]], Floats]] = {"max": weight_scales, "mse": mse_scales}
"""The ways to choose the scales of weights, by name: nothing saturates, or least squared error."""
