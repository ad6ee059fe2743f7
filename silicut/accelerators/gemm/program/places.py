"""Where tensors lie in DRAM: slabs of channels, row by row, as bit planes. One layout serves both cores.

Row y of a slab is the sequence of elements e = x * pitch + c, cut into granules of 64. A granule is `bits` words of 64 bits,
one for each plane, the lowest first; number i of the granule is bit i of each of them. The LUT core reads planes as they
are; `bits` neighbouring words transposed are 64 numbers for the DSP core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import GRANULE
from silicut.numerics import IntegerFormat, Integers

Words = NDArray[np.uint64]


def row_words(n_elements: int, bits: int) -> int:
    """Return how many words a row of some elements takes.

    Example:
        >>> row_words(56 * 64, bits=4), row_words(65, bits=8)
        (224, 16)
    """
    return -(-n_elements // GRANULE) * bits


def pack_rows(rows: Integers, bits: int) -> Words:
    """Return rows of elements as words, the lowest `bits` bits of each.

    Args:
        rows: array (n_rows, n_elements).
        bits: planes, 1..8.

    Returns:
        Array (n_rows, row_words).

    Example:
        >>> pack_rows(np.array([[1, 2, 3]]), bits=2).tolist()
        [[5, 6]]
    """
    n_rows, n = rows.shape
    n_granules = -(-n // GRANULE)
    padded = np.zeros((n_rows, n_granules * GRANULE), np.uint8)
    padded[:, :n] = rows.astype(np.uint8)
    planes = [np.packbits((padded >> plane) & 1, axis=1, bitorder="little").view("<u8") for plane in range(bits)]
    return np.stack(planes, axis=2).reshape(n_rows, n_granules * bits).astype(np.uint64)


def unpack_rows(words: Words, bits: int, is_signed: bool) -> NDArray[np.int16]:
    """Return the elements of rows of words: the inverse of `pack_rows`, whole granules.

    Args:
        words: array (n_rows, row_words).
        bits: planes, 1..8.
        is_signed: whether elements are two's complement.

    Returns:
        Array (n_rows, 64 * granules).
    """
    n_rows = len(words)
    planes = np.ascontiguousarray(words.astype("<u8", copy=False).reshape(n_rows, -1, bits).transpose(2, 0, 1))
    bytes_ = np.unpackbits(planes.view(np.uint8), bitorder="little").reshape(bits, n_rows, -1)
    total = np.zeros(bytes_.shape[1:], np.int16)
    for plane in range(bits):
        weight = -(1 << plane) if is_signed and plane == bits - 1 else 1 << plane
        total += bytes_[plane] * np.int16(weight)
    return total


@dataclass(frozen=True, kw_only=True)
class Slab:
    """Some channels of a tensor, side by side in DRAM.

    Attributes:
        channels: the tensor's channels in the order in which they lie, -1 for an element that means nothing; neither do
            those beyond them.
        pitch: elements of a pixel, at least len(channels).
        address: of the first word.
    """

    channels: tuple[int, ...]
    pitch: int
    address: int

    @property
    def _held(self) -> tuple[list[int], list[int]]:
        """The elements of a pixel that mean something, and the channels that they are."""
        pairs = [(i, channel) for i, channel in enumerate(self.channels) if channel >= 0]
        return [i for i, _ in pairs], [channel for _, channel in pairs]

    def gather(self, image: Integers) -> NDArray[np.int16]:
        """Return the pixels of the slab, array (h, w, pitch), of an image (c, h, w); 0 where nothing is meant."""
        elements, channels = self._held
        pixels = np.zeros((*image.shape[1:], self.pitch), np.int16)
        pixels[:, :, elements] = image[channels].transpose(1, 2, 0)
        return pixels

    def scatter(self, pixels: Integers, image: Integers) -> None:
        """Put pixels of the slab, array (h, w, pitch), into their channels of an image (c, h, w)."""
        elements, channels = self._held
        image[channels] = pixels[:, :, elements].transpose(2, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Unrolled:
    """A network input whose pixels hold the columns of a window: what the host does for a first layer of few channels.

    Pixel (y, x) of the packed map has the elements (i, c) of rows y * stride - pad_top + i, i = 0..n_taps-1, at column x.
    A convolution of n_taps x kw over it is one of 1 x kw: long segments, no padding of channels.

    Attributes:
        n_taps: rows of a window.
        stride: rows between windows.
        pad_top: rows above the map.
        n_rows: rows of the packed map.
        pad_value: what rows outside of the map hold.
    """

    n_taps: int
    stride: int
    pad_top: int
    n_rows: int
    pad_value: int = 0

    def packed(self, image: Integers) -> Integers:
        """Return the packed map, array (n_taps * c, n_rows, w), of an image (c, h, w)."""
        c, h, w = image.shape
        y = np.arange(self.n_rows)[None, :] * self.stride - self.pad_top + np.arange(self.n_taps)[:, None]
        seen = image[:, np.clip(y, 0, h - 1)]
        seen = np.where(((y >= 0) & (y < h))[None, :, :, None], seen, self.pad_value)
        return np.ascontiguousarray(seen.transpose(1, 0, 2, 3)).reshape(self.n_taps * c, self.n_rows, w)


@dataclass(frozen=True, kw_only=True)
class TensorPlace:
    """Where a tensor of one image lies.

    Attributes:
        shape: channels, height, width; a vector has height and width 1.
        format: name of the number format, at most 8 bits.
        slabs: every channel lies in exactly one of them.
        unrolled: how the host packs it, None for rows as they are. Slabs then name channels i * c + channel.
    """

    shape: tuple[int, int, int]
    format: str
    slabs: tuple[Slab, ...]
    unrolled: Unrolled | None = None

    @property
    def number_format(self) -> IntegerFormat:
        """The number format."""
        return IntegerFormat.of(self.format)

    @property
    def packed_shape(self) -> tuple[int, int, int]:
        """The shape of the map that lies in DRAM."""
        if self.unrolled is None:
            return self.shape
        return self.shape[0] * self.unrolled.n_taps, self.unrolled.n_rows, self.shape[2]

    def slab_words(self, slab: Slab) -> int:
        """Return how many words a slab takes."""
        _, height, width = self.packed_shape
        return height * row_words(width * slab.pitch, self.number_format.bits)

    def write(self, memory: Words, image: Integers) -> list[tuple[int, int]]:
        """Put an image into memory as the host does.

        Args:
            memory: array of words, changed in place.
            image: array of `shape`, of the format.

        Returns:
            (address, n_words) of every part that was written.

        Raises:
            TypeError, ValueError: the image is no integer array of this shape and format.
        """
        self.number_format.check(image, "image")
        if image.shape != self.shape:
            raise ValueError(f"image must have shape {self.shape}, not {image.shape}")
        packed = image if self.unrolled is None else self.unrolled.packed(image)
        parts = []
        for slab in self.slabs:
            pixels = slab.gather(packed)
            words = pack_rows(pixels.reshape(len(pixels), -1), self.number_format.bits).reshape(-1)
            memory[slab.address : slab.address + len(words)] = words
            parts.append((slab.address, len(words)))
        return parts

    def read(self, memory: Words) -> NDArray[Any]:
        """Return the tensor, array of `shape` in the type of its format.

        Raises:
            ValueError: it is unrolled, which only inputs are, or lies outside of the memory.
        """
        if self.unrolled is not None:
            raise ValueError("an unrolled tensor must not be read back; read the image it was made from")
        format, (_, height, width) = self.number_format, self.shape
        image = np.zeros(self.shape, format.dtype)
        for slab in self.slabs:
            n_words = self.slab_words(slab)
            words = memory[slab.address : slab.address + n_words]
            if len(words) < n_words:
                raise ValueError(f"memory must hold words {slab.address}..{slab.address + n_words - 1}, not {len(memory)}")
            elements = unpack_rows(words.reshape(height, -1), format.bits, format.is_signed)
            slab.scatter(elements[:, : width * slab.pitch].reshape(height, width, slab.pitch), image)
        return image
