"""Pools over images. An average is a sum here; the division by the number of elements is part of the requantiser behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from silicut.numerics.accumulators import check_accumulator, sum_bounds
from silicut.numerics.formats import IntegerFormat, Integers
from silicut.numerics.operators.convolution import ACCUMULATOR
from silicut.numerics.operators.windows import Padding, Pair, Windows
from silicut.records import ConfigError


def _images(values: Integers, format: IntegerFormat) -> Integers:
    format.check(values, "input")
    if values.ndim != 4:
        raise ValueError(f"input must have shape (n, c, h, w), not {values.shape}")
    return values


@dataclass(frozen=True, kw_only=True)
class SumPool2d:
    """The sum of (input - zero point) over each window: an average pool less its division.

    The average is made by the `Requantise` behind, whose factor holds 1 / (kh * kw). Padding counts as 0.0, which is the
    average pool that includes its padding.

    Attributes:
        kernel: height and width of a window; None for the whole map (global pool).
        input_format: of the images.
        output_format: of the sums.
        input_zero_point: the integer that stands for 0.0.
        stride: step between windows.
        padding: rows and columns added at the top, left, bottom and right.

    Raises:
        ConfigError: attributes do not agree.
        AccumulatorTooNarrow: a sum could overflow.

    Example:
        >>> pool = SumPool2d(kernel=None, input_format=IntegerFormat(4))
        >>> pool.run(np.array([[[[1, 2], [3, -8]]]])).tolist()
        [[[[-2]]]]
    """

    kind: ClassVar[str] = "sum_pool2d"

    kernel: Pair | None
    input_format: IntegerFormat
    output_format: IntegerFormat = ACCUMULATOR
    input_zero_point: int = 0
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        if not self.input_format.min <= self.input_zero_point <= self.input_format.max:
            zero_point, name = self.input_zero_point, self.input_format.name
            raise ConfigError(f"input_zero_point must be a number of {name}, not {zero_point}")
        if self.kernel is None:
            if self.stride != (1, 1) or any(self.padding):
                raise ConfigError("stride and padding must be left out where kernel is None (the whole map)")
        else:
            self._check(self._windows(self.kernel))

    @property
    def input_formats(self) -> tuple[IntegerFormat, ...]:
        """The format of its one input."""
        return (self.input_format,)

    def _windows(self, kernel: Pair) -> Windows:
        return Windows(kernel, self.stride, self.padding)

    def _check(self, windows: Windows) -> None:
        ones = np.ones((1, windows.kernel[0] * windows.kernel[1]), np.int64)
        low, high = (end - self.input_zero_point for end in (self.input_format.min, self.input_format.max))
        check_accumulator(sum_bounds(ones, low, high), self.output_format, "sum")

    def run(self, input: Integers) -> Integers:
        """Return sums, array (n, c, oh, ow), of images (n, c, h, w).

        Raises:
            TypeError, ValueError: the input is no integer array (n, c, h, w) of its format.
            AccumulatorTooNarrow: the whole map is too large for the output's format.
        """
        images = _images(input, self.input_format)
        windows = self._windows((images.shape[2], images.shape[3]) if self.kernel is None else self.kernel)
        self._check(windows)
        size = windows.output_size(*images.shape[2:])
        centred = images.astype(np.int64) - self.input_zero_point
        if self.kernel is None:
            return np.asarray(centred.sum(axis=(2, 3), keepdims=True), self.output_format.dtype)
        sums = np.zeros((*images.shape[:2], *size), np.int64)
        for _, _, seen in windows.taps(windows.padded(centred, 0), size):
            sums += seen
        return sums.astype(self.output_format.dtype)


@dataclass(frozen=True, kw_only=True)
class MaxPool2d:
    """The largest input of each window; padding never is it. Scale and zero point stay those of the input.

    Attributes:
        kernel: height and width of a window.
        input_format: of the images and of the result.
        stride: step between windows.
        padding: rows and columns added at the top, left, bottom and right, less than what a window covers.
        dilation: distance between the taps of a window.

    Raises:
        ConfigError: attributes do not agree.

    Example:
        >>> pool = MaxPool2d(kernel=(2, 2), input_format=IntegerFormat(4))
        >>> pool.run(np.array([[[[1, 2], [3, -8]]]])).tolist()
        [[[[3]]]]
    """

    kind: ClassVar[str] = "max_pool2d"

    kernel: Pair
    input_format: IntegerFormat
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    def __post_init__(self) -> None:
        (kh, kw), (dh, dw), (top, left, bottom, right) = self._windows.kernel, self.dilation, self.padding
        # Each window has a tap inside of the map only if the padding cannot hold it whole.
        if max(top, bottom) > (kh - 1) * dh or max(left, right) > (kw - 1) * dw:
            raise ConfigError(f"padding must be smaller than a window of {self._windows.extent}, not {self.padding}")

    @property
    def _windows(self) -> Windows:
        return Windows(self.kernel, self.stride, self.padding, self.dilation)

    @property
    def input_formats(self) -> tuple[IntegerFormat, ...]:
        """The format of its one input."""
        return (self.input_format,)

    @property
    def output_format(self) -> IntegerFormat:
        """That of the input."""
        return self.input_format

    def run(self, input: Integers) -> Integers:
        """Return maxima, array (n, c, oh, ow), of images (n, c, h, w).

        Raises:
            TypeError, ValueError: the input is no integer array (n, c, h, w) of its format.
        """
        windows, images = self._windows, _images(input, self.input_format).astype(self.output_format.dtype, copy=False)
        size = windows.output_size(*images.shape[2:])
        padded = windows.padded(images, self.input_format.min)
        largest = np.full((*images.shape[:2], *size), self.input_format.min, images.dtype)
        for _, _, seen in windows.taps(padded, size):
            np.maximum(largest, seen, out=largest)
        return largest
