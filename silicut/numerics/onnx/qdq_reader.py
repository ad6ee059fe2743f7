"""ONNX files of QuantizeLinear and DequantizeLinear pairs as integer networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from silicut.graph.from_onnx.folding import CannotRead
from silicut.graph.from_onnx.opened import OnnxNode
from silicut.numerics.formats import IntegerFormat
from silicut.numerics.onnx.builder import made
from silicut.numerics.onnx.quantisers import quantise_tensor
from silicut.numerics.onnx.reader import QuantisedReader, ReadOptions, opened_model
from silicut.numerics.onnx.rules import RULES
from silicut.numerics.onnx.scales import noted_scales
from silicut.numerics.onnx.steps import Steps, plain_name, single
from silicut.numerics.onnx.values import Constant, Index, Stored, View
from silicut.numerics.operators import Clamp, Lookup
from silicut.numerics.quantisation import Quantisation
from silicut.numerics.quantised import QuantisedNetwork
from silicut.records import UnsupportedModel

_STORED = ("int8", "uint8", "int16", "uint16")


def from_qdq(model: Any, options: ReadOptions | None = None) -> QuantisedNetwork:
    """Return the integer network that a QDQ file stands for.

    Requantisers round half to even, as QuantizeLinear is defined; `silicut.numerics.onnx.roundings` states it. Factors
    become multiplier / 2^shift, off by at most 2^(1 - multiplier_bits) of themselves; what `to_qdq` wrote comes back with
    the integers that it had. Integer tensors are called as in the file, without the endings that writers put behind.

    Args:
        model: path, bytes or `ModelProto`, of operator sets 11 to 23.
        options: how it is read.

    Raises:
        BadFile: the file is missing or damaged.
        UnsupportedModel: nodes have no exact equal in integers; all are listed.
        ConfigError: an input has free axes other than the first.
    """
    return QdqReader(opened_model(model), options or ReadOptions()).read()


class QdqReader(QuantisedReader):
    """Reads Q/DQ pairs; see `from_qdq`."""

    def _can_evaluate(self, node: OnnxNode) -> bool:
        return node.kind != "DequantizeLinear"

    def quantisation_of_input(self, name: str, format: IntegerFormat) -> Quantisation:
        """Return what the first DequantizeLinear behind an integer input says."""
        for node in self.model.nodes:
            direct = {name, *(n.outputs[0] for n in self.model.nodes if n.kind == "Clip" and n.inputs[0] == name)}
            if node.kind == "DequantizeLinear" and node.inputs[0] in direct:
                return self.target(node, self._clipped_format(name, format))
        return Quantisation.per_tensor(format, 1.0)

    def target(self, node: OnnxNode, format: IntegerFormat) -> Quantisation:
        """Return the scale and zero point of a node as a quantisation of a format."""
        steps, zeros = self.parameters(node)
        axis = None if steps.is_one else steps.axis
        try:
            return Quantisation(format, tuple(steps.values.tolist()), tuple(zeros.tolist()), axis)
        except Exception as error:
            raise CannotRead(str(error)) from None

    def parameters(self, node: OnnxNode) -> tuple[Steps, np.ndarray]:
        """Return the steps and zero points of a node, as many as steps."""
        if node.attributes.get("block_size", 0):
            raise CannotRead("it has a scale for each block")
        scale = np.atleast_1d(self.constant(node, 1))
        if scale.ndim != 1:
            raise CannotRead(f"its scales have {scale.ndim} axes")
        zeros = np.atleast_1d(self.constant(node, 2)) if node.has(2) else np.zeros(scale.shape, np.uint8)
        axis = node.attributes.get("axis", 1)
        if scale.size > 1 and axis < 0:
            axis += self._n_axes(node)
        if scale.size > 1 and not np.ptp(scale) and not np.ptp(zeros.astype(np.int64)) and node.inputs[0] in self.values:
            scale, zeros = scale[:1], zeros[:1]
        return Steps(single(scale), axis), zeros.astype(np.int64)

    def _n_axes(self, node: OnnxNode) -> int:
        known = self.known.get(node.inputs[0])
        return len(self.shape(node, 0)) if known is None else known.values[0].ndim

    def storage(self, node: OnnxNode) -> IntegerFormat:
        """Return the type that a QuantizeLinear stores."""
        dtype = self.constant(node, 2).dtype.name if node.has(2) else "uint8"
        if dtype not in _STORED or (not node.has(2) and node.attributes.get("output_dtype", 0)):
            raise CannotRead(f"it stores {dtype}, and {', '.join(_STORED)} are read")
        return IntegerFormat.of(dtype)

    def _clipped_format(self, name: str, format: IntegerFormat) -> IntegerFormat:
        """Return the format that the one Clip behind a stored tensor says, else its type."""
        clips = [node for node in self.model.nodes if name in node.inputs]
        if len(clips) != 1 or clips[0].kind != "Clip" or not (clips[0].has(1) and clips[0].has(2)):
            return format
        low, high = (int(self.constant(clips[0], i)) for i in (1, 2))
        return next((f for f in _narrower(format) if (f.min, f.max) == (low, high)), format)

    def stored(self, node: OnnxNode, tensor: str) -> None:
        """Say that a node makes an integer tensor, which has its name already."""
        self.builder.rename(tensor, tensor)
        self.values[node.outputs[0]] = Stored(tensor)


def _narrower(format: IntegerFormat) -> list[IntegerFormat]:
    plain = [IntegerFormat(bits, format.is_signed) for bits in range(1, format.bits + 1)]
    narrow = [IntegerFormat(bits, is_narrow=True) for bits in range(2, format.bits + 1)] if format.is_signed else []
    return [*plain, *narrow]


def _quantise(reader: QdqReader, node: OnnxNode) -> None:
    wide = node.outputs[0]
    format = reader._clipped_format(wide, reader.storage(node))
    is_clipped = format != reader.storage(node)
    clip = next((n.outputs[0] for n in reader.model.nodes if is_clipped and wide in n.inputs), wide)
    reader.stored(node, quantise_tensor(reader, node, reader.target(node, format), plain_name(clip)))


def _dequantise(reader: QdqReader, node: OnnxNode) -> None:
    name = node.inputs[0]
    steps, zeros = reader.parameters(node)
    if name in reader.known:
        reader.values[node.outputs[0]] = _constant(reader, node, steps, zeros)
        return
    value = reader.values.get(name)
    if not isinstance(value, Stored):
        raise CannotRead(f"its input {name!r} holds no integers of the network")
    if np.ptp(zeros):
        raise CannotRead("its zero points differ between channels")
    reader.values[node.outputs[0]] = View(value.tensor, steps, int(zeros[0]))


def _constant(reader: QdqReader, node: OnnxNode, steps: Steps, zeros: np.ndarray) -> Constant:
    name = node.inputs[0]
    integers = reader.constant(node, 0)
    format = reader.noted(name) or IntegerFormat.of(integers.dtype.name)
    if zeros.any():
        shape = [1] * integers.ndim
        if len(zeros) > 1:
            shape[steps.axis] = -1
        integers = integers.astype(np.int64) - zeros.reshape(shape)
        int8 = IntegerFormat(8)
        format = int8 if int8.holds(integers) else IntegerFormat.holding(int(integers.min()), int(integers.max()))
    return Constant(name, integers, steps, format)


def _clip(reader: QdqReader, node: OnnxNode) -> None:
    value = reader.values.get(node.inputs[0])
    if not isinstance(value, Stored):
        RULES["Clip"](reader, node)
        return
    format = reader.builder.formats[value.tensor]
    low, high = (int(reader.constant(node, i)) if node.has(i) else end for i, end in ((1, format.min), (2, format.max)))
    low, high = max(low, format.min), min(high, format.max)
    if (low, high) != (format.min, format.max):
        clamp = made(Clamp, input_format=format, low=low, high=high)
        meaning = reader.builder.quantisations[value.tensor]
        value = Stored(reader.emit(node.name, clamp, [value.tensor], plain_name(node.outputs[0]), meaning))
    reader.values[node.outputs[0]] = value


def _cast(reader: QdqReader, node: OnnxNode) -> None:
    value = reader.values.get(node.inputs[0])
    if isinstance(value, Stored):
        reader.values[node.outputs[0]] = Index(value.tensor)
    else:
        raise CannotRead("it changes the type of what is no integer tensor")


def _gather(reader: QdqReader, node: OnnxNode) -> None:
    value, table = reader.values.get(node.inputs[1]), reader.constant(node, 0)
    if not isinstance(value, Index) or table.ndim != 1 or node.attributes.get("axis", 0):
        raise CannotRead("it is no table of an integer tensor")
    source = reader.builder.formats[value.tensor]
    wide = node.outputs[0]
    format = reader._clipped_format(wide, IntegerFormat.of(table.dtype.name))
    clip = next((n.outputs[0] for n in reader.model.nodes if n.kind == "Clip" and wide in n.inputs), wide)
    lookup = made(Lookup, table=np.roll(table, -source.min), input_format=source, output_format=format)
    meaning = reader.quantisation_of_input(clip, format)
    reader.stored(node, reader.emit(node.name, lookup, [value.tensor], plain_name(clip), meaning))


QdqReader.rules = {
    **RULES,
    "Cast": _cast,  # type: ignore[dict-item]
    "Clip": _clip,  # type: ignore[dict-item]
    "DequantizeLinear": _dequantise,  # type: ignore[dict-item]
    "Gather": _gather,  # type: ignore[dict-item]
    "QuantizeLinear": _quantise,  # type: ignore[dict-item]
}


def stored_quantisations(model: Any) -> dict[str, Quantisation]:
    """Return what the integers of a QDQ file's stored tensors stand for, by the tensors' own names, whatever is between.

    Raises:
        BadFile, UnsupportedModel: the file cannot be opened, or a quantiser cannot be read.
    """
    reader = QdqReader(opened_model(model), ReadOptions())
    found = {}
    for node in reader.model.nodes:
        if node.kind == "QuantizeLinear" and node.inputs[0] not in reader.known:
            try:
                format = reader._clipped_format(node.outputs[0], reader.storage(node))
                target = reader.target(node, format)
            except CannotRead as reason:
                raise UnsupportedModel([f"node {node.name!r} ({node.kind}): {reason}"], "Export it again") from None
            clip = (n.outputs[0] for n in reader.model.nodes if n.kind == "Clip" and n.inputs[0] == node.outputs[0])
            found[plain_name(next(clip, node.outputs[0]))] = target
    scales = noted_scales(reader.model.proto)
    return {name: replace(steps, scales=(scales[name],)) if name in scales else steps for name, steps in found.items()}
