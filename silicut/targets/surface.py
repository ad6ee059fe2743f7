"""A cost surface over two widths, completed from some measured points with its uncertainty.

cost(c_in, c_out) is a base a + b C_in C_out + c C_in + d C_out (all >= 0, fitted by relative least squares) times one plus a
Gaussian process over the relative residual. C are the widths filled up to whole blocks of channels, as engines do; of a
few block sizes those are taken that fit best. The process has a smooth part over the logarithms of both widths and a part
of its own for every output width, where the base cannot know how the engine works.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its modules are loaded on first use: they are slow to import

_SMOOTH_FRAC, _OWN_FRAC = 0.15, 0.08  # prior standard deviations of the two parts, relative to the base
_OCTAVES = 0.8  # distance in log2(width) over which the smooth part changes
_OWN_OCTAVES = 2.0  # the same along the input width, for the part of one output width
_NOISE_FRAC = 0.02  # of one measurement
_MAX_REPEATS = 10  # more repeats do not make a point surer: contexts differ too
_BLOCKS = (1, 4, 8, 16, 32)
_CLEARLY_FRAC = 0.02  # less residual than smaller blocks leave
_LEAST_POINTS = 8  # to tell block sizes apart, with four coefficients to fit besides


@dataclass(frozen=True)
class Base:
    """The parametric part of a surface.

    Attributes:
        blocks: channels in a block, in and out.
        coefficients: a, b, c, d, all >= 0.
    """

    blocks: tuple[int, int]
    coefficients: np.ndarray

    def predict(self, at: np.ndarray) -> np.ndarray:
        """Return the costs at points (n, 2), above 0."""
        costs: np.ndarray = np.maximum(_features(at, self.blocks) @ self.coefficients, 1e-12)
        return costs


@dataclass(frozen=True)
class Surface:
    """A fitted surface; `predict` evaluates it."""

    base: Base
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
        spread = _SMOOTH_FRAC**2 + _OWN_FRAC**2 - np.einsum("ij,ji->i", cross, scipy.linalg.cho_solve(self.factor, cross.T))
        return self.base.predict(at) * np.maximum(mean, 0.1), np.sqrt(np.maximum(spread, 0))


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
    at, which = np.unique(np.asarray(points, float).reshape(-1, 2), axis=0, return_inverse=True)
    n_repeats = np.bincount(which.ravel())
    cost = np.array([np.median(np.asarray(costs, float)[which.ravel() == i]) for i in range(len(at))])
    base = _fit_base(at, cost)
    covariance = _kernel(at, at) + np.diag(_NOISE_FRAC**2 / np.minimum(n_repeats, _MAX_REPEATS))
    factor = scipy.linalg.cho_factor(covariance)
    return Surface(base, at, scipy.linalg.cho_solve(factor, cost / base.predict(at) - 1), factor)


def _fit_base(at: np.ndarray, cost: np.ndarray) -> Base:
    """Return the base of least relative residual; of equally good ones that with the smallest blocks."""
    weight = 1 / np.maximum(cost, 1e-3 * max(cost.max(), 1e-9))
    sizes = _BLOCKS if len(at) >= _LEAST_POINTS else _BLOCKS[:1]
    best: tuple[float, Base] | None = None
    for blocks in itertools.product(sizes, sizes):
        coefficients, residual = scipy.optimize.nnls(_features(at, blocks) * weight[:, None], cost * weight)
        if best is None or residual < (1 - _CLEARLY_FRAC) * best[0] - 1e-9:
            best = residual, Base(blocks, coefficients)
    assert best is not None
    return best[1]


def _features(at: np.ndarray, blocks: tuple[int, int]) -> np.ndarray:
    n_in, n_out = (np.ceil(at / blocks) * blocks).T
    return np.stack([np.ones(len(at)), n_in * n_out, n_in, n_out], 1)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    octaves = np.log2(np.maximum(a, 1))[:, None] - np.log2(np.maximum(b, 1))[None]
    smooth = np.exp(-0.5 * (octaves**2).sum(-1) / _OCTAVES**2)
    own = (a[:, None, 1] == b[None, :, 1]) * np.exp(-0.5 * octaves[..., 0] ** 2 / _OWN_OCTAVES**2)
    kernel: np.ndarray = _SMOOTH_FRAC**2 * smooth + _OWN_FRAC**2 * own
    return kernel
