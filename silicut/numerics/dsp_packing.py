"""Several small products from one hard multiplier of an FPGA (DSP48E1: 25x18 bits, DSP48E2: 27x18; 48-bit accumulator).

The wide port gets sum_i w_i 2^(o_i), the narrow one sum_j a_j 2^(q_j); the product is sum_ij w_i a_j 2^(o_i + q_j). Products
of equal offset add up in one *field*. Fields are signed, so a negative field borrows from the one above it, which is given
back when the accumulator is read:

- *drained*: a field is as wide as the distance to the next one, and only so many products may be accumulated as surely fit;
- *carries tracked*: a few LUTs predict the two lowest bits of each field; what the accumulator shows there differs by the
  carry from below, -1..1 a step. Carries are counted beside the multiplier, so only its 48 bits limit the accumulation.

Schemes: Xilinx WP486 (int8), WP521 (int4, two by two) and the lanes of FINN's matrix unit; limits derived here from the
formats alone and proven in the tests by one accumulation more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from silicut.numerics.formats import IntegerFormat, Integers, signed_bits
from silicut.numerics.rounding import wrapped
from silicut.records import ConfigError

ACCUMULATOR_BITS = 48
NARROW_PORT_BITS = 18
DSP48E1_PORT_BITS = 25
DSP48E2_PORT_BITS = 27

_INT8, _INT4, _INT4_NARROW, _UINT4 = (IntegerFormat.of(name) for name in ("int8", "int4", "int4_narrow", "uint4"))
_ACCUMULATOR = IntegerFormat(ACCUMULATOR_BITS)


@dataclass(frozen=True)
class DspPacking:
    """One way to share a multiplier.

    Attributes:
        wide_port_bits: 25 (DSP48E1) or 27 (DSP48E2).
        weight_format: of the numbers packed into the wide port.
        activation_format: of those in the 18-bit port.
        weight_offsets: the lowest bit of each weight in the wide port, increasing from 0.
        activation_offsets: the same in the 18-bit port.
        tracks_carries: whether carries are counted beside the multiplier.

    Raises:
        ConfigError: a packed operand exceeds its port, or fields are too narrow for a single accumulation.
    """

    wide_port_bits: int
    weight_format: IntegerFormat
    activation_format: IntegerFormat
    weight_offsets: tuple[int, ...]
    activation_offsets: tuple[int, ...] = (0,)
    tracks_carries: bool = False

    def __post_init__(self) -> None:
        problems = []
        for what, format, offsets, port_bits in (
            ("weights", self.weight_format, self.weight_offsets, self.wide_port_bits),
            ("activations", self.activation_format, self.activation_offsets, NARROW_PORT_BITS),
        ):
            needed = signed_bits(*(sum(end << offset for offset in offsets) for end in (format.min, format.max)))
            if needed > port_bits:
                problems.append(f"packed {what} must fit the port of {port_bits} bits, not need {needed} bits")
        if self.tracks_carries and max(self._largest_step_frac) > 1:
            problems.append("carries must be -1..1 a step, so the largest product must not exceed a field; widen the fields")
        if not problems and self.n_accumulations < 1:
            problems.append("fields must be wide enough for one accumulation; widen them")
        if problems:
            raise ConfigError(*problems)

    @cached_property
    def field_offsets(self) -> tuple[int, ...]:
        """The lowest bit of each field in the accumulator, increasing."""
        return tuple(sorted({o + q for o in self.weight_offsets for q in self.activation_offsets}))

    @cached_property
    def field_widths(self) -> tuple[int, ...]:
        """The width of each field: up to the next one, the last up to the end of the accumulator."""
        ends = (*self.field_offsets[1:], ACCUMULATOR_BITS)
        return tuple(end - start for start, end in zip(self.field_offsets, ends, strict=True))

    @property
    def _fields(self) -> list[tuple[int, int]]:
        return list(zip(self.field_offsets, self.field_widths, strict=True))

    @cached_property
    def products_per_field(self) -> tuple[int, ...]:
        """How many products add up in each field in one multiplication."""
        sums = [o + q for o in self.weight_offsets for q in self.activation_offsets]
        return tuple(sums.count(offset) for offset in self.field_offsets)

    @cached_property
    def _product_range(self) -> tuple[int, int]:
        w, a = self.weight_format, self.activation_format
        ends = [x * y for x in (w.min, w.max) for y in (a.min, a.max)]
        return min(ends), max(ends)

    @cached_property
    def _largest_step_frac(self) -> tuple[float, ...]:
        """How far one multiplication can move what lies below each field but the first, in units of that field."""
        largest = max(map(abs, self._product_range))
        below = [largest * n << o for n, o in zip(self.products_per_field, self.field_offsets, strict=True)]
        return tuple(sum(below[:i]) / (1 << offset) for i, offset in enumerate(self.field_offsets) if i)

    @cached_property
    def guard_bits(self) -> tuple[int, ...]:
        """How many bits each field has beyond those of the sum of one multiplication."""
        low, high = self._product_range
        needed = [signed_bits(low * n, high * n) for n in self.products_per_field]
        return tuple(width - bits for width, bits in zip(self.field_widths, needed, strict=True))

    @cached_property
    def n_accumulations(self) -> int:
        """How many multiplications may be accumulated before the result is read, whatever the operands."""
        low, high = self._product_range
        if self.tracks_carries:
            whole = sum(n << o for n, o in zip(self.products_per_field, self.field_offsets, strict=True))
            return _most(low * whole, high * whole, ACCUMULATOR_BITS)
        fields = zip(self.products_per_field, self.field_widths, strict=True)
        return min(_most(low * n, high * n, width) for n, width in fields)

    def pack(self, weights: Integers, activations: Integers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what the two ports get.

        Args:
            weights: array (..., n_weights) of the weight format.
            activations: array (..., n_activations) of the activation format.

        Raises:
            TypeError, ValueError: an operand is no integer, or outside of its format.
        """
        self.weight_format.check(weights, "weights")
        self.activation_format.check(activations, "activations")
        return _shifted(weights, self.weight_offsets).sum(-1), _shifted(activations, self.activation_offsets).sum(-1)

    def multiply_accumulate(self, weights: Integers, activations: Integers) -> NDArray[np.int64]:
        """Return the field sums that hardware reads after a run of multiplications.

        They equal `field_sums` for every run of at most `n_accumulations` steps; longer ones overflow for some operands.

        Args:
            weights: array (steps, n_weights).
            activations: array (steps, n_activations).

        Returns:
            Array (n_fields,), the lowest field first.

        Raises:
            TypeError, ValueError: an operand is no integer, or outside of its format.

        Example:
            >>> weights, activations = np.array([[-128, 127], [5, -6]]), np.array([[-128], [7]])
            >>> INT8_PAIR.multiply_accumulate(weights, activations).tolist()
            [16419, -16298]
        """
        wide, narrow = self.pack(weights, activations)
        accumulator = wrapped(np.cumsum(wide * narrow), _ACCUMULATOR)
        if not self.tracks_carries:
            return self._drained(accumulator[-1:])
        return self._corrected(accumulator, self.field_sums(weights & 3, activations & 3, is_running=True) & 3)

    def field_sums(self, weights: Integers, activations: Integers, is_running: bool = False) -> NDArray[np.int64]:
        """Return what each field should hold: the plain integer sums of products.

        Args:
            weights: array (steps, n_weights).
            activations: array (steps, n_activations).
            is_running: whether the sums after every step are wanted, array (steps, n_fields), instead of the last.
        """
        sums = np.zeros((len(weights), len(self.field_offsets)), np.int64)
        for i, o in enumerate(self.weight_offsets):
            for j, q in enumerate(self.activation_offsets):
                sums[:, self.field_offsets.index(o + q)] += weights[:, i].astype(np.int64) * activations[:, j]
        return np.cumsum(sums, axis=0) if is_running else sums.sum(axis=0)

    def _drained(self, accumulator: NDArray[np.int64]) -> NDArray[np.int64]:
        """Read fields from the lowest up, each as a signed number that is taken off what lies above."""
        fields, rest = [], accumulator
        for width in self.field_widths:
            fields.append(wrapped(rest, IntegerFormat(width)))
            rest = (rest - fields[-1]) >> width
        return np.concatenate(fields)

    def _corrected(self, accumulator: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.int64]:
        """Read fields with the carries counted from their two lowest bits.

        Args:
            accumulator: its content after every step.
            predicted: array (steps, n_fields): the fields' two lowest bits without carries, after every step.
        """
        shown = (accumulator[:, None] >> np.array(self.field_offsets)) & 3
        carries_mod_4 = np.diff((shown - predicted) & 3, axis=0, prepend=0)
        steps = ((carries_mod_4 + 1) & 3) - 1
        into: NDArray[np.int64] = steps.sum(axis=0)
        low_bits = [(int(accumulator[-1]) >> o) & ((1 << w) - 1) for o, w in self._fields]
        out_of = [int(carry) << width for carry, width in zip(into[1:], self.field_widths, strict=False)]
        top = int(accumulator[-1]) >> self.field_offsets[-1]
        fields = [*(low + out for low, out in zip(low_bits, out_of, strict=False)), top]
        return np.array(fields, np.int64) - into


def _shifted(numbers: Integers, offsets: tuple[int, ...]) -> NDArray[np.int64]:
    shifted: NDArray[np.int64] = numbers.astype(np.int64) << np.array(offsets)
    return shifted


def _most(low: int, high: int, bits: int) -> int:
    """Return how many numbers of low..high surely sum to a signed number of some bits."""
    half = 1 << (bits - 1)
    limits = [half // -low] if low < 0 else []
    return min([*limits, *([(half - 1) // high] if high > 0 else [])])


INT8_PAIR = DspPacking(DSP48E2_PORT_BITS, _INT8, _INT8, (0, 18))
"""Two int8 x int8 that share an operand (WP486): 7 accumulations; packed weights need 27 bits, so DSP48E2 only."""
INT8_PAIR_TRACKED = DspPacking(DSP48E1_PORT_BITS, _INT8, _INT8, (0, 16), tracks_carries=True)
"""The same on either slice with carries tracked, limited by the 48-bit accumulator alone."""
INT4_QUAD_E1 = DspPacking(DSP48E1_PORT_BITS, _INT4_NARROW, _UINT4, (0, 7, 14, 21), tracks_carries=True)
"""Four int4 x uint4 that share an activation on DSP48E1; weights -7..7."""
INT4_QUAD_E2_NARROW = DspPacking(DSP48E2_PORT_BITS, _INT4_NARROW, _UINT4, (0, 8, 16, 23), tracks_carries=True)
"""The same on DSP48E2 with wider fields; weights -7..7."""
INT4_QUAD_E2 = DspPacking(DSP48E2_PORT_BITS, _INT4, _UINT4, (0, 8, 15, 22), tracks_carries=True)
"""The same on DSP48E2 for all int4 weights."""
INT4_OUTER_11 = DspPacking(DSP48E2_PORT_BITS, _INT4, _UINT4, (0, 22), (0, 11))
"""Two int4 weights times two uint4 activations, all four products apart: 8 accumulations, DSP48E2 only."""
INT4_OUTER_10 = DspPacking(DSP48E1_PORT_BITS, _INT4, _UINT4, (0, 20), (0, 10))
"""The same on either slice: 4 accumulations."""
INT4_OUTER_9 = DspPacking(DSP48E1_PORT_BITS, _INT4, _UINT4, (0, 18), (0, 9))
"""The same on either slice: 2 accumulations."""
INT4_DOT_12 = DspPacking(DSP48E1_PORT_BITS, _INT4, _UINT4, (0, 12), (0, 12))
"""A dot product of length two in the middle field (weights in reverse order): 8 accumulations."""
INT4_DOT_11 = DspPacking(DSP48E1_PORT_BITS, _INT4, _UINT4, (0, 11), (0, 11))
"""The same: 4 accumulations."""
INT4_DOT_10 = DspPacking(DSP48E1_PORT_BITS, _INT4, _UINT4, (0, 10), (0, 10))
"""The same: 2 accumulations."""

DSP_PACKINGS: dict[str, DspPacking] = {
    "int8_pair": INT8_PAIR,
    "int8_pair_tracked": INT8_PAIR_TRACKED,
    "int4_quad_e1": INT4_QUAD_E1,
    "int4_quad_e2_narrow": INT4_QUAD_E2_NARROW,
    "int4_quad_e2": INT4_QUAD_E2,
    "int4_outer_11": INT4_OUTER_11,
    "int4_outer_10": INT4_OUTER_10,
    "int4_outer_9": INT4_OUTER_9,
    "int4_dot_12": INT4_DOT_12,
    "int4_dot_11": INT4_DOT_11,
    "int4_dot_10": INT4_DOT_10,
}
"""All packings by name."""
