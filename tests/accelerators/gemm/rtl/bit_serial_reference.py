"""Words, steps and sums of the bit-serial array, written from the definition of plane pairs and from integer products."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tile:
    """One tile, or one part of a tile's sum.

    Attributes:
        left, right: integers, arrays (rows, k) and (columns, k); k fills words.
        bits, signed: pairs: of left and right.
        adds: whether the sum goes on top of the part before.
    """

    left: np.ndarray
    right: np.ndarray
    bits: tuple[int, int]
    signed: tuple[bool, bool]
    adds: bool = False

    def n_words(self, word_bits):
        return self.left.shape[1] // word_bits

    def n_cycles(self, word_bits):
        return self.n_words(word_bits) * self.bits[0] * self.bits[1]


def random_tile(rng, shape, word_bits, *, bits=None, signed=None, n_words=None, extreme=False, adds=False):
    """Return a tile of (rows, columns)."""
    bits = bits or tuple(int(b) for b in rng.integers(1, 9, 2))
    signed = signed if signed is not None else tuple(bool(s) for s in rng.integers(0, 2, 2))
    k = word_bits * (n_words or int(rng.integers(1, 4)))
    operands = []
    for n, width, is_signed in zip(shape, bits, signed, strict=True):
        low, high = (-(1 << width - 1), (1 << width - 1) - 1) if is_signed else (0, (1 << width) - 1)
        numbers = rng.integers(low, high + 1, (n, k))
        operands.append(np.full_like(numbers, low if is_signed else high) if extreme else numbers)
    return Tile(*operands, bits, signed, adds)


def pairs(a, w):
    """Return the plane pairs in the order of their visit."""
    return [(p, d - p) for d in range(a + w - 2, -1, -1) for p in range(a) if 0 <= d - p < w]


def steps(tile, word_bits):
    """Return (p, q, word, is_first, shifts, negates, is_last) for each cycle of a tile."""
    (a, w), n, found, before = tile.bits, tile.n_words(word_bits), [], None
    for p, q in pairs(a, w):
        for word in range(n):
            shifts = word == 0 and before is not None and before != p + q
            negates = (tile.signed[0] and p == a - 1) != (tile.signed[1] and q == w - 1)
            found.append([p, q, word, not found, shifts, negates, False])
        before = p + q
    found[-1][-1] = True
    return found


def plane_words(numbers, plane, word, word_bits):
    """Return one word of a plane of each row, as a port takes it."""
    bits = (numbers[:, word * word_bits : (word + 1) * word_bits] >> plane) & 1
    return port_words(bits)


def port_words(bits):
    """Return arrays (..., n) of bits as numbers of up to 64 bits, or as 64-bit words."""
    n = bits.shape[-1]
    padded = np.zeros((*bits.shape[:-1], -(-n // 64) * 64), np.uint8)
    padded[..., :n] = bits
    words = np.packbits(padded, axis=-1, bitorder="little").view("<u8")
    return words[..., 0] if n <= 64 else words


def wrapped(numbers):
    return numbers.astype(np.int32).astype(np.int64)


def finished(tiles):
    """Return the sums that each tile leaves in its bank."""
    sums, total = [], 0
    for tile in tiles:
        product = tile.left @ tile.right.T
        total = wrapped(total + product) if tile.adds else wrapped(product)
        sums.append(total)
    return sums
