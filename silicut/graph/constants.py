"""What of an exported graph depends on no input: it is computed once, at capture."""

from __future__ import annotations

import math
import operator as python_operator
from collections.abc import Mapping
from typing import Any

import torch

Node = torch.fx.Node

_MAX_ELEMENTS = 2**22  # a larger constant is made anew in every pass, as the user's network does


class Constants:
    """The values of the nodes of one graph that depend on no input, in the order of the graph.

    Operators that write in place do so on these values, as in the user's network; `version` tells such states apart.
    """

    def __init__(self, known: Mapping[Node, torch.Tensor]) -> None:
        self._values: dict[Node, Any] = {node: value.detach().clone() for node, value in known.items()}

    def __contains__(self, node: Node) -> bool:
        return node in self._values

    def value(self, node: Node) -> torch.Tensor:
        """Return the present value of a node."""
        value: torch.Tensor = self._values[node]
        return value

    def version(self, node: Node) -> int:
        """Return how often a node's memory was written to."""
        return int(self._values[node]._version)

    def add(self, node: Node, value: torch.Tensor) -> None:
        """Say what the value of a node is."""
        self._values[node] = value

    def fold(self, node: Node) -> bool:
        """Compute a node if all that it reads is known; tell whether that is so."""
        if not is_foldable(node, self._values.keys()):
            return False
        arguments, keywords = torch.fx.map_arg((node.args, node.kwargs), lambda read: self._values[read])
        with torch.no_grad():
            self._values[node] = node.target(*arguments, **keywords)  # type: ignore[operator]
        return True


def is_foldable(node: Node, known: Any) -> bool:
    """Tell whether a node is an operator, free of chance, on known values only, whose results are of moderate size."""
    if node.op != "call_function" or any(read not in known for read in node.all_input_nodes):
        return False
    if node.target is python_operator.getitem:
        return True
    if not isinstance(node.target, torch._ops.OpOverload) or torch.Tag.nondeterministic_seeded in node.target.tags:
        return False
    results = node.meta.get("val")
    tensors = results if isinstance(results, list | tuple) else [results]
    return all(isinstance(x, torch.Tensor) and _is_small(x) for x in tensors)


def _is_small(tensor: torch.Tensor) -> bool:
    sizes = tuple(tensor.shape)
    return all(isinstance(size, int) for size in sizes) and math.prod(sizes) <= _MAX_ELEMENTS and tensor.device.type == "cpu"


def constant_nodes(graph: torch.fx.Graph, known: set[Node]) -> set[Node]:
    """Return the nodes of a graph that `Constants` would fold, from the nodes known beforehand."""
    found = set(known)
    for node in graph.nodes:
        if is_foldable(node, found):
            found.add(node)
    return found


def lifted(program: Any) -> dict[Node, torch.Tensor]:
    """Return the placeholders of a program that hold constants or buffers of no state dict, with their values."""
    targets = {spec.arg.name: spec.target for spec in program.graph_signature.input_specs if spec.target is not None}
    values = {node: program.constants.get(targets.get(node.name)) for node in program.graph.find_nodes(op="placeholder")}
    return {node: value for node, value in values.items() if isinstance(value, torch.Tensor)}
