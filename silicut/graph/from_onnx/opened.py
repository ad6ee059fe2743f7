"""An ONNX file opened and checked: its nodes, constants and inputs, before anything is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from silicut.records import BadFile, ConfigError, UnsupportedModel

OPSETS = range(11, 24)
OPSET_RANGE = f"{OPSETS[0]} to {OPSETS[-1]}"
_NUMBERS = "float16, float32, float64, bool or integers"


@dataclass(frozen=True)
class OnnxNode:
    """One node of a graph.

    Attributes:
        name: unique; the node's own name where it has one that no other has, else that of its first output.
        kind: the operator ("Conv").
        inputs: names of tensors; "" for one that is left out.
        outputs: names of tensors; "" for one that nobody wants.
        attributes: by name, as Python values; strings decoded, tensors as arrays.
        opset: the version of the operator set it is of.
        proto: what it was read from.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int
    proto: Any = field(repr=False)

    def has(self, index: int) -> bool:
        """Return whether an input is given."""
        return index < len(self.inputs) and bool(self.inputs[index])


@dataclass(frozen=True)
class OpenedModel:
    """A model of the supported operator sets, with its functions inlined.

    Attributes:
        path: where it was read from.
        proto: the whole file.
        nodes: in the file's order, in which they can run.
        initializers: the constants of the graph by name.
        input_shapes: of each input, by name; a string or None where a size is free.
        input_types: NumPy's type names of the inputs.
    """

    path: str
    proto: Any = field(repr=False)
    nodes: tuple[OnnxNode, ...]
    initializers: Mapping[str, np.ndarray] = field(repr=False)
    input_shapes: Mapping[str, tuple[int | str | None, ...]]
    input_types: Mapping[str, str]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs."""
        return tuple(value.name for value in self.proto.graph.output)


def open_model(path: str | Path) -> OpenedModel:
    """Read an ONNX file; weights kept in files beside it are read too.

    Raises:
        BadFile: it is missing or no ONNX file.
        UnsupportedModel: its operator set is not supported.
    """
    return opened(_loaded(Path(path)), str(Path(path).resolve()))


def opened(proto: Any, path: str = "") -> OpenedModel:
    """Return a model, already read, opened; raises what `open_model` raises."""
    from onnx import numpy_helper

    opset = _opset(proto)
    proto = _inlined(proto)
    graph = proto.graph
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initializers]
    return OpenedModel(
        path=path,
        proto=proto,
        nodes=tuple(_nodes(graph.node, opset)),
        initializers=initializers,
        input_shapes={value.name: _shape(value) for value in inputs},
        input_types={value.name: _dtype(value) for value in inputs},
    )


def _loaded(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not path.is_file():
        raise BadFile(f"{path} does not exist; check the path")
    try:
        model = onnx.load(path)
    except (FileNotFoundError, onnx.checker.ValidationError):  # the latter where newer versions check the place first
        raise BadFile(f"{path} keeps its weights in other files, which cannot be read; copy them beside it") from None
    except (DecodeError, OSError, ValueError) as error:
        raise BadFile(f"{path} is not a readable ONNX file ({type(error).__name__}); copy it again") from None
    if not model.graph.node:
        raise BadFile(f"{path} holds no network: its graph has no nodes; export it again")
    return model


def _opset(proto: Any) -> int:
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) == 1 and versions[0] in OPSETS:
        return int(versions[0])
    found = f"version {versions[0]}" if versions else "none"
    advice = f"Operator sets {OPSET_RANGE} are read; onnx.version_converter changes the version of a model"
    raise UnsupportedModel([f"the model's operator set is {found}"], advice)


def _inlined(proto: Any) -> Any:
    from onnx import inliner

    return inliner.inline_local_functions(proto) if proto.functions else proto


def _nodes(protos: Sequence[Any], opset: int) -> Iterator[OnnxNode]:
    from onnx import helper

    names = [proto.name for proto in protos]
    taken = {name for name in names if name and names.count(name) == 1} if len(set(names)) < len(names) else set(names)
    for proto in protos:
        kind = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
        attributes = {a.name: _plain(helper.get_attribute_value(a)) for a in proto.attribute}
        name = proto.name if proto.name and proto.name in taken else _fresh(proto.output, taken)
        taken.add(name)
        yield OnnxNode(name, kind, tuple(proto.input), tuple(proto.output), attributes, opset, proto)


def _fresh(outputs: Sequence[str], taken: Iterable[str]) -> str:
    name = next(name for name in outputs if name)
    while name in taken:
        name += "_node"
    return name


def _plain(value: Any) -> Any:
    from onnx import TensorProto, numpy_helper

    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return tuple(_plain(item) for item in value) if isinstance(value, list | tuple) else value


def _shape(value: Any) -> tuple[int | str | None, ...]:
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        raise UnsupportedModel([f"input {value.name!r} is no tensor of a known number of axes"], "Export it with shapes")
    axes = value.type.tensor_type.shape.dim
    return tuple(axis.dim_value if axis.HasField("dim_value") else (axis.dim_param or None) for axis in axes)


def _dtype(value: Any) -> str:
    from onnx import helper

    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    if dtype.kind not in "fbiu":
        raise UnsupportedModel([f"input {value.name!r} is of type {dtype}"], f"Inputs of {_NUMBERS} are read")
    return str(dtype)


def known_shapes(model: OpenedModel, given: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every input with -1 for a free batch, the first axis; other free axes take the sizes given.

    Args:
        model: the model.
        given: sizes behind the batch axis, by the name of the input.

    Raises:
        ConfigError: an axis other than the first is free and not given, or what is given does not fit.
    """
    problems = [
        f"shape of input {name!r} is given, which the model does not have" for name in given.keys() - model.input_shapes
    ]
    shapes = {}
    for name, shape in model.input_shapes.items():
        first = -1 if shape and not isinstance(shape[0], int) else None
        rest = tuple(given.get(name, shape[1:]))
        expected = shape[1:]
        fits = len(rest) == len(expected) and all(
            not isinstance(e, int) or e == r for e, r in zip(expected, rest, strict=True)
        )
        if not fits:
            problems.append(
                f"shape of input {name!r} behind its batch axis must be {_written(expected)}, not {_written(rest)}"
            )
        elif free := [str(size or "?") for size in rest if not isinstance(size, int)]:
            others = ", ".join(free)
            problems.append(
                f"input {name!r} must have one free axis, the batch, not {others} too; give its shape behind the batch"
            )
        else:
            shapes[name] = (shape if first is None else (first, *rest)) if shape else ()
    if problems:
        raise ConfigError(*problems)
    return shapes  # type: ignore[return-value]


def _written(sizes: Iterable[int | str | None]) -> str:
    return "x".join(str(size or "?") for size in sizes)
