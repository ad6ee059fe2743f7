"""How the float nodes of a quantised file become integer operators: what QDQ and QONNX share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from silicut.graph.from_onnx.folding import CannotRead
from silicut.graph.from_onnx.opened import OnnxNode
from silicut.numerics.onnx.builder import made
from silicut.numerics.onnx.steps import Steps
from silicut.numerics.onnx.values import Applied, Constant, Joined, RealFunction, Stored, Sum, View, limited
from silicut.numerics.operators import (
    Concatenate,
    Convolution2d,
    Linear,
    MaxPool2d,
    Multiply,
    Pad,
    Reshape,
    Slice,
    SumPool2d,
    Transpose,
)

if TYPE_CHECKING:
    from silicut.numerics.onnx.reader import QuantisedReader

Rule = Callable[["QuantisedReader", OnnxNode], Any]


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    if len(numbers) != 2:
        raise CannotRead(f"it has {len(numbers)} spatial axes, and two are read")
    return int(numbers[0]), int(numbers[1])


def _padding(node: OnnxNode) -> tuple[int, int, int, int]:
    if node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise CannotRead("its padding is automatic; export it with numbers")
    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    return int(top), int(left), int(bottom), int(right)


def _convolution(reader: QuantisedReader, node: OnnxNode) -> None:
    weight = reader.weight(node, 1)
    if weight.integers.ndim != 4:
        raise CannotRead(f"its weights have {weight.integers.ndim} axes, and 4 are read")
    reader.emit_layer(
        node,
        weight,
        Convolution2d,
        stride=_pair(node.attributes.get("strides", (1, 1))),
        padding=_padding(node),
        dilation=_pair(node.attributes.get("dilations", (1, 1))),
        groups=node.attributes.get("group", 1),
    )


def _gemm(reader: QuantisedReader, node: OnnxNode) -> None:
    given = {key: node.attributes.get(key, default) for key, default in (("alpha", 1.0), ("beta", 1.0), ("transA", 0))}
    if given != {"alpha": 1.0, "beta": 1.0, "transA": 0}:
        raise CannotRead(f"only alpha 1, beta 1 and transA 0 are read, not {given}")
    weight = reader.weight(node, 1)
    reader.emit_layer(node, weight if node.attributes.get("transB", 0) else _transposed(weight), Linear)


def _transposed(weight: Constant) -> Constant:
    if weight.integers.ndim != 2:
        raise CannotRead(f"its weights have {weight.integers.ndim} axes, and 2 are read")
    steps = weight.steps if weight.steps.is_one else Steps(weight.steps.values, 1 - weight.steps.axis)
    return replace(weight, integers=np.ascontiguousarray(weight.integers.T), steps=steps)


def _matmul(reader: QuantisedReader, node: OnnxNode) -> None:
    reader.emit_layer(node, _transposed(reader.weight(node, 1)), Linear)


def _add(reader: QuantisedReader, node: OnnxNode) -> None:
    for at, other in ((0, 1), (1, 0)):
        if reader.is_constant(node, other):
            reader.add_bias(node, reader.view(node, at), other)
            return
    reader.values[node.outputs[0]] = Sum(reader.view(node, 0), reader.view(node, 1))


def _multiply(reader: QuantisedReader, node: OnnxNode) -> None:
    for at, other in ((0, 1), (1, 0)):
        if reader.is_constant(node, other):
            reader.rescale(node, at, reader.constant(node, other))
            return
    a, b = reader.settled(node, 0), reader.settled(node, 1)
    if not (a.steps.is_one and b.steps.is_one):
        raise CannotRead("it multiplies tensors with a scale for each channel")
    formats = (reader.builder.formats[a.tensor], reader.builder.formats[b.tensor])
    product = made(
        Multiply,
        input_formats=formats,
        input_zero_points=(a.zero_point, b.zero_point),
        output_format=reader.format_of(node.outputs[0]),
    )
    reader.emit_sums(node, product, [a.tensor, b.tensor], a.steps.by(b.steps.one))


def _divide(reader: QuantisedReader, node: OnnxNode) -> None:
    if not reader.is_constant(node, 1):
        raise CannotRead("it divides by a tensor")
    reader.rescale(node, 0, 1 / reader.constant(node, 1).astype(np.float64))


def _relu(reader: QuantisedReader, node: OnnxNode) -> None:
    reader.values[node.outputs[0]] = limited(reader.pending(node, 0), 0.0, math.inf)


def _clip(reader: QuantisedReader, node: OnnxNode) -> None:
    low, high = reader.bounds(node)
    reader.values[node.outputs[0]] = limited(reader.pending(node, 0), low, high)


def _max_pool(reader: QuantisedReader, node: OnnxNode) -> None:
    if node.attributes.get("ceil_mode", 0):
        raise CannotRead("its size is rounded up")
    reader.needs_one_output(node)
    kernel, padding = _pair(node.attributes["kernel_shape"]), _padding(node)
    stride, dilation = (_pair(node.attributes.get(key, (1, 1))) for key in ("strides", "dilations"))
    reader.move(
        node,
        lambda format: made(
            MaxPool2d, kernel=kernel, input_format=format, stride=stride, padding=padding, dilation=dilation
        ),
    )


def _average_pool(reader: QuantisedReader, node: OnnxNode) -> None:
    kernel, padding = _pair(node.attributes["kernel_shape"]), _padding(node)
    if node.attributes.get("ceil_mode", 0):
        raise CannotRead("its size is rounded up")
    if any(padding) and not node.attributes.get("count_include_pad", 0):
        raise CannotRead("its divisor is smaller at the edges; export it with count_include_pad")
    if _pair(node.attributes.get("dilations", (1, 1))) != (1, 1):
        raise CannotRead("its windows are dilated")
    stride = _pair(node.attributes.get("strides", (1, 1)))
    _sum_pool(reader, node, kernel[0] * kernel[1], kernel=kernel, stride=stride, padding=padding)


def _global_pool(reader: QuantisedReader, node: OnnxNode) -> None:
    height, width = reader.shape(node, 0)[2:]
    _sum_pool(reader, node, height * width, kernel=None)


def _mean(reader: QuantisedReader, node: OnnxNode) -> None:
    shape = reader.shape(node, 0)
    axes = reader.constant(node, 1).ravel().tolist() if node.has(1) else list(node.attributes.get("axes", ()))
    if len(shape) != 4 or sorted(axis % 4 for axis in axes) != [2, 3]:
        raise CannotRead(
            f"means over axes {axes} of a tensor of {len(shape)} axes; over height and width of images they are read"
        )
    _sum_pool(reader, node, shape[2] * shape[3], kernel=None)
    if not node.attributes.get("keepdims", 1):
        view = reader.values[node.outputs[0]]
        assert isinstance(view, View)
        flat = made(Reshape, input_format=reader.builder.formats[view.tensor], shape=(shape[1],))
        tensor = reader.builder.emit(
            f"{node.name}/flat", flat, [view.tensor], f"{node.outputs[0]}/flat", reader.meaning(view)
        )
        reader.values[node.outputs[0]] = replace(view, tensor=tensor)


def _sum_pool(reader: QuantisedReader, node: OnnxNode, n_taps: int, **window: Any) -> None:
    view = reader.settled(node, 0)
    pool = made(
        SumPool2d,
        input_format=reader.builder.formats[view.tensor],
        output_format=reader.format_of(node.outputs[0]),
        input_zero_point=view.zero_point,
        **window,
    )
    reader.emit_sums(node, pool, [view.tensor], view.steps.by(1 / n_taps))


def _reshape(reader: QuantisedReader, node: OnnxNode) -> None:
    first, *rest = reader.target_shape(node)
    sizes = reader.shape(node, 0)
    n_elements = math.prod(sizes[1:])
    known = math.prod(size for size in rest if size != -1)
    fits = n_elements % known == 0 if -1 in rest else n_elements == known
    if first not in (0, -1, sizes[0]) or not fits or (first == -1 and -1 in rest):
        raise CannotRead("it does not keep the batch as the first axis")
    _reshaped(reader, node, rest)


def _flatten(reader: QuantisedReader, node: OnnxNode) -> None:
    if node.attributes.get("axis", 1) != 1:
        raise CannotRead(f"it flattens from axis {node.attributes['axis']}, and from 1 is read")
    _reshaped(reader, node, [-1])


def _squeeze(reader: QuantisedReader, node: OnnxNode) -> None:
    sizes = reader.shape(node, 0)
    axes = reader.constant(node, 1).ravel().tolist() if node.has(1) else list(node.attributes.get("axes", ()))
    gone = {axis % len(sizes) for axis in axes}
    if not gone or 0 in gone:
        raise CannotRead("it may take away the batch")
    _reshaped(reader, node, [size for axis, size in enumerate(sizes) if axis and axis not in gone])


def _reshaped(reader: QuantisedReader, node: OnnxNode, rest: Sequence[int]) -> None:
    reader.move(node, lambda format: made(Reshape, input_format=format, shape=tuple(rest)))


def _transpose(reader: QuantisedReader, node: OnnxNode) -> None:
    n_axes = len(reader.shape(node, 0))
    axes = tuple(node.attributes.get("perm", range(n_axes - 1, -1, -1)))
    reader.move(node, lambda format: made(Transpose, input_format=format, axes=axes))


def _slice(reader: QuantisedReader, node: OnnxNode) -> None:
    if not node.has(1):
        raise CannotRead("its ends are attributes, as in operator sets before 10")
    n_axes = len(reader.shape(node, 0))
    starts, stops = (reader.constant(node, i).ravel().tolist() for i in (1, 2))
    axes = reader.constant(node, 3).ravel().tolist() if node.has(3) else list(range(len(starts)))
    steps = reader.constant(node, 4).ravel().tolist() if node.has(4) else [1] * len(starts)
    if len(starts) != 1:
        raise CannotRead("it cuts several axes at once")
    stop = None if stops[0] >= 2**31 - 1 else stops[0]
    part = {"axis": axes[0] % n_axes, "start": starts[0], "stop": stop, "step": steps[0]}
    reader.move(node, lambda format: made(Slice, input_format=format, **part))


def _pad(reader: QuantisedReader, node: OnnxNode) -> None:
    if node.attributes.get("mode", "constant") != "constant":
        raise CannotRead(f"its mode is {node.attributes['mode']}, and constant is read")
    numbers = reader.constant(node, 1).ravel().tolist()
    half = len(numbers) // 2
    pads = tuple(zip(numbers[:half], numbers[half:], strict=True))
    real = float(reader.constant(node, 2)) if node.has(2) else 0.0
    value = reader.values.get(node.inputs[0])
    if isinstance(value, Stored):
        number = int(real)
    else:
        view = reader.settled(node, 0)
        number = reader.on_grid(view, real)
    reader.move(node, lambda format: made(Pad, input_format=format, pads=pads, value=number))


def _concatenate(reader: QuantisedReader, node: OnnxNode) -> None:
    values = [reader.values.get(name) for name in node.inputs]
    axis = node.attributes["axis"] % len(reader.shape(node, 0))
    if all(isinstance(value, Stored) for value in values):
        tensors = [value.tensor for value in values if isinstance(value, Stored)]
        formats = tuple(reader.builder.formats[tensor] for tensor in tensors)
        joined = made(Concatenate, input_formats=formats, axis=axis)
        meaning = reader.builder.quantisations[tensors[0]]
        reader.values[node.outputs[0]] = Stored(reader.builder.emit(node.name, joined, tensors, node.outputs[0], meaning))
        return
    views = tuple(reader.settled(node, i) for i in range(len(node.inputs)))
    reader.values[node.outputs[0]] = Joined(views, axis)


def _identity(reader: QuantisedReader, node: OnnxNode) -> None:
    reader.needs_one_output(node)
    if node.inputs[0] not in reader.values:
        raise CannotRead(f"it reads {node.inputs[0]!r}, which is not quantised")
    reader.values[node.outputs[0]] = reader.values[node.inputs[0]]


def _function(function: Callable[[OnnxNode], RealFunction]) -> Rule:
    def rule(reader: QuantisedReader, node: OnnxNode) -> None:
        reader.values[node.outputs[0]] = Applied(reader.settled(node, 0), function(node))

    return rule


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def _hard_sigmoid(node: OnnxNode) -> RealFunction:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return lambda x: np.clip(alpha * x + beta, 0, 1)


def _leaky_relu(node: OnnxNode) -> RealFunction:
    alpha = node.attributes.get("alpha", 0.01)
    return lambda x: np.where(x < 0, alpha * x, x)


def _gelu(node: OnnxNode) -> RealFunction:
    if node.attributes.get("approximate", "none") == "tanh":
        return lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return lambda x: x / 2 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)))


RULES: dict[str, Rule] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Concat": _concatenate,
    "Conv": _convolution,
    "Div": _divide,
    "Dropout": _identity,
    "Flatten": _flatten,
    "Gelu": _function(_gelu),
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "HardSigmoid": _function(_hard_sigmoid),
    "HardSwish": _function(lambda node: lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "Identity": _identity,
    "LeakyRelu": _function(_leaky_relu),
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": _multiply,
    "Pad": _pad,
    "ReduceMean": _mean,
    "Relu": _relu,
    "Reshape": _reshape,
    "Sigmoid": _function(lambda node: _sigmoid),
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Tanh": _function(lambda node: np.tanh),
    "Transpose": _transpose,
}
"""The float nodes that are read, by kind."""
