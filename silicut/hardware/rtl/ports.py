"""Ports of a component, and their values as arrays of numbers and as words of a compiled model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data
from amaranth.lib.wiring import In
from numpy.typing import ArrayLike, NDArray

CHUNK_BITS = 32
"""Models hold values in chunks of so many bits, the lowest first."""

Chunks = NDArray[np.uint32]


@dataclass(frozen=True)
class Port:
    """A port, which carries one number or an array of equal ones in each cycle.

    Attributes:
        name: as in RTLIL and Verilog.
        is_input: its direction.
        bits: of a number.
        is_signed: numbers are two's complement.
        shape: axes of the array, () for a single number; the last axis varies fastest from the lowest bit up.

    Numbers of more than 64 bits, and structures of more, are arrays of 64-bit words, one more axis, the lowest first.
    """

    name: str
    is_input: bool
    bits: int
    is_signed: bool = False
    shape: tuple[int, ...] = ()

    @property
    def n_chunks(self) -> int:
        """Chunks of a cycle's value."""
        return -(-self.bits * int(np.prod(self.shape)) // CHUNK_BITS)

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of a cycle's value."""
        return self.shape if self.bits <= 64 else (*self.shape, -(-self.bits // 64))

    def to_chunks(self, values: ArrayLike) -> Chunks:
        """Return values, array (cycles, *axes), as chunks, array (cycles, n_chunks).

        Raises:
            ValueError: a number does not fit, or the array has other axes.
        """
        numbers = np.asarray(values)
        if numbers.shape[1:] != self.axes:
            raise ValueError(f"{self.name} must have axes (cycles, {self.axes}), not {numbers.shape}")
        self._check(numbers)
        bits = _bits_of(numbers, min(self.bits, 64)).reshape(len(numbers), *self.shape, -1)[..., : self.bits]
        flat = bits.reshape(len(numbers), -1)
        padded = np.zeros((len(numbers), self.n_chunks * CHUNK_BITS), np.uint8)
        padded[:, : flat.shape[1]] = flat
        return np.packbits(padded, axis=1, bitorder="little").view("<u4")

    def _check(self, numbers: NDArray[Any]) -> None:
        if self.bits >= 64 or not numbers.size:
            return
        low, high = (-(1 << self.bits - 1), (1 << self.bits - 1) - 1) if self.is_signed else (0, (1 << self.bits) - 1)
        if numbers.min() < low or numbers.max() > high:
            raise ValueError(f"{self.name} must be {low}..{high}, not {numbers.min()}..{numbers.max()}")

    def from_chunks(self, chunks: Chunks) -> NDArray[Any]:
        """Return the values of chunks: the inverse of `to_chunks`; int64, or uint64 for 64 bits and more without sign."""
        flat = np.unpackbits(np.ascontiguousarray(chunks).view(np.uint8), axis=1, bitorder="little")
        used = flat[:, : self.bits * int(np.prod(self.shape))].reshape(len(chunks), *self.shape, self.bits)
        words = np.zeros((*used.shape[:-1], -(-self.bits // 64) * 64), np.uint8)
        words[..., : self.bits] = used
        numbers = np.packbits(words, axis=-1, bitorder="little").view("<u8")
        if self.bits > 64:
            return numbers
        if self.bits == 64 and not self.is_signed:
            return numbers[..., 0]
        unused = 64 - self.bits
        signed = numbers[..., 0].view(np.int64)
        return (signed << unused) >> unused if self.is_signed else signed


def _bits_of(numbers: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return the low bits of integers, array (..., bits)."""
    unsigned = numbers if numbers.dtype == np.uint64 else numbers.astype(np.int64).view(np.uint64)
    eight = np.ascontiguousarray(unsigned)[..., None].view(np.uint8)
    return np.unpackbits(eight, axis=-1, bitorder="little")[..., :bits]


def ports_of(component: Any) -> tuple[Port, ...]:
    """Return the ports of a component's signature, in its order; clock and reset are not among them."""
    ports = []
    for path, member, _ in component.signature.flatten(component):
        shape, axes = member.shape, []
        while isinstance(shape, data.ArrayLayout):
            axes.append(shape.length)
            shape = shape.elem_shape
        cast = Shape.cast(shape)
        ports.append(Port("__".join(map(str, path)), member.flow == In, cast.width, cast.signed, tuple(axes)))
    return tuple(ports)
