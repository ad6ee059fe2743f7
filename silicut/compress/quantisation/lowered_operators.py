"""What each kind of operator becomes in an integer network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from silicut.compress.quantisation.affine import affine_layer
from silicut.compress.quantisation.kinds import KINDS, Role, activations_read, padding_of, pair, pooled
from silicut.compress.quantisation.lowering import Lowering, Numbers
from silicut.compress.quantisation.short_factors import SUM_BITS
from silicut.compress.quantisation.weights import integer_bias
from silicut.graph import Operator
from silicut.graph.module import run_operator
from silicut.numerics import (
    Add,
    Concatenate,
    Convolution2d,
    IntegerOperator,
    Linear,
    Lookup,
    MaxPool2d,
    Multiply,
    Pad,
    Reshape,
    Slice,
    SumPool2d,
    Transpose,
)

Rule = Callable[[Lowering, Operator], None]


def _weighted(low: Lowering, operator: Operator, kind: type[Convolution2d] | type[Linear], **geometry: Any) -> None:
    source, end = low.for_layer(operator.arguments["input"].name), low.end_of(operator)
    weights, bias = low.weights_of(operator, source, end)
    scales = source.scale * weights.scales
    layer = kind(
        weight=weights.values,
        bias=None if bias is None else integer_bias(bias, scales),
        input_format=source.steps.format,
        weight_format=weights.format,
        input_zero_point=source.zero_point,
        **geometry,
    )
    made = low.accumulators(layer, operator.name, [source.name], scales, operator.outputs[0])
    low.requantise(made, end, end.name)


def _conv2d(low: Lowering, operator: Operator) -> None:
    a = operator.arguments
    _weighted(
        low,
        operator,
        Convolution2d,
        stride=pair(a["stride"]),
        padding=padding_of(operator, low.float),
        dilation=pair(a["dilation"]),
        groups=int(a["groups"]),
    )


def _linear(low: Lowering, operator: Operator) -> None:
    _weighted(low, operator, Linear)


def _batch_norm(low: Lowering, operator: Operator) -> None:
    a, source, end = operator.arguments, low.numbers(operator.arguments["input"].name), low.end_of(operator)

    def value(key: str, default: float) -> NDArray[np.float64]:
        reference = a[key]
        return np.full(n, default) if reference is None else low.float.parameters[reference.name].astype(np.float64)

    n = low.float.tensors[source.name].shape[1]
    factor = value("weight", 1.0) / np.sqrt(value("running_var", 1.0) + a["eps"])
    bias = value("bias", 0.0) - value("running_mean", 0.0) * factor
    layer, scales = affine_layer(factor, bias, source.steps, end.steps)
    made = low.accumulators(layer, operator.name, [source.name], scales, operator.outputs[0])
    low.requantise(made, end, end.name)


def _add(low: Lowering, operator: Operator) -> None:
    first, second = (low.numbers(name) for name in activations_read(low.float, operator))
    end = low.end_of(operator)
    step = Add.by(
        (first.scale / end.scale, float(operator.arguments.get("alpha", 1)) * second.scale / end.scale),
        SUM_BITS,
        input_formats=(first.steps.format, second.steps.format),
        input_zero_points=(first.zero_point, second.zero_point),
        output_format=end.steps.format,
        output_zero_point=end.zero_point,
        rounding=low.rounding,
    )
    low.emit(step, operator.name, [first.name, second.name], end, end.name)


def _mul(low: Lowering, operator: Operator) -> None:
    first, second = (low.numbers(name) for name in activations_read(low.float, operator))
    step = Multiply(
        input_formats=(first.steps.format, second.steps.format), input_zero_points=(first.zero_point, second.zero_point)
    )
    end, scale = low.end_of(operator), first.scale * second.scale
    made = low.accumulators(step, operator.name, [first.name, second.name], scale, operator.outputs[0])
    low.requantise(made, end, end.name)


def _average(low: Lowering, operator: Operator) -> None:
    source, end = low.numbers(activations_read(low.float, operator)[0]), low.end_of(operator)
    kernel, stride = pooled(operator, low.float)
    padding = padding_of(operator, low.float) if "padding" in operator.arguments else (0, 0, 0, 0)
    pool = SumPool2d(
        kernel=kernel,
        input_format=source.steps.format,
        input_zero_point=source.zero_point,
        stride=stride,
        padding=padding,
    )
    made = low.accumulators(pool, operator.name, [source.name], source.scale, operator.outputs[0])
    divisor = operator.arguments.get("divisor_override") or kernel[0] * kernel[1]
    low.requantise(made, end, end.name, division=int(divisor))


def _clamp(low: Lowering, operator: Operator) -> None:
    source, end = operator.arguments["self"].name, low.end_of(operator)
    if end.name not in low.tensors:  # else it is part of the rounding before
        low.requantise(low.numbers(source), end, end.name)


def _function(low: Lowering, operator: Operator) -> None:
    source, end = low.numbers(operator.arguments["self"].name), low.end_of(operator)

    def values(reals: NDArray[np.float64]) -> NDArray[np.float64]:
        given = {operator.arguments["self"].name: torch.from_numpy(reals.copy())}
        run_operator(operator, given, batch=1)
        return given[operator.outputs[0]].numpy()

    table = Lookup.of(values, source.steps, end.steps, low.rounding)
    low.emit(table, operator.name, [source.name], end, end.name)


def _cat(low: Lowering, operator: Operator) -> None:
    end = low.end_of(operator)
    names = []
    for i, name in enumerate(activations_read(low.float, operator)):
        source = low.numbers(name)
        if source.steps != end.steps:
            copy = Numbers(f"{operator.name}.input{i}", end.steps)
            low.requantise(source, copy, name)
            source = copy
        names.append(source.name)
    axis = int(operator.arguments["dim"]) % len(low.float.tensors[end.name].shape)
    join = Concatenate(input_formats=(end.steps.format,) * len(names), axis=axis)
    low.emit(join, operator.name, names, end, end.name)


def _moved(low: Lowering, operator: Operator, movement: IntegerOperator, output: str, part: str = "") -> None:
    source = low.numbers(activations_read(low.float, operator)[0])
    low.emit(movement, operator.name + part, [source.name], Numbers(output, source.steps), output)


def _source(low: Lowering, operator: Operator) -> Numbers:
    return low.numbers(activations_read(low.float, operator)[0])


def _max_pool(low: Lowering, operator: Operator) -> None:
    kernel, stride = pooled(operator, low.float)
    pool = MaxPool2d(
        kernel=kernel,
        input_format=_source(low, operator).steps.format,
        stride=stride,
        padding=padding_of(operator, low.float),
        dilation=pair(operator.arguments["dilation"]),
    )
    _moved(low, operator, pool, operator.outputs[0])


def _reshape(low: Lowering, operator: Operator) -> None:
    shape = low.float.tensors[operator.outputs[0]].shape[1:]
    _moved(low, operator, Reshape(input_format=_source(low, operator).steps.format, shape=shape), operator.outputs[0])


def _permute(low: Lowering, operator: Operator) -> None:
    a, n_axes = operator.arguments, len(low.float.tensors[operator.outputs[0]].shape)
    axes = [int(axis) % n_axes for axis in a["dims"]] if "dims" in a else list(range(n_axes))
    if "dims" not in a:
        one, other = int(a["dim0"]) % n_axes, int(a["dim1"]) % n_axes
        axes[one], axes[other] = axes[other], axes[one]
    _moved(low, operator, Transpose(input_format=_source(low, operator).steps.format, axes=tuple(axes)), operator.outputs[0])


def _slice(low: Lowering, operator: Operator) -> None:
    a, source = operator.arguments, _source(low, operator)
    shape = low.float.tensors[source.name].shape
    axis = int(a["dim"]) % len(shape)
    start, stop, step = slice(a["start"], a["end"], int(a["step"])).indices(shape[axis])
    cut = Slice(input_format=source.steps.format, axis=axis, start=start, stop=stop, step=step)
    _moved(low, operator, cut, operator.outputs[0])


def _split(low: Lowering, operator: Operator) -> None:
    source = _source(low, operator)
    axis = int(operator.arguments["dim"]) % len(low.float.tensors[source.name].shape)
    start = 0
    for i, output in enumerate(operator.outputs):
        stop = start + low.float.tensors[output].shape[axis]
        cut = Slice(input_format=source.steps.format, axis=axis, start=start, stop=stop)
        _moved(low, operator, cut, output, part=f".{i}")
        start = stop


def _pad(low: Lowering, operator: Operator) -> None:
    source = _source(low, operator)
    given = [int(n) for n in operator.arguments["pad"]]
    from_last = [(given[i], given[i + 1]) for i in range(0, len(given), 2)]
    n_axes = len(low.float.tensors[source.name].shape)
    pads = (*[(0, 0)] * (n_axes - len(from_last)), *reversed(from_last))
    _moved(low, operator, Pad(input_format=source.steps.format, pads=pads, value=source.zero_point), operator.outputs[0])


_SHAPES = dict.fromkeys(("flatten", "reshape", "view", "unsqueeze", "squeeze"), _reshape)
LOWERED: dict[str, Rule] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "add": _add,
    "mul": _mul,
    "avg_pool2d": _average,
    "adaptive_avg_pool2d": _average,
    "cat": _cat,
    "max_pool2d": _max_pool,
    "permute": _permute,
    "transpose": _permute,
    "slice": _slice,
    "split_with_sizes": _split,
    "pad": _pad,
    **_SHAPES,
    **{name: _clamp for name, kind in KINDS.items() if kind.role is Role.CLAMP},
    **{name: _function for name, kind in KINDS.items() if kind.role is Role.FUNCTION},
}
"""The rule of every kind that has an integer form."""
