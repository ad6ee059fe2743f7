"""The arithmetic of the cores bit by bit, as hardware does it: slow, and the proof that the fast way gives the same.

The LUT core ANDs planes and counts ones, one word at a time, along the diagonals of plane pairs. The DSP core packs several
numbers into each port of a slice and takes products out of the fields of its 48-bit accumulator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.program.compute_instructions import SetProduct
from silicut.accelerators.gemm.simulate.machine import Sums
from silicut.accelerators.gemm.simulate.operands import Numbers
from silicut.accelerators.gemm.simulate.products import wrapped
from silicut.numerics import DSP_PACKINGS, DspPacking


@dataclass(frozen=True)
class BitTrue:
    """One way to build the arrays.

    Attributes:
        word_bits: of the LUT core.
        n_inputs: bytes of a word of the DSP core.
        packing_4bit, packing_8bit: names of the packings in `numerics.DSP_PACKINGS`.
    """

    word_bits: int = 32
    n_inputs: int = 4
    packing_4bit: str = "int4_dot_12"
    packing_8bit: str = "int8_pair"

    def lut(self, left: Numbers, right: Numbers, product: SetProduct) -> Sums:
        """Return left @ right.T from planes."""
        return diagonal_sums(left, right, product, self.word_bits)

    def dsp(self, left: Numbers, right: Numbers, product: SetProduct) -> Sums:
        """Return left @ right.T from packed products."""
        name = self.packing_4bit if product.lhs_bits == 4 else self.packing_8bit
        return packed_sums(left, right, DSP_PACKINGS[name], self.n_inputs * 8 // product.lhs_bits)


def diagonal_sums(left: Numbers, right: Numbers, product: SetProduct, word_bits: int) -> Sums:
    """Return left @ right.T as an array of the LUT core accumulates it.

    ::

        for diagonal in a + w - 2 ... 0:                       # p + q = diagonal
            acc = 2 * acc
            for p, q on the diagonal: for word in range(t_k):
                count = ones of (plane p of left AND plane q of right) in the word
                acc += -count if just one of p, q is the top plane of a signed number, else count

    Args:
        left, right: arrays (pixels, k) and (filters, k); k fills whole words.
        product: their formats.
        word_bits: bits of a word.
    """
    a, w = product.lhs_bits, product.rhs_bits
    lefts, rights = _planes(left, a, word_bits), _planes(right, w, word_bits)
    sums: Sums = np.zeros((len(left), len(right)), np.int64)
    for diagonal in reversed(range(a + w - 1)):
        sums = wrapped(2 * sums)
        for p in range(max(0, diagonal - w + 1), min(a, diagonal + 1)):
            q = diagonal - p
            is_negative = bool(product.lhs_signed and p == a - 1) != bool(product.rhs_signed and q == w - 1)
            for x, y in zip(lefts[p], rights[q], strict=True):
                count = (x[:, None] & y[None]).sum(axis=2, dtype=np.int64)
                sums = wrapped(sums - count if is_negative else sums + count)
    return sums


def _planes(numbers: Numbers, bits: int, word_bits: int) -> NDArray[np.bool_]:
    """Return the bits of numbers, array (planes, words, rows, word_bits)."""
    planes = np.stack([(numbers >> plane) & 1 for plane in range(bits)]).astype(bool)
    return planes.reshape(bits, len(numbers), -1, word_bits).transpose(0, 2, 1, 3)


def packed_sums(left: Numbers, right: Numbers, packing: DspPacking, n_word: int) -> Sums:
    """Return left @ right.T as columns of slices accumulate it, and adders behind them.

    A packing whose fields are all apart multiplies the activations of its narrow port (pixels) by the weights of its wide
    port (filters); one whose middle field is a dot product multiplies neighbouring elements of a row.

    Args:
        left: activations, array (pixels, k) of the packing's format; k fills whole words.
        right: weights, array (filters, k).
        packing: how slices are shared.
        n_word: elements of a word; each goes to a slice of its own.
    """
    n_steps = left.shape[1] // n_word
    activations = left.reshape(len(left), n_steps, n_word)
    weights = right.reshape(len(right), n_steps, n_word)
    sums = np.zeros((len(left), len(right)), np.int64)
    if max(packing.products_per_field) > 1:
        for pixel, row in enumerate(activations):
            for number, filter in enumerate(weights):
                sums[pixel, number] = _dot(row, filter, packing)
        return sums
    n_pixels, n_filters = len(packing.activation_offsets), len(packing.weight_offsets)
    for pixel in range(0, len(left), n_pixels):
        for number in range(0, len(right), n_filters):
            xs, ws = activations[pixel : pixel + n_pixels], weights[number : number + n_filters]
            sums[pixel : pixel + n_pixels, number : number + n_filters] = _outer(xs, ws, packing)
    return sums


def _dot(row: Numbers, filter: Numbers, packing: DspPacking) -> int:
    """Return the sum over a row, array (steps, elements), two neighbouring elements a slice."""
    middle = packing.products_per_field.index(2)
    total = 0
    for i in range(0, row.shape[1], 2):
        # The weights lie in reverse order, so that the middle field adds equal positions.
        total += int(_run(filter[:, [i + 1, i]], row[:, [i, i + 1]], packing)[middle])
    return total


def _outer(xs: Numbers, ws: Numbers, packing: DspPacking) -> Sums:
    """Return the sums of some pixels, array (pixels, steps, elements), by some filters; an element a slice."""
    n_pixels, n_filters = len(packing.activation_offsets), len(packing.weight_offsets)
    total = np.zeros((n_pixels, n_filters), np.int64)
    for i in range(xs.shape[2]):
        activations, weights = _filled(xs[:, :, i].T, n_pixels), _filled(ws[:, :, i].T, n_filters)
        fields = _run(weights, activations, packing)
        for j, q in enumerate(packing.activation_offsets):
            for f, o in enumerate(packing.weight_offsets):
                total[j, f] += fields[packing.field_offsets.index(o + q)]
    return total[: len(xs), : len(ws)]


def _filled(numbers: Numbers, n: int) -> Numbers:
    """Return columns of numbers, zeros behind them up to n columns."""
    return np.pad(numbers, ((0, 0), (0, n - numbers.shape[1])))


def _run(weights: Numbers, activations: Numbers, packing: DspPacking) -> NDArray[np.int64]:
    """Return the sums of all fields of a slice over all steps, read out as often as the packing needs."""
    parts = [packing.multiply_accumulate(weights[s], activations[s]) for s in _runs(len(weights), packing)]
    return np.sum(parts, axis=0)  # type: ignore[no-any-return]


def _runs(n_steps: int, packing: DspPacking) -> Iterator[slice]:
    for start in range(0, n_steps, packing.n_accumulations):
        yield slice(start, min(start + packing.n_accumulations, n_steps))
