"""Walks the nodes of an ONNX graph and makes a `Network` of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from silicut.graph.edit import drop_dead
from silicut.graph.from_onnx.folding import Batches, CannotRead, Known, evaluated
from silicut.graph.from_onnx.opened import OnnxNode, OpenedModel
from silicut.graph.module import run_operator
from silicut.graph.network import DEVICE, Network, Operator, Ref, Tensor
from silicut.graph.normal_form import normal_form, symbolic
from silicut.records import UnsupportedModel

Rule = Callable[["Reader", OnnxNode], Any]
_TWO_BATCHES = (5, 7)
TRANSPOSED, FLAT = "transposed", "flat"


@dataclass(frozen=True)
class Use:
    """One input of one node that is read as a parameter.

    Attributes:
        node: the node's name.
        index: which of its inputs.
        parameter: the parameter's name in the network.
        layout: "" as in the file, `TRANSPOSED` for a matrix, `FLAT` for a vector with axes of size 1.
    """

    node: str
    index: int
    parameter: str
    layout: str


class Reader:
    """Reads one graph; rules (`silicut.graph.from_onnx.table`) call its methods.

    Attributes:
        tensors: type of every activation by name.
        parameters: arrays by name, as the operators read them.
        known: the values of constants and shapes, by tensor name.
        uses: where parameters come from.
        owners: the node of each operator.
        freed_batch: the batch size that the file has fixed, where `shapes` leaves it free all the same.
    """

    def __init__(self, model: OpenedModel, shapes: Mapping[str, tuple[int, ...]], freed_batch: int | None = None) -> None:
        is_free = any(shape and shape[0] < 0 for shape in shapes.values())
        fixed = next((shape[0] for shape in shapes.values() if shape), 1)
        self.batches = Batches(_TWO_BATCHES if is_free else (fixed, fixed))
        self.freed_batch = freed_batch
        self.tensors = {name: Tensor(shape, model.input_types[name]) for name, shape in shapes.items()}
        self.parameters: dict[str, np.ndarray] = {}
        self.known = {name: Known.of(array) for name, array in model.initializers.items()}
        self.uses: list[Use] = []
        self.owners: dict[str, str] = {}
        self._model = model
        self._layouts: dict[str, str] = {}
        self._operators: list[Operator] = []
        self._trainable: set[str] = set()
        self._outputs: list[str] = []
        read = [name for node in model.nodes for name in node.inputs]
        self._read_names = {*read, *model.outputs}
        self._values = tuple(
            {name: _meta(tensor.sizes(batch), tensor.dtype) for name, tensor in self.tensors.items()}
            for batch in self.batches.sizes
        )

    def read(self, rules: Mapping[str, Rule]) -> list[str]:
        """Read all nodes; return one sentence for each that cannot be read."""
        offenders = []
        for node in self._model.nodes:
            try:
                self._read_node(node, rules)
            except CannotRead as reason:
                why = f": {reason}" if str(reason) else ""
                offenders.append(f"node {node.name!r} ({node.kind}){why}")
                for output in filter(None, node.outputs):
                    self.tensors.setdefault(output, _UNREAD)
        if not offenders:
            self._outputs = [self._output(name) for name in self._model.outputs]
        return offenders

    def _read_node(self, node: OnnxNode, rules: Mapping[str, Rule]) -> None:
        if any(self.tensors.get(name) is _UNREAD for name in node.inputs):
            if node.kind not in rules:
                raise CannotRead
            for output in filter(None, node.outputs):  # behind an offender; its own kind is known
                self.tensors[output] = _UNREAD
            return
        known = self._shape_of(node) or evaluated(node, [self.known.get(name) for name in node.inputs])
        if known is not None:
            self.known.update({name: value for name, value in zip(node.outputs, known, strict=False) if name})
        elif node.kind in rules:
            rules[node.kind](self, node)
        else:
            raise CannotRead

    def _shape_of(self, node: OnnxNode) -> list[Known] | None:
        """Return the result of Shape or Size of an activation."""
        if node.kind not in ("Shape", "Size") or node.inputs[0] not in self.tensors:
            return None
        shapes = [self.tensors[node.inputs[0]].sizes(batch) for batch in self.batches.sizes]
        window = slice(node.attributes.get("start", 0), node.attributes.get("end"))
        if node.kind == "Size":
            a, b = (np.array(np.prod(shape), np.int64) for shape in shapes)
        else:
            a, b = (np.array(shape[window], np.int64) for shape in shapes)
        return [Known((a, b))]

    def _output(self, name: str) -> str:
        """Return the tensor of an output, which may be a constant or an input."""
        if name in self.tensors:
            return name
        raise UnsupportedModel([f"output {name!r} is a constant"], "Outputs must depend on the network's inputs")

    def network(self) -> Network:
        """Return what was read, without what no output depends on."""
        structure = "tensor" if len(self._outputs) == 1 else "tuple"
        trained = {use.parameter for use in self.uses} & self._trainable
        network = Network(
            inputs=tuple(self._model.input_shapes),
            outputs=tuple(self._outputs),
            output_structure=structure,
            tensors=self.tensors,
            operators=tuple(self._operators),
            parameters=self.parameters,
            trainable=frozenset(trained),
            file=self._model.path,
        )
        return drop_dead(network)

    # What rules ask for.

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, known or not; -k stands for k times the batch."""
        if name in self.tensors:
            return self.tensors[name].shape
        return self.batches.shape(*(value.shape for value in self.known[name].values))

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the type of a tensor."""
        return np.dtype(self.tensors[name].dtype) if name in self.tensors else self.known[name].values[0].dtype

    def integers(self, node: OnnxNode, index: int) -> tuple[int | str, ...]:
        """Return an input that must be known whole numbers, each of which may be a multiple of the batch."""
        return self.batches.argument(self._known(node, index))

    def sizes(self, node: OnnxNode, index: int) -> tuple[list[int], list[int]]:
        """Return known whole numbers at each of the two batch sizes."""
        a, b = (value.ravel().astype(int).tolist() for value in self._known(node, index).values)
        return a, b

    def _known(self, node: OnnxNode, index: int) -> Known:
        if node.inputs[index] not in self.known:
            raise CannotRead(f"its input {node.inputs[index]!r} depends on the network's inputs")
        return self.known[node.inputs[index]]

    def constant(self, node: OnnxNode, index: int) -> np.ndarray:
        """Return an input that must be a constant."""
        known = self._known(node, index)
        if not known.is_constant:
            raise CannotRead(f"its input {node.inputs[index]!r} depends on the batch size")
        return known.values[0]

    def is_constant(self, node: OnnxNode, index: int) -> bool:
        """Return whether an input is given and constant."""
        return node.has(index) and node.inputs[index] in self.known and self.known[node.inputs[index]].is_constant

    def number(self, node: OnnxNode, index: int) -> float | int:
        """Return an input that must be one constant number."""
        array = self.constant(node, index)
        if array.size != 1:
            raise CannotRead(f"its input {node.inputs[index]!r} must be one number, not {array.size}")
        return array.item()  # type: ignore[no-any-return]

    def is_number(self, node: OnnxNode, index: int) -> bool:
        """Return whether an input is one constant number without axes."""
        is_scalar = self.is_constant(node, index) and self.constant(node, index).ndim == 0
        return is_scalar and self.dtype(node.inputs[index]).kind in "fiu"

    def operand(self, node: OnnxNode, index: int) -> Ref | float | int:
        """Return an input as a number where it is one, else a reference."""
        return self.number(node, index) if self.is_number(node, index) else self.tensor(node, index)

    def tensor(self, node: OnnxNode, index: int = 0) -> Ref:
        """Return a reference to an input: an activation, or a constant made a parameter."""
        name = node.inputs[index]
        return Ref(name) if name in self.tensors else self.parameter(node, index)

    def parameter(self, node: OnnxNode, index: int, layout: str = "", name: str = "") -> Ref:
        """Return a reference to a constant input as a parameter, in the layout that an operator wants.

        Args:
            node: the node.
            index: which of its inputs.
            layout: "", `TRANSPOSED` or `FLAT`.
            name: the parameter's name; the input's by default.
        """
        array, name = self.constant(node, index), name or node.inputs[index]
        if array.dtype.kind not in "fbiu" or array.dtype.name not in _TYPES:
            raise CannotRead(f"its input {node.inputs[index]!r} is of type {array.dtype}")
        if self._layouts.setdefault(name, layout) != layout:
            raise CannotRead(f"its input {node.inputs[index]!r} is read by other nodes in another layout")
        if name not in self.parameters:  # a copy, since what ONNX gives cannot be written to
            self.parameters[name] = np.array({TRANSPOSED: array.T, FLAT: array.reshape(-1)}.get(layout, array), order="C")
        self.uses.append(Use(node.name, index, name, layout))
        for values in self._values:
            values[name] = _meta(self.parameters[name].shape, self.parameters[name].dtype.name)
        return Ref(name)

    def weight(self, node: OnnxNode, index: int, layout: str = "") -> Ref | None:
        """Return a weight: a trainable parameter, or an activation where it is computed; None where it is left out."""
        if not node.has(index):
            return None
        if node.inputs[index] in self.tensors:
            return Ref(node.inputs[index])
        reference = self.parameter(node, index, layout)
        if self.parameters[reference.name].dtype.kind == "f":
            self._trainable.add(reference.name)
        return reference

    def has_layout(self, node: OnnxNode, index: int, layout: str) -> bool:
        """Return whether a constant input may be read in a layout: nobody reads it in another."""
        return self._layouts.get(node.inputs[index], layout) == layout

    def own_constant(self, node: OnnxNode, part: str, array: np.ndarray) -> Ref:
        """Return a reference to a constant that the file does not have."""
        name = f"{node.name}/{part}"
        self.parameters[name] = array
        for values in self._values:
            values[name] = _meta(array.shape, array.dtype.name)
        return Ref(name)

    def is_made_by(self, name: str, kind: str) -> bool:
        """Return whether a tensor was made by an operator of a kind."""
        return any(operator.kind == kind and name in operator.outputs for operator in reversed(self._operators))

    def needs(self, node: OnnxNode, n_outputs: int) -> None:
        """Refuse a node of whose outputs more are read than the first ones."""
        if any(name in self._read_names for name in node.outputs[n_outputs:] if name):
            raise CannotRead("its further outputs are read")

    def emit(self, node: OnnxNode, target: str, arguments: Mapping[str, Any], part: str = "") -> Ref:
        """Append an operator and return its output: the node's first one, or an intermediate step where `part` names it.

        Arguments that are left out have the defaults of the operator's schema.
        """
        output = f"{node.name}/{part}" if part else node.outputs[0]
        return self._emit(node, target, arguments, part, (output,))[0]

    def emit_many(self, node: OnnxNode, target: str, arguments: Mapping[str, Any]) -> None:
        """Append an operator that makes all of a node's outputs."""
        outputs = tuple(name or f"{node.name}:{i}" for i, name in enumerate(node.outputs))
        self._emit(node, target, arguments, "", outputs)

    def _emit(
        self, node: OnnxNode, target: str, arguments: Mapping[str, Any], part: str, outputs: tuple[str, ...]
    ) -> list[Ref]:
        name = f"{node.name}/{part}" if part else node.name
        operator = Operator(name, target, _complete(target, arguments), outputs)
        try:
            for values, batch in zip(self._values, self.batches.sizes, strict=True):
                run_operator(operator, values, batch)
        except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CannotRead(f"PyTorch's {operator.kind} does not take it ({reason})") from error
        for output in outputs:
            a, b = (values[output] for values in self._values)
            self.tensors[output] = Tensor(self.batches.shape(a.shape, b.shape), str(a.dtype).removeprefix("torch."))
        self._operators.append(normal_form(operator, self.tensors))
        self.owners[name] = node.name
        return [Ref(output) for output in outputs]

    def argument(self, first: Sequence[int], second: Sequence[int]) -> tuple[int | str, ...]:
        """Return a shape, given at both batch sizes, as an operator's argument."""
        return symbolic(self.batches.shape(first, second))


_UNREAD = Tensor((), "")
_TYPES = ("float16", "float32", "float64", "bool", "uint8", "int8", "int16", "int32", "int64")


def _meta(shape: Sequence[int], dtype: str) -> torch.Tensor:
    return torch.empty(tuple(shape), dtype=getattr(torch, dtype), device="meta")


def _complete(target: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of an operator, as capture from PyTorch writes them."""
    namespace, kind, overload = target.split(".")
    schema = getattr(getattr(getattr(torch.ops, namespace), kind), overload)._schema.arguments
    unknown = arguments.keys() - {argument.name for argument in schema}
    assert not unknown, f"{target} has no argument {unknown}"
    return {a.name: _plain(arguments.get(a.name, a.default_value)) for a in schema}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    if value is None or isinstance(value, bool | int | float | str | Ref):
        return value
    return DEVICE if isinstance(value, torch.device) else str(value)
