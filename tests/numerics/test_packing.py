"""Bit planes and DSP packings against plain integer products, at the limits of all operands."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silicut.numerics import (
    DSP_PACKINGS,
    DspPacking,
    IntegerFormat,
    bit_serial_matmul,
    pack_planes,
    plane_weights,
    unpack_planes,
)
from silicut.records import ConfigError

NARROW_FORMATS = st.builds(IntegerFormat, st.integers(1, 8), st.booleans())


def numbers(rng, format, shape):
    """Return random numbers of a format, half of them its ends."""
    ends = rng.choice([format.min, format.max], shape)
    return np.where(rng.random(shape) < 0.5, ends, rng.integers(format.min, format.max + 1, shape))


@given(NARROW_FORMATS, st.sampled_from([32, 64]), st.integers(0, 130), st.integers(0, 9))
def test_planes_come_back(format, word_bits, n, seed):
    values = numbers(np.random.default_rng(seed), format, (2, 3, n))
    words = pack_planes(values, format, word_bits)
    assert words.shape == (format.bits, 2, 3, -(-n // word_bits))
    assert words.dtype == f"uint{word_bits}"
    back = unpack_planes(words, format, n)
    assert back.dtype == format.dtype
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("word_bits", [32, 64])
def test_each_bit_lies_where_it_is_said_to(word_bits):
    format, values = IntegerFormat(5), np.random.default_rng(0).integers(-16, 16, 150)
    words = pack_planes(values, format, word_bits)
    for k, value in enumerate(values.tolist()):
        bits = [int(words[p, k // word_bits]) >> (k % word_bits) & 1 for p in range(5)]
        assert sum(b * w for b, w in zip(bits, plane_weights(format), strict=True)) == value


@given(NARROW_FORMATS, NARROW_FORMATS, st.sampled_from([32, 64]), st.integers(1, 150), st.integers(0, 9))
def test_bit_serial_products_are_the_products(left_format, right_format, word_bits, k, seed):
    rng = np.random.default_rng(seed)
    left, right = numbers(rng, left_format, (3, k)), numbers(rng, right_format, (4, k))
    packed = pack_planes(left, left_format, word_bits), pack_planes(right, right_format, word_bits)
    np.testing.assert_array_equal(bit_serial_matmul(*packed, left_format, right_format), left @ right.T)


def test_wrong_planes_are_refused():
    int4, values = IntegerFormat(4), np.zeros((1, 3), int)
    words = pack_planes(values, int4)
    for call, message in (
        (lambda: pack_planes(values, IntegerFormat(9)), "a format for bit planes must have 1..8 bits, not be int9"),
        (lambda: pack_planes(values, int4, 16), "word_bits must be 32 or 64, not 16"),
        (lambda: pack_planes(values + 8, int4), "values must hold int4 (-8..7), not numbers of 8..8"),
        (
            lambda: unpack_planes(words, int4, 65),
            "words must have 4 planes of 2 words for 65 numbers of int4, not shape (4, 1, 1)",
        ),
        (
            lambda: bit_serial_matmul(words, pack_planes(values, int4, 32), int4, int4),
            "both must have rows of the same words, not 1 of uint64 and 1 of uint32",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            call()


# From the arithmetic of each scheme: 7 int8 products of 2^14 in 18 bits, 8 int4 x uint4 products of -120 in 11 bits ...
LIMITS = {
    "int8_pair": 7,
    "int4_outer_11": 8,
    "int4_outer_10": 4,
    "int4_outer_9": 2,
    "int4_dot_12": 8,
    "int4_dot_11": 4,
    "int4_dot_10": 2,
}
PACKINGS = pytest.mark.parametrize("packing", DSP_PACKINGS.values(), ids=DSP_PACKINGS)


def plain_sums(packing, weights, activations):
    """The reference: Python integers, product by product."""
    sums = dict.fromkeys(packing.field_offsets, 0)
    for row, column in zip(weights.tolist(), activations.tolist(), strict=True):
        for (w, o), (a, q) in itertools.product(
            zip(row, packing.weight_offsets, strict=True), zip(column, packing.activation_offsets, strict=True)
        ):
            sums[o + q] += w * a
    return list(sums.values())


def corners(packing):
    """Yield all operands at an end of their formats."""
    w, a = packing.weight_format, packing.activation_format
    for weights in itertools.product((w.min, w.max), repeat=len(packing.weight_offsets)):
        for activations in itertools.product((a.min, a.max), repeat=len(packing.activation_offsets)):
            yield np.array([weights]), np.array([activations])


@pytest.mark.parametrize("name", LIMITS)
def test_the_limits_are_those_of_the_literature(name):
    assert DSP_PACKINGS[name].n_accumulations == LIMITS[name]


@PACKINGS
def test_every_operand_works_once(packing):
    w, a = packing.weight_format, packing.activation_format
    ends = (w.min, -1, 0, 1, w.max)
    for weights in itertools.product(
        ends if len(packing.weight_offsets) > 2 else range(w.min, w.max + 1, 5), repeat=len(packing.weight_offsets)
    ):
        for activation in (a.min, 1, a.max - 1, a.max):
            operands = np.array([weights]), np.full((1, len(packing.activation_offsets)), activation)
            assert packing.multiply_accumulate(*operands).tolist() == plain_sums(packing, *operands)


@PACKINGS
def test_all_corners_work_at_the_limit_and_one_more_accumulation_fails(packing):
    n = packing.n_accumulations
    n_wrong = 0
    for weights, activations in corners(packing):
        if n > 1000 and (len(set(weights[0].tolist())) > 1 or not activations.any()):
            continue  # half a million steps: only those that reach furthest
        expected = packing.field_sums(weights, activations)
        for steps, is_allowed in ((n, True), (n + 1, False)):
            operands = np.repeat(weights, steps, axis=0), np.repeat(activations, steps, axis=0)
            is_right = packing.multiply_accumulate(*operands).tolist() == (expected * steps).tolist()
            assert is_right or not is_allowed
            n_wrong += not is_right
    assert n_wrong > 0


@PACKINGS
def test_random_runs_within_the_limit_are_exact(packing):
    rng = np.random.default_rng(5)
    for _ in range(100):
        steps = int(rng.integers(1, min(packing.n_accumulations, 200) + 1))
        weights = numbers(rng, packing.weight_format, (steps, len(packing.weight_offsets)))
        activations = numbers(rng, packing.activation_format, (steps, len(packing.activation_offsets)))
        assert packing.multiply_accumulate(weights, activations).tolist() == plain_sums(packing, weights, activations)


@PACKINGS
def test_packed_operands_fit_their_ports(packing):
    for weights, activations in corners(packing):
        wide, narrow = packing.pack(weights, activations)
        half = 2 ** (packing.wide_port_bits - 1)
        assert -half <= wide[0] < half
        assert -(2**17) <= narrow[0] < 2**17


def test_operands_outside_of_their_formats_are_refused():
    quad = DSP_PACKINGS["int4_quad_e1"]
    with pytest.raises(ValueError, match=r"^weights must hold int4_narrow \(-7\.\.7\), not numbers of -8\.\.0$"):
        quad.multiply_accumulate(np.array([[-8, 0, 0, 0]]), np.array([[15]]))
    with pytest.raises(ValueError, match=r"^activations must hold uint4 \(0\.\.15\), not numbers of 16\.\.16$"):
        quad.multiply_accumulate(np.array([[7, 0, 0, 0]]), np.array([[16]]))


@pytest.mark.parametrize(
    ("port_bits", "names", "offsets", "is_tracked", "message"),
    [
        (25, ("int8", "int8"), (0, 18), False, "packed weights must fit the port of 25 bits, not need 27 bits"),
        (25, ("int4", "uint4"), (0, 7, 14, 21), True, "packed weights must fit the port of 25 bits, not need 26 bits"),
        (27, ("int4", "uint4"), (0, 8, 16, 23), True, "packed weights must fit the port of 27 bits, not need 28 bits"),
        (
            27,
            ("int4", "uint4"),
            (0, 6),
            True,
            "carries must be -1..1 a step, so the largest product must not exceed a field; widen the fields",
        ),
        (27, ("int4", "uint4"), (0, 7), False, "fields must be wide enough for one accumulation; widen them"),
    ],
)
def test_what_cannot_work_is_refused(port_bits, names, offsets, is_tracked, message):
    weights, activations = map(IntegerFormat.of, names)
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        DspPacking(port_bits, weights, activations, offsets, tracks_carries=is_tracked)


def test_guard_bits():
    assert DSP_PACKINGS["int8_pair"].guard_bits == (2, 14)
    assert DSP_PACKINGS["int4_outer_11"].guard_bits == (3, 3, 3, 7)
    assert DSP_PACKINGS["int4_dot_12"].guard_bits == (4, 3, 16)
