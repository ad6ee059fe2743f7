"""A cost surface over two widths, completed from some measured points with its uncertainty.

cost(c_in, c_out) is a base a + b c_in c_out + c c_in + d c_out (all >= 0, fitted by relative least squares) times one plus a
Gaussian process over the relative residual. The process has a smooth part over the logarithms of both widths and a part
of its own for every output width, because engines work in blocks of output channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import nnls

_SMOOTH_FRAC, _OWN_FRAC = 0.15, 0.08  # prior standard deviations of the two parts, relative to the base
_OCTAVES = 0.8  # distance in log2(width) over which the smooth part changes
_OWN_OCTAVES = 2.0  # the same along the input width, for the part of one output width
_NOISE_FRAC = 0.02  # of one measurement
_MAX_REPEATS = 10  # more repeats do not make a point surer: contexts differ too


@dataclass(frozen=True)
class Surface:
    """A fitted surface; `predict` evaluates it."""

    base: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    factor: tuple[np.ndarray, bool]

    def predict(self, points: Sequence[tuple[int, int]] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return cost and relative standard deviation at points.

        Args:
            points: (n, 2) widths in and out.

        Returns:
            Two arrays (n,): cost in the unit of the data, and its standard deviation as a fraction of the cost.
        """
        at = np.asarray(points, float).reshape(-1, 2)
        cross = _kernel(at, self.points)
        mean = 1 + cross @ self.weights
        spread = _SMOOTH_FRAC**2 + _OWN_FRAC**2 - np.einsum("ij,ji->i", cross, cho_solve(self.factor, cross.T))
        return np.maximum(_features(at) @ self.base * np.maximum(mean, 0.1), 0), np.sqrt(np.maximum(spread, 0))


def fit_surface(points: Sequence[tuple[int, int]] | np.ndarray, costs: Sequence[float] | np.ndarray) -> Surface:
    """Fit a surface to measured costs.

    Args:
        points: (n, 2) widths in and out, n >= 1; a point may occur several times.
        costs: (n,) measured costs, >= 0, in any unit.

    Example:
        >>> surface = fit_surface([(16, 16), (32, 16), (16, 32), (32, 32)], [1.0, 2.0, 2.0, 4.0])
        >>> cost, spread = surface.predict([(32, 32)])
        >>> bool(abs(cost[0] - 4) < 0.1 and spread[0] < 0.05)
        True
    """
    every, which = np.unique(np.asarray(points, float).reshape(-1, 2), axis=0, return_inverse=True)
    n_repeats = np.bincount(which.ravel())
    at, cost = every, np.array([np.median(np.asarray(costs, float)[which.ravel() == i]) for i in range(len(every))])
    weight = 1 / np.maximum(cost, 1e-3 * max(cost.max(), 1e-9))
    base, _ = nnls(_features(at) * weight[:, None], cost * weight)
    expected = np.maximum(_features(at) @ base, 1e-12)
    covariance = _kernel(at, at) + np.diag(_NOISE_FRAC**2 / np.minimum(n_repeats, _MAX_REPEATS))
    factor = cho_factor(covariance)
    return Surface(base, at, cho_solve(factor, cost / expected - 1), factor)


def _features(at: np.ndarray) -> np.ndarray:
    return np.stack([np.ones(len(at)), at[:, 0] * at[:, 1], at[:, 0], at[:, 1]], 1)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    octaves = np.log2(np.maximum(a, 1))[:, None] - np.log2(np.maximum(b, 1))[None]
    smooth = np.exp(-0.5 * (octaves**2).sum(-1) / _OCTAVES**2)
    own = (a[:, None, 1] == b[None, :, 1]) * np.exp(-0.5 * octaves[..., 0] ** 2 / _OWN_OCTAVES**2)
    kernel: np.ndarray = _SMOOTH_FRAC**2 * smooth + _OWN_FRAC**2 * own
    return kernel
