"""Integer operators in PyTorch against the NumPy reference: every kind, every rounding, formats up to their widest."""

import re

import numpy as np
import pytest
import torch
from test_execute import EVERY, images, network

from silicut.numerics import (
    OPERATORS,
    Add,
    Clamp,
    Concatenate,
    Convolution2d,
    IntegerFormat,
    IntegerModule,
    Linear,
    Lookup,
    MaxPool2d,
    Multiply,
    Pad,
    Requantise,
    Reshape,
    Rounding,
    Slice,
    SumPool2d,
    Transpose,
    run_integer,
)
from silicut.numerics.torch_operators import operator_module, torch_type
from silicut.records import AccumulatorTooNarrow, ConfigError

N_SEEDS = 40


def a_format(rng, most=16):
    return IntegerFormat(int(rng.integers(1, most + 1)), bool(rng.integers(2)))


def numbers(rng, format, shape):
    """Return random numbers of a format, its ends among them."""
    values = rng.integers(format.min, format.max, shape, endpoint=True).astype(format.dtype)
    ends = np.array([format.min, format.max], format.dtype)
    return np.where(rng.random(shape) < 0.2, rng.choice(ends, shape), values)


def of_format(rng, format):
    return int(rng.integers(format.min, format.max, endpoint=True))


def pair(rng, low, high):
    return int(rng.integers(low, high)), int(rng.integers(low, high))


def convolution(rng):
    groups, per_group, n_out = (int(rng.choice(sizes)) for sizes in ([1, 1, 2, 4], [1, 2, 3], [1, 2]))
    # Inputs of 16 and weights of 32 bits leave float32 and float64 both.
    input_format, weight_format = a_format(rng, int(rng.choice([8, 16, 24]))), IntegerFormat(int(rng.choice([2, 8, 32])))
    layer = Convolution2d(
        weight=numbers(rng, weight_format, (groups * n_out, per_group, *pair(rng, 1, 4))),
        bias=rng.integers(-(2**20), 2**20, groups * n_out) if rng.integers(2) else None,
        input_format=input_format,
        weight_format=weight_format,
        output_format=IntegerFormat(64),
        input_zero_point=of_format(rng, input_format),
        stride=pair(rng, 1, 4),
        padding=pair(rng, 0, 3) + pair(rng, 0, 3),
        dilation=pair(rng, 1, 3),
        groups=groups,
    )
    return layer, [(2, groups * per_group, 6, 7)]


def linear(rng):
    input_format, weight_format = a_format(rng, int(rng.choice([8, 24]))), IntegerFormat(int(rng.choice([2, 8, 32])))
    layer = Linear(
        weight=numbers(rng, weight_format, (3, 5)),
        bias=rng.integers(-1000, 1000, 3) if rng.integers(2) else None,
        input_format=input_format,
        weight_format=weight_format,
        output_format=IntegerFormat(64),
        input_zero_point=of_format(rng, input_format),
    )
    return layer, [(2, 5) if rng.integers(2) else (2, 3, 5)]


def requantise(rng):
    input_format, output_format = IntegerFormat(int(rng.choice([4, 16, 32, 40]))), a_format(rng)
    n = int(rng.choice([1, 3]))
    small = rng.integers(1, 8, n)  # small factors over short shifts make ties
    step = Requantise(
        multiplier=small if rng.integers(2) else rng.integers(1, 2**15, n),
        shift=rng.integers(0, 5, n) if rng.integers(2) else rng.integers(0, 63, n),
        input_format=input_format,
        output_format=output_format,
        input_zero_point=of_format(rng, IntegerFormat(4)),
        output_zero_point=of_format(rng, output_format),
        rounding=Rounding(rng.choice(list(Rounding))),
        axis=int(rng.choice([1, 2])),
    )
    return step, [(4, 3, 3)]


def add(rng):
    formats = (a_format(rng, 32), a_format(rng, 32))
    output_format = a_format(rng)
    is_small = rng.integers(2)
    step = Add(
        input_formats=formats,
        multipliers=(int(rng.integers(1, 8 if is_small else 2**20)), int(rng.integers(1, 2**20))),
        shift=int(rng.integers(0, 5 if is_small else 63)),
        output_format=output_format,
        input_zero_points=(of_format(rng, formats[0]), of_format(rng, formats[1])),
        output_zero_point=of_format(rng, output_format),
        rounding=Rounding(rng.choice(list(Rounding))),
    )
    return step, [(2, 3, 4), (2, 3, 4) if rng.integers(2) else (2, 3, 1)]


def multiply(rng):
    formats = (a_format(rng), a_format(rng))
    zeros = (of_format(rng, formats[0]), of_format(rng, formats[1]))
    return Multiply(input_formats=formats, output_format=IntegerFormat(40), input_zero_points=zeros), [(2, 3, 4), (2, 3, 1)]


def lookup(rng):
    input_format, output_format = a_format(rng, 10), a_format(rng)
    table = numbers(rng, output_format, input_format.n_levels)
    return Lookup(table=table, input_format=input_format, output_format=output_format), [(2, 3)]


def clamp(rng):
    format = a_format(rng, 32)
    low, high = sorted((of_format(rng, format), of_format(rng, format)))
    return Clamp(input_format=format, low=low, high=high), [(2, 3)]


def concatenate(rng):
    format, n = a_format(rng, 32), int(rng.integers(1, 4))
    return Concatenate(input_formats=(format,) * n, axis=int(rng.choice([1, -1]))), [(2, 3)] * n


def max_pool2d(rng):
    kernel, dilation = pair(rng, 1, 4), pair(rng, 1, 3)
    room = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(int(rng.integers(0, r + 1)) for r in (*room, *room))
    format = a_format(rng, 32)
    pool = MaxPool2d(kernel=kernel, input_format=format, stride=pair(rng, 1, 3), padding=padding, dilation=dilation)
    return pool, [(2, 2, 6, 7)]


def sum_pool2d(rng):
    format = a_format(rng)
    if rng.integers(3) == 0:
        return SumPool2d(kernel=None, input_format=format, input_zero_point=of_format(rng, format)), [(2, 2, 3, 4)]
    pool = SumPool2d(
        kernel=pair(rng, 1, 4),
        input_format=format,
        input_zero_point=of_format(rng, format),
        stride=pair(rng, 1, 3),
        padding=pair(rng, 0, 3) + pair(rng, 0, 3),
    )
    return pool, [(2, 2, 5, 6)]


def pad(rng):
    format = a_format(rng, 32)
    pads = ((0, 0), *(pair(rng, 0, 3) for _ in range(2)))
    return Pad(input_format=format, pads=pads, value=of_format(rng, format)), [(2, 3, 4)]


def slice_(rng):
    start, stop = int(rng.integers(-4, 4)), [None, 3, -1, 100][rng.integers(4)]
    step = Slice(
        input_format=a_format(rng, 32), axis=int(rng.choice([1, -1])), start=start, stop=stop, step=pair(rng, 1, 3)[0]
    )
    return step, [(2, 4, 5)]


def reshape(rng):
    return Reshape(input_format=a_format(rng), shape=((-1,), (3, 4), (2, -1))[rng.integers(3)]), [(2, 3, 4)]


def transpose(rng):
    return Transpose(input_format=a_format(rng), axes=(0, *(1 + rng.permutation(2)).tolist())), [(2, 3, 4)]


CASES = {
    "add": add,
    "clamp": clamp,
    "concatenate": concatenate,
    "conv2d": convolution,
    "linear": linear,
    "lookup": lookup,
    "max_pool2d": max_pool2d,
    "multiply": multiply,
    "pad": pad,
    "requantise": requantise,
    "reshape": reshape,
    "slice": slice_,
    "sum_pool2d": sum_pool2d,
    "transpose": transpose,
}


def test_every_kind_has_cases():
    assert CASES.keys() == OPERATORS.keys()


@pytest.mark.parametrize("kind", CASES)
def test_random_operators_are_those_of_the_reference(kind):
    for seed in range(N_SEEDS):
        rng = np.random.default_rng(seed)
        operator, shapes = CASES[kind](rng)
        inputs = [numbers(rng, f, shape) for f, shape in zip(operator.input_formats, shapes, strict=True)]
        expected = operator.run(*inputs)
        given = [torch.from_numpy(x.astype(np.int64)) for x in inputs]
        types = [torch_type(format) for format in operator.input_formats]
        found = operator_module(operator)(*(x.to(t) for x, t in zip(given, types, strict=True)))
        assert found.dtype == torch_type(operator.output_format)
        np.testing.assert_array_equal(found.numpy(), expected, err_msg=f"{kind}, seed {seed}")


@pytest.mark.parametrize("partial", [2**24, 2**24 + 2, 2**53, 2**53 + 2, 2**60])
def test_sums_next_to_the_limit_of_each_type_keep_their_last_bit(partial):
    layer = Linear(
        weight=np.array([[partial - 2, 1, 1]], np.int64),
        input_format=IntegerFormat(1, is_signed=False),
        weight_format=IntegerFormat(62),
        output_format=IntegerFormat(62),
    )
    for x in ([1, 1, 0], [1, 1, 1], [0, 1, 0]):
        assert operator_module(layer)(torch.tensor([x])).tolist() == layer.run(np.array([x])).tolist()


@pytest.mark.parametrize("mode", Rounding)
@pytest.mark.parametrize("input_bits", [12, 40], ids=["float64", "int64"])
def test_ties_go_as_the_mode_says_in_both_arithmetics(mode, input_bits):
    numbers = np.arange(-40, 41)
    wide = 2**14 if input_bits == 40 else 1  # the same factor, beyond 2^53
    step = Requantise(
        multiplier=np.array([3 * wide]),
        shift=np.array([2 + wide.bit_length() - 1]),
        input_format=IntegerFormat(input_bits),
        output_format=IntegerFormat(8),
        rounding=mode,
    )
    assert operator_module(step)._is_float == (input_bits == 12)
    assert operator_module(step)(torch.from_numpy(numbers)).tolist() == step.run(numbers).tolist()


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_lowered_matrix_precision_changes_nothing(precision):
    before = torch.get_float32_matmul_precision()
    layer, shapes = convolution(np.random.default_rng(3))
    x = numbers(np.random.default_rng(0), layer.input_format, shapes[0])
    try:
        torch.set_float32_matmul_precision(precision)
        found = operator_module(layer)(torch.from_numpy(x.astype(np.int64)))
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(found.numpy(), layer.run(x))


def test_the_whole_map_is_proven_when_it_is_known():
    pool = SumPool2d(kernel=None, input_format=IntegerFormat(8, False), output_format=IntegerFormat(10))
    with pytest.raises(AccumulatorTooNarrow, match=r"^sum: the whole map exceeds int10; widen the accumulator$"):
        operator_module(pool)(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8))


@pytest.mark.parametrize("operator", EVERY, ids=lambda o: o.kind)
def test_results_are_of_the_type_of_the_format(operator):
    assert operator_module(operator).result_type == torch_type(operator.output_format)


def test_every_tensor_of_a_network_is_that_of_the_reference():
    module, inputs = IntegerModule(network()), images(3)
    expected = run_integer(network(), inputs)
    found = module.run({"x": torch.from_numpy(inputs["x"])})
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name].numpy(), values, err_msg=name)
    np.testing.assert_array_equal(module(torch.from_numpy(inputs["x"])).numpy(), expected["y"])
    assert not module(torch.from_numpy(inputs["x"])).requires_grad
    assert module.state_dict() == {}


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(1, 3, 4, 4), TypeError, "input x must hold integers, not torch.float32; quantise it first"),
        (torch.full((1, 3, 4, 4), 16), ValueError, "input x must hold uint4 (0..15), not numbers of 16..16"),
    ],
)
def test_wrong_inputs_are_refused(x, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        IntegerModule(network())(x)


def test_unknown_inputs_are_refused():
    with pytest.raises(ConfigError, match=r"^inputs must be \['x'\], not \['z'\]$"):
        IntegerModule(network()).run({"z": torch.zeros(1)})
