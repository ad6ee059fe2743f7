"""Integer operators against PyTorch in float64, which is exact for these numbers, and against plain Python loops."""

import itertools
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_formats import rounded
from torch.nn import functional

from silicut.numerics import (
    Add,
    Clamp,
    Concatenate,
    Convolution2d,
    IntegerFormat,
    Linear,
    Lookup,
    MaxPool2d,
    Multiply,
    Pad,
    Quantisation,
    Requantise,
    Reshape,
    Rounding,
    Slice,
    SumPool2d,
    Transpose,
    dequantise,
    encode_together,
    quantise,
)
from silicut.records import AccumulatorTooNarrow, ConfigError

UINT8, INT8, INT4 = (IntegerFormat.of(name) for name in ("uint8", "int8", "int4"))


def numbers(rng, format, shape):
    return rng.integers(format.min, format.max + 1, shape).astype(format.dtype)


def exact(array):
    return torch.from_numpy(array.astype(np.float64))


@st.composite
def convolutions(draw):
    """Return a random convolution and images for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    per_group = draw(st.sampled_from([1, 2, 4]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    input_format = IntegerFormat(draw(st.integers(1, 16)), draw(st.booleans()))
    weight_format = IntegerFormat(draw(st.integers(1, 8)))
    c_out = groups * draw(st.integers(1, 3))
    layer = Convolution2d(
        weight=numbers(rng, weight_format, (c_out, per_group, *kernel)),
        bias=rng.integers(-1000, 1000, c_out) if draw(st.booleans()) else None,
        input_format=input_format,
        weight_format=weight_format,
        input_zero_point=int(rng.integers(input_format.min, input_format.max + 1)),
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 2))),
        padding=draw(st.tuples(*[st.integers(0, 2)] * 4)),
        dilation=dilation,
        groups=groups,
    )
    size = draw(st.tuples(st.integers(5, 8), st.integers(5, 8)))
    return layer, numbers(rng, input_format, (draw(st.integers(1, 3)), groups * per_group, *size))


def torch_convolution(layer, images):
    top, left, bottom, right = layer.padding
    centred = functional.pad(exact(images) - layer.input_zero_point, (left, right, top, bottom))
    bias = None if layer.bias is None else exact(layer.bias)
    return functional.conv2d(centred, exact(layer.weight), bias, layer.stride, 0, layer.dilation, layer.groups).numpy()


@given(convolutions())
def test_convolution_is_that_of_pytorch(case):
    layer, images = case
    found = layer.run(images)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, torch_convolution(layer, images))


@given(convolutions())
def test_results_lie_within_the_bounds(case):
    layer, images = case
    found = layer.run(images).astype(object)
    for channel, (low, high) in enumerate(zip(layer.bounds.low, layer.bounds.high, strict=True)):
        assert low <= found[:, channel].min()
        assert found[:, channel].max() <= high


def worst_inputs(layer):
    """Return the image that drives channel 0 to its highest sum."""
    ends = layer.input_format.max, layer.input_format.min
    return np.where(layer.weight[:1] > 0, *ends).astype(layer.input_format.dtype)


@pytest.mark.parametrize("n_weights", [2, 4, 516])
@pytest.mark.parametrize("bits", [12, 16, 24])
def test_sums_at_the_limit_of_each_type_are_exact(n_weights, bits):
    """Sums at, just below and just above 2^24 and 2^53: the last bit must be right in every type."""
    format, rng = IntegerFormat(bits, is_signed=False), np.random.default_rng(bits)
    for limit in (2**24, 2**53):
        for above in (-format.max, 0, format.max):
            weight = _weights_reaching(limit + above, format.max, n_weights, rng)
            if weight is None:
                continue
            layer = Convolution2d(
                weight=weight.reshape(1, -1, 1, 1),
                bias=np.array([-1]),
                input_format=format,
                weight_format=IntegerFormat(48),
                output_format=IntegerFormat(64),
            )
            assert layer.run(worst_inputs(layer)).tolist() == [[[[int(layer.bounds.high[0])]]]]


def _weights_reaching(limit, largest, n, rng):
    """Return odd positive weights whose sum times the largest input just does not pass a limit, or None."""
    each = limit // largest // n
    if each < 2:
        return None
    return np.full(n, each, np.int64) - rng.integers(0, 2, n)


@pytest.mark.parametrize("partial", [2**24, 2**24 + 2, 2**53, 2**53 + 2, 2**60])
def test_an_odd_sum_next_to_the_limit_keeps_its_last_bit(partial):
    weight = np.array([[partial - 2, 1, 1]], np.int64)
    layer = Linear(
        weight=weight,
        input_format=IntegerFormat(1, is_signed=False),
        weight_format=IntegerFormat(62),
        output_format=IntegerFormat(62),
    )
    for x in itertools.product((0, 1), repeat=3):
        assert layer.run(np.array([x])).tolist() == [[int(weight[0] @ np.array(x))]]


def test_a_bias_may_bring_large_sums_back_into_a_narrow_accumulator():
    layer = Linear(
        weight=np.array([[2**31 + 3, -(2**20)]]),
        bias=np.array([-(2**30)]) - 5,
        input_format=IntegerFormat(1, is_signed=False),
        weight_format=IntegerFormat(40),
    )
    assert layer.output_format == IntegerFormat(32)
    for x in itertools.product((0, 1), repeat=2):
        assert layer.run(np.array([x])).tolist() == [[x[0] * (2**31 + 3) - x[1] * 2**20 - 2**30 - 5]]


def test_a_large_batch_goes_in_parts():
    rng = np.random.default_rng(6)
    layer = Convolution2d(
        weight=numbers(rng, INT8, (4, 64, 3, 3)), input_format=UINT8, weight_format=INT8, padding=(1, 1, 1, 1)
    )
    images = numbers(rng, UINT8, (9, 64, 32, 32))
    np.testing.assert_array_equal(layer.run(images), torch_convolution(layer, images))


def test_linear_layers():
    rng = np.random.default_rng(7)
    layer = Linear(
        weight=numbers(rng, INT8, (5, 300)),
        bias=rng.integers(-(10**6), 10**6, 5),
        input_format=UINT8,
        weight_format=INT8,
        input_zero_point=100,
    )
    for shape in ((300,), (3, 300), (2, 3, 300)):
        x = numbers(rng, UINT8, shape)
        expected = (exact(x) - 100) @ exact(layer.weight).T + exact(layer.bias)
        np.testing.assert_array_equal(layer.run(x), expected.numpy())


def test_the_accumulator_must_hold_every_sum():
    weight = np.full((3, 4, 3, 3), 7, np.int8)
    weight[1] = -8
    layer = {"weight": weight, "input_format": UINT8, "weight_format": INT4}
    assert Convolution2d(**layer).bounds.bits_per_channel == (17, 18, 17)
    Convolution2d(**layer, output_format=IntegerFormat(18))
    message = (
        "accumulator: channel 1 can reach -73440..0, which needs int18, not int17; "
        "widen the accumulator or narrow weights or inputs"
    )
    with pytest.raises(AccumulatorTooNarrow, match=f"^{re.escape(message)}$"):
        Convolution2d(**layer, output_format=IntegerFormat(17))
    with pytest.raises(AccumulatorTooNarrow, match=r"^sum: channel 0 can reach 0\.\.1020, which needs int11, not int10"):
        SumPool2d(kernel=(2, 2), input_format=UINT8, output_format=IntegerFormat(10))
    with pytest.raises(AccumulatorTooNarrow, match=r"^product: it can reach -32640\.\.32385, which needs int16, not int15"):
        Multiply(input_formats=(UINT8, INT8), output_format=IntegerFormat(15))


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    seed=st.integers(0, 99),
)
def test_pools_are_those_of_pytorch(kernel, stride, pads, seed):
    images = numbers(np.random.default_rng(seed), UINT8, (2, 3, 7, 6))
    pads = tuple(min(p, k // 2) for p, k in zip(pads, kernel, strict=True))
    pool = {"kernel": kernel, "stride": stride, "padding": (*pads, *pads), "input_format": UINT8}
    for format in (UINT8, INT8):
        shifted = (images.astype(int) + format.min).astype(format.dtype)
        expected = functional.max_pool2d(exact(shifted), kernel, stride, pads).numpy()
        np.testing.assert_array_equal(MaxPool2d(**{**pool, "input_format": format}).run(shifted), expected)
    centred = exact(images) - 9
    averages = functional.avg_pool2d(centred, kernel, stride, pads, divisor_override=1).numpy()
    np.testing.assert_array_equal(SumPool2d(**pool, input_zero_point=9).run(images), averages)


def test_global_average_is_a_sum_and_a_requantiser():
    images = numbers(np.random.default_rng(8), UINT8, (4, 5, 7, 7))
    total = SumPool2d(kernel=None, input_format=UINT8, input_zero_point=128).run(images)
    step = Requantise.by([Fraction(1, 49)], input_format=IntegerFormat(32), output_format=UINT8, output_zero_point=128)
    means = images.astype(np.int64).sum((2, 3), keepdims=True)
    expected = [
        [[[rounded(Fraction(int(m) - 49 * 128, 49), Rounding.HALF_EVEN) + 128]] for m in row.ravel()] for row in means
    ]
    np.testing.assert_array_equal(step.run(total), expected)


@pytest.mark.parametrize("mode", Rounding)
def test_an_addition_rounds_once(mode):
    rng = np.random.default_rng(9)
    a, b = numbers(rng, UINT8, (3, 50)), numbers(rng, INT8, (3, 50))
    add = Add.by(
        (0.3, 0.11),
        input_formats=(UINT8, INT8),
        input_zero_points=(10, -3),
        output_format=IntegerFormat(6),
        output_zero_point=-5,
        rounding=mode,
    )
    (m, n), shift = encode_together((0.3, 0.11))
    assert (add.multipliers, add.shift) == ((m, n), shift)
    sums = [Fraction((int(x) - 10) * m + (int(y) + 3) * n, 2**shift) for x, y in zip(a.ravel(), b.ravel(), strict=True)]
    assert add.run(a, b).ravel().tolist() == [min(max(rounded(s, mode) - 5, -32), 31) for s in sums]


def test_a_large_batch_is_added_in_parts():
    rng = np.random.default_rng(12)
    a, b = numbers(rng, UINT8, (37, 3, 41, 13)), numbers(rng, UINT8, (37, 3, 41, 13))
    add = Add(input_formats=(UINT8, UINT8), multipliers=(3, 1), shift=1, output_format=IntegerFormat(12))
    np.testing.assert_array_equal(add.run(a, b), np.rint((a * 3.0 + b) / 2))
    np.testing.assert_array_equal(add.run(a, b[:1, :, :1]), np.rint((a * 3.0 + b[:1, :, :1]) / 2))


def test_products_and_gates_broadcast():
    rng = np.random.default_rng(10)
    x, gate = numbers(rng, INT8, (2, 3, 4, 4)), numbers(rng, UINT8, (2, 3, 1, 1))
    found = Multiply(input_formats=(INT8, UINT8), input_zero_points=(-7, 12)).run(x, gate)
    np.testing.assert_array_equal(found, (x.astype(int) + 7) * (gate.astype(int) - 12))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_table_holds_the_function_at_every_input(bits):
    inputs = Quantisation.per_tensor(IntegerFormat(bits), 0.1, 1)
    outputs = Quantisation.per_tensor(UINT8, 1 / 255)
    table = Lookup.of(lambda x: 1 / (1 + np.exp(-x)), inputs, outputs)
    every = np.arange(inputs.format.min, inputs.format.max + 1)
    reals = 1 / (1 + np.exp(-dequantise(every, inputs, np.float64)))
    assert len(table.table) == 2**bits
    np.testing.assert_array_equal(table.run(every[::-1]), quantise(reals, outputs)[::-1])


def test_relu_is_saturation():
    values = np.arange(-128, 128).astype(np.int8)
    assert Clamp(input_format=INT8, low=-10, high=90).run(values).tolist() == np.clip(values, -10, 90).tolist()
    step = Requantise.by([1.0], input_format=INT8, output_format=UINT8)
    assert step.run(values).tolist() == np.maximum(values, 0).tolist()


def test_movement_keeps_every_number():
    rng = np.random.default_rng(11)
    x, y = numbers(rng, INT8, (2, 4, 5, 6)), numbers(rng, INT8, (2, 3, 5, 6))
    expected = {
        "concatenate": np.concatenate([x, y], 1),
        "reshape": x.reshape(2, 20, 6),
        "transpose": x.transpose(0, 2, 3, 1),
        "pad": np.pad(x, ((0, 0), (1, 3), (0, 0), (0, 0)), constant_values=-5),
        "slice": x[:, :, ::2],
    }
    found = {
        "concatenate": Concatenate(input_formats=(INT8, INT8)).run(x, y),
        "reshape": Reshape(input_format=INT8, shape=(20, -1)).run(x),
        "transpose": Transpose(input_format=INT8, axes=(0, 2, 3, 1)).run(x),
        "pad": Pad(input_format=INT8, pads=((0, 0), (1, 3), (0, 0), (0, 0)), value=-5).run(x),
        "slice": Slice(input_format=INT8, axis=2, step=2).run(x),
    }
    for kind, array in expected.items():
        assert found[kind].dtype == np.int8
        np.testing.assert_array_equal(found[kind], array)


W = np.ones((2, 1, 3, 3), np.int8)
CONV = {"weight": W, "input_format": UINT8, "weight_format": INT8}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Convolution2d(**{**CONV, "weight": W * 1.0}),
            TypeError,
            "weight must hold integers, not float64; quantise it first",
        ),
        (
            lambda: Convolution2d(**{**CONV, "weight": W[0]}),
            ConfigError,
            "weight must have shape (c_out, c_in / groups, kh, kw), not (1, 3, 3)",
        ),
        (lambda: Convolution2d(**CONV, groups=3), ConfigError, "groups must divide the 2 output channels, not be 3"),
        (
            lambda: Convolution2d(**CONV, input_zero_point=-1),
            ConfigError,
            "input_zero_point must be a number of uint8, not -1",
        ),
        (lambda: Convolution2d(**CONV, bias=np.array([1])), ConfigError, "bias must have shape (2,), not (1,)"),
        (lambda: Convolution2d(**CONV, stride=(0, 1)), ConfigError, "stride must be two numbers of at least 1, not (0, 1)"),
        (
            lambda: Convolution2d(**CONV, padding=(1, 1)),
            ConfigError,
            "padding must be four numbers of at least 0 (top, left, bottom, right), not (1, 1)",
        ),
        (
            lambda: Linear(weight=W, input_format=UINT8, weight_format=INT8),
            ConfigError,
            "weight must have shape (n_out, n_in), not (2, 1, 3, 3)",
        ),
        (
            lambda: SumPool2d(kernel=None, stride=(2, 2), input_format=UINT8),
            ConfigError,
            "stride and padding must be left out where kernel is None (the whole map)",
        ),
        (
            lambda: MaxPool2d(kernel=(2, 2), padding=(2, 0, 0, 0), input_format=UINT8),
            ConfigError,
            "padding must be smaller than a window of (2, 2), not (2, 0, 0, 0)",
        ),
        (
            lambda: Concatenate(input_formats=(UINT8, INT8)),
            ConfigError,
            "input_formats must all be the same, not uint8, int8; requantise to one before",
        ),
        (lambda: Clamp(input_format=INT8, low=5, high=4), ConfigError, "low..high must be a range of int8, not 5..4"),
        (
            lambda: Lookup(table=np.zeros(15, int), input_format=INT4, output_format=INT4),
            ConfigError,
            "table must have shape (16,), not (15,)",
        ),
        (
            lambda: Lookup(table=np.full(16, 8), input_format=INT4, output_format=INT4),
            ValueError,
            "table must hold int4 (-8..7), not numbers of 8..8",
        ),
        (
            lambda: Add(input_formats=(INT8, INT8), multipliers=(0, 1), shift=0, output_format=INT8),
            ConfigError,
            "multipliers must be positive and shift 0..62, not (0, 1) and 0",
        ),
        (lambda: Pad(input_format=INT4, pads=((0, 0),), value=8), ConfigError, "value must be a number of int4, not 8"),
        (lambda: Slice(input_format=INT4, axis=0, step=0), ConfigError, "step must be at least 1, not 0"),
    ],
)
def test_wrong_operators_are_refused(make, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 1, 4, 4)), TypeError, "input must hold integers, not float64; quantise it first"),
        (np.full((1, 1, 4, 4), -1), ValueError, "input must hold uint8 (0..255), not numbers of -1..-1"),
        (np.zeros((1, 2, 4, 4), int), ValueError, "input must have shape (n, 1, h, w), not (1, 2, 4, 4)"),
        (
            np.zeros((1, 1, 2, 4), int),
            ValueError,
            "the input's map must hold a window of (3, 3) with its padding, not be (2, 4)",
        ),
    ],
)
def test_wrong_inputs_are_refused(images, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Convolution2d(**CONV).run(images)
