"""Layers as the accelerator executes them, and the rows of the report of what runs where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from silicut.numerics import Add, Clamp, Convolution2d, IntegerOperator, Linear, Lookup, Requantise


class Where(StrEnum):
    """What executes an operator."""

    CORES = "cores"
    """The LUT core and the DSP core, each for some of the filters."""
    POST = "post"
    """The unit for vectors."""
    LAYOUT = "layout"
    """Nothing: it only says where numbers lie."""
    HOST = "host"
    """The processor beside the accelerator."""


@dataclass(frozen=True)
class Assignment:
    """One row of the report.

    Attributes:
        operator: its name.
        kind: of the operator, such as "conv2d".
        where: what executes it.
        layer: name of the layer that it is a part of, "" where it is none.
        reason: why it stays on the host, "" elsewhere.
    """

    operator: str
    kind: str
    where: Where
    layer: str = ""
    reason: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Epilogue:
    """What becomes of the sums, maxima or numbers of a layer; every step is optional.

    Attributes:
        requantise: from sums to numbers of a format.
        add: addition of another tensor; the value so far is its input `own`.
        own: 0 or 1.
        residual: name of the tensor that is added, "" without add.
        lookup: a function.
        clamp: limits.
        output: name of the tensor that the steps before make, "" where nobody reads it.
        copy: from `output` to a copy of fewer bits.
        copy_output: name of the copy, "" without.
    """

    requantise: Requantise | None = None
    add: Add | None = None
    own: int = 0
    residual: str = ""
    lookup: Lookup | None = None
    clamp: Clamp | None = None
    output: str = ""
    copy: Requantise | None = None
    copy_output: str = ""

    @property
    def made(self) -> tuple[str, ...]:
        """The tensors that are written."""
        return tuple(name for name in (self.output, self.copy_output) if name)


@dataclass(frozen=True, eq=False, kw_only=True)
class FusedLayer:
    """Operators that are executed in one walk over a map.

    Attributes:
        name: of its first operator.
        source: name of the tensor that it walks over.
        roots: the first operators: one, or two slices, one for each direction; none for single numbers.
        epilogue: what follows.
        operators: names of all of them.
    """

    name: str
    source: str
    roots: tuple[IntegerOperator, ...]
    epilogue: Epilogue
    operators: tuple[str, ...]

    @property
    def is_product(self) -> bool:
        """Whether it multiplies by weights."""
        return bool(self.roots) and isinstance(self.roots[0], Convolution2d | Linear)
