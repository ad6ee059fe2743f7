"""What the tensors of a quantised file stand for while it is read: integers, reals made of them, and what is pending."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from silicut.numerics.formats import IntegerFormat, Integers
from silicut.numerics.onnx.steps import Steps

RealFunction = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Stored:
    """An integer tensor of the file that is one of the network.

    Attributes:
        tensor: its name in the network.
    """

    tensor: str


@dataclass(frozen=True)
class Index:
    """An integer tensor of the network, cast to pick entries of a table."""

    tensor: str


@dataclass(frozen=True, eq=False)
class Constant:
    """Constant integers with what they stand for.

    Attributes:
        name: of the initialiser.
        integers: less their zero points.
        steps: of the integers.
        format: of the integers, as narrow as the file says.
    """

    name: str
    integers: Integers
    steps: Steps
    format: IntegerFormat


@dataclass(frozen=True, eq=False)
class View:
    """A float tensor (integers - zero point) * steps, limited to low..high.

    Attributes:
        tensor: the integers, a tensor of the network.
        steps: of the integers.
        zero_point: of the integers.
        low, high: real bounds that nothing has put into practice yet.
    """

    tensor: str
    steps: Steps
    zero_point: int = 0
    low: float = -math.inf
    high: float = math.inf

    @property
    def is_limited(self) -> bool:
        """Whether there are bounds."""
        return self.low > -math.inf or self.high < math.inf

    def same(self, other: View) -> bool:
        """Tell whether integers of both stand for the same numbers."""
        return self.steps.equals(other.steps) and self.zero_point == other.zero_point


@dataclass(frozen=True)
class Sum:
    """The sum of two float tensors, to be quantised; bounds as in `View`."""

    a: View
    b: View
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Joined:
    """Float tensors behind each other along an axis, to be quantised; bounds as in `View`."""

    parts: tuple[View, ...]
    axis: int
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Applied:
    """A function of one number on a float tensor, to be quantised; bounds as in `View`."""

    view: View
    function: RealFunction
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class FloatInput:
    """An input of the file that is not quantised yet."""

    name: str


Real = View | Sum | Joined | Applied | FloatInput
Value = Stored | Index | Constant | Real


def limited(value: View | Sum | Joined | Applied, low: float, high: float) -> View | Sum | Joined | Applied:
    """Return a value limited further."""
    return replace(value, low=min(max(low, value.low), value.high), high=max(min(high, value.high), value.low))
