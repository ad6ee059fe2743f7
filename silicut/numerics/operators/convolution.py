"""Operators that multiply by constant weights and accumulate: convolution and fully connected layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from silicut.numerics.accumulators import Bounds, check_accumulator, exact_matmul_type, sum_bounds
from silicut.numerics.formats import IntegerFormat, Integers
from silicut.numerics.operators.windows import Padding, Pair, Windows
from silicut.records import ConfigError

ACCUMULATOR = IntegerFormat(32)
"""The default format of accumulators."""

_MAX_COLUMNS = 2**22
"""Windows are laid out for as many images at once as make this many numbers: they should stay near the processor."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Weighted(ABC):
    """What convolution and fully connected layer share."""

    weight: Integers
    bias: Integers | None = None
    input_format: IntegerFormat
    weight_format: IntegerFormat
    output_format: IntegerFormat = ACCUMULATOR
    input_zero_point: int = 0

    def __post_init__(self) -> None:
        self.weight_format.check(self.weight, "weight")
        problems = list(self._wrong())
        if not self.input_format.min <= self.input_zero_point <= self.input_format.max:
            problems.append(f"input_zero_point must be a number of {self.input_format.name}, not {self.input_zero_point}")
        if self.bias is not None:
            IntegerFormat(64).check(self.bias, "bias")
            if self.bias.shape != self.weight.shape[:1]:
                problems.append(f"bias must have shape {self.weight.shape[:1]}, not {self.bias.shape}")
        if problems:
            raise ConfigError(*problems)
        check_accumulator(self.bounds, self.output_format, "accumulator")

    @abstractmethod
    def _wrong(self) -> list[str]:
        """Return what is wrong with the shape of the weights."""

    @property
    def input_formats(self) -> tuple[IntegerFormat, ...]:
        """The format of its one input."""
        return (self.input_format,)

    @cached_property
    def bounds(self) -> Bounds:
        """The exact range of the sums for these weights, over all inputs of the format."""
        low, high = (end - self.input_zero_point for end in (self.input_format.min, self.input_format.max))
        return sum_bounds(self.weight, low, high, self.bias)

    @cached_property
    def _type(self) -> type[Any]:
        return exact_matmul_type(self.bounds.partial)

    def _centred(self, values: Integers) -> NDArray[Any]:
        """Return inputs less their zero point, in the type in which they are multiplied."""
        numbers = values.astype(self._type)
        return numbers - self._type(self.input_zero_point) if self.input_zero_point else numbers

    def _accumulators(self, sums: NDArray[Any], axis: int) -> Integers:
        """Return exact sums, plus the bias along an axis, in the format of the output."""
        if self.bias is None:
            return sums.astype(self.output_format.dtype)
        shape = [1] * sums.ndim
        shape[axis] = -1
        is_small = self.bounds.partial < 2**31 and self.output_format.bits <= 32
        whole: NDArray[Any] = sums.astype(np.int32 if is_small else np.int64)
        whole += self.bias.astype(whole.dtype).reshape(shape)
        return whole.astype(self.output_format.dtype, copy=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution2d(_Weighted):
    """Convolution of images: sums of weight * (input - zero point), plus bias, as accumulators.

    Padding counts as the zero point, that is, as 0.0. Sums are taken in float32 where no partial sum can exceed 2^24, in
    float64 up to 2^53 (both exact), else in int64.

    Attributes:
        weight: array (c_out, c_in / groups, kh, kw) of the weight format; symmetric, without a zero point.
        bias: array (c_out,) on the accumulators' scale, or None.
        input_format: of the images.
        weight_format: of the weights.
        output_format: of the accumulators.
        input_zero_point: the integer that stands for 0.0.
        stride: step between windows, down and to the right.
        padding: rows and columns added at the top, left, bottom and right.
        dilation: distance between the taps of a window.
        groups: how many parts the channels fall into; c_in for depthwise convolution.

    Raises:
        ConfigError: attributes do not agree.
        AccumulatorTooNarrow: some input would overflow the accumulators.

    Example:
        >>> layer = Convolution2d(
        ...     weight=np.full((1, 1, 3, 3), 7, np.int8),
        ...     input_format=IntegerFormat(8, is_signed=False),
        ...     weight_format=IntegerFormat(4),
        ...     input_zero_point=128,
        ...     padding=(1, 1, 1, 1),
        ... )
        >>> layer.bounds.bits, layer.run(np.full((1, 1, 2, 2), 130, np.uint8)).tolist()
        (14, [[[[56, 56], [56, 56]]]])
    """

    kind: ClassVar[str] = "conv2d"

    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def _wrong(self) -> list[str]:
        if self.weight.ndim != 4 or self.weight.size == 0:
            return [f"weight must have shape (c_out, c_in / groups, kh, kw), not {self.weight.shape}"]
        if self.groups < 1 or len(self.weight) % self.groups:
            return [f"groups must divide the {len(self.weight)} output channels, not be {self.groups}"]
        _ = self._windows
        return []

    @cached_property
    def _windows(self) -> Windows:
        kh, kw = self.weight.shape[2:]
        return Windows((kh, kw), self.stride, self.padding, self.dilation)

    def run(self, input: Integers) -> Integers:
        """Return accumulators, array (n, c_out, oh, ow), of images (n, c_in, h, w).

        Raises:
            TypeError, ValueError: the input is no integer array of its format and of these channels.
        """
        self.input_format.check(input, "input")
        n_channels = self.weight.shape[1] * self.groups
        if input.ndim != 4 or input.shape[1] != n_channels:
            raise ValueError(f"input must have shape (n, {n_channels}, h, w), not {input.shape}")
        size = self._windows.output_size(*input.shape[2:])
        padded = self._windows.padded(self._centred(input), 0)
        if self.weight.shape[1] == 1 and self.groups > 1:
            sums = self._depthwise(padded, size)
        else:
            sums = self._by_columns(padded, size)
        return self._accumulators(sums.reshape(len(input), -1, *size), axis=1)

    def _depthwise(self, padded: NDArray[Any], size: Pair) -> NDArray[Any]:
        """Return sums, array (n, groups, c_out / groups, oh, ow): one scaled map a tap."""
        weight = self._matrix.reshape(self.groups, -1, *self.weight.shape[2:])
        sums = np.zeros((len(padded), *weight.shape[:2], *size), padded.dtype)
        for i, j, seen in self._windows.taps(padded, size):
            sums += weight[:, :, i, j, None, None] * seen[:, :, None]
        return sums

    def _by_columns(self, padded: NDArray[Any], size: Pair) -> NDArray[Any]:
        """Return sums, array (n, groups, c_out / groups, oh * ow): one matrix product a group."""
        weight = self._matrix.reshape(self.groups, len(self.weight) // self.groups, -1)
        sums = np.empty((len(padded), *weight.shape[:2], size[0] * size[1]), padded.dtype)
        step = max(1, _MAX_COLUMNS // (self.groups * weight.shape[2] * size[0] * size[1]))
        for start in range(0, len(padded), step):
            part = slice(start, start + step)
            np.matmul(weight, self._windows.columns(padded[part], self.groups), out=sums[part])
        return sums

    @cached_property
    def _matrix(self) -> NDArray[Any]:
        return self.weight.astype(self._type)


@dataclass(frozen=True, eq=False, kw_only=True)
class Linear(_Weighted):
    """Fully connected layer: sums of weight * (input - zero point), plus bias, as accumulators.

    Attributes:
        weight: array (n_out, n_in) of the weight format; symmetric, without a zero point.
        bias: array (n_out,) on the accumulators' scale, or None.
        input_format: of the inputs.
        weight_format: of the weights.
        output_format: of the accumulators.
        input_zero_point: the integer that stands for 0.0.

    Raises:
        ConfigError: attributes do not agree.
        AccumulatorTooNarrow: some input would overflow the accumulators.

    Example:
        >>> int4 = IntegerFormat(4)
        >>> layer = Linear(weight=np.array([[1, -2]]), bias=np.array([100]), input_format=int4, weight_format=int4)
        >>> layer.run(np.array([[7, -8]])).tolist()
        [[123]]
    """

    kind: ClassVar[str] = "linear"

    def _wrong(self) -> list[str]:
        return [] if self.weight.ndim == 2 else [f"weight must have shape (n_out, n_in), not {self.weight.shape}"]

    def run(self, input: Integers) -> Integers:
        """Return accumulators, array (..., n_out), of inputs (..., n_in).

        Raises:
            TypeError, ValueError: the input is no integer array of its format and of this size.
        """
        self.input_format.check(input, "input")
        if input.ndim < 1 or input.shape[-1] != self.weight.shape[1]:
            raise ValueError(f"input must have shape (..., {self.weight.shape[1]}), not {input.shape}")
        return self._accumulators(self._centred(input) @ self.weight.astype(self._type).T, axis=-1)
