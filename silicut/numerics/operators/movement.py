"""Operators that move numbers and change none: concatenate, reshape, transpose, pad, slice.

What they join must have one format, scale and zero point; a `Requantise` before them sees to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from silicut.numerics.formats import IntegerFormat, Integers
from silicut.records import ConfigError


@dataclass(frozen=True, kw_only=True)
class Concatenate:
    """Tensors behind each other along an axis.

    Attributes:
        input_formats: of the inputs, all the same.
        axis: along which they are joined.

    Raises:
        ConfigError: formats differ.

    Example:
        >>> int4 = IntegerFormat(4)
        >>> Concatenate(input_formats=(int4, int4), axis=1).run(np.array([[1]]), np.array([[2, 3]])).tolist()
        [[1, 2, 3]]
    """

    kind: ClassVar[str] = "concatenate"

    input_formats: tuple[IntegerFormat, ...]
    axis: int = 1

    def __post_init__(self) -> None:
        if len(set(self.input_formats)) != 1:
            names = ", ".join(format.name for format in self.input_formats)
            raise ConfigError(f"input_formats must all be the same, not {names}; requantise to one before")

    @property
    def output_format(self) -> IntegerFormat:
        """That of the inputs."""
        return self.input_formats[0]

    def run(self, *inputs: Integers) -> Integers:
        """Return the joined tensor.

        Raises:
            TypeError, ValueError: an input is no integer array of the format, or shapes do not agree.
        """
        arrays = [f.check(values, "input") for f, values in zip(self.input_formats, inputs, strict=True)]
        return np.concatenate(arrays, axis=self.axis, dtype=self.output_format.dtype, casting="unsafe")


@dataclass(frozen=True, kw_only=True)
class _Movement:
    """What the operators with one input share."""

    input_format: IntegerFormat

    @property
    def input_formats(self) -> tuple[IntegerFormat, ...]:
        """The format of its one input."""
        return (self.input_format,)

    @property
    def output_format(self) -> IntegerFormat:
        """That of the input."""
        return self.input_format

    def _checked(self, input: Integers) -> Integers:
        return self.input_format.check(input, "input").astype(self.output_format.dtype, copy=False)


@dataclass(frozen=True, kw_only=True)
class Reshape(_Movement):
    """The same numbers in another shape; the batch stays the first axis.

    Attributes:
        input_format: of the input and of the result.
        shape: sizes behind the batch; one of them may be -1, "what remains"; (-1,) flattens.

    Example:
        >>> Reshape(input_format=IntegerFormat(4), shape=(-1,)).run(np.zeros((2, 3, 4), np.int8)).shape
        (2, 12)
    """

    kind: ClassVar[str] = "reshape"

    shape: tuple[int, ...]

    def run(self, input: Integers) -> Integers:
        """Return the reshaped tensor.

        Raises:
            TypeError, ValueError: the input is no integer array of the format, or has another size.
        """
        return self._checked(input).reshape(len(input), *self.shape)


@dataclass(frozen=True, kw_only=True)
class Transpose(_Movement):
    """The same numbers with their axes in another order.

    Attributes:
        input_format: of the input and of the result.
        axes: for each axis of the result, which axis of the input it is.

    Example:
        >>> Transpose(input_format=IntegerFormat(4), axes=(0, 2, 1)).run(np.zeros((2, 3, 4), np.int8)).shape
        (2, 4, 3)
    """

    kind: ClassVar[str] = "transpose"

    axes: tuple[int, ...]

    def run(self, input: Integers) -> Integers:
        """Return the transposed tensor.

        Raises:
            TypeError, ValueError: the input is no integer array of the format, or has other axes.
        """
        return np.ascontiguousarray(self._checked(input).transpose(self.axes))


@dataclass(frozen=True, kw_only=True)
class Pad(_Movement):
    """A tensor with a value around it.

    Attributes:
        input_format: of the input and of the result.
        pads: (before, after) for each axis, the batch included.
        value: of the padding, usually the zero point.

    Raises:
        ConfigError: the value is none of the format, or a pad is negative.

    Example:
        >>> Pad(input_format=IntegerFormat(4), pads=((0, 0), (1, 2)), value=7).run(np.array([[1]])).tolist()
        [[7, 1, 7, 7]]
    """

    kind: ClassVar[str] = "pad"

    pads: tuple[tuple[int, int], ...]
    value: int = 0

    def __post_init__(self) -> None:
        if not self.input_format.min <= self.value <= self.input_format.max:
            raise ConfigError(f"value must be a number of {self.input_format.name}, not {self.value}")
        if any(len(pair) != 2 or min(pair) < 0 for pair in self.pads):
            raise ConfigError(f"pads must be pairs of numbers of at least 0, not {self.pads}")

    def run(self, input: Integers) -> Integers:
        """Return the padded tensor.

        Raises:
            TypeError, ValueError: the input is no integer array of the format, or has other axes.
        """
        return np.pad(self._checked(input), self.pads, constant_values=self.value)


@dataclass(frozen=True, kw_only=True)
class Slice(_Movement):
    """Every step-th index of start..stop along an axis.

    Attributes:
        input_format: of the input and of the result.
        axis: along which indices are taken.
        start: the first index; negative ones count from the end.
        stop: the index behind the last; None for the end.
        step: at least 1.

    Raises:
        ConfigError: the step is smaller than 1.

    Example:
        >>> Slice(input_format=IntegerFormat(4), axis=1, step=2).run(np.array([[1, 2, 3]])).tolist()
        [[1, 3]]
    """

    kind: ClassVar[str] = "slice"

    axis: int
    start: int = 0
    stop: int | None = None
    step: int = 1

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ConfigError(f"step must be at least 1, not {self.step}")

    def run(self, input: Integers) -> Integers:
        """Return the part of the tensor.

        Raises:
            TypeError, ValueError: the input is no integer array of the format.
        """
        index = [slice(None)] * input.ndim
        index[self.axis] = slice(self.start, self.stop, self.step)
        return np.ascontiguousarray(self._checked(input)[tuple(index)])
