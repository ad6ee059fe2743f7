"""Factors that float32 holds: raised scales, and one weight a channel."""

import numpy as np
import pytest

from silicut.compress.quantisation.affine import factor_weights
from silicut.compress.quantisation.short_factors import short_scales
from silicut.numerics import IntegerFormat, Quantisation, encode_factors


def around(bits, read=0.013, made=0.029):
    return (Quantisation.per_tensor(IntegerFormat(bits, is_signed=False), scale) for scale in (read, made))


@pytest.mark.parametrize("bits", [3, 8])
def test_short_scales_make_factors_that_float32_multiplies_exactly(bits):
    scales = np.exp(np.random.default_rng(bits).uniform(-14, -3, 400))
    read, made = around(bits)
    short = short_scales(scales, read, made)
    multiplier, shift = encode_factors(short * read.scales[0] / made.scales[0])
    unit = 2.0 ** (bits - 24) * made.scales[0] / read.scales[0]
    is_short = scales >= unit / 2
    np.testing.assert_array_equal(short[~is_short], scales[~is_short])
    assert is_short.mean() > 0.7
    scales, short, shift, multiplier = (each[is_short] for each in (scales, short, shift, multiplier))
    assert (shift <= 24 - bits).all()
    assert ((short >= scales * (1 - 2.0**-23)) & (short <= scales + unit)).all()
    results = np.random.default_rng(0).integers(0, 2**bits, (50, 1)) + 0.5
    sums = np.rint(results * 2.0**shift / multiplier)
    exact = sums * (multiplier / 2.0**shift)
    kept = np.abs(exact) < 2**bits
    products = sums.astype(np.float32) * (multiplier / 2.0**shift).astype(np.float32)
    np.testing.assert_array_equal(products[kept], exact[kept])


def test_factors_of_channels_are_products_of_a_weight_and_a_short_scale():
    factors = np.random.default_rng(0).uniform(0.2, 2.0, 300) * np.random.default_rng(1).choice([-1, 1], 300)
    read, made = around(8)
    weights = factor_weights(factors, read, made)
    assert weights.values.shape == (300, 1, 1, 1)
    np.testing.assert_allclose(weights.floats.ravel(), factors, rtol=1e-3)
    assert np.median(np.abs(weights.floats.ravel() / factors - 1)) < 1e-4
    _, shift = encode_factors(weights.scales * read.scales[0] / made.scales[0])
    assert (shift <= 16).all()
