"""Cost surfaces: exact where engines work in blocks, right within their own uncertainty elsewhere."""

import math

import numpy as np
import pytest

from silicut.targets.surface import fit_surface

WIDTHS = (4, 8, 12, 16, 32, 48, 64, 96, 128)
GRID = np.array([(a, b) for a in WIDTHS for b in WIDTHS])


def blocks_cost(block_in, block_out):
    """Return the cost of every point of the grid by an independent formula: whole blocks only."""
    return np.array([
        0.5 + 2e-3 * math.ceil(a / block_in) * block_in * math.ceil(b / block_out) * block_out for a, b in GRID
    ])  # fmt: skip


def some(n, seed=0):
    return np.random.default_rng(seed).choice(len(GRID), n, replace=False)


@pytest.mark.parametrize("block_in", [1, 4, 16])
@pytest.mark.parametrize("block_out", [1, 8, 16, 32])
def test_blocks_are_recognised(block_in, block_out):
    truth, seen = blocks_cost(block_in, block_out), some(30)
    surface = fit_surface(GRID[seen], truth[seen])
    np.testing.assert_allclose(surface.predict(GRID)[0], truth, rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_smoothed_out(seed):
    truth, rng = blocks_cost(4, 16), np.random.default_rng(seed)
    seen = np.tile(some(40, seed), 2)
    cost, _ = fit_surface(GRID[seen], truth[seen] * (1 + 0.02 * rng.standard_normal(80))).predict(GRID)
    error = np.abs(cost / truth - 1)
    assert error.mean() < 0.015
    assert error.max() < 0.08


def test_uncertainty_covers_what_the_base_cannot_know():
    """A bump of 10 % at some widths: nearly all errors lie within three standard deviations."""
    bump = 1 + 0.1 * np.sin(np.log2(GRID[:, 0]) * 3) * np.cos(np.log2(GRID[:, 1]) * 2)
    truth, seen = blocks_cost(1, 1) * bump, some(40)
    cost, spread = fit_surface(GRID[seen], truth[seen]).predict(GRID)
    assert (np.abs(cost / truth - 1) < 3 * spread + 1e-3).mean() > 0.95


def test_uncertainty_falls_near_measured_points():
    surface = fit_surface(GRID[some(10)], blocks_cost(1, 1)[some(10)])
    at_points, far = surface.predict(GRID[some(10)])[1], surface.predict([(2048, 2048)])[1]
    assert at_points.max() < 0.03
    assert far[0] > 0.1


def test_repeats_of_a_point_are_one_point_by_their_median():
    points, costs = [(16, 16)] * 3 + [(32, 32)], [1.0, 1.1, 5.0, 4.0]
    assert fit_surface(points, costs).predict([(16, 16)])[0][0] == pytest.approx(1.1, rel=0.02)


def test_one_point_is_enough():
    assert fit_surface([(3, 64)], [2.0]).predict([(3, 64)])[0][0] == pytest.approx(2.0)


def test_costs_are_never_below_zero():
    surface = fit_surface([(16, 16), (32, 32), (64, 64)], [0.0, 0.0, 1.0])
    assert (surface.predict(GRID)[0] >= 0).all()


def test_layers_with_one_width_follow_a_line():
    """A depthwise layer's points lie on the diagonal."""
    widths = np.array([8, 16, 24, 32, 48, 64, 96, 128])
    surface = fit_surface(np.stack([widths, widths], 1), 1 + 0.1 * widths)
    np.testing.assert_allclose(surface.predict(np.array([[40, 40], [80, 80]]))[0], [5.0, 9.0], rtol=0.01)
