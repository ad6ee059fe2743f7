"""Integer networks as `Network`: written, saved, loaded, run; a small residual one against plain arithmetic."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from torch.nn import functional

from silicut.graph import Network, Operator, Tensor
from silicut.graph.storage import load_network, save_network
from silicut.numerics import (
    OPERATORS,
    Add,
    Clamp,
    Concatenate,
    Convolution2d,
    IntegerExecutor,
    IntegerFormat,
    Linear,
    Lookup,
    MaxPool2d,
    Multiply,
    Pad,
    Requantise,
    Reshape,
    Slice,
    SumPool2d,
    Transpose,
    from_network_operator,
    run_integer,
    to_network_operator,
)
from silicut.records import AccumulatorTooNarrow, ConfigError, UnsupportedModel

UINT4, INT4, INT16 = (IntegerFormat.of(name) for name in ("uint4", "int4", "int16"))
RNG = np.random.default_rng(0)
CONV = Convolution2d(
    weight=RNG.integers(-8, 8, (3, 3, 3, 3)).astype(np.int8),
    bias=RNG.integers(-50, 50, 3),
    input_format=UINT4,
    weight_format=INT4,
    output_format=INT16,
    input_zero_point=2,
    padding=(1, 1, 1, 1),
)
STEP = Requantise.by([0.02, 0.03, 0.01], input_format=INT16, output_format=UINT4, output_zero_point=2)
STEPS = [
    (CONV, ["x"], "sums", (3, 4, 4)),
    (STEP, ["sums"], "scaled", (3, 4, 4)),
    (
        Add.by((1.0, 0.5), input_formats=(UINT4, UINT4), input_zero_points=(2, 2), output_format=UINT4),
        ["scaled", "x"],
        "added",
        (3, 4, 4),
    ),
    (SumPool2d(kernel=None, input_format=UINT4, output_format=INT16), ["added"], "total", (3, 1, 1)),
    (Reshape(input_format=INT16, shape=(-1,)), ["total"], "flat", (3,)),
    (
        Linear(weight=np.array([[1, 2, 3], [-1, 0, 7]]), input_format=INT16, weight_format=INT4),
        ["flat"],
        "y",
        (2,),
    ),
]


def network(steps=STEPS):
    operators, parameters = [], {}
    tensors = {"x": Tensor((-1, 3, 4, 4), "uint4")}
    for i, (operator, inputs, output, shape) in enumerate(steps):
        made, constants = to_network_operator(operator, f"{operator.kind}{i}", inputs, output)
        operators.append(made)
        parameters |= constants
        tensors[output] = Tensor((-1, *shape), operator.output_format.name)
    return Network(("x",), ("y",), "tensor", tensors, tuple(operators), parameters, frozenset())


def images(n=2):
    return {"x": np.random.default_rng(1).integers(0, 16, (n, 3, 4, 4))}


def expected(x):
    """The network in PyTorch, float64: every product is exact, roundings are half-even as ours."""
    x = torch.from_numpy(x).double() - 2
    values = {
        "sums": functional.conv2d(x, torch.from_numpy(CONV.weight).double(), torch.from_numpy(CONV.bias).double(), padding=1)
    }
    factors = torch.from_numpy(STEP.multiplier / 2.0**STEP.shift).reshape(-1, 1, 1)
    values["scaled"] = ((values["sums"] * factors).round() + 2).clamp(0, 15)
    values["added"] = (values["scaled"] - 2 + x / 2).round().clamp(0, 15)
    values["total"] = values["added"].sum((2, 3), keepdim=True)
    values["flat"] = values["total"].flatten(1)
    values["y"] = values["flat"] @ torch.tensor([[1.0, 2, 3], [-1, 0, 7]], dtype=torch.float64).T
    return {name: value.numpy() for name, value in values.items()}


@pytest.mark.parametrize("n", [1, 3])
def test_every_tensor_is_what_the_arithmetic_says(n):
    inputs = images(n)
    found = run_integer(network(), inputs)
    assert list(found) == ["x", "sums", "scaled", "added", "total", "flat", "y"]
    for name, values in expected(inputs["x"]).items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
        assert found[name].dtype == IntegerFormat.of(network().tensors[name].dtype).dtype


def test_outputs_alone_are_the_same():
    executor = IntegerExecutor(network())
    outputs = executor.outputs(images())
    assert list(outputs) == ["y"]
    np.testing.assert_array_equal(outputs["y"], executor.run(images())["y"])


def test_a_saved_network_runs_the_same(tmp_path):
    first = network()
    save_network(first, tmp_path / "network.json", tmp_path / "weights.safetensors")
    again = load_network(tmp_path / "network.json", tmp_path / "weights.safetensors")
    assert again.structure_hash == first.structure_hash
    assert again.weights_hash == first.weights_hash
    for name, values in run_integer(first, images()).items():
        np.testing.assert_array_equal(run_integer(again, images())[name], values)


def test_hashes_tell_numerics_apart():
    other = STEPS.copy()
    other[1] = (Requantise(**{**_attributes(STEP), "rounding": "floor"}), *STEPS[1][1:])
    assert network(other).structure_hash != network().structure_hash
    changed = STEPS.copy()
    changed[1] = (Requantise(**{**_attributes(STEP), "multiplier": STEP.multiplier + 1}), *STEPS[1][1:])
    assert network(changed).structure_hash == network().structure_hash
    assert network(changed).weights_hash != network().weights_hash


def _attributes(operator):
    return {field.name: getattr(operator, field.name) for field in dataclasses.fields(operator)}


EVERY = [
    *(operator for operator, *_ in STEPS),
    Clamp(input_format=INT4, low=0, high=7),
    Concatenate(input_formats=(INT4, INT4, INT4), axis=2),
    Lookup(table=np.arange(16), input_format=INT4, output_format=UINT4),
    MaxPool2d(kernel=(2, 3), stride=(2, 1), padding=(0, 1, 1, 0), dilation=(1, 2), input_format=INT4),
    Multiply(input_formats=(INT4, UINT4), output_format=INT16, input_zero_points=(1, 2)),
    Pad(input_format=INT4, pads=((0, 0), (1, 2)), value=3),
    Slice(input_format=INT4, axis=1, start=1, step=2),
    Transpose(input_format=INT4, axes=(0, 2, 1)),
]


def test_every_kind_is_among_the_cases():
    assert {operator.kind for operator in EVERY} == set(OPERATORS)


@pytest.mark.parametrize("operator", EVERY, ids=lambda o: o.kind)
def test_operators_come_back(operator, tmp_path):
    inputs = [f"x{i}" for i in range(len(operator.input_formats))]
    made, parameters = to_network_operator(operator, "op", inputs, "y")
    types = {name: Tensor((1,), format.name) for name, format in zip(inputs, operator.input_formats, strict=True)}
    types["y"] = Tensor((1,), operator.output_format.name)
    whole = Network(tuple(inputs), ("y",), "tensor", types, (made,), parameters, frozenset())
    save_network(whole, tmp_path / "n.json", tmp_path / "n.safetensors")
    loaded = load_network(tmp_path / "n.json", tmp_path / "n.safetensors")
    again = IntegerExecutor(loaded).operators["op"]
    assert type(again) is type(operator)
    for key, value in _attributes(operator).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(again, key), value)
        else:
            assert getattr(again, key) == value
            assert type(getattr(again, key)) is type(value)


@pytest.mark.parametrize("target", ["aten.relu.default", "silicut.relu.default", "silicut.conv2d.other"])
def test_an_unknown_operator_is_named(target):
    stranger = Operator("act", target, {"inputs": ()}, ("y",))
    message = (
        f"operator act is {target}, which is no integer operator. Integer networks are made of silicut.*.default with "
        "add, clamp, concatenate, conv2d, linear, lookup, max_pool2d, multiply, pad, requantise, reshape, slice, "
        "sum_pool2d, transpose; quantise the network first"
    )
    with pytest.raises(UnsupportedModel, match=f"^{re.escape(message)}$"):
        from_network_operator(stranger, {})


def edited(index, **changes):
    """Return the network with other arguments of one operator."""
    whole = network()
    operators = list(whole.operators)
    operators[index] = operators[index].with_arguments(**changes)
    return dataclasses.replace(whole, operators=tuple(operators))


@pytest.mark.parametrize(
    ("index", "changes", "error", "message"),
    [
        (0, {"output_format": "int9"}, AccumulatorTooNarrow, "conv2d0: accumulator: channel "),
        (0, {"groups": 2}, ConfigError, "conv2d0: groups must divide the 3 output channels, not be 2"),
        (0, {"colour": 1}, UnsupportedModel, "operator conv2d0 (silicut.conv2d.default) cannot be read: "),
        (1, {"rounding": "up"}, UnsupportedModel, "operator requantise1 (silicut.requantise.default) cannot be read: "),
        (1, {"output_format": "byte"}, ConfigError, "requantise1: a format must be named like int4"),
        (
            1,
            {"output_format": "uint5"},
            UnsupportedModel,
            "requantise1 makes scaled as uint5, but it is uint4. Make the network again",
        ),
        (3, {"inputs": ()}, UnsupportedModel, "sum_pool2d3 must read 1 tensors and make 1, not 0 and 1. Make"),
    ],
)
def test_a_wrong_network_is_refused(index, changes, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        IntegerExecutor(edited(index, **changes))


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({}, ConfigError, "inputs must be ['x'], not []"),
        ({"x": np.zeros((1, 3, 4, 4))}, TypeError, "input x must hold integers, not float64; quantise it first"),
        ({"x": np.full((1, 3, 4, 4), 16)}, ValueError, "input x must hold uint4 (0..15), not numbers of 16..16"),
        ({"x": np.zeros((1, 3, 4, 5), int)}, ValueError, "input x must have shape (n, 3, 4, 4), not (1, 3, 4, 5)"),
    ],
)
def test_wrong_inputs_are_refused(inputs, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        run_integer(network(), inputs)


def test_an_operator_that_cannot_run_is_named():
    steps = [(Concatenate(input_formats=(UINT4, UINT4)), ["x", "x"], "both", (6, 4, 4)), (CONV, ["both"], "y", (3, 4, 4))]
    with pytest.raises(ValueError, match=r"^conv2d1: input must have shape \(n, 3, h, w\), not \(1, 6, 4, 4\)$"):
        run_integer(network(steps), images(1))
