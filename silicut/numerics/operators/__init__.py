"""The operators of integer networks: frozen attributes and a NumPy `run` on integers, the definition every executor equals.

Operators that multiply return accumulators; `Requantise` makes numbers of a format of them.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from silicut.numerics.formats import IntegerFormat, Integers
from silicut.numerics.operators.convolution import ACCUMULATOR, Convolution2d, Linear
from silicut.numerics.operators.elementwise import Add, Clamp, Lookup, Multiply, Requantise
from silicut.numerics.operators.movement import Concatenate, Pad, Reshape, Slice, Transpose
from silicut.numerics.operators.pooling import MaxPool2d, SumPool2d


class IntegerOperator(Protocol):
    """What all operators have.

    Attributes:
        kind: the middle part of their target in a `Network`, "silicut.<kind>.default".
    """

    kind: ClassVar[str]

    @property
    def input_formats(self) -> tuple[IntegerFormat, ...]:
        """The format of each input."""
        ...

    @property
    def output_format(self) -> IntegerFormat:
        """The format of the result."""
        ...

    def run(self, *inputs: Any, **named_inputs: Any) -> Integers:
        """Return the result, in the type of the output's format, of integer arrays, one for each input format."""
        ...


OPERATORS: dict[str, type[IntegerOperator]] = {
    operator.kind: operator
    for operator in (
        Add,
        Clamp,
        Concatenate,
        Convolution2d,
        Linear,
        Lookup,
        MaxPool2d,
        Multiply,
        Pad,
        Requantise,
        Reshape,
        Slice,
        SumPool2d,
        Transpose,
    )
}
"""All operators by kind."""

__all__ = [
    "ACCUMULATOR",
    "OPERATORS",
    "Add",
    "Clamp",
    "Concatenate",
    "Convolution2d",
    "IntegerOperator",
    "Linear",
    "Lookup",
    "MaxPool2d",
    "Multiply",
    "Pad",
    "Requantise",
    "Reshape",
    "Slice",
    "SumPool2d",
    "Transpose",
]
