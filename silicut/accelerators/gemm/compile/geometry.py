"""The windows of a layer: which input rows an output pixel needs, and how its elements fall into segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from silicut.accelerators.gemm.config import GRANULE

_GROUP = 8
"""Channels are cut at multiples of it where that is possible."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Windows over a map; pairs are (down, across).

    Attributes:
        size: of the input's map.
        output_size: how many windows lie on it.
        kernel: taps of a window.
        stride: step between windows.
        dilation: distance between taps.
        padding: rows above the map and columns left of it.
    """

    size: tuple[int, int]
    output_size: tuple[int, int]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    @property
    def n_pixels(self) -> int:
        """How many windows there are."""
        return self.output_size[0] * self.output_size[1]

    @property
    def extent(self) -> int:
        """The rows that a window covers."""
        return (self.kernel[0] - 1) * self.dilation[0] + 1

    def output_rows(self, pixels: range) -> range:
        """Return the rows in which output pixels lie."""
        return range(pixels.start // self.output_size[1], (pixels.stop - 1) // self.output_size[1] + 1)

    def input_rows(self, output_rows: range) -> range:
        """Return the rows of the map that windows of some output rows see; empty where they see padding alone."""
        first = output_rows.start * self.stride[0] - self.padding[0]
        last = (output_rows.stop - 1) * self.stride[0] - self.padding[0] + self.extent - 1
        return range(min(max(first, 0), self.size[0]), min(max(last + 1, 0), self.size[0]))

    def n_input_rows(self, n_output_rows: int) -> int:
        """Return how many input rows so many output rows need at most."""
        return min(self.size[0], (n_output_rows - 1) * self.stride[0] + self.extent)

    def n_output_rows(self, n_input_rows: int) -> int:
        """Return of how many output rows all windows surely lie in so many input rows."""
        if n_input_rows >= self.size[0]:
            return self.output_size[0]
        return max(0, (n_input_rows - self.extent) // self.stride[0] + 1)

    def rows_of_stripe(self, n_pixels: int) -> int:
        """Return over how many output rows a stripe of so many pixels spreads, stripes beginning at multiples of it."""
        width = self.output_size[1]
        starts = range(0, self.n_pixels, n_pixels)
        return max(len(self.output_rows(range(s, min(s + n_pixels, self.n_pixels)))) for s in starts[: width + 1])


@dataclass(frozen=True)
class PartShape:
    """One part of the slab table of a window unit.

    Attributes:
        n_channels: elements of each pixel that are read.
        is_whole: whether these are all of the slab's.
    """

    n_channels: int
    is_whole: bool

    def segments(self, geometry: Geometry) -> Iterator[int]:
        """Yield the elements of each of its segments."""
        kh, kw = geometry.kernel
        if self.is_whole and geometry.dilation[1] == 1:
            yield from [kw * self.n_channels] * kh
        else:
            yield from [self.n_channels] * (kh * kw)

    def pieces(self, most: int) -> tuple[int, ...]:
        """Return its channels cut so that each piece has at most so many, and that none is whole.

        Example:
            >>> PartShape(64, True).pieces(64), PartShape(24, False).pieces(16)
            ((32, 32), (16, 8))
        """
        n_pieces = max(-(-self.n_channels // most), 2 if self.is_whole else 1)
        size = -(-self.n_channels // n_pieces)
        if size > _GROUP and -(-size // _GROUP) * _GROUP <= most:
            size = -(-size // _GROUP) * _GROUP
        return tuple(min(size, self.n_channels - start) for start in range(0, self.n_channels, size))


def segments_of(parts: Sequence[PartShape], geometry: Geometry) -> tuple[int, ...]:
    """Return the elements of all segments of a window, in the order of the window unit."""
    return tuple(n for part in parts for n in part.segments(geometry))


def granules(n_elements: int) -> int:
    """Return how many granules hold so many elements."""
    return -(-n_elements // GRANULE)
