"""What a graph computes from constants and shapes alone, evaluated at capture.

A `Network` has fixed sizes but for the batch, so that chains such as Shape, Gather, Concat give numbers. Instead of symbolic
arithmetic every chain is evaluated at two batch sizes: what is equal at both is a constant, what grows with the batch is
a multiple of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from silicut.graph.from_onnx.opened import OnnxNode
from silicut.graph.normal_form import symbolic

_MAX_BATCH_DEPENDENT = 64  # elements: shapes and the like, not masks and other tensors
_NOT_EVALUATED = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")


class CannotRead(Exception):
    """A rule met a node that no `Network` can express, for this reason."""


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor whose value is known, at each of two batch sizes."""

    values: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, array: np.ndarray) -> Known:
        """Return a constant."""
        return cls((array, array))

    @property
    def is_constant(self) -> bool:
        """Whether it does not depend on the batch size."""
        a, b = self.values
        return a is b or (a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


@dataclass(frozen=True)
class Batches:
    """The two batch sizes at which shapes are evaluated; both are that of the file where it is fixed."""

    sizes: tuple[int, int]

    def shape(self, *sizes: Sequence[int]) -> tuple[int, ...]:
        """Return the shape that two sequences of sizes stand for: -k for k times the batch.

        Raises:
            CannotRead: a size is neither constant nor a multiple of the batch.

        Example:
            >>> Batches((5, 7)).shape((5, 3, 10), (7, 3, 14))
            (-1, 3, -2)
        """
        first, second = sizes
        if len(first) != len(second):
            raise CannotRead("the number of its axes depends on the batch size")
        return tuple(self._size(int(a), int(b)) for a, b in zip(first, second, strict=True))

    def _size(self, a: int, b: int) -> int:
        if a == b:
            return a
        multiple, rest = divmod(a, self.sizes[0])
        if rest or multiple * self.sizes[1] != b:
            raise CannotRead("a size is no constant multiple of the batch size")
        return -multiple

    def argument(self, known: Known) -> tuple[int | str, ...]:
        """Return known integers as an operator's argument: numbers, or "batch*k"."""
        pairs = zip(*(value.ravel().tolist() for value in known.values), strict=True)
        return tuple(int(a) if a == b else symbolic((self._size(a, b),))[0] for a, b in pairs)


def evaluated(node: OnnxNode, inputs: Sequence[Known | None]) -> list[Known] | None:
    """Return what a node computes from known inputs, or None where it is an operator of the network.

    Results that depend on the batch are kept only where they are short and whole numbers: sizes, not tensors.
    """
    if any(value is None for value, name in zip(inputs, node.inputs, strict=True) if name) or not _is_evaluated(node):
        return None
    results = [_run(node, [None if value is None else value.values[i] for value in inputs]) for i in (0, 1)]
    known = [Known((np.asarray(a), np.asarray(b))) for a, b in zip(*results, strict=True)]
    return known if all(k.is_constant or _is_sizes(k) for k in known) else None


def _is_evaluated(node: OnnxNode) -> bool:
    from onnx import AttributeProto

    has_graph = any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.proto.attribute)
    return not has_graph and "." not in node.kind and node.kind not in _NOT_EVALUATED


def _is_sizes(known: Known) -> bool:
    return known.values[0].dtype.kind in "iub" and all(value.size <= _MAX_BATCH_DEPENDENT for value in known.values)


def _run(node: OnnxNode, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    def infos(names: Sequence[str]) -> list[Any]:
        return [helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in dict.fromkeys(names) if n]

    graph = helper.make_graph([node.proto], "one", infos(node.inputs), infos(node.outputs))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", node.opset)])
    given = {name: array for name, array in zip(node.inputs, inputs, strict=True) if name}
    try:
        return list(ReferenceEvaluator(model).run(None, given))
    except Exception as error:
        raise CannotRead(f"its constant inputs cannot be computed with ({str(error).splitlines()[0]})") from error
