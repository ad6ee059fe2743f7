"""In-place operators and views in an exported graph: what is the same memory, and when renaming is not enough.

A `Network` has only operators that return new tensors. An in-place operator becomes one by reading its result wherever the
changed tensor is read later; that fails where something else shares the memory and is read later too.
"""

from __future__ import annotations

import operator as python_operator
from typing import Any

import torch

Node = torch.fx.Node

# Operators that return their input itself in evaluation mode, or where nothing is to be done, though no schema says so.
_HIDDEN_VIEWS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "type_as")


def functional_target(target: str) -> str:
    """Return the target of the operator which returns what an in-place one writes.

    Example:
        >>> functional_target("aten.relu_.default"), functional_target("aten.__and__.Tensor")
        ('aten.relu.default', 'aten.__and__.Tensor')
    """
    namespace, kind, overload = target.split(".")
    return f"{namespace}.{kind.removesuffix('_') if not kind.endswith('__') else kind}.{overload}"


def argument_names(node: Node) -> list[str]:
    """Return the names of a call's arguments, of an in-place one those of the operator that it becomes."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    if is_in_place(node) and (operator := _operator(functional_target(str(node.target)))) is not None:
        schema = operator._schema.arguments
    return [argument.name for argument in schema]


def is_in_place(node: Node) -> bool:
    """Tell whether a call changes one of its arguments."""
    return isinstance(node.target, torch._ops.OpOverload) and bool(node.target._schema.is_mutable)


class Aliasing:
    """Which nodes of a graph are one tensor, and which share memory.

    Attributes:
        names: for each result of an in-place operator, the node it changed (through all earlier such operators).
    """

    def __init__(self, graph: torch.fx.Graph) -> None:
        self.names: dict[Node, Node] = {}
        self._order = {node: index for index, node in enumerate(graph.nodes)}
        self._owner: dict[Node, Node] = {}
        self._family: dict[Node, list[Node]] = {}
        for node in graph.nodes:
            source = self._shared(node)
            owner = node if source is None else self._owner[source]
            self._owner[node] = owner
            self._family.setdefault(owner, []).append(node)
            if is_in_place(node) and source is not None:
                self.names[node] = self.name(source)

    def name(self, node: Node) -> Node:
        """Return the node that stands for a tensor under all its names."""
        return self.names.get(node, node)

    def hazard(self, constants: set[Node]) -> Node | None:
        """Return the first in-place operator that renaming cannot express, or None; memory of constants alone is none."""
        written = (node for node in self._order if is_in_place(node) and not self._is_renaming(node))
        return next((node for node in written if not constants.issuperset(self._family[self._owner[node]])), None)

    def _is_renaming(self, node: Node) -> bool:
        if not _writes_its_first_argument_only(node) or _operator(functional_target(str(node.target))) is None:
            return False
        changed, now = self.name(node), self._order[node]
        earlier = [other for other in self._family[self._owner[node]] if self._order[other] < now]
        return not any(self.name(o) is not changed and any(self._order[u] > now for u in o.users) for o in earlier)

    @staticmethod
    def _shared(node: Node) -> Node | None:
        """Return the argument whose memory a node may share."""
        source = node.args[0] if node.args else None
        if not isinstance(source, Node):
            return None
        if node.target is python_operator.getitem or is_in_place(node):
            return source
        if not isinstance(node.target, torch._ops.OpOverload):
            return None
        is_view = any(result.alias_info is not None for result in node.target._schema.returns)
        return source if is_view or str(node.target).split(".")[1] in _HIDDEN_VIEWS else None


def _writes_its_first_argument_only(node: Any) -> bool:
    written = [a.alias_info is not None and a.alias_info.is_write for a in node.target._schema.arguments]
    return written[0] and not any(written[1:]) and isinstance(node.args[0], Node)


def _operator(target: str) -> Any:
    """Return the operator of a name, None where there is none that only returns."""
    namespace, kind, overload = target.split(".")
    packet = getattr(getattr(torch.ops, namespace), kind, None)
    operator = getattr(packet, overload, None)
    return None if operator is None or operator._schema.is_mutable else operator
