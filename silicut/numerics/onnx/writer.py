"""An integer network as a graph of float operators between quantisers: what QDQ and QONNX files share.

The factors of requantisers are exact in the network and products of scales in a file. So the file's scales are derived from
the factors, not the other way round: a layer's weights get the scale at which input scale x weight scale / output scale *is*
multiplier / 2^shift, to float32. Where nothing can absorb a factor (additions, pools), the reader's operand has a scale of
its own, which differs from that of the tensor by no more than the factor was rounded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from silicut.graph import Operator
from silicut.numerics.execute import IntegerExecutor
from silicut.numerics.formats import IntegerFormat
from silicut.numerics.onnx.steps import FORMATS, ORIGINS, SCALES, Steps, single, write_notes
from silicut.numerics.operators import (
    Add,
    Clamp,
    Concatenate,
    Convolution2d,
    IntegerOperator,
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
)
from silicut.numerics.quantised import QuantisedNetwork
from silicut.numerics.schema import INPUTS
from silicut.records import UnsupportedModel
from silicut.version import __version__

IR_VERSION, OPSET = 10, 21
_SUMS = (Convolution2d, Linear, SumPool2d, Multiply)
_MOVEMENTS = (Clamp, Concatenate, MaxPool2d, Pad, Reshape, Slice, Transpose)
_MAX_STORED_BITS = 16


class CannotExpress(Exception):
    """An operator has no equal in the file, for this reason."""


class QuantisedWriter(ABC):
    """Collects nodes and initialisers; a kind of file says how numbers are quantised and how constants are stored.

    Args:
        quantised: what is written.
        batch: the batch size written into the file, or None where it stays free.
    """

    def __init__(self, quantised: QuantisedNetwork, batch: int | None) -> None:
        self.quantised, self.network, self.batch = quantised, quantised.network, batch
        self.operators = IntegerExecutor(quantised.network).operators
        self.nodes: list[Any] = []
        self.initializers: dict[str, np.ndarray] = {}
        self.formats: dict[str, str] = {}
        self.scales: dict[str, str] = {}
        self._steps: dict[str, Steps] = {}

    # What a kind of file says.

    @abstractmethod
    def store(self, name: str, real: str, zero_point: int, operator: Operator | None) -> None:
        """Quantise a float tensor: nodes that make the stored tensor `name` of the network."""

    @abstractmethod
    def stored_real(self, name: str, steps: Steps, zero_point: int, reader: str) -> str:
        """Return the float tensor (integers - zero point) * steps of a stored tensor, as one operator reads it."""

    @abstractmethod
    def weight(self, name: str, weight: np.ndarray, format: IntegerFormat, steps: Steps) -> str:
        """Return the float tensor of a constant weight; steps lie along its axis."""

    @abstractmethod
    def bias(self, name: str, bias: np.ndarray, steps: Steps) -> str:
        """Return the float tensor of a bias."""

    @abstractmethod
    def lookup(self, operator: Operator, lookup: Lookup) -> None:
        """Write a table."""

    def operand_steps(self, names: Sequence[str], exact: Sequence[Steps], unit: float) -> Sequence[Steps]:
        """Return with which steps an operator reads its operands, so that its integer factors come back.

        Args:
            names: the operands.
            exact: the steps that its factors say.
            unit: the steps at which a factor would be 1.
        """
        return exact

    # What both share.

    def write(self) -> list[str]:
        """Write all operators; return one sentence for each that has no equal."""
        offenders = []
        for operator in self.network.operators:
            integer = self.operators[operator.name]
            try:
                self._check(operator, integer)
                _RULES[type(integer)](self, operator, integer)
            except CannotExpress as reason:
                place = f" ({operator.source})" if operator.source else ""
                offenders.append(f"operator {operator.kind} of {operator.name}{place}: {reason}")
        return offenders

    def _check(self, operator: Operator, integer: IntegerOperator) -> None:
        output = operator.outputs[0]
        if not self.is_sum(output) and integer.output_format.bits > _MAX_STORED_BITS:
            raise CannotExpress(f"it makes {integer.output_format.name}, and at most {_MAX_STORED_BITS} bits can be stored")

    def is_sum(self, name: str) -> bool:
        """Tell whether a tensor holds accumulators, which stay float in the file."""
        producer = self.network.producer.get(name)
        if producer is None:
            return False
        integer = self.operators[producer.name]
        if isinstance(integer, _MOVEMENTS):
            return self.is_sum(operands(producer)[0])
        return isinstance(integer, _SUMS)

    def zero_point(self, name: str) -> int:
        """Return the integer that stands for 0.0 in a tensor."""
        return self.quantised.quantisations[name].zero_points[0]

    def steps(self, name: str) -> Steps:
        """Return the steps of a tensor in the file."""
        if name not in self._steps:
            self._steps[name] = self._wanted(name) if self.is_sum(name) else self._own(name)
        return self._steps[name]

    def _own(self, name: str) -> Steps:
        return Steps.of(self.quantised.quantisations[name])

    def _wanted(self, name: str) -> Steps:
        """Return the steps of accumulators at which the factors of their first reader come out exactly."""
        readers = self.network.consumers.get(name, ())
        if name in self.network.outputs or not readers:
            return self._own(name)
        reader, integer = readers[0], self.operators[readers[0].name]
        if isinstance(integer, Requantise):
            return Steps(factors(integer) * self.steps(reader.outputs[0]).one, integer.axis)
        if isinstance(integer, _MOVEMENTS):
            behind = self._wanted(reader.outputs[0])
            if behind.is_one or self._keeps_channels(integer, reader, behind):
                return behind
        return self._own(name)

    def _keeps_channels(self, integer: IntegerOperator, operator: Operator, steps: Steps) -> bool:
        before, after = (self.network.tensors[name].shape for name in (operands(operator)[0], operator.outputs[0]))
        if isinstance(integer, Transpose | Concatenate) or steps.axis >= min(len(before), len(after)):
            return False
        is_same = before[: steps.axis + 1] == after[: steps.axis + 1]
        return is_same and not (isinstance(integer, Pad | Slice) and before == after)

    def real(self, name: str, steps: Steps, zero_point: int, reader: str) -> str:
        """Return the float tensor (integers - zero point) * steps, as one operator reads it."""
        if not self.is_sum(name):
            return self.stored_real(name, steps, zero_point, reader)
        if zero_point:
            raise CannotExpress(f"it takes {zero_point} for the zero point of accumulators, which files have at 0")
        own = self.steps(name)
        return self.sum_name(name) if own.equals(steps) else self.rescaled(self.sum_name(name), name, own, steps, reader)

    def rescaled(self, real: str, name: str, before: Steps, after: Steps, reader: str) -> str:
        """Return a float tensor multiplied so that its steps become others."""
        n_axes = len(self.network.tensors[name].shape)
        ratio = after.along(n_axes) / before.along(n_axes)
        scaled = f"{reader}/{name}"
        constant = self.constant(f"{scaled}/ratio", ratio.astype(np.float32))
        return self.add("Mul", [real, constant], scaled)

    def sum_name(self, name: str) -> str:
        """Return what the float tensor of accumulators is called."""
        return name

    def add(self, kind: str, inputs: Sequence[str], output: str, name: str = "", **attributes: Any) -> str:
        """Append a node and return its output."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name or output, **attributes))
        return output

    def constant(self, name: str, array: Any) -> str:
        """Add an initialiser and return its name."""
        self.initializers[name] = np.asarray(array)
        return name

    def finish(self, operator: Operator, real: str, zero_point: int) -> None:
        """Quantise what an operator made, unless it stays a sum."""
        output = operator.outputs[0]
        if not self.is_sum(output):
            self.store(output, real, zero_point, operator)

    def made(self, operator: Operator) -> str:
        """Return the name of the float tensor that an operator makes."""
        output = operator.outputs[0]
        return self.sum_name(output) if self.is_sum(output) else f"{output}/real"

    def value_info(self, name: str, written: str, dtype: Any) -> Any:
        """Return the description of an input or output of the graph."""
        from onnx import helper

        tensor = self.network.tensors[name]
        shape: list[Any] = [("batch" if size == -1 else f"batch*{-size}") if size < 0 else size for size in tensor.shape]
        sizes = shape if self.batch is None else list(tensor.sizes(self.batch))
        return helper.make_tensor_value_info(written, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), sizes)

    def model(self, inputs: Sequence[Any], outputs: Sequence[Any], domains: Sequence[tuple[str, int]]) -> Any:
        """Return the whole model."""
        from onnx import helper, numpy_helper

        constants = [numpy_helper.from_array(array, name) for name, array in self.initializers.items()]
        graph = helper.make_graph(self.nodes, "silicut", list(inputs), list(outputs), constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*domain) for domain in domains])
        model.ir_version = IR_VERSION
        model.producer_name, model.producer_version = "silicut", __version__
        write_notes(model, FORMATS, self.formats)
        write_notes(model, ORIGINS, self.quantised.origins)
        if self.scales:
            write_notes(model, SCALES, self.scales)
        return model


def operands(operator: Operator) -> list[str]:
    """Return the names of the tensors that an integer operator reads."""
    return [reference.name for reference in operator.arguments[INPUTS]]


def factors(requantise: Requantise) -> np.ndarray:
    """Return multiplier / 2^shift, exactly."""
    return np.asarray(requantise.multiplier / np.exp2(requantise.shift.astype(np.float64)))


def refuse(offenders: Sequence[str], kind: str) -> None:
    """Raise an error that lists what has no equal in a kind of file, if anything."""
    if offenders:
        raise UnsupportedModel(offenders, f"A {kind} file computes exactly what the integers do or is not written")


def _weighted(writer: QuantisedWriter, operator: Operator, layer: Convolution2d | Linear) -> list[str]:
    """Return the inputs of a layer's node; the weights absorb the factor of the requantiser behind."""
    (name,), output = operands(operator), operator.outputs[0]
    read, sums = writer.steps(name), writer.steps(output)
    if not read.is_one:
        raise CannotExpress(f"it reads {name}, whose channels have different scales")
    if not sums.is_one and sums.axis != (
        1 if isinstance(layer, Convolution2d) else len(writer.network.tensors[name].shape) - 1
    ):
        raise CannotExpress("its accumulators' scales do not lie along its channels")
    writer.formats[output] = layer.output_format.name
    steps = Steps(np.broadcast_to(single(sums.values / read.one), len(layer.weight)), 0)
    inputs = [
        writer.real(name, read, layer.input_zero_point, operator.name),
        writer.weight(f"{operator.name}.weight", layer.weight, layer.weight_format, steps),
    ]
    if layer.bias is not None:
        inputs.append(writer.bias(f"{operator.name}.bias", layer.bias, steps.by(read.one)))
    return inputs


def _convolution(writer: QuantisedWriter, operator: Operator, layer: Convolution2d) -> None:
    writer.add(
        "Conv",
        _weighted(writer, operator, layer),
        writer.made(operator),
        operator.name,
        kernel_shape=layer.weight.shape[2:],
        strides=layer.stride,
        pads=layer.padding,
        dilations=layer.dilation,
        group=layer.groups,
    )


def _linear(writer: QuantisedWriter, operator: Operator, layer: Linear) -> None:
    if len(writer.network.tensors[operands(operator)[0]].shape) != 2:
        raise CannotExpress("fully connected layers are written for inputs (n, c) only")
    writer.add("Gemm", _weighted(writer, operator, layer), writer.made(operator), operator.name, transB=1)


def _requantise(writer: QuantisedWriter, operator: Operator, step: Requantise) -> None:
    (name,), output = operands(operator), operator.outputs[0]
    exact = Steps(factors(step) * writer.steps(output).one, step.axis)
    if not exact.is_one and np.ptp(exact.values) == 0:
        exact = Steps(exact.values[:1])
    (steps,) = [exact] if writer.is_sum(name) else writer.operand_steps([name], [exact], writer.steps(output).one)
    writer.store(output, writer.real(name, steps, step.input_zero_point, operator.name), step.output_zero_point, operator)


def _add(writer: QuantisedWriter, operator: Operator, add: Add) -> None:
    output, names = operator.outputs[0], operands(operator)
    step = writer.steps(output).one
    exact = [Steps(np.array([m / 2.0**add.shift * step])) for m in add.multipliers]
    steps = writer.operand_steps(names, exact, step)
    parts = zip(names, steps, add.input_zero_points, ("a", "b"), strict=True)
    reals = [writer.real(name, own, zero, f"{operator.name}/{part}") for name, own, zero, part in parts]
    writer.finish(operator, writer.add("Add", reals, writer.made(operator), operator.name), add.output_zero_point)


def _multiply(writer: QuantisedWriter, operator: Operator, product: Multiply) -> None:
    names, output = operands(operator), operator.outputs[0]
    first, sums = writer.steps(names[0]), writer.steps(output)
    if not first.is_one:
        raise CannotExpress(f"it reads {names[0]}, whose channels have different scales")
    zeros = product.input_zero_points
    steps = [first, sums.by(1 / first.one)]
    parts = zip(names, steps, zeros, ("a", "b"), strict=True)
    reals = [writer.real(name, own, zero, f"{operator.name}/{part}") for name, own, zero, part in parts]
    writer.formats[output] = product.output_format.name
    writer.add("Mul", reals, writer.made(operator), operator.name)


def _sum_pool(writer: QuantisedWriter, operator: Operator, pool: SumPool2d) -> None:
    (name,), output = operands(operator), operator.outputs[0]
    height, width = pool.kernel or writer.network.tensors[name].shape[2:]
    n_taps = height * width
    exact = writer.steps(output).by(n_taps)
    readers = writer.network.consumers.get(output, ())
    unit = writer.steps(readers[0].outputs[0] if readers else output).values[0] * n_taps
    (steps,) = writer.operand_steps([name], [exact], unit)
    real = writer.real(name, steps, pool.input_zero_point, operator.name)
    writer.formats[output] = pool.output_format.name
    if pool.kernel is None:
        writer.add("GlobalAveragePool", [real], writer.made(operator), operator.name)
        return
    window = {"kernel_shape": pool.kernel, "strides": pool.stride, "pads": pool.padding}
    writer.add("AveragePool", [real], writer.made(operator), operator.name, count_include_pad=1, **window)


def _moved(writer: QuantisedWriter, operator: Operator, kind: str, further: Sequence[str] = (), **attributes: Any) -> None:
    """Write an operator that keeps its operands' numbers."""
    output, names = operator.outputs[0], operands(operator)
    steps, zero_point = writer.steps(output), writer.zero_point(output)
    reals = [writer.real(name, steps, zero_point, f"{operator.name}/{i}") for i, name in enumerate(names)]
    made = writer.add(kind, [*reals, *further], writer.made(operator), operator.name, **attributes)
    writer.finish(operator, made, zero_point)


def _max_pool(writer: QuantisedWriter, operator: Operator, pool: MaxPool2d) -> None:
    window: dict[str, Any] = {"kernel_shape": pool.kernel, "strides": pool.stride, "pads": pool.padding}
    window["dilations"] = pool.dilation
    _moved(writer, operator, "MaxPool", **window)


def _integers(writer: QuantisedWriter, operator: Operator, part: str, numbers: Sequence[int]) -> str:
    return writer.constant(f"{operator.name}.{part}", np.array(numbers, np.int64))


def _reshape(writer: QuantisedWriter, operator: Operator, reshape: Reshape) -> None:
    _moved(writer, operator, "Reshape", [_integers(writer, operator, "shape", [0, *reshape.shape])])


def _transpose(writer: QuantisedWriter, operator: Operator, transpose: Transpose) -> None:
    _moved(writer, operator, "Transpose", perm=transpose.axes)


def _concatenate(writer: QuantisedWriter, operator: Operator, concatenate: Concatenate) -> None:
    _moved(writer, operator, "Concat", axis=concatenate.axis)


def _slice(writer: QuantisedWriter, operator: Operator, part: Slice) -> None:
    stop = np.iinfo(np.int64).max if part.stop is None else part.stop
    ends = {"starts": part.start, "ends": stop, "axes": part.axis, "steps": part.step}
    _moved(writer, operator, "Slice", [_integers(writer, operator, key, [value]) for key, value in ends.items()])


def _pad(writer: QuantisedWriter, operator: Operator, pad: Pad) -> None:
    pads = [pair[end] for end in (0, 1) for pair in pad.pads]
    value = _real_number(writer, operator, pad.value)
    constant = writer.constant(f"{operator.name}.value", np.float32(value))
    _moved(writer, operator, "Pad", [_integers(writer, operator, "pads", pads), constant])


def _clamp(writer: QuantisedWriter, operator: Operator, clamp: Clamp) -> None:
    format, bounds = clamp.input_format, []
    for key, number, end in (("low", clamp.low, format.min), ("high", clamp.high, format.max)):
        if number == end:
            bounds.append("")
        else:
            real = np.float32(_real_number(writer, operator, number))
            bounds.append(writer.constant(f"{operator.name}.{key}", real))
    _moved(writer, operator, "Clip", bounds if bounds[1] else bounds[:1])


def _real_number(writer: QuantisedWriter, operator: Operator, number: int) -> float:
    """Return what a number of an operator's output stands for."""
    output = operator.outputs[0]
    steps, distance = writer.steps(output), number - writer.zero_point(output)
    if distance and not steps.is_one:
        raise CannotExpress(f"{number} stands for another real number in each channel")
    return distance * float(steps.values[0])


_RULES: dict[type, Callable[[QuantisedWriter, Operator, Any], None]] = {
    Add: _add,
    Clamp: _clamp,
    Concatenate: _concatenate,
    Convolution2d: _convolution,
    Linear: _linear,
    Lookup: lambda writer, operator, lookup: writer.lookup(operator, lookup),
    MaxPool2d: _max_pool,
    Multiply: _multiply,
    Pad: _pad,
    Requantise: _requantise,
    Reshape: _reshape,
    Slice: _slice,
    SumPool2d: _sum_pool,
    Transpose: _transpose,
}
