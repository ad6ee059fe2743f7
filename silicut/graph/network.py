"""The network as data: operators, tensors and parameters by name. No framework object lives here.

A `Network` is what every other room reads: channel groups are found on it, edits make a new one from it, PyTorch executes
it (`silicut.graph.module`) and the ONNX writer prints it. Operators are those of PyTorch's ATen set, with arguments by
the names of their schema, so an operator unknown to silicut still executes exactly.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from silicut.records import content_hash

BATCH = "batch"
DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to a tensor, parameter or buffer by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Tensor:
    """The type of an activation.

    Attributes:
        shape: sizes; a negative size -k stands for k times the batch size (axis order n, c, h, w for images).
        dtype: the element type's name, such as "float32".
    """

    shape: tuple[int, ...]
    dtype: str

    def sizes(self, batch: int) -> tuple[int, ...]:
        """Return the shape at a batch size.

        Example:
            >>> Tensor((-1, 3, 8, 8), "float32").sizes(4)
            (4, 3, 8, 8)
        """
        return tuple(-size * batch if size < 0 else size for size in self.shape)


@dataclass(frozen=True)
class Operator:
    """One call of an ATen operator.

    Attributes:
        name: unique; the user's module path where there is one ("layer1.0.conv1").
        target: namespace, name and overload, such as "aten.conv2d.default".
        arguments: by schema name: plain values, `Ref`, or tuples of them. The string "batch" or "batch*k" stands for the
            batch size times k, the string "device" for the device of the inputs.
        outputs: names of the tensors it makes; more than one for operators which return a list.
        source: the user's line that called it, "file:line", or "".
    """

    name: str
    target: str
    arguments: Mapping[str, Any]
    outputs: tuple[str, ...]
    source: str = ""

    @property
    def kind(self) -> str:
        """The operator's name without namespace and overload: "conv2d"."""
        return self.target.split(".")[1]

    def refs(self) -> Iterator[str]:
        """Yield the names of all tensors and parameters it reads, in order of arguments."""
        yield from self._read

    @functools.cached_property
    def _read(self) -> tuple[str, ...]:
        return tuple(_refs(tuple(self.arguments.values())))

    def with_arguments(self, /, **changes: Any) -> Operator:
        """Return the operator with some arguments replaced."""
        return replace(self, arguments={**self.arguments, **changes})


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, Ref):
        yield value.name
    elif isinstance(value, tuple):
        for item in value:
            yield from _refs(item)


@dataclass(frozen=True, eq=False)
class Network:
    """A network: operators in an order in which they can run.

    Attributes:
        inputs: names of the input tensors.
        outputs: names of the output tensors.
        output_structure: "tensor", "tuple", "list", or the keys of a dict, in the order of `outputs`; what the user's module
            nests comes flat, with keys such as "boxes.0".
        tensors: type of every activation by name, inputs included.
        operators: in execution order.
        parameters: arrays by the user's state-dict name, buffers and constants included.
        trainable: names of the parameters that training changes.
        aliases: further state-dict names of parameters (shared weights), each with the name under which it is read.
        constants: names of parameters that are no part of the user's state dict (constants, non-persistent buffers).
        file: path of the ONNX file that it was captured from, or ""; edits keep it, files on disk do not.

    Two networks are equal only if they are the same object; `structure_hash` and `weights_hash` compare content.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    output_structure: str | tuple[str, ...]
    tensors: Mapping[str, Tensor]
    operators: tuple[Operator, ...]
    parameters: Mapping[str, np.ndarray] = field(repr=False)
    trainable: frozenset[str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    constants: frozenset[str] = frozenset()
    file: str = ""

    def __post_init__(self) -> None:
        known = set(self.inputs) | set(self.parameters)
        for operator in self.operators:
            missing = [name for name in operator.refs() if name not in known]
            assert not missing, f"{operator.name} reads {missing} before anything makes them"
            known.update(operator.outputs)
        assert known >= set(self.outputs), "an output is made by no operator"

    @functools.cached_property
    def producer(self) -> dict[str, Operator]:
        """The operator that makes each activation, by tensor name."""
        return {output: operator for operator in self.operators for output in operator.outputs}

    @functools.cached_property
    def consumers(self) -> dict[str, tuple[Operator, ...]]:
        """The operators that read each tensor or parameter, by its name."""
        readers: dict[str, list[Operator]] = {}
        for operator in self.operators:
            for name in dict.fromkeys(operator.refs()):
                readers.setdefault(name, []).append(operator)
        return {name: tuple(operators) for name, operators in readers.items()}

    def structure(self) -> dict[str, Any]:
        """Return everything but the parameters' values as JSON values (their shapes included)."""
        return {
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "output_structure": _plain(self.output_structure),
            "tensors": {name: [list(t.shape), t.dtype] for name, t in self.tensors.items()},
            "operators": [
                {"name": o.name, "target": o.target, "arguments": _plain(dict(o.arguments)), "outputs": list(o.outputs)}
                for o in self.operators
            ],
            "parameters": {name: [list(a.shape), str(a.dtype)] for name, a in self.parameters.items()},
            "trainable": sorted(self.trainable),
            "aliases": dict(self.aliases),
            "constants": sorted(self.constants),
        }

    @functools.cached_property
    def structure_hash(self) -> str:
        """The hash of `structure`: equal for checkpoints of the same network, on every machine."""
        return content_hash(self.structure())

    @functools.cached_property
    def weights_hash(self) -> str:
        """The hash of all parameter values."""
        return content_hash({name: content_hash(np.ascontiguousarray(a).tobytes()) for name, a in self.parameters.items()})

    def with_parameters(self, parameters: Mapping[str, np.ndarray]) -> Network:
        """Return the same network with other values; names and shapes must be equal."""
        assert {n: a.shape for n, a in parameters.items()} == {n: a.shape for n, a in self.parameters.items()}
        return replace(self, parameters=dict(parameters))

    def structured(self, results: Sequence[Any]) -> Any:
        """Return what the captured module would return of these outputs: one, a list, a tuple or a dict of them.

        Args:
            results: in the order of `outputs`.
        """
        structure = self.output_structure
        if structure == "tensor":
            return results[0]
        if structure == "list":
            return list(results)
        return tuple(results) if structure == "tuple" else dict(zip(structure, results, strict=True))

    def n_parameters(self) -> int:
        """Return the number of trainable scalars."""
        return sum(self.parameters[name].size for name in self.trainable)


def _plain(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"ref": value.name}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        return {type(value).__name__: str(value)}  # JSON has neither
    return value
