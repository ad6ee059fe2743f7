"""Collects the nodes and initialisers of an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from silicut.graph.network import BATCH, Network, Operator, Ref


class CannotWrite(Exception):
    """A rule met an operator that ONNX cannot express, for this reason."""


class OnnxNodes:
    """Collects the nodes and initialisers of one graph; rules (`silicut.graph.onnx_rules`) call its methods.

    Attributes:
        network: what is written.
        batch: the batch size written into the graph, or None where it stays free.
        initializers: constants and parameters by name.
        nodes: in order of execution.
    """

    def __init__(self, network: Network, batch: int | None) -> None:
        self.network, self.batch = network, batch
        self.initializers: dict[str, np.ndarray] = {}
        self.nodes: list[Any] = []

    def add(self, kind: str, operator: Operator, inputs: Sequence[str], *, part: str = "", **attributes: Any) -> str:
        """Append a node; `part` names an intermediate step of an operator written as several nodes."""
        name = f"{operator.name}/{part}" if part else operator.name
        output = name if part else operator.outputs[0]
        self._append(kind, inputs, [output], name, attributes)
        return output

    def add_many(self, kind: str, operator: Operator, inputs: Sequence[str], **attributes: Any) -> None:
        """Append a node that makes all outputs of an operator."""
        self._append(kind, inputs, operator.outputs, operator.name, attributes)

    def add_output(self, kind: str, output: str, inputs: Sequence[str], **attributes: Any) -> None:
        """Append a node that makes one of an operator's several outputs."""
        self._append(kind, inputs, [output], output, attributes)

    def add_parts(
        self, kind: str, operator: Operator, inputs: Sequence[str], parts: Sequence[str], **attributes: Any
    ) -> list[str]:
        """Append a node that makes several intermediate results; return their names."""
        outputs = [f"{operator.name}/{part}" for part in parts]
        self._append(kind, inputs, outputs, outputs[0], attributes)
        return outputs

    def rename(self, tensor: str, output: str) -> None:
        """Append a node that gives a tensor a second name."""
        self._append("Identity", [tensor], [output], output, {})

    def _append(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], name: str, attributes: dict[str, Any]
    ) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), name=name, **attributes))

    def input(self, operator: Operator, argument: str) -> str:
        """Return the ONNX name of an argument: a tensor, a parameter, or a number made into a constant."""
        value = operator.arguments[argument]
        return self.read(value.name) if isinstance(value, Ref) else self.number(operator, argument, value)

    def read(self, name: str) -> str:
        """Return the ONNX name of a tensor or parameter."""
        if name in self.network.parameters:
            self.initializers[name] = self.network.parameters[name]
        return name

    def main(self, operator: Operator) -> str:
        """Return the tensor that a one-input operator reads."""
        return self.input(operator, "input" if "input" in operator.arguments else "self")

    def constant(self, operator: Operator, name: str, array: np.ndarray | np.generic) -> str:
        """Add a constant and return its name."""
        full = f"{operator.name}/{name}"
        self.initializers[full] = np.asarray(array)
        return full

    def number(self, operator: Operator, name: str, value: float) -> str:
        """Add a number in the type of the operator's output and return its name."""
        return self.constant(operator, name, np.asarray(value, self.network.tensors[operator.outputs[0]].dtype))

    def size(self, value: Any) -> int:
        """Return a size that an argument gives, which must be known."""
        if isinstance(value, str):
            if self.batch is None:
                raise CannotWrite("it needs the batch size; write the model for one batch size")
            return self.batch * int(value.removeprefix(BATCH).removeprefix("*") or 1)
        return int(value)

    def batch_size(self, operator: Operator, size: str) -> str:
        """Append what reads a multiple of the batch size ("batch*k") off an input; return the name of its one number."""
        source = next(name for name in self.network.inputs if self.shape(name)[:1] == (-1,))
        read = self.add("Shape", operator, [source], part="batch", start=0, end=1)
        multiple = self.constant(operator, "multiple", np.array([int(size.partition("*")[2] or 1)], np.int64))
        return self.add("Mul", operator, [read, multiple], part="batch_size")

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the declared shape of a tensor or parameter; negative sizes are multiples of the batch."""
        if name in self.network.parameters:
            return self.network.parameters[name].shape
        return self.network.tensors[name].shape

    def dtype(self, name: str) -> str:
        """Return the number type of a tensor or parameter."""
        if name in self.network.parameters:
            return str(self.network.parameters[name].dtype)
        return self.network.tensors[name].dtype

    def onnx_type(self, name: str) -> int:
        """Return ONNX's number for the number type of a tensor."""
        from onnx import helper

        return int(helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype(name))))

    def four_axes(self, operator: Operator) -> None:
        """Refuse an operator whose main input is no batch of images."""
        if self.n_axes(operator) != 4:
            raise CannotWrite("its input has no batch axis")

    def n_axes(self, operator: Operator) -> int:
        """Return the number of axes of an operator's main input."""
        return len(self.shape(self.main(operator)))
