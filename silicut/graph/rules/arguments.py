"""How rules read an operator's arguments."""

from __future__ import annotations

import numpy as np

from silicut.graph.network import Operator, Ref
from silicut.graph.tracker import Rule, Unfollowed


def main_input(operator: Operator, *names: str) -> str:
    """Return the name of the tensor under the first of these arguments that is one ("input" or "self" by default)."""
    for name in names or ("input", "self"):
        value = operator.arguments.get(name)
        if isinstance(value, Ref):
            return value.name
    raise Unfollowed("it reads no tensor where one was expected")


def axes_of(value: object, n_axes: int) -> tuple[int, ...]:
    """Return the axes that an argument names, counted from the first; none where it is absent."""
    if value is None:
        return ()
    given = value if isinstance(value, tuple) else (value,)
    return tuple(int(axis) % n_axes for axis in given)


def compress(labels: np.ndarray) -> np.ndarray:
    """Shorten to length 1 every axis on which the labels do not vary."""
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1 and (labels == labels.take([0], axis)).all():
            labels = labels.take([0], axis)
    return labels


def varying_axes(labels: np.ndarray) -> list[int]:
    """Return the axes on which labels may vary."""
    return [axis for axis, n in enumerate(labels.shape) if n > 1]


def refused(why: str) -> Rule:
    """Return the rule of a kind that freezes what it touches for a reason of its own."""

    def refuse(_tracker: object, _operator: Operator) -> None:
        raise Unfollowed(why)

    return refuse
