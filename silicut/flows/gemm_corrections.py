"""What layers of the GEMM accelerator take in truth, and how that corrects a model of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.cost.work import LayerWork

_NEAR = 0.01  # squared distance below which a layer that was seen counts alone


@dataclass(frozen=True)
class Timed:
    """The exact time of a network.

    Attributes:
        cycles: of the whole, whose layers overlap.
        layers: cycles of each layer where all queues wait for its end, by its name.
    """

    cycles: int
    layers: Mapping[str, int]


class Corrections:
    """Exact over modelled cycles of the layers of networks that were timed, by their shape.

    A layer that was not seen is corrected by the mean of those of its shape, near ones (in the logarithms of channels and of
    the product of bits) counting most.
    """

    def __init__(self) -> None:
        self._points: dict[str, list[NDArray[np.float64]]] = {}
        self._ratios: dict[str, list[float]] = {}

    def add(self, shape: str, work: LayerWork, ratio: float) -> None:
        """Remember one layer."""
        self._points.setdefault(shape, []).append(self._features([work])[0])
        self._ratios.setdefault(shape, []).append(ratio)

    def of(self, shape: str, works: Sequence[LayerWork]) -> NDArray[np.float64]:
        """Return the factors of layers of one shape, array (works,)."""
        if shape not in self._points:
            return np.ones(len(works))
        offsets = self._features(works)[:, None, :] - np.array(self._points[shape])
        weights = 1 / ((offsets**2).sum(-1) + _NEAR)
        factors: NDArray[np.float64] = weights @ np.array(self._ratios[shape]) / weights.sum(1)
        return factors

    @staticmethod
    def _features(works: Sequence[LayerWork]) -> NDArray[np.float64]:
        return np.log2([[w.in_channels, w.out_channels, w.a_bits * max(1, w.w_bits)] for w in works])
