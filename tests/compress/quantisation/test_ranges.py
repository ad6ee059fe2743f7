"""Ranges beside brute force on the numbers themselves, and what each way must never do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silicut.compress.quantisation.calibration import quantisation_of
from silicut.compress.quantisation.ranges import RANGES, WEIGHT_SCALES, Histogram, kl, mse, mse_scales, percentile
from silicut.numerics import dequantise, quantise

RNG = np.random.default_rng(0)
SAMPLES = {
    "half normal": np.abs(RNG.normal(size=50_000)),
    "relu": np.maximum(RNG.normal(size=50_000), 0.0),
    "normal": RNG.normal(size=50_000) + 0.5,
    "outliers": np.concatenate([RNG.normal(size=50_000), [-90.0, 60.0]]),
    "negative": -RNG.exponential(size=50_000),
}


def histogram_of(values: np.ndarray) -> Histogram:
    counts, _ = np.histogram(values, 2048, (values.min(), values.max()))
    return Histogram(float(values.min()), float(values.max()), counts)


def error(values: np.ndarray, low: float, high: float, bits: int) -> float:
    """The mean squared error of integers that reach from low to high, by the quantiser that integer networks use."""
    steps = quantisation_of(low, high, bits)
    return float(((values - dequantise(quantise(values, steps), steps, np.float64)) ** 2).mean())


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_every_range_holds_0_and_lies_within_the_numbers(name, bits, values):
    low, high = RANGES[name](histogram_of(values), bits)
    assert min(0.0, values.min()) <= low <= 0.0 <= high <= max(0.0, values.max())
    assert low < high


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_mse_is_as_good_as_brute_force(bits, values):
    """No range of a grid (both ends in fiftieths) has a mean squared error that is smaller by more than 3 %."""
    least, most = min(0.0, values.min()), max(0.0, values.max())
    ends = np.linspace(0.02, 1.0, 50)
    grid = [(a * least, b * most) for a in (ends if least < 0 else [0.0]) for b in (ends if most > 0 else [0.0])]
    few = values[::25]
    low, high = min(grid, key=lambda ends: error(few, *ends, bits))
    assert error(values, *mse(histogram_of(values), bits), bits) <= 1.03 * error(values, low, high, bits)


def test_mse_of_a_uniform_distribution_saturates_nothing():
    low, high = mse(histogram_of(np.linspace(0.0, 8.0, 100_001)), 8)
    assert low == 0.0
    assert high == pytest.approx(8.0, rel=0.01)


@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_a_percentile_leaves_out_what_it_says(values):
    histogram = histogram_of(values)
    for percent in (90.0, 99.0, 99.9):
        low, high = percentile(histogram, 8, percent)
        outside = ((values < low) | (values > high)).mean()
        width = histogram.edges[1] - histogram.edges[0]
        narrower = ((values < low + width) & (low < 0)) | ((values > high - width) & (high > 0))
        assert outside <= 1 - percent / 100 + 1e-9 <= narrower.mean() + 2 / len(values)


def test_kl_is_a_divergence_of_the_written_out_distributions():
    """On a few bins the chosen cut is the one that a literal computation finds."""
    counts = np.array([0, 40, 30, 22, 16, 12, 8, 6, 5, 3, 2, 2, 1, 1, 0, 1] * 1)
    values = np.repeat(np.arange(16) + 0.5, counts)
    histogram = Histogram(0.0, 16.0, counts)
    cuts = [t / 100 * 16.0 for t in range(100, 0, -1)]
    expected = min(cuts, key=lambda cut: literal_divergence(values, cut, 2))
    assert kl(histogram, 2) == (0.0, pytest.approx(expected))


def literal_divergence(values: np.ndarray, cut: float, bits: int) -> float:
    centres = np.arange(16) + 0.5
    inside = [c for c in centres if c <= cut]
    if not any((values == c).any() for c in inside):
        return np.inf
    p = {c: float((values == c).sum()) for c in inside}
    real = dict(p)
    p[inside[-1]] += float((values > inside[-1]).sum())
    step = cut / (2**bits - 1)
    level = {c: min(round(c / step), 2**bits - 1) for c in inside}
    filled = [c for c in inside if p[c] > 0]
    q = {c: sum(real[d] for d in inside if level[d] == level[c]) / sum(level[d] == level[c] for d in filled) for c in filled}
    n, m = sum(p.values()), sum(real.values())
    smooth = 1e-6
    return sum(p[c] / n * np.log(p[c] / n / ((1 - smooth) * q[c] / m + smooth / len(filled))) for c in filled)


def test_kl_ignores_far_outliers_that_min_max_does_not():
    low, high = kl(histogram_of(SAMPLES["outliers"]), 8)
    assert -30.0 < low < -1.0
    assert 1.0 < high < 30.0


@pytest.mark.parametrize("name", RANGES)
def test_a_tensor_of_zeros_has_the_range_of_zeros(name):
    assert RANGES[name](Histogram(0.0, 0.0, np.array([7, 0, 0, 0])), 8) == (0.0, 0.0)


# Scales of weights


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_mse_scales_are_no_worse_than_any_other(bits):
    weight = np.concatenate([RNG.normal(size=(6, 4, 3, 3)), RNG.laplace(size=(6, 4, 3, 3))])
    scales = mse_scales(weight, np.full(12, bits))
    limit = 2 ** (bits - 1) - 1

    def errors(scales: np.ndarray) -> np.ndarray:
        steps = scales.reshape(-1, 1, 1, 1)
        return ((weight - np.clip(np.round(weight / steps), -limit, limit) * steps) ** 2).sum((1, 2, 3))

    largest = np.abs(weight).max((1, 2, 3)) / limit
    best = np.min([errors(t * largest) for t in np.linspace(0.05, 1.05, 401)], axis=0)
    assert (errors(scales) <= (1.04 if bits < 8 else 1.5) * best).all()  # of 8 bits a hundredth is more than a step
    assert (errors(scales) <= errors(largest) * (1 + 1e-4)).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 8), min_size=1, max_size=5), st.integers(0, 2**16))
def test_filters_are_scaled_one_by_one(bits, seed):
    weight = np.random.default_rng(seed).normal(size=(len(bits), 7))
    for choose in WEIGHT_SCALES.values():
        together = choose(weight, np.array(bits))
        alone = [choose(weight[i : i + 1], np.array(bits[i : i + 1]))[0] for i in range(len(bits))]
        np.testing.assert_array_equal(together, alone)


def test_filters_of_zeros_have_a_scale():
    for choose in WEIGHT_SCALES.values():
        assert choose(np.zeros((2, 3)), np.array([4, 8])).tolist() == [1.0, 1.0]
