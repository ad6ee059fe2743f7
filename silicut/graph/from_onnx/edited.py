"""An ONNX graph under edit: new values for inputs of nodes, renamed inputs, dead nodes dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from silicut.graph.from_onnx.folding import Known
from silicut.graph.from_onnx.opened import OpenedModel
from silicut.graph.network import Network


class EditedGraph:
    """Collects edits of a model's graph; `finished` returns the edited copy.

    Args:
        model: what is edited; it stays as it is.
        known: the values of its constants, by name of the tensor.
    """

    def __init__(self, model: OpenedModel, known: Mapping[str, Known]) -> None:
        import onnx

        self._known = known

        self._proto = onnx.ModelProto()
        self._proto.CopyFrom(model.proto)
        self._graph = self._proto.graph
        self._nodes = dict(zip((node.name for node in model.nodes), self._graph.node, strict=True))
        self._renamed: dict[str, str] = {}
        self._wanted: dict[tuple[str, int], np.ndarray] = {}
        self._used_before = {name for node in self._graph.node for name in node.input}

    def set_input(self, node: str, index: int, array: np.ndarray) -> None:
        """Let an input of a node be this constant."""
        self._wanted[node, index] = array

    def add_input(self, node: str, index: int, name: str, array: np.ndarray) -> None:
        """Give a node an input that it did not have."""
        inputs = self._nodes[node].input
        inputs.extend([""] * (index + 1 - len(inputs)))
        inputs[index] = self._fresh(name)
        self._add_initializer(inputs[index], array)

    def set_attribute(self, node: str, name: str, value: Any) -> None:
        """Set or, with None, remove an attribute of a node."""
        from onnx import helper

        attributes = self._nodes[node].attribute
        kept = [attribute for attribute in attributes if attribute.name != name]
        del attributes[:]
        attributes.extend(kept)
        if value is not None:
            attributes.append(helper.make_attribute(name, value))

    def rename_input(self, node: str, was: str, now: str) -> None:
        """Let a node read another tensor."""
        self._renamed[was] = now
        _replace(self._nodes[node].input, was, now)

    def finished(self, network: Network) -> Any:
        """Return the model with all edits, without what is dead, its declared shapes those of the network."""
        self._end_at(network)
        self._rename_shape_readers(network)
        self._drop_dead()
        self._write_values()
        self._drop_dead()
        self._declare_shapes(network)
        return self._proto

    def _end_at(self, network: Network) -> None:
        """Give outputs whose block was removed their name by a node that copies."""
        from onnx import helper

        for value, name in zip(self._graph.output, network.outputs, strict=True):
            if value.name != name:
                for node in self._graph.node:
                    _replace(node.output, value.name, f"{value.name}:removed")
                self._graph.node.append(helper.make_node("Identity", [name], [value.name], name=f"{value.name}:identity"))

    def _rename_shape_readers(self, network: Network) -> None:
        """Let nodes that only look at the shape of a removed tensor look at what took its place."""
        for node in self._graph.node:
            if not any(output in network.tensors for output in node.output):
                for was, now in self._renamed.items():
                    _replace(node.input, was, now)

    def _write_values(self) -> None:
        """Write constants in place where all their readers agree, else beside the old ones."""
        readers: dict[str, list[tuple[str, int]]] = {}
        live = {id(node) for node in self._graph.node}
        for name, node in self._nodes.items():
            if id(node) in live:
                for index, tensor in enumerate(node.input):
                    readers.setdefault(tensor, []).append((name, index))
        for tensor, places in readers.items():
            wanted = {place: self._wanted[place] for place in places if place in self._wanted}
            if not wanted:
                continue
            first = next(iter(wanted.values()))
            if len(wanted) == len(places) and all(_is_equal(first, array) for array in wanted.values()):
                self._write_in_place(tensor, first)
            else:
                self._write_beside(tensor, wanted)

    def _write_in_place(self, tensor: str, array: np.ndarray) -> None:
        if self._is_known_as(tensor, array):
            return
        for initializer in self._graph.initializer:
            if initializer.name == tensor:
                initializer.CopyFrom(_tensor(tensor, array))
                return
        maker = next(node for node in self._graph.node if tensor in node.output)
        _replace(maker.output, tensor, f"{tensor}:replaced")
        self._add_initializer(tensor, array)

    def _write_beside(self, tensor: str, wanted: dict[tuple[str, int], np.ndarray]) -> None:
        """Give readers that want other values than a tensor has an initialiser of their own; equal ones share it."""
        made: list[tuple[str, np.ndarray]] = []
        for (node, index), array in wanted.items():
            if self._is_known_as(tensor, array):
                continue
            name = next((name for name, other in made if _is_equal(other, array)), None)
            if name is None:
                name = self._fresh(f"{node}/{tensor}")
                self._add_initializer(name, array)
                made.append((name, array))
            self._nodes[node].input[index] = name

    def _is_known_as(self, tensor: str, array: np.ndarray) -> bool:
        return self._known[tensor].is_constant and _is_equal(self._known[tensor].values[0], array)

    def _add_initializer(self, name: str, array: np.ndarray) -> None:
        self._graph.initializer.append(_tensor(name, array))

    def _fresh(self, name: str) -> str:
        taken = {output for node in self._graph.node for output in node.output}
        taken |= {i.name for i in self._graph.initializer} | {i.name for i in self._graph.input}
        while name in taken:
            name += "_"
        return name

    def _drop_dead(self) -> None:
        """Drop nodes that no output depends on, and initialisers that lost their readers."""
        live = {value.name for value in self._graph.output}
        kept = []
        for node in reversed(self._graph.node):
            if live.intersection(node.output):
                live.update(node.input)
                kept.append(node)
        if len(kept) < len(self._graph.node):
            dead = {id(node) for node in self._graph.node} - {id(node) for node in kept}
            for i in reversed(range(len(self._graph.node))):
                if id(self._graph.node[i]) in dead:
                    del self._graph.node[i]
        unread = self._used_before - live
        for values in (self._graph.initializer, self._graph.sparse_initializer):
            for i in reversed(range(len(values))):
                if getattr(values[i], "name", "") in unread:
                    del values[i]

    def _declare_shapes(self, network: Network) -> None:
        """Bring declared shapes up to date: of tensors, and of initialisers that are listed as inputs."""
        made = {output for node in self._graph.node for output in node.output} | {i.name for i in self._graph.initializer}
        for i in reversed(range(len(self._graph.value_info))):
            if self._graph.value_info[i].name not in made:
                del self._graph.value_info[i]
        shapes = {name: tensor.shape for name, tensor in network.tensors.items()}
        shapes |= {i.name: tuple(i.dims) for i in self._graph.initializer}
        for value in (*self._graph.value_info, *self._graph.input):
            for axis, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
                if axis.HasField("dim_value") and size > 0:
                    axis.dim_value = size


def _replace(names: Any, was: str, now: str) -> None:
    for i, name in enumerate(names):
        if name == was:
            names[i] = now


def _tensor(name: str, array: np.ndarray) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(
        np.ascontiguousarray(array).reshape(array.shape), name
    )  # the former gives scalars an axis


def _is_equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=b.dtype.kind == "f")
