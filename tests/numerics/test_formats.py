"""Formats, rounding and quantisation against plain Python and exact fractions."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silicut.numerics import (
    IntegerFormat,
    Overflow,
    Quantisation,
    Rounding,
    dequantise,
    fit,
    quantise,
    round_floats,
    shift_right,
    signed_bits,
)
from silicut.records import ConfigError

INT64 = st.integers(-(2**63), 2**63 - 1)
FORMATS = [
    *(IntegerFormat(bits, is_signed=signed) for bits in range(1, 33) for signed in (True, False)),
    *(IntegerFormat(bits, is_narrow=True) for bits in range(2, 33)),
]


def rounded(value: Fraction, mode: Rounding) -> int:
    """The reference: what each name means, in exact arithmetic."""
    below, rest = math.floor(value), value - math.floor(value)
    if mode is Rounding.FLOOR:
        return below
    if mode is Rounding.TRUNCATE:
        return math.trunc(value)
    if rest != Fraction(1, 2):
        return below + (rest > Fraction(1, 2))
    return {
        Rounding.HALF_EVEN: below + below % 2,
        Rounding.HALF_UP: below + 1,
        Rounding.HALF_AWAY: below + (value > 0),
    }[mode]


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_a_format_has_its_range_and_name(format):
    assert IntegerFormat.of(format.name) == format
    levels = 2**format.bits - format.is_narrow
    assert format.n_levels == format.max - format.min + 1 == levels
    assert format.min == (-(levels // 2) if format.is_signed else 0)
    limits = np.iinfo(format.dtype)
    assert limits.min <= format.min
    assert format.max <= limits.max
    assert format.dtype.itemsize == next(n for n in (1, 2, 4) if 8 * n >= format.bits)
    assert (format.min == -format.max) == (format.is_narrow or format.name == "uint0")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ((0,), "bits of a signed format must be 1..64, not 0"),
        ((65,), "bits of a signed format must be 1..64, not 65"),
        ((33, False), "bits of an unsigned format must be 1..32, not 33"),
        ((8, False, True), "a narrow format must be signed and have 2 bits or more, not be uint8"),
        ((1, True, True), "a narrow format must be signed and have 2 bits or more, not be int1"),
    ],
)
def test_a_wrong_format_is_refused(attributes, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        IntegerFormat(*attributes)


@pytest.mark.parametrize("name", ["int", "int08", "float8", "Int4", "uint4_wide", ""])
def test_a_wrong_name_is_refused(name):
    with pytest.raises(ConfigError, match=f"^a format must be named like int4, uint8 or int4_narrow, not {name!r}$"):
        IntegerFormat.of(name)


@given(st.tuples(INT64, INT64).map(sorted))
def test_signed_bits_are_least(ends):
    low, high = ends
    bits = signed_bits(low, high)
    assert -(2 ** (bits - 1)) <= low <= high < 2 ** (bits - 1)
    assert bits == 1 or not (-(2 ** (bits - 2)) <= low and high < 2 ** (bits - 2))


def test_a_format_checks_arrays():
    int4 = IntegerFormat(4)
    inside = np.array([-8, 7])
    assert int4.check(inside, "weight") is inside
    assert int4.holds(np.zeros(0, np.int64))
    assert not int4.holds(np.array([8], np.uint64))
    for values, error, message in (
        (np.array([-9, 7]), ValueError, "weight must hold int4 (-8..7), not numbers of -9..7"),
        (np.array([0.0]), TypeError, "weight must hold integers, not float64; quantise it first"),
        (np.array([True]), TypeError, "weight must hold integers, not bool; quantise it first"),
        ([1, 2], TypeError, "weight must be a NumPy array of integers, not list"),
    ):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            int4.check(values, "weight")


@pytest.mark.parametrize("mode", Rounding)
def test_floats_are_rounded_as_named(mode):
    rng = np.random.default_rng(1)
    awkward = [
        0.49999999999999994,
        -0.49999999999999994,
        0.5,
        -0.5,
        1.5,
        -1.5,
        2.5,
        -2.5,
        1e-300,
        -1e-300,
        -0.5000000000000001,
    ]
    values = np.array([*awkward, *rng.normal(0, 3, 300), *(rng.integers(-20, 20, 100) / 2), 2.0**52 + 1, -(2.0**51) - 0.5])
    assert round_floats(values, mode).tolist() == [rounded(Fraction(v), mode) for v in values.tolist()]
    single = values.astype(np.float32)
    assert round_floats(single, mode).dtype == np.float32
    assert round_floats(single, mode).tolist() == [rounded(Fraction(v), mode) for v in single.tolist()]


@pytest.mark.parametrize("mode", Rounding)
def test_short_shifts_are_rounded_as_named_everywhere(mode):
    values = np.arange(-70, 71)
    for shift in range(7):
        expected = [rounded(Fraction(int(v), 2**shift), mode) for v in values]
        assert shift_right(values, shift, mode).tolist() == expected, shift


@given(value=INT64, shift=st.integers(0, 62), mode=st.sampled_from(Rounding))
def test_all_shifts_of_int64_are_exact(value, shift, mode):
    if shift == 0:
        assert shift_right(np.array([value]), shift, mode)[0] == value
        return
    assert int(shift_right(np.array([value]), shift, mode)[0]) == rounded(Fraction(value, 2**shift), mode)


def test_shifts_may_differ_by_element_and_have_limits():
    assert shift_right(np.array([7, 7, 7]), np.array([0, 1, 2])).tolist() == [7, 4, 2]
    for shift in (-1, 63):
        with pytest.raises(ValueError, match=rf"^shift must be 0\.\.62, not {shift}\.\.{shift}$"):
            shift_right(np.array([1]), shift)


@pytest.mark.parametrize("format", [f for f in FORMATS if f.bits in (1, 2, 3, 8, 31, 32)], ids=lambda f: f.name)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_numbers_fit_by_saturation_or_by_wrapping(format, dtype):
    limits = np.iinfo(dtype)
    ends = [limits.min, limits.max, 0, 1, format.min, format.max, format.min - 1, format.max + 1]
    numbers = [n for n in ends if limits.min <= n <= limits.max]
    values = np.array(numbers, dtype)
    saturated = fit(values, format)
    assert saturated.dtype == format.dtype
    assert saturated.tolist() == [min(max(n, format.min), format.max) for n in numbers]
    if format.is_narrow:
        message = f"{format.name} cannot wrap, as it lacks a bit pattern; saturate, or use int{format.bits}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            fit(values, format, Overflow.WRAP)
        return
    wrapped = fit(values, format, Overflow.WRAP).tolist()
    assert wrapped == [(n - format.min) % 2**format.bits + format.min for n in numbers]


def test_wrap_is_never_the_default():
    assert fit(np.array([300]), IntegerFormat(8)).tolist() == [127]
    assert quantise(np.array([300.0]), Quantisation.per_tensor(IntegerFormat(8), 1.0)).tolist() == [127]


@pytest.mark.parametrize("mode", Rounding)
@pytest.mark.parametrize("name", ["int4", "uint8", "int3_narrow", "int16", "int32", "uint32"])
def test_quantise_is_what_the_formula_says(mode, name):
    rng, format = np.random.default_rng(2), IntegerFormat.of(name)
    scales, zeros = (0.25, 0.1), (0, min(format.max, 3))
    steps = Quantisation.per_channel(format, scales, zeros, axis=1)
    values = np.concatenate([rng.normal(0, format.max * 0.1, (300, 2)), rng.integers(-30, 30, (50, 2)) / 8, [[1e30, -1e30]]])
    expected = [
        [
            min(max(rounded(Fraction(v / s), mode) + z, format.min), format.max)
            for v, s, z in zip(row, scales, zeros, strict=True)
        ]
        for row in values.tolist()
    ]
    found = quantise(values, steps, mode)
    assert found.dtype == format.dtype
    assert found.tolist() == expected


def test_quantise_takes_infinities_but_no_nan_and_wraps_only_when_asked():
    steps = Quantisation.per_tensor(IntegerFormat(8), 0.5)
    assert quantise(np.array([np.inf, -np.inf], np.float32), steps).tolist() == [127, -128]
    assert quantise(np.array([64.0]), steps, overflow=Overflow.WRAP).tolist() == [-128]
    with pytest.raises(ValueError, match=r"^values must be numbers, not nan; look for the operator that made them$"):
        quantise(np.array([np.nan]), steps)
    with pytest.raises(
        ValueError, match=r"^values must be within 2\^62 scales of 0 to wrap; saturate, or take a larger scale$"
    ):
        quantise(np.array([1e30]), steps, overflow=Overflow.WRAP)
    with pytest.raises(TypeError, match=r"^values must be a NumPy array of floats, not int64$"):
        quantise(np.array([1]), steps)


def test_single_precision_divides_as_onnx_does():
    onnx = pytest.importorskip("onnx.reference")
    from onnx import TensorProto, helper

    rng = np.random.default_rng(3)
    scale = np.float32(0.0123)
    halves = (rng.integers(-200, 200, 500) + 0.5).astype(np.float32) * scale
    values = np.concatenate([halves, rng.normal(0, 1, 500).astype(np.float32)])
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    graph = helper.make_graph(
        [node],
        "q",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1000])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1000])],
        [helper.make_tensor("s", TensorProto.FLOAT, [], [scale]), helper.make_tensor("z", TensorProto.UINT8, [], [117])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    expected = onnx.ReferenceEvaluator(model).run(None, {"x": values})[0]
    found = quantise(values, Quantisation.per_tensor(IntegerFormat(8, is_signed=False), scale, 117))
    np.testing.assert_array_equal(found, expected)


def test_integers_come_back_from_their_reals():
    for format in (IntegerFormat(8), IntegerFormat(4, is_signed=False), IntegerFormat(5, is_narrow=True)):
        steps = Quantisation.per_tensor(format, 0.037, min(3, format.max))
        integers = np.arange(format.min, format.max + 1)
        assert dequantise(integers, steps).dtype == np.float32
        assert quantise(dequantise(integers, steps), steps).tolist() == integers.tolist()
    with pytest.raises(ValueError, match=r"^integers must hold int5_narrow \(-15\.\.15\), not numbers of -16\.\.-16$"):
        dequantise(np.array([-16]), steps)


@pytest.mark.parametrize(
    ("scales", "zeros", "axis", "message"),
    [
        ((0.0,), (0,), None, "scales must be positive numbers, not (0.0,)"),
        ((math.nan,), (0,), None, "scales must be positive numbers, not (nan,)"),
        ((), (), 0, "scales must be positive numbers, not ()"),
        ((1.0,), (8,), None, "zero_points must be numbers of int4, not (8,)"),
        ((1.0, 1.0), (0,), 0, "zero_points must be as many as scales, not 1 for 2"),
        ((1.0, 1.0), (0, 0), None, "scales must be one where axis is None, not 2"),
    ],
)
def test_a_wrong_quantisation_is_refused(scales, zeros, axis, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        Quantisation(IntegerFormat(4), scales, zeros, axis)


def test_scales_must_be_as_many_as_channels():
    steps = Quantisation.per_channel(IntegerFormat(4), [1.0, 2.0], axis=1)
    message = "values must have 2 indices along axis 1, one for each scale, not shape (2, 3)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        quantise(np.zeros((2, 3)), steps)
