"""Integer networks as ONNX files of QuantizeLinear and DequantizeLinear pairs, which runtimes fuse to integer kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from silicut.graph import Operator
from silicut.numerics.formats import IntegerFormat
from silicut.numerics.onnx.scales import power_of_two
from silicut.numerics.onnx.steps import QUANTISED, Steps
from silicut.numerics.onnx.writer import OPSET, CannotExpress, QuantisedWriter, operands, refuse
from silicut.numerics.operators import Add, IntegerOperator, Lookup, Requantise
from silicut.numerics.quantised import QuantisedNetwork
from silicut.numerics.rounding import Rounding

_INT32 = IntegerFormat(32)


def to_qdq(
    quantised: QuantisedNetwork,
    *,
    integer_inputs: bool = False,
    integer_outputs: bool = False,
    batch: int | None = None,
) -> Any:
    """Return an integer network as an ONNX model (opset 21) of Q/DQ pairs around float operators.

    Tensors of at most 16 bits are stored as int8, uint8, int16 or uint16, with a Clip to their format where it is narrower;
    they keep their names, or have "/quantised" behind them where the float input or output has the name. Weights are int8
    with a scale for each channel, biases int32 at input scale x weight scale. Accumulators stay inside of float operators.

    Inside of the file tensors have powers of two for scales, and what they stand for is noted in its metadata; only float
    inputs and outputs have their own. So the float32 factor of a runtime *is* multiplier / 2^shift. Where the runtime adds
    int8 products exactly, a result differs from the integer network's only where float32 does not hold accumulator x factor,
    by one step: for results of b bits never if accumulators stay below 2^24, the shift is at most 24 - b, and zero points of
    sums are even. `silicut.compress.quantisation.lower` makes such networks, but for factors below 2^(b - 20).

    Args:
        quantised: its requantisers must round half to even, as QuantizeLinear does.
        integer_inputs: inputs are integers of their format; else floats that the file quantises.
        integer_outputs: outputs are integers; else floats.
        batch: the batch size written into the file; None leaves it free.

    Raises:
        UnsupportedModel: operators have no equal in such a file; all are listed.
    """
    writer = QdqWriter(quantised, batch, integer_inputs, integer_outputs)
    inputs = [writer.input(name) for name in quantised.network.inputs]
    refuse(writer.write(), "QDQ")
    outputs = [writer.output(name) for name in quantised.network.outputs]
    return writer.model(inputs, outputs, [("", OPSET)])


class QdqWriter(QuantisedWriter):
    """Writes Q/DQ pairs; see `to_qdq`."""

    def __init__(
        self, quantised: QuantisedNetwork, batch: int | None, integer_inputs: bool = False, integer_outputs: bool = False
    ) -> None:
        super().__init__(quantised, batch)
        self._has_integer_outputs, self._has_integer_inputs = integer_outputs, integer_inputs
        self._real_names = set() if integer_inputs else set(self.network.inputs)
        if not integer_outputs:
            self._real_names |= {name for name in self.network.outputs if not self.is_sum(name)}

    def input(self, name: str) -> Any:
        """Write what becomes of an input and return its description."""
        format = self._format(name)
        if not self._has_integer_inputs:
            self._quantise(name, name, self._meaning(name), self.zero_point(name))
            return self.value_info(name, name, np.float32)
        if name in self._real_names or self._is_clipped(format):
            self._real_names.add(name)
            self._clip(name, name)
        return self.value_info(name, name, format.dtype)

    def output(self, name: str) -> Any:
        """Write what becomes of an output and return its description."""
        if not self._has_integer_outputs:
            if not self.is_sum(name):
                self._dequantise(name, self._meaning(name), self.zero_point(name), name, "/output")
            return self.value_info(name, name, np.float32)
        dtype = self._format(name).dtype
        if self.is_sum(name):
            self._whole(name, dtype)
        return self.value_info(name, name, dtype)

    def _whole(self, name: str, dtype: Any) -> None:
        from onnx import helper

        steps = self.steps(name).along(len(self.network.tensors[name].shape)).astype(np.float32)
        numbers = self.add("Div", [self.sum_name(name), self.constant(f"{name}/steps", steps)], f"{name}/numbers")
        whole = self.add("Round", [numbers], f"{name}/whole")
        self.add("Cast", [whole], name, f"{name}/cast", to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def sum_name(self, name: str) -> str:
        """Return the name of accumulators as a float tensor."""
        return f"{name}/real" if self._has_integer_outputs and name in self.network.outputs else name

    def _format(self, name: str) -> IntegerFormat:
        return self.quantised.quantisations[name].format

    def _stored(self, name: str) -> str:
        return name + QUANTISED if name in self._real_names else name

    def store(self, name: str, real: str, zero_point: int, operator: Operator | None) -> None:
        """Write QuantizeLinear, and Clip where the format is narrower than the type."""
        if operator is not None:
            _check_rounding(self.operators[operator.name])
        self._quantise(name, real, self.steps(name), zero_point)

    def _quantise(self, name: str, real: str, steps: Steps, zero_point: int) -> None:
        format, stored = self._format(name), self._stored(name)
        parameters = self._parameters(name, steps, zero_point, "" if steps.equals(self.steps(name)) else "/input")
        output = f"{name}/wide" if self._is_clipped(format) else stored
        self.add("QuantizeLinear", [real, *parameters], output, f"{name}/quantise")
        if output != stored:
            self._clip(name, output)

    def _is_clipped(self, format: IntegerFormat) -> bool:
        limits = np.iinfo(format.dtype)
        return (format.min, format.max) != (limits.min, limits.max)

    def _clip(self, name: str, wide: str) -> None:
        format = self._format(name)
        ends = zip(("min", "max"), (format.min, format.max), strict=True)
        bounds = [self.constant(f"{format.name}.{key}", np.array(end, format.dtype)) for key, end in ends]
        self.add("Clip", [wide, *bounds], self._stored(name), f"{name}/clip")

    def _parameters(self, name: str, steps: Steps, zero_point: int, part: str = "") -> list[str]:
        dtype = self._format(name).dtype
        scale = self.constant(f"{name}{part}/scale", steps.along(1).astype(np.float32) if steps.is_one else _flat(steps))
        zeros = np.full(scale_shape(steps), zero_point, dtype)
        return [scale, self.constant(f"{name}{part}/zero_point", zeros)]

    def stored_real(self, name: str, steps: Steps, zero_point: int, reader: str) -> str:
        """Return the output of DequantizeLinear; readers with the tensor's own steps share one."""
        is_own = steps.equals(self.steps(name)) and zero_point == self.zero_point(name)
        part = "" if is_own else f"/{reader}"
        output = f"{name}/read{part}"
        if all(output not in node.output for node in self.nodes):
            self._dequantise(name, steps, zero_point, output, part)
        return output

    def _dequantise(self, name: str, steps: Steps, zero_point: int, output: str, part: str) -> None:
        axis = {} if steps.is_one else {"axis": steps.axis}
        inputs = [self._stored(name), *self._parameters(name, steps, zero_point, part)]
        self.add("DequantizeLinear", inputs, output, f"{name}/dequantise{part}", **axis)

    def _meaning(self, name: str) -> Steps:
        return Steps.of(self.quantised.quantisations[name])

    def _own(self, name: str) -> Steps:
        """Return the steps of a tensor inside of the file: the power of two next to its scale."""
        steps = self._meaning(name)
        if self.is_sum(name) or not steps.is_one:
            return steps
        (scale,) = self.quantised.quantisations[name].scales
        self.scales[name] = repr(scale)
        return Steps(np.array([power_of_two(scale)]))

    def weight(self, name: str, weight: np.ndarray, format: IntegerFormat, steps: Steps) -> str:
        """Return the output of DequantizeLinear along axis 0 of a constant int8 (int16 for more than 8 bits)."""
        if format.bits > 16:
            raise CannotExpress(f"its weights are {format.name}, and at most 16 bits can be stored")
        signed = IntegerFormat(format.bits + (not format.is_signed)).dtype
        self.formats[name] = format.name
        return self._constant_real(name, weight.astype(signed), steps)

    def bias(self, name: str, bias: np.ndarray, steps: Steps) -> str:
        """Return the output of DequantizeLinear of a constant int32."""
        if not _INT32.holds(bias):
            raise CannotExpress("its bias exceeds int32")
        return self._constant_real(name, bias.astype(np.int32), steps)

    def _constant_real(self, name: str, array: np.ndarray, steps: Steps) -> str:
        scale = self.constant(f"{name}/scale", _flat(steps))
        zeros = self.constant(f"{name}/zero_point", np.zeros(len(steps.values), array.dtype))
        inputs = [self.constant(name, array), scale, zeros]
        return self.add("DequantizeLinear", inputs, f"{name}/real", axis=0)

    def lookup(self, operator: Operator, lookup: Lookup) -> None:
        """Write a Gather from the table, whose negative indices count from its end."""
        from onnx import TensorProto

        (name,), output = operands(operator), operator.outputs[0]
        if self.is_sum(name):
            raise CannotExpress("it reads accumulators, which are not stored")
        rolled = np.roll(lookup.table, lookup.input_format.min).astype(lookup.output_format.dtype)
        table = self.constant(f"{operator.name}.table", rolled)
        index = self.add("Cast", [self._stored(name)], f"{operator.name}/index", to=TensorProto.INT32)
        is_clipped = self._is_clipped(lookup.output_format)
        found = f"{output}/wide" if is_clipped else self._stored(output)
        self.add("Gather", [table, index], found, operator.name, axis=0)
        if is_clipped:
            self._clip(output, found)


def scale_shape(steps: Steps) -> tuple[int, ...]:
    """Return the shape of the scales in a file: none for one."""
    return () if steps.is_one else (len(steps.values),)


def _flat(steps: Steps) -> np.ndarray:
    return steps.values.astype(np.float32)


def _check_rounding(integer: IntegerOperator) -> None:
    if isinstance(integer, Requantise | Add) and integer.rounding is not Rounding.HALF_EVEN:
        raise CannotExpress(f"it rounds {integer.rounding}, and QuantizeLinear half_even; write QONNX instead")


def stored_tensors(model: Any) -> list[str]:
    """Return the names of a QDQ file's integer tensors that depend on its inputs, each as narrow as the file makes it."""
    constants = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants:
            found[node.output[0]] = None
        elif node.op_type == "Clip" and node.input[0] in found:
            del found[node.input[0]]
            found[node.output[0]] = None
        elif node.op_type == "Gather" and node.input[0] in constants:
            found[node.output[0]] = None
    return list(found)
