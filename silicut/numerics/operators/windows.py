"""Where the windows of convolutions and pools lie on a map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from silicut.records import ConfigError

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


@dataclass(frozen=True)
class Windows:
    """The geometry of sliding windows over images (n, c, h, w).

    Attributes:
        kernel: height and width.
        stride: step between windows, down and to the right.
        padding: rows and columns added at the top, left, bottom and right (the order of ONNX).
        dilation: distance between the taps of a window.

    Raises:
        ConfigError: a number is out of range.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    def __post_init__(self) -> None:
        problems = []
        for what in ("kernel", "stride", "dilation"):
            numbers = getattr(self, what)
            if len(numbers) != 2 or min(numbers) < 1:
                problems.append(f"{what} must be two numbers of at least 1, not {numbers}")
        if len(self.padding) != 4 or min(self.padding) < 0:
            problems.append(f"padding must be four numbers of at least 0 (top, left, bottom, right), not {self.padding}")
        if problems:
            raise ConfigError(*problems)

    @property
    def extent(self) -> Pair:
        """The height and width that a window covers."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1

    def output_size(self, height: int, width: int) -> Pair:
        """Return how many windows lie on a map, down and to the right.

        Raises:
            ValueError: the padded map is smaller than a window.

        Example:
            >>> Windows((3, 3), stride=(2, 2), padding=(1, 1, 1, 1)).output_size(224, 224)
            (112, 112)
        """
        top, left, bottom, right = self.padding
        room = (top + height + bottom - self.extent[0], left + width + right - self.extent[1])
        if min(room) < 0:
            raise ValueError(
                f"the input's map must hold a window of {self.extent} with its padding, not be {(height, width)}"
            )
        return room[0] // self.stride[0] + 1, room[1] // self.stride[1] + 1

    def padded(self, images: Array, value: int) -> Array:
        """Return images with the padding filled by a value; the same array where there is none."""
        top, left, bottom, right = self.padding
        if not any(self.padding):
            return images
        return np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)

    def taps(self, padded: Array, size: Pair) -> Iterator[tuple[int, int, Array]]:
        """Yield row, column and the view (n, c, *size) of what each tap of the kernel sees."""
        (sh, sw), (dh, dw) = self.stride, self.dilation
        for i, j in product(range(self.kernel[0]), range(self.kernel[1])):
            rows = slice(i * dh, i * dh + (size[0] - 1) * sh + 1, sh)
            columns = slice(j * dw, j * dw + (size[1] - 1) * sw + 1, sw)
            yield i, j, padded[:, :, rows, columns]

    def columns(self, padded: Array, groups: int) -> Array:
        """Return the windows as matrices, array (n, groups, c / groups * kernel, windows): "im2col"."""
        n, c = padded.shape[:2]
        (sh, sw), (dh, dw) = self.stride, self.dilation
        view = sliding_window_view(padded, self.extent, axis=(2, 3))[:, :, ::sh, ::sw, ::dh, ::dw]
        n_windows = view.shape[2] * view.shape[3]
        return view.transpose(0, 1, 4, 5, 2, 3).reshape(n, groups, c // groups * self.kernel[0] * self.kernel[1], n_windows)
