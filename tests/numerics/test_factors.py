"""Factors, accumulators and requantisation against exact rational arithmetic."""

import itertools
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_formats import rounded

from silicut.numerics import (
    IntegerFormat,
    Requantise,
    Rounding,
    check_accumulator,
    encode_factor,
    encode_factors,
    encode_together,
    exact_matmul_type,
    scaled,
    sum_bounds,
)
from silicut.records import AccumulatorTooNarrow, ConfigError

FACTORS = st.builds(lambda m, e: m * 2.0**e, st.floats(1, 2, exclude_max=True), st.integers(-30, 0))
WIDTHS = st.integers(3, 32)


@given(factor=FACTORS, bits=WIDTHS)
def test_a_factor_is_encoded_within_its_bound(factor, bits):
    encoded = encode_factor(factor, bits)
    assert 1 <= encoded.multiplier < 2 ** (bits - 1)
    assert 0 <= encoded.shift <= 62
    assert abs(encoded.exact - Fraction(factor)) <= Fraction(factor) * Fraction(2) ** (1 - bits)


@given(factor=st.fractions(Fraction(1, 100), 1), bits=st.integers(2, 7))
def test_no_other_pair_is_closer_than_half_a_step(factor, bits):
    encoded = encode_factor(factor, bits)
    best = min(abs(Fraction(m, 2**s) - factor) for s in range(16) for m in range(1, 2 ** (bits - 1)))
    assert abs(encoded.exact - factor) == best


@pytest.mark.parametrize("exponent", [-62, -61, -1, 0, 1, 14])
def test_powers_of_two_are_pure_shifts(exponent):
    encoded = encode_factor(Fraction(2) ** exponent)
    assert encoded.exact == Fraction(2) ** exponent
    assert encoded.shift == max(0, -exponent)


@given(st.fractions(Fraction(3, 2**64), Fraction(1, 2**50)))
def test_tiny_factors_keep_an_absolute_bound(factor):
    assert abs(encode_factor(factor).exact - factor) <= max(Fraction(1, 2**63), factor / 2**15)


@pytest.mark.parametrize(
    ("factor", "bits", "message"),
    [
        (0.0, 16, "factor must be positive and finite, not 0.0"),
        (-1.0, 16, "factor must be positive and finite, not -1.0"),
        (float("inf"), 16, "factor must be positive and finite, not inf"),
        (1.0, 1, "multiplier_bits must be 2..32, not 1"),
        (32768.0, 16, "factor must be above 2^-63 and at most 32767 with 16-bit multipliers, not 32768"),
        (2.0**-63, 16, "factor must be above 2^-63 and at most 32767 with 16-bit multipliers, not 1.0842e-19"),
        (1e-30, 16, "factor must be above 2^-63 and at most 32767 with 16-bit multipliers, not 1e-30"),
    ],
)
def test_a_factor_out_of_reach_is_refused(factor, bits, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        encode_factor(factor, bits)


@given(factors=st.tuples(FACTORS, FACTORS), bits=st.integers(8, 24))
def test_factors_over_one_shift_are_within_half_a_step(factors, bits):
    ratio = max(factors) / min(factors)
    if ratio > 2 ** (bits - 2):
        return
    multipliers, shift = encode_together(factors, bits)
    assert 2 ** (bits - 2) <= max(multipliers) < 2 ** (bits - 1) or shift == 62
    for multiplier, factor in zip(multipliers, factors, strict=True):
        assert abs(multiplier - Fraction(factor) * 2**shift) <= Fraction(1, 2)


def test_factors_too_far_apart_are_refused():
    message = "factors must be positive and within 2^7 of each other, not 0.001 and 1"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        encode_together([1.0, 0.001], 8)


@given(value=st.integers(-(2**47), 2**47 - 1), factor=FACTORS, bits=st.integers(3, 16), mode=st.sampled_from(Rounding))
def test_scaling_is_exact_and_near_the_real_product(value, factor, bits, mode):
    encoded = encode_factor(factor, bits)
    found = int(scaled(np.array([value]), encoded.multiplier, encoded.shift, mode)[0])
    assert found == rounded(value * encoded.exact, mode)
    most = Fraction(1, 2) if mode.value.startswith("half") else 1
    assert abs(found - value * Fraction(factor)) <= most + abs(value) * Fraction(factor) * Fraction(2) ** (1 - bits)


def test_a_product_beyond_int64_is_refused():
    assert scaled(np.array([2**48]), 2**14, 62).tolist() == [1]
    message = f"products must fit int64, not reach {2**48} * {2**15}; take narrower multipliers"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        scaled(np.array([2**48]), 2**15, 3)


@pytest.mark.parametrize("mode", Rounding)
def test_requantise_each_channel(mode):
    rng, factors = np.random.default_rng(4), [0.5, 1 / 3, 0.0123, 2.75]
    accumulators = rng.integers(-5000, 5000, (3, 4, 5))
    step = Requantise.by(
        factors,
        multiplier_bits=12,
        input_format=IntegerFormat(14),
        output_format=IntegerFormat(7, is_signed=False),
        input_zero_point=-7,
        output_zero_point=20,
        rounding=mode,
    )
    exact = [encode_factor(f, 12).exact for f in factors]
    expected = [
        [[min(max(rounded((int(x) + 7) * f, mode) + 20, 0), 127) for x in row] for row, f in zip(image, exact, strict=True)]
        for image in accumulators
    ]
    found = step.run(accumulators)
    assert found.dtype == np.uint8
    assert found.tolist() == expected


def test_a_large_batch_is_requantised_in_parts():
    accumulators = np.random.default_rng(5).integers(-5000, 5000, (37, 3, 41, 13))
    for factors, axis in (([0.01, 0.02, 0.03], 1), ([0.01], 1), (np.linspace(0.01, 0.05, 37).tolist(), 0)):
        step = Requantise.by(factors, input_format=IntegerFormat(14), output_format=IntegerFormat(8), axis=axis)
        shape = [1] * 4
        shape[axis] = -1
        products = scaled(accumulators, step.multiplier.reshape(shape), step.shift.reshape(shape))
        assert step.run(accumulators).tolist() == np.clip(products, -128, 127).tolist()


def test_a_wrong_requantiser_is_refused():
    int48, int8, one = IntegerFormat(48), IntegerFormat(8), np.array([1])
    good = {"multiplier": one, "shift": one, "input_format": int48, "output_format": int8}
    for change, message in (
        ({"multiplier": np.array([0])}, "multiplier must be positive and shift 0..62"),
        ({"shift": np.array([63])}, "multiplier must be positive and shift 0..62"),
        (
            {"shift": np.array([1, 1])},
            "multiplier and shift must be arrays of one number or one a channel, not of shapes (1,) and (2,)",
        ),
        ({"output_zero_point": 128}, "output_zero_point must be a number of int8, not 128"),
        (
            {"multiplier": np.array([2**16])},
            f"products must fit int64, not reach {2**63}; take narrower multipliers or accumulators",
        ),
    ):
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
            Requantise(**{**good, **change})
    Requantise(**{**good, "multiplier": np.array([2**16 - 1])})
    two = Requantise(**{**good, "multiplier": np.array([1, 1]), "shift": np.array([1, 1])})
    with pytest.raises(ValueError, match=r"^input must have 2 channels along axis 1, not shape \(1, 3\)$"):
        two.run(np.zeros((1, 3), int))


@given(
    weights=st.lists(st.integers(-4, 3), min_size=1, max_size=4),
    zero=st.integers(0, 3),
    bias=st.integers(-50, 50),
)
def test_bounds_are_reached_and_never_passed(weights, zero, bias):
    inputs = [x - zero for x in range(4)]
    sums = [sum(w * x for w, x in zip(weights, xs, strict=True)) for xs in itertools.product(inputs, repeat=len(weights))]
    subsets = [
        sum(w * x for w, x in zip(weights, xs, strict=True))
        for xs in itertools.product(sorted({0, inputs[0], inputs[-1]}), repeat=len(weights))
    ]
    bounds = sum_bounds(np.array([weights]), inputs[0], inputs[-1], np.array([bias]))
    assert (bounds.low[0], bounds.high[0]) == (min(sums) + bias, max(sums) + bias)
    assert bounds.partial == max(map(abs, subsets))
    bits = bounds.bits
    check_accumulator(bounds, IntegerFormat(bits), "sum")
    if bits > 1:
        with pytest.raises(AccumulatorTooNarrow):
            check_accumulator(bounds, IntegerFormat(bits - 1), "sum")


def test_bounds_of_the_widest_weights_do_not_overflow():
    most = 2**63 - 1
    bounds = sum_bounds(np.array([[most, most, most], [-most, 1, 0]]), -(2**31), 2**31)
    assert bounds.high.tolist() == [3 * most * 2**31, (most + 1) * 2**31]
    assert bounds.low.tolist() == [-3 * most * 2**31, -(most + 1) * 2**31]


def test_the_widest_channel_is_named():
    bounds = sum_bounds(np.array([[1, 1], [100, 100], [90, 0]]), -128, 127)
    assert bounds.bits_per_channel == (9, 16, 15)
    message = (
        "conv: channel 1 can reach -25600..25400, which needs int16, not int15; "
        "widen the accumulator or narrow weights or inputs"
    )
    with pytest.raises(AccumulatorTooNarrow, match=f"^{re.escape(message)}$"):
        check_accumulator(bounds, IntegerFormat(15), "conv")


@pytest.mark.parametrize("limit", [2**24, 2**53])
def test_floats_are_exact_up_to_the_limit_and_not_beyond(limit):
    dtype = exact_matmul_type(limit)
    assert exact_matmul_type(limit + 1) is not dtype
    assert int(dtype(limit) - dtype(1)) == limit - 1
    assert int(dtype(limit) + dtype(1)) == limit  # one more is lost


def test_encoded_factors_are_arrays():
    multiplier, shift = encode_factors([0.1, 3.0])
    assert multiplier.tolist() == [encode_factor(0.1).multiplier, 3]
    assert shift.tolist() == [encode_factor(0.1).shift, 0]
