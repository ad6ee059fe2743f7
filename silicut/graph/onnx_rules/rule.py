"""What a rule of the ONNX writer is, and the shortest ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from silicut.graph.network import Operator
from silicut.graph.onnx_nodes import OnnxNodes

Rule = Callable[[OnnxNodes, Operator], Any]


def simple(kind: str, **attributes: Any) -> Rule:
    """Return the rule of an operator of one input that ONNX has under another name."""
    return lambda w, o: w.add(kind, o, [w.main(o)], **attributes)


def pair(value: Any, n: int = 2) -> list[int]:
    """Return a size given once for all axes, or for each, as one number for each of n axes."""
    values = list(value) if isinstance(value, tuple) else [value]
    return [int(v) for v in (values * n if len(values) == 1 else values)]
