"""Integer weights, against searches over all integers."""

import numpy as np
import pytest

from silicut.compress.quantisation import quantise_weights, weight_scales
from silicut.compress.quantisation.weights import with_room_for_bias
from silicut.numerics import IntegerFormat, Quantisation, encode_factor


@pytest.mark.parametrize("bits", range(2, 9))
def test_each_weight_becomes_the_nearest_integer_of_its_filter(bits):
    weight = np.random.default_rng(bits).standard_normal((5, 3, 2, 2)).astype(np.float32)
    made = quantise_weights(weight, np.full(5, bits))
    levels = np.arange(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1))
    for values, filter_, scale in zip(made.values, weight, made.scales, strict=True):
        errors = np.abs(levels[:, None] * scale - filter_.reshape(1, -1))
        chosen = np.abs(values.reshape(-1) * scale - filter_.reshape(-1))
        np.testing.assert_allclose(chosen, errors.min(0), atol=1e-6)
        assert np.abs(values).max() == levels[-1]
    assert (made.format.min, made.format.max) == (levels[0], levels[-1])
    np.testing.assert_allclose(made.floats, weight, atol=float(made.scales.max()) / 2 + 1e-6)


def test_filters_may_have_widths_of_their_own():
    weight = np.array([[1.0, -0.4], [1.0, -0.4]], np.float32)
    made = quantise_weights(weight, np.array([2, 8]))
    np.testing.assert_array_equal(made.values, [[1, 0], [127, -51]])
    assert made.bits == 8


def test_filters_of_zeros_have_scale_one():
    np.testing.assert_array_equal(weight_scales(np.array([[0.0, 0.0], [3.5, -7.0]]), np.array([4, 4])), [1.0, 1.0])
    assert not quantise_weights(np.zeros((1, 4)), np.array([4])).values.any()


def test_scales_are_numbers_of_float32():
    scales = weight_scales(np.array([[0.1], [1 / 3]]), np.array([3, 8]))
    np.testing.assert_array_equal(scales, scales.astype(np.float32))


def test_a_large_bias_raises_the_scale_of_its_filter_alone():
    weights = quantise_weights(np.array([[1e-8, 2e-8], [1.0, 2.0]]), np.array([8, 8]))
    read, made = (Quantisation.per_tensor(IntegerFormat(8, is_signed=False), scale) for scale in (0.01, 0.1))
    roomy = with_room_for_bias(weights, np.array([50.0, 50.0]), read, made)
    assert 50.0 / (0.01 * roomy.scales[0]) <= 2**22
    assert encode_factor(0.01 * roomy.scales[0] / 0.1).shift <= 16
    assert roomy.scales[1] == weights.scales[1]
    np.testing.assert_array_equal(roomy.values[1], weights.values[1])
    assert not roomy.values[0].any()
