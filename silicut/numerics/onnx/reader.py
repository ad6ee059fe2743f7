"""Reads quantised ONNX graphs into integer networks: the walk over the nodes, and what rules ask for.

Float tensors between quantisers are views of integers: a layer's result is its accumulators at input scale x weight scale.
A quantiser behind a view of other scales is a requantiser. Whatever the integers cannot do exactly is refused, all at once.
"""

from __future__ import annotations

import math
from abc import ABC
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from silicut.graph.from_onnx.folding import Batches, CannotRead, Known, evaluated
from silicut.graph.from_onnx.opened import OnnxNode, OpenedModel, known_shapes, open_model, opened
from silicut.numerics.formats import IntegerFormat, Integers
from silicut.numerics.onnx.builder import Builder, Shape, made, output_shape
from silicut.numerics.onnx.rules import Rule
from silicut.numerics.onnx.scales import noted_scales, with_scales
from silicut.numerics.onnx.steps import FORMATS, ORIGINS, Steps, plain_name, read_notes
from silicut.numerics.onnx.values import Applied, Constant, FloatInput, Index, Joined, Stored, Sum, Value, View
from silicut.numerics.operators import ACCUMULATOR, Clamp, Concatenate, IntegerOperator, Linear
from silicut.numerics.quantisation import Quantisation
from silicut.numerics.quantised import QuantisedNetwork
from silicut.records import AccumulatorTooNarrow, BadFile, ConfigError, UnsupportedModel

_ON_GRID = 1e-3
"""How far from a whole number of steps a bound or bias may lie: float32 products of scales differ by some 1e-7 of it."""
_SCALE_TOLERANCE = 1e-5
"""How far, relatively, the scale of a bias may be from that of its accumulators to be the same one."""
_ADVICE = "Files are read only where integers can do exactly what they say"


@dataclass(frozen=True)
class ReadOptions:
    """How a file is read.

    Attributes:
        multiplier_bits: width of the multipliers that factors are encoded with; 16 gives back those of files written here.
        is_exact: refuse biases off the accumulators' grid, and QONNX zero points that change how halves round; else biases
            are rounded to the grid and halves as the file's mode does without a zero point.
    """

    multiplier_bits: int = 16
    is_exact: bool = True


class QuantisedReader(ABC):
    """Reads one graph; rules (`silicut.numerics.onnx.rules`) call its methods.

    Attributes:
        builder: the integer network so far.
        values: what each tensor of the file stands for.
        known: constants and shapes by tensor name.
        options: how it is read.
    """

    rules: dict[str, Rule]

    def __init__(self, model: OpenedModel, options: ReadOptions) -> None:
        self.model, self.options, self.builder = model, options, Builder()
        self.values: dict[str, Value] = {}
        self.known = {name: Known.of(array) for name, array in model.initializers.items()}
        self._shapes = known_shapes(model, {})
        self._notes = read_notes(model.proto, FORMATS) or {}
        self.readers = Counter(name for node in model.nodes for name in node.inputs if name)
        self._unread: set[str] = set()
        is_free = any(shape and shape[0] < 0 for shape in self._shapes.values())
        self._batches = Batches((5, 7) if is_free else (next(iter(self._shapes.values()))[0],) * 2)
        for name in model.input_shapes:
            self._input(name)

    def read(self) -> QuantisedNetwork:
        """Return the integer network.

        Raises:
            UnsupportedModel: some nodes have no equal in integers; all are listed.
        """
        offenders = [line for node in self.model.nodes for line in self._offence(node)]
        outputs = [] if offenders else [self._output(name, offenders) for name in self.model.outputs]
        if offenders:
            raise UnsupportedModel(offenders, _ADVICE)
        quantised = self.builder.quantised(outputs, read_notes(self.model.proto, ORIGINS))
        return with_scales(quantised, noted_scales(self.model.proto))

    def _offence(self, node: OnnxNode) -> list[str]:
        """Read a node; return the sentence that says why it cannot be read, unless one before it is the cause."""
        if any(name in self._unread for name in node.inputs) and node.kind in self.rules:
            self._unread.update(node.outputs)
            return []
        try:
            self._read_node(node)
        except CannotRead as reason:
            self._unread.update(node.outputs)
            return [f"node {node.name!r} ({node.kind}): {reason}" if str(reason) else f"node {node.name!r} ({node.kind})"]
        return []

    def _read_node(self, node: OnnxNode) -> None:
        if self._is_shape(node):
            return
        known = evaluated(node, [self.known.get(name) for name in node.inputs]) if self._can_evaluate(node) else None
        if known is not None:
            self.known.update({name: value for name, value in zip(node.outputs, known, strict=False) if name})
        elif node.kind in self.rules:
            self.rules[node.kind](self, node)
        else:
            raise CannotRead("it has no equal in integers")

    def _can_evaluate(self, node: OnnxNode) -> bool:
        """Tell whether a node's constants may be computed: all but those that state a quantisation."""
        return True

    def _is_shape(self, node: OnnxNode) -> bool:
        if node.kind != "Shape" or node.inputs[0] not in self.values:
            return False
        shape = self.shape(node, 0)
        pair = [np.array([-s * batch if s < 0 else s for s in shape], np.int64) for batch in self._batches.sizes]
        window = slice(node.attributes.get("start", 0), node.attributes.get("end"))
        self.known[node.outputs[0]] = Known((pair[0][window], pair[1][window]))
        return True

    def _input(self, name: str) -> None:
        if self.model.input_types[name].startswith("float"):
            self.values[name] = FloatInput(name)
            return
        format = IntegerFormat.of(self.model.input_types[name])
        quantisation = self.quantisation_of_input(name, format)
        self.values[name] = Stored(self.builder.input(name, self._shapes[name], quantisation))

    def quantisation_of_input(self, name: str, format: IntegerFormat) -> Quantisation:
        """Return what the integers of an input stand for."""
        return Quantisation.per_tensor(format, 1.0)

    def _output(self, name: str, offenders: list[str]) -> str:
        value = self.values.get(name)
        try:
            if isinstance(value, Stored):
                return value.tensor
            if isinstance(value, View):
                view = self.settle(value, name)
                self.builder.quantisations[view.tensor] = self.meaning(view)
                return view.tensor
        except CannotRead as reason:
            offenders.append(f"output {name!r}: {reason}")
            return ""
        offenders.append(f"output {name!r} is not quantised")
        return ""

    # What rules ask for.

    def is_constant(self, node: OnnxNode, index: int) -> bool:
        """Tell whether an input is a constant, in float or quantised."""
        if not node.has(index):
            return False
        name = node.inputs[index]
        return name in self.known or isinstance(self.values.get(name), Constant)

    def constant(self, node: OnnxNode, index: int) -> np.ndarray:
        """Return a constant input; of a quantised one what it stands for."""
        name = node.inputs[index]
        value = self.values.get(name)
        if isinstance(value, Constant):
            return np.asarray(value.integers * value.steps.along(value.integers.ndim))
        if name not in self.known or not self.known[name].is_constant:
            raise CannotRead(f"its input {name!r} is no constant")
        return self.known[name].values[0]

    def weight(self, node: OnnxNode, index: int) -> Constant:
        """Return a quantised constant."""
        value = self.values.get(node.inputs[index])
        if not isinstance(value, Constant):
            raise CannotRead(f"its input {node.inputs[index]!r} is no quantised constant")
        return value

    def pending(self, node: OnnxNode, index: int = 0) -> View | Sum | Joined | Applied:
        """Return a float tensor that stands for integers, or will once it is quantised."""
        value = self.values.get(node.inputs[index])
        if isinstance(value, View | Sum | Joined | Applied):
            return value
        raise CannotRead(f"it reads {node.inputs[index]!r}, which is not quantised")

    def view(self, node: OnnxNode, index: int = 0) -> View:
        """Return a float tensor that stands for integers of the network."""
        value = self.pending(node, index)
        if isinstance(value, Joined):
            return self._joined_view(value, node.inputs[index])
        if isinstance(value, View):
            return value
        raise CannotRead(f"it reads {node.inputs[index]!r}, which is not quantised behind the operator that makes it")

    def settled(self, node: OnnxNode, index: int = 0) -> View:
        """Return a view without bounds: integers are clamped where there are any."""
        return self.settle(self.view(node, index), node.inputs[index])

    def settle(self, view: View, name: str) -> View:
        """Return a view without bounds, its integers clamped."""
        if not view.is_limited:
            return view
        format = self.builder.formats[view.tensor]
        low = format.min if view.low == -math.inf else self.on_grid(view, view.low)
        high = format.max if view.high == math.inf else self.on_grid(view, view.high)
        low, high = (min(max(end, format.min), format.max) for end in (low, high))
        plain = replace(view, low=-math.inf, high=math.inf)
        if (low, high) == (format.min, format.max):
            return plain
        clamp = made(Clamp, input_format=format, low=low, high=high)
        return replace(plain, tensor=self.emit(f"{name}/clamp", clamp, [view.tensor], f"{name}/clamped", self.meaning(view)))

    def on_grid(self, view: View, real: float) -> int:
        """Return the integer of a view that stands for a real number exactly."""
        if real == 0:
            return view.zero_point
        number = real / view.steps.values
        if np.ptp(number) or abs(number[0] - round(number[0])) > _ON_GRID:
            raise CannotRead(f"{real:g} is no multiple of the scale of what it limits or fills")
        return round(float(number[0])) + view.zero_point

    def _joined_view(self, joined: Joined, name: str) -> View:
        first = joined.parts[0]
        formats = tuple(self.builder.formats[part.tensor] for part in joined.parts)
        if not all(part.same(first) for part in joined.parts) or len(set(formats)) > 1 or not first.steps.is_one:
            raise CannotRead(f"it reads {name!r}, whose parts have different scales; quantise it behind the concatenation")
        concatenate = made(Concatenate, input_formats=formats, axis=joined.axis)
        tensor = self.emit(name, concatenate, [part.tensor for part in joined.parts], name, self.meaning(first))
        view = replace(first, tensor=tensor, low=joined.low, high=joined.high)
        self.values[name] = view
        return view

    def meaning(self, view: View) -> Quantisation:
        """Return what the integers of a view stand for."""
        format, steps = self.builder.formats[view.tensor], view.steps
        axis = None if steps.is_one else steps.axis
        return Quantisation(format, tuple(steps.values.tolist()), (view.zero_point,) * len(steps.values), axis)

    def shape(self, node: OnnxNode, index: int) -> Shape:
        """Return the shape of an input."""
        value = self.values.get(node.inputs[index])
        match value:
            case Stored() | View() | Index():
                return self.builder.shapes[value.tensor]
            case Applied():
                return self.builder.shapes[value.view.tensor]
            case Sum():
                shapes = [self.builder.shapes[v.tensor] for v in (value.a, value.b)]
                return max(shapes, key=lambda shape: math.prod(map(abs, shape)))
            case Joined():
                parts = [self.builder.shapes[part.tensor] for part in value.parts]
                length = sum(shape[value.axis] for shape in parts)
                return (*parts[0][: value.axis], length, *parts[0][value.axis + 1 :])
            case FloatInput():
                return self._shapes[value.name]
        raise CannotRead(f"the shape of its input {node.inputs[index]!r} is not known")

    def target_shape(self, node: OnnxNode) -> list[int]:
        """Return the shape that a Reshape asks for, with -1 for the batch as first axis."""
        known = self.known.get(node.inputs[1])
        if known is None:
            raise CannotRead(f"its input {node.inputs[1]!r} depends on the network's inputs")
        a, b = (value.ravel().tolist() for value in known.values)
        return [x if x == y else -1 for x, y in zip(a, b, strict=True)]

    def needs_one_output(self, node: OnnxNode) -> None:
        """Refuse a node of whose outputs more than the first are read."""
        if any(self.readers[name] for name in node.outputs[1:]):
            raise CannotRead("its further outputs are read")

    def bounds(self, node: OnnxNode) -> tuple[float, float]:
        """Return the ends of a Clip."""
        return (
            float(self.constant(node, 1)) if node.has(1) else float(node.attributes.get("min", -math.inf)),
            float(self.constant(node, 2)) if node.has(2) else float(node.attributes.get("max", math.inf)),
        )

    def format_of(self, name: str) -> IntegerFormat:
        """Return the format that the file notes for a tensor, else that of accumulators."""
        return self.noted(name) or ACCUMULATOR

    def noted(self, name: str) -> IntegerFormat | None:
        """Return the format that the file notes for a weight or tensor."""
        try:
            return IntegerFormat.of(self._notes[name]) if name in self._notes else None
        except ConfigError as error:
            raise CannotRead(f"the file's metadata names no format for {name!r}: {error}") from None

    # What rules do.

    def emit(
        self, name: str, operator: IntegerOperator, inputs: Sequence[str], output: str, quantisation: Quantisation
    ) -> str:
        """Append an integer operator and return its output."""
        return self.builder.emit(name, operator, inputs, output, quantisation)

    def emit_sums(self, node: OnnxNode, operator: IntegerOperator, inputs: Sequence[str], steps: Steps) -> None:
        """Append an operator that makes accumulators of a scale."""
        many = np.asarray(steps.values)
        meaning = Quantisation(
            operator.output_format, tuple(many.tolist()), (0,) * len(many), None if steps.is_one else steps.axis
        )
        tensor = self.emit(node.name, operator, inputs, self._sums_name(node.outputs[0]), meaning)
        self.values[node.outputs[0]] = View(tensor, steps)

    def _sums_name(self, name: str) -> str:
        taken = any(plain_name(output) == name for node in self.model.nodes for output in node.outputs if output != name)
        return f"{name}/sums" if taken else name

    def emit_layer(self, node: OnnxNode, weight: Constant, kind: Callable[..., Any], **attributes: Any) -> None:
        """Append a layer with its weights, and its bias where it is the third input."""
        view = self.settled(node, 0)
        if not view.steps.is_one:
            raise CannotRead(f"it reads {node.inputs[0]!r}, which has a scale for each channel")
        if not weight.steps.is_one and weight.steps.axis != 0:
            raise CannotRead("its weights' scales do not lie along its output channels")
        axis = 1 if kind is not Linear else len(self.builder.shapes[view.tensor]) - 1
        steps = Steps(weight.steps.values * view.steps.one, axis)
        bias = None
        if node.has(2):
            bias = self._bias(node, steps, len(weight.integers))
        layer = made(
            kind,
            weight=weight.integers,
            bias=bias,
            input_format=self.builder.formats[view.tensor],
            weight_format=weight.format,
            output_format=self.format_of(node.outputs[0]),
            input_zero_point=view.zero_point,
            **attributes,
        )
        self.emit_sums(node, layer, [view.tensor], steps)

    def _bias(self, node: OnnxNode, steps: Steps, n_channels: int) -> Integers:
        value = self.values.get(node.inputs[2])
        if isinstance(value, Constant) and np.allclose(value.steps.values, steps.values, rtol=_SCALE_TOLERANCE, atol=0):
            return value.integers.astype(np.int64)
        return self.on_sums_grid(self.constant(node, 2), steps, n_channels, node.inputs[2])

    def on_sums_grid(self, bias: np.ndarray, steps: Steps, n_channels: int, name: str) -> Integers:
        """Return a bias in integers on the scale of accumulators."""
        exact = np.broadcast_to(bias.astype(np.float64).ravel(), n_channels) / steps.values
        whole = np.rint(exact)
        tolerance = np.maximum(_ON_GRID, np.abs(whole) * 2.0**-21)
        if self.options.is_exact and (np.abs(exact - whole) > tolerance).any():
            raise CannotRead(f"its bias {name!r} is not on the scale of its accumulators; is_exact=False rounds it to them")
        return whole.astype(np.int64)

    def add_bias(self, node: OnnxNode, view: View, index: int) -> None:
        """Give a constant to the layer that made a view, as its bias."""
        layer, bias = self.builder.maker(view.tensor), self.constant(node, index)
        is_plain = not view.is_limited and self.builder.n_readers(view.tensor) == 0
        if not is_plain or getattr(layer, "bias", 0) is not None:
            raise CannotRead("it adds a constant to what no layer without a bias has just made")
        assert layer is not None
        n_channels = self.builder.shapes[view.tensor][1]
        if bias.size not in (1, n_channels) or (bias.size > 1 and bias.shape[::-1].index(n_channels) != self._behind(view)):
            raise CannotRead(f"its constant of shape {bias.shape} does not lie along the channels")
        numbers = self.on_sums_grid(bias, view.steps, n_channels, node.inputs[index])
        try:
            self.builder.replace_maker(view.tensor, bias=numbers)
        except AccumulatorTooNarrow as error:
            raise CannotRead(str(error)) from None
        self.values[node.outputs[0]] = view

    def _behind(self, view: View) -> int:
        return len(self.builder.shapes[view.tensor]) - 2

    def rescale(self, node: OnnxNode, index: int, factor: np.ndarray) -> None:
        """Multiply the scale of a view by a positive constant."""
        view = self.view(node, index)
        factors = factor.astype(np.float64).ravel()
        if factors.size > 1 and not np.ptp(factors):
            factors = factors[:1]
        if factors.min() <= 0 or factors.size not in (1, len(view.steps.values)):
            raise CannotRead("it multiplies by constants that are not positive, or not one for each channel")
        scaled = replace(view, steps=Steps(view.steps.values * factors, view.steps.axis))
        low, high = view.low * float(factors.max()), view.high * float(factors.max())
        self.values[node.outputs[0]] = replace(scaled, low=low, high=high)

    def move(self, node: OnnxNode, operator: Callable[[IntegerFormat], Any]) -> None:
        """Append an operator that keeps its operand's numbers; bounds and scales stay."""
        value = self.values.get(node.inputs[0])
        source = value if isinstance(value, Stored) else self.view(node, 0)
        moving = operator(self.builder.formats[source.tensor])
        steps = None if isinstance(source, Stored) else source.steps
        if steps is not None and not steps.is_one:
            self._check_channels(moving, source.tensor, steps)
        meaning = self.builder.quantisations[source.tensor] if isinstance(source, Stored) else self.meaning(source)
        tensor = self.emit(node.name, moving, [source.tensor], self._sums_name(node.outputs[0]), meaning)
        self.values[node.outputs[0]] = replace(source, tensor=tensor)

    def _check_channels(self, operator: IntegerOperator, tensor: str, steps: Steps) -> None:
        before = self.builder.shapes[tensor]
        after = output_shape(operator, [before])
        stays = operator.kind in ("max_pool2d", "reshape", "pad", "slice") and len(after) > steps.axis
        if not stays or before[: steps.axis + 1] != after[: steps.axis + 1]:
            raise CannotRead("it moves accumulators with a scale for each channel")


def opened_model(model: Any) -> OpenedModel:
    """Return a file, or a model that was read already, opened.

    Raises:
        BadFile, UnsupportedModel: as `silicut.graph.from_onnx.opened.open_model`.
    """
    if isinstance(model, str | Path):
        return open_model(model)
    if isinstance(model, bytes):
        import onnx

        try:
            model = onnx.load_model_from_string(model)
        except Exception as error:  # of the protobuf package, whose errors have no common base
            raise BadFile(f"the model is not a readable ONNX file ({type(error).__name__}); copy it again") from None
    return opened(model)
