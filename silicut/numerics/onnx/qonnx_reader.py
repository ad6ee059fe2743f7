"""QONNX files as integer networks: Quant (or IntQuant) and Trunc between float operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from silicut.graph.from_onnx.folding import CannotRead
from silicut.graph.from_onnx.opened import OnnxNode
from silicut.numerics.formats import IntegerFormat
from silicut.numerics.onnx.builder import made
from silicut.numerics.onnx.qonnx_modes import DOMAINS, MODES, commutes
from silicut.numerics.onnx.quantisers import quantise_tensor
from silicut.numerics.onnx.reader import QuantisedReader, ReadOptions, opened_model
from silicut.numerics.onnx.rules import RULES, Rule
from silicut.numerics.onnx.steps import Steps, plain_name, single
from silicut.numerics.onnx.values import Constant, View
from silicut.numerics.operators import Requantise, SumPool2d
from silicut.numerics.quantisation import Quantisation, quantise
from silicut.numerics.quantised import QuantisedNetwork
from silicut.numerics.rounding import Rounding
from silicut.records import ConfigError

_SCALE_TOLERANCE = 1e-5


def from_qonnx(model: Any, options: ReadOptions | None = None) -> QuantisedNetwork:
    """Return the integer network that a QONNX file stands for.

    Each requantiser rounds as its Quant says; `silicut.numerics.onnx.roundings` states the modes. BipolarQuant, FloatQuant
    and the modes CEIL, UP and HALF_DOWN are refused. What `to_qonnx` wrote comes back with the integers that it had.

    Args:
        model: path, bytes or `ModelProto`.
        options: how it is read.

    Raises:
        BadFile: the file is missing or damaged.
        UnsupportedModel: nodes have no exact equal in integers; all are listed.
        ConfigError: an input has free axes other than the first.
    """
    return QonnxReader(opened_model(model), options or ReadOptions()).read()


class QonnxReader(QuantisedReader):
    """Reads Quant nodes; see `from_qonnx`."""

    def rounding(self, node: OnnxNode, default: str) -> Rounding:
        """Return the rounding mode of a node."""
        name = str(node.attributes.get("rounding_mode", default)).upper()
        if name not in MODES:
            raise CannotRead(f"its rounding mode is {name}, and {', '.join(MODES)} are read")
        return MODES[name]

    def number(self, node: OnnxNode, index: int) -> int:
        """Return an input that must be one whole number."""
        array = self.constant(node, index)
        if array.size == 0 or np.ptp(array) or float(array.flat[0]) != round(float(array.flat[0])):
            raise CannotRead(f"its input {node.inputs[index]!r} must be one whole number")
        return round(float(array.flat[0]))

    def steps(self, node: OnnxNode, index: int) -> Steps:
        """Return a scale input, which is one number or lies along one axis."""
        scale = self.constant(node, index)
        wide = [axis for axis, size in enumerate(scale.shape) if size > 1]
        if len(wide) > 1 or scale.size == 0 or scale.min() <= 0:
            raise CannotRead(f"its scale {node.inputs[index]!r} must be positive and lie along one axis")
        if scale.ndim == 1 and scale.size > 1:
            return Steps(single(scale), self._last_axis(node))
        return Steps(single(scale.ravel()), wide[0] if wide else 0)

    def _last_axis(self, node: OnnxNode) -> int:
        known = self.known.get(node.inputs[0])
        return (len(self.shape(node, 0)) if known is None else known.values[0].ndim) - 1


def _format(bits: int, is_signed: bool, is_narrow: bool) -> IntegerFormat:
    if bits == 1 and is_signed:
        raise CannotRead("it has one signed bit, which QONNX takes for -1 and 1; binary networks are not read")
    if is_narrow and not is_signed:
        raise CannotRead("its range is unsigned and narrow, which no format is")
    try:
        return IntegerFormat(bits, is_signed, is_narrow)
    except ConfigError as error:
        raise CannotRead(str(error)) from None


def _quant(reader: QonnxReader, node: OnnxNode) -> None:
    steps, zero, bits = reader.steps(node, 1), reader.number(node, 2), reader.number(node, 3)
    rounding = reader.rounding(node, "ROUND")
    format = _format(bits, bool(node.attributes.get("signed", 1)), bool(node.attributes.get("narrow", 1)))
    if node.inputs[0] in reader.known:
        reader.values[node.outputs[0]] = _constant(reader, node, steps, zero, format, rounding)
        return
    if not steps.is_one:
        raise CannotRead("it has a scale for each channel, which activations have not")
    if reader.options.is_exact and not commutes(rounding, zero):
        raise CannotRead(
            f"its zero point {zero} is added before it rounds {rounding}, so halves become other integers than in a "
            "requantiser; is_exact=False accepts that"
        )
    output = node.outputs[0]
    format, zero, clipped = _behind_clip(reader, output, format, zero, steps.one)
    target = _target(format, steps, zero)
    tensor = quantise_tensor(reader, node, target, plain_name(clipped), rounding)
    reader.values[output] = View(tensor, steps, zero)


def _target(format: IntegerFormat, steps: Steps, zero_point: int) -> Quantisation:
    try:
        return Quantisation.per_tensor(format, steps.one, zero_point)
    except ConfigError as error:
        raise CannotRead(str(error)) from None


def _constant(
    reader: QonnxReader, node: OnnxNode, steps: Steps, zero: int, format: IntegerFormat, rounding: Rounding
) -> Constant:
    if zero:
        raise CannotRead(f"its constant has zero point {zero}, and 0 is read")
    real, axis = reader.constant(node, 0), None if steps.is_one else steps.axis
    target = Quantisation(format, tuple(steps.values.tolist()), (0,) * len(steps.values), axis)
    try:
        return Constant(node.inputs[0], quantise(real, target, rounding), steps, format)
    except (TypeError, ValueError, IndexError) as error:
        raise CannotRead(str(error)) from None


def _behind_clip(
    reader: QonnxReader, output: str, format: IntegerFormat, zero: int, step: float
) -> tuple[IntegerFormat, int, str]:
    """Return format, zero point and name of a tensor that is quantised without its zero point and clipped."""
    clips = [node for node in reader.model.nodes if output in node.inputs]
    if zero or len(clips) != 1 or clips[0].kind != "Clip" or not (clips[0].has(1) and clips[0].has(2)):
        return format, zero, output
    name = clips[0].outputs[0]
    ends = [real / step for real in reader.bounds(clips[0])]
    low, high = (round(end) if math.isfinite(end) else 0 for end in ends)
    noted = reader.noted(plain_name(name))
    if noted is None or max(abs(ends[0] - low), abs(ends[1] - high)) > _SCALE_TOLERANCE * max(high - low, 1):
        return format, zero, output
    if noted.n_levels != high - low + 1 or not noted.min <= noted.min - low <= noted.max:
        return format, zero, output
    return noted, noted.min - low, name


def _trunc(reader: QonnxReader, node: OnnxNode) -> None:
    """Read Trunc: a shift to the right, of version 1 (five inputs, scale kept) or 2 (six, with a scale of its own)."""
    view, steps = reader.settled(node, 0), reader.steps(node, 1)
    if reader.number(node, 2) or view.zero_point:
        raise CannotRead("its zero point is not 0")
    if not (view.steps.is_one and steps.is_one) or abs(view.steps.one / steps.one - 1) > _SCALE_TOLERANCE:
        raise CannotRead("its scale is not that of its input")
    rounding, is_second = reader.rounding(node, "FLOOR"), len(node.inputs) == 6
    if is_second:
        behind = reader.steps(node, 4)
        shift = round(math.log2(behind.one / steps.one))
        signed, narrow = node.attributes.get("signed", 1), node.attributes.get("narrow", 0)
        format = _format(reader.number(node, 5), bool(signed), bool(narrow))
    else:
        behind, shift = view.steps, reader.number(node, 3) - reader.number(node, 4)
        format = _unclamped(reader, view, shift, reader.number(node, 4))
    step = made(
        Requantise,
        multiplier=np.array([1]),
        shift=np.array([shift]),
        input_format=reader.builder.formats[view.tensor],
        output_format=format,
        rounding=rounding,
    )
    tensor = reader.emit(node.name, step, [view.tensor], node.outputs[0], _target(format, behind, 0))
    reader.values[node.outputs[0]] = View(tensor, behind)


def _unclamped(reader: QonnxReader, view: View, shift: int, bits: int) -> IntegerFormat:
    """Return the format of so many bits that shifted integers fit, since version 1 does not saturate."""
    low, high = _range(reader, view.tensor)
    format = IntegerFormat(bits, is_signed=low < 0)
    if shift < 0 or low >> shift < format.min or -(-high >> shift) > format.max:
        raise CannotRead(f"numbers of {low}..{high} shifted by {shift} do not fit {bits} bits, and it does not saturate")
    return format


def _range(reader: QonnxReader, tensor: str) -> tuple[int, int]:
    format, maker = reader.builder.formats[tensor], reader.builder.maker(tensor)
    if not isinstance(maker, SumPool2d):
        return format.min, format.max
    height, width = maker.kernel or reader.builder.shapes[reader.builder.reads(tensor)[0]][2:]
    n, source, zero = height * width, maker.input_format, maker.input_zero_point
    return n * (source.min - zero), n * (source.max - zero)


def _refused(reason: str) -> Rule:
    def rule(reader: QuantisedReader, node: OnnxNode) -> None:
        raise CannotRead(reason)

    return rule


def _clip(reader: QonnxReader, node: OnnxNode) -> None:
    value, low_high = reader.values.get(node.inputs[0]), reader.bounds(node)
    if isinstance(value, View) and reader.builder.formats[value.tensor] == reader.noted(plain_name(node.outputs[0])):
        format = reader.builder.formats[value.tensor]
        ends = [(end - value.zero_point) * value.steps.one for end in (format.min, format.max)]
        if np.allclose(ends, low_high, rtol=_SCALE_TOLERANCE):
            reader.values[node.outputs[0]] = value
            return
    RULES["Clip"](reader, node)


_CUSTOM: dict[str, Any] = {
    "Quant": _quant,
    "IntQuant": _quant,
    "Trunc": _trunc,
    "BipolarQuant": _refused("its two levels have no 0; binary networks are not read"),
    "FloatQuant": _refused("it makes floats of few bits, and integers are read"),
}
QonnxReader.rules = {
    **RULES,
    "Clip": _clip,  # type: ignore[dict-item]
    **{f"{domain}.{kind}": rule for domain in DOMAINS for kind, rule in _CUSTOM.items()},
}


def is_qonnx(model: Any) -> bool:
    """Tell whether a file has nodes of QONNX.

    Raises:
        BadFile, UnsupportedModel: as `from_qonnx`.
    """
    return any(node.kind.rpartition(".")[0] in DOMAINS for node in opened_model(model).nodes)
