"""ONNX models as engines need them: written from a network, every node named, inputs checked, and seen as a graph."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from silicut.records import BadFile, ConfigError, UnsupportedModel
from silicut.targets.device.turns import random_array

OnnxModel = bytes | Path
"""The bytes of an ONNX file, or its path."""


@dataclass(frozen=True)
class Input:
    """An input as an engine describes it.

    Attributes:
        name: of the tensor.
        shape: sizes, anything but an integer where they are free.
        dtype: its numpy type, None where there is none.
        type: its type in the engine's words.
    """

    name: str
    shape: tuple[Any, ...]
    dtype: Any
    type: str


def random_inputs(inputs: Iterable[Input], batch: int) -> dict[str, np.ndarray]:
    """Return one fixed array per input, the free first dimension set to the batch; see `random_array`.

    Raises:
        UnsupportedModel: an input has another free dimension, or is no tensor of numbers.
        ConfigError: the first dimension of an input is fixed to another batch.
    """
    arrays: dict[str, np.ndarray] = {}
    offenders: list[str] = []
    for input_ in inputs:
        shape = [batch if i == 0 and not isinstance(size, int) else size for i, size in enumerate(input_.shape)]
        offenders += [
            f"input {input_.name!r} has the free dimension {size!r} at axis {axis}"
            for axis, size in enumerate(shape)
            if not isinstance(size, int)
        ]
        if input_.dtype is None:
            offenders.append(f"input {input_.name!r} is a {input_.type}")
        if offenders:
            continue
        if len(shape) > 1 and shape[0] != batch:
            raise ConfigError(f"batch must be {shape[0]}, to which the model fixes {input_.name!r}, not {batch}")
        arrays[input_.name] = random_array(shape, input_.dtype)
    if offenders:
        raise UnsupportedModel(offenders, "Export tensors of numbers with every size fixed except the first (batch)")
    return arrays


def refused(model: OnnxModel, engine: str, error: Exception) -> BadFile:
    """Return the error of a model that an engine cannot run, with the last line of what the engine says."""
    source = "the model" if isinstance(model, bytes) else str(model)
    reason = ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1]
    return BadFile(f"{source} is not an ONNX model that {engine} can run ({reason}); export it again")


class OnnxGraph:
    """An ONNX file as a graph: nodes by unique name, who makes and who reads each tensor."""

    def __init__(self, model: OnnxModel) -> None:
        graph = _proto(model)[0].graph
        self.nodes = {node.name: node for node in graph.node}
        self.maker = {tensor: node.name for node in graph.node for tensor in node.output if tensor}
        self.readers: dict[str, list[str]] = defaultdict(list)
        for node in graph.node:
            for tensor in node.input:
                self.readers[tensor].append(node.name)

    def makers(self, name: str) -> Iterator[str]:
        """Yield the nodes that make the inputs of a node."""
        return (self.maker[tensor] for tensor in self.nodes[name].input if tensor in self.maker)


def with_unique_names(model: OnnxModel) -> OnnxModel:
    """Return the model itself, or bytes of it in which every node has a name of its own."""
    proto, renamed = _proto(model)
    if not renamed:
        return model
    if isinstance(model, Path):
        from onnx.external_data_helper import load_external_data_for_model

        load_external_data_for_model(proto, str(model.parent))
    return bytes(proto.SerializeToString())


def _proto(model: OnnxModel) -> tuple[Any, bool]:
    """Return the parsed model with all nodes named uniquely, and whether names had to be given."""
    proto = _parsed(model)
    taken, seen, renamed = {node.name for node in proto.graph.node}, set(), False
    for node in proto.graph.node:
        if not node.name or node.name in seen:
            stem = node.name or next(filter(None, node.output), node.op_type)
            node.name = next(name for name in _numbered(stem) if name not in taken)
            taken.add(node.name)
            renamed = True
        seen.add(node.name)
    return proto, renamed


def _parsed(model: OnnxModel) -> Any:
    import onnx

    try:
        if isinstance(model, bytes):
            return onnx.load_model_from_string(model)
        return onnx.load(model, load_external_data=False)
    except Exception as error:  # of the protobuf package, whose errors have no common base
        raise refused(model, "an engine", error) from error


def _numbered(stem: str) -> Iterator[str]:
    return itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(2)))
