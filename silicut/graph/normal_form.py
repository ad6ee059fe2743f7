"""Operators of equal meaning in one way, so that later rooms know one form of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from silicut.graph.network import BATCH, Operator, Tensor


def usual_batch_norm(operator: Operator) -> Operator:
    """Return a batch norm that PyTorch rewrote, in its usual form."""
    arguments = {**operator.arguments, "training": False, "cudnn_enabled": False}
    return Operator(operator.name, "aten.batch_norm.default", arguments, operator.outputs, operator.source)


def normal_form(operator: Operator, tensors: Mapping[str, Tensor]) -> Operator:
    """Return an operator in the one way of writing it: resolved sizes of views and splits, the axes that are squeezed."""
    kind, arguments = operator.kind, operator.arguments
    if kind in ("view", "reshape", "_unsafe_view", "unflatten", "view_as", "reshape_as"):
        shape = symbolic(tensors[operator.outputs[0]].shape)
        return _rewritten(operator, "aten.reshape.default", {"self": arguments["self"], "shape": shape})
    if kind in ("expand", "expand_as"):
        size = symbolic(tensors[operator.outputs[0]].shape)
        return _rewritten(operator, "aten.expand.default", {"self": arguments["self"], "size": size, "implicit": False})
    if kind in ("split", "chunk", "split_with_sizes"):
        axis = int(arguments["dim"]) % len(tensors[operator.outputs[0]].shape)
        sizes = symbolic(tuple(tensors[output].shape[axis] for output in operator.outputs))
        arguments = {"self": arguments["self"], "split_sizes": sizes, "dim": axis}
        return _rewritten(operator, "aten.split_with_sizes.default", arguments)
    if kind == "squeeze" and arguments["self"].name in tensors:
        return _rewritten(operator, "aten.squeeze.dims", {"self": arguments["self"], "dim": _squeezed(arguments, tensors)})
    return operator


def _rewritten(operator: Operator, target: str, arguments: dict[str, Any]) -> Operator:
    return Operator(operator.name, target, arguments, operator.outputs, operator.source)


def _squeezed(arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the axes that are or, at a batch of one, may be of size 1, so that no pruned axis is squeezed by chance."""
    shape = tensors[arguments["self"].name].shape
    given = arguments.get("dim", tuple(range(len(shape))))
    axes = [int(axis) % len(shape) for axis in (given if isinstance(given, tuple) else (given,))]
    return tuple(axis for axis in axes if shape[axis] == 1 or shape[axis] < 0)


def symbolic(shape: tuple[int, ...]) -> tuple[int | str, ...]:
    """Return the shape of a `Tensor` as an operator's argument.

    Example:
        >>> symbolic((-1, 3, -2))
        ('batch', 3, 'batch*2')
    """
    return tuple(size if size >= 0 else (BATCH if size == -1 else f"{BATCH}*{-size}") for size in shape)
