"""Operators on single numbers: requantise, add, multiply, lookup, clamp."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import EllipsisType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from silicut.numerics.factors import MULTIPLIER_BITS, encode_factors, encode_together, largest_magnitude, scaled
from silicut.numerics.formats import IntegerFormat, Integers
from silicut.numerics.operators.convolution import ACCUMULATOR
from silicut.numerics.quantisation import Quantisation, dequantise, quantise
from silicut.numerics.rounding import MAX_SHIFT, Rounding, fit, shift_right
from silicut.records import AccumulatorTooNarrow, ConfigError

_INT64 = IntegerFormat(64)
_MAX_TABLE_BITS = 16
_MAX_PART = 2**15


@dataclass(frozen=True, eq=False, kw_only=True)
class Requantise:
    """Accumulators as numbers of a format: saturate(round((input - zero point) * multiplier / 2^shift) + zero point).

    An output format that starts at its zero point makes it a ReLU at no cost.

    Attributes:
        multiplier: array (1,), or (c,) with one for each channel; positive.
        shift: array of the same shape; 0..62.
        input_format: of the accumulators.
        output_format: of the result.
        input_zero_point: the integer that stands for 0.0 in the input; accumulators have 0.
        output_zero_point: the same in the output.
        rounding: what becomes of fractions.
        axis: of the channels.

    Raises:
        ConfigError: attributes do not agree, or a product could exceed int64.

    Example:
        >>> uint8 = IntegerFormat(8, is_signed=False)
        >>> step = Requantise.by([0.5, 0.25], input_format=IntegerFormat(32), output_format=uint8)
        >>> step.run(np.array([[-9, 9], [10, 9999]])).tolist()
        [[0, 2], [5, 255]]
    """

    kind: ClassVar[str] = "requantise"

    multiplier: Integers
    shift: Integers
    input_format: IntegerFormat
    output_format: IntegerFormat
    input_zero_point: int = 0
    output_zero_point: int = 0
    rounding: Rounding = Rounding.HALF_EVEN
    axis: int = 1

    def __post_init__(self) -> None:
        _INT64.check(self.multiplier, "multiplier")
        _INT64.check(self.shift, "shift")
        problems = _wrong_zero_points(self)
        if self.multiplier.ndim != 1 or self.multiplier.shape != self.shift.shape or not self.multiplier.size:
            shapes = f"{self.multiplier.shape} and {self.shift.shape}"
            problems.append(f"multiplier and shift must be arrays of one number or one a channel, not of shapes {shapes}")
        elif self.multiplier.min() < 1 or self.shift.min() < 0 or self.shift.max() > MAX_SHIFT:
            problems.append(f"multiplier must be positive and shift 0..{MAX_SHIFT}")
        else:
            reach = self.largest_input * largest_magnitude(self.multiplier)
            if reach >= 2**63:
                problems.append(f"products must fit int64, not reach {reach}; take narrower multipliers or accumulators")
        if problems:
            raise ConfigError(*problems)

    @classmethod
    def by(
        cls, factors: Iterable[float | Fraction], multiplier_bits: int = MULTIPLIER_BITS, **attributes: Any
    ) -> Requantise:
        """Return the requantiser that comes closest to real factors, one for all or one for each channel.

        Args:
            factors: input scale over output scale.
            multiplier_bits: width of the multipliers as signed numbers.
            attributes: the others.
        """
        multiplier, shift = encode_factors(factors, multiplier_bits)
        return cls(multiplier=multiplier, shift=shift, **attributes)

    @property
    def largest_input(self) -> int:
        """The largest magnitude of an input less its zero point."""
        ends = (self.input_format.min, self.input_format.max)
        return max(abs(end - self.input_zero_point) for end in ends)

    @property
    def input_formats(self) -> tuple[IntegerFormat, ...]:
        """The format of its one input."""
        return (self.input_format,)

    def run(self, input: Integers) -> Integers:
        """Return numbers of the output format, in the shape of the input.

        Raises:
            TypeError, ValueError: the input is no integer array of its format and of these channels.
        """
        self.input_format.check(input, "input")
        multiplier, shift = (self._along_axis(numbers, input) for numbers in (self.multiplier, self.shift))
        result = np.empty(input.shape, self.output_format.dtype)
        for part in _parts(input, can_split=self.axis > 0 or len(self.multiplier) == 1):
            products = scaled(input[part].astype(np.int64) - self.input_zero_point, multiplier, shift, self.rounding)
            result[part] = fit(products + self.output_zero_point, self.output_format)
        return result

    def _along_axis(self, numbers: Integers, values: Integers) -> NDArray[np.int64]:
        shape = [1] * values.ndim
        if len(numbers) > 1:
            if values.ndim <= self.axis or values.shape[self.axis] != len(numbers):
                raise ValueError(f"input must have {len(numbers)} channels along axis {self.axis}, not shape {values.shape}")
            shape[self.axis] = len(numbers)
        return numbers.astype(np.int64).reshape(shape)


def _parts(values: Integers, can_split: bool) -> Iterator[slice | EllipsisType]:
    """Yield indices of parts along the first axis that are small enough to stay near the processor."""
    if not can_split or values.ndim == 0 or values.size <= _MAX_PART:
        yield ...
        return
    step = max(1, _MAX_PART * len(values) // values.size)
    yield from (slice(start, start + step) for start in range(0, len(values), step))


def _wrong_zero_points(operator: Any) -> list[str]:
    return [
        f"{end}_zero_point must be a number of {format.name}, not {zero}"
        for end in ("input", "output")
        if not (format := getattr(operator, f"{end}_format")).min
        <= (zero := getattr(operator, f"{end}_zero_point"))
        <= format.max
    ]


@dataclass(frozen=True, kw_only=True)
class Add:
    """Two tensors of different scales, rounded once: saturate(round(sum_i (x_i - z_i) * m_i / 2^shift) + zero point).

    Attributes:
        input_formats: of the two inputs.
        multipliers: one for each input, positive.
        shift: common to both, 0..62.
        output_format: of the result.
        input_zero_points: the integers that stand for 0.0 in the inputs.
        output_zero_point: the same in the output.
        rounding: what becomes of fractions.

    Raises:
        ConfigError: attributes do not agree, or a sum could exceed int64.

    Example:
        >>> int8 = IntegerFormat(8)
        >>> add = Add.by((1.0, 0.25), input_formats=(int8, int8), output_format=int8)
        >>> add.run(np.array([100, 3]), np.array([127, 2])).tolist()
        [127, 4]
    """

    kind: ClassVar[str] = "add"

    input_formats: tuple[IntegerFormat, IntegerFormat]
    multipliers: tuple[int, int]
    shift: int
    output_format: IntegerFormat
    input_zero_points: tuple[int, int] = (0, 0)
    output_zero_point: int = 0
    rounding: Rounding = Rounding.HALF_EVEN

    def __post_init__(self) -> None:
        problems = [
            f"input_zero_points must be numbers of {format.name}, not {zero}"
            for format, zero in zip(self.input_formats, self.input_zero_points, strict=True)
            if not format.min <= zero <= format.max
        ]
        if not self.output_format.min <= self.output_zero_point <= self.output_format.max:
            problems.append(f"output_zero_point must be a number of {self.output_format.name}, not {self.output_zero_point}")
        if min(self.multipliers) < 1 or not 0 <= self.shift <= MAX_SHIFT:
            problems.append(
                f"multipliers must be positive and shift 0..{MAX_SHIFT}, not {self.multipliers} and {self.shift}"
            )
        if self._reach >= 2**63:
            problems.append(f"sums must fit int64, not reach {self._reach}; take narrower multipliers")
        if problems:
            raise ConfigError(*problems)

    @classmethod
    def by(
        cls, factors: tuple[float | Fraction, float | Fraction], multiplier_bits: int = MULTIPLIER_BITS, **attributes: Any
    ) -> Add:
        """Return the addition that comes closest to real factors, each input scale over the output scale.

        Args:
            factors: one for each input.
            multiplier_bits: width of the multipliers as signed numbers.
            attributes: the others.
        """
        multipliers, shift = encode_together(factors, multiplier_bits)
        return cls(multipliers=(multipliers[0], multipliers[1]), shift=shift, **attributes)

    @property
    def _reach(self) -> int:
        parts = zip(self.input_formats, self.input_zero_points, self.multipliers, strict=True)
        return sum(m * max(abs(f.min - z), abs(f.max - z)) for f, z, m in parts)

    def run(self, input: Integers, other: Integers) -> Integers:
        """Return numbers of the output format; shapes follow NumPy's rules of broadcasting.

        Raises:
            TypeError, ValueError: an input is no integer array of its format, or shapes do not agree.
        """
        for values, format in zip((input, other), self.input_formats, strict=True):
            format.check(values, "input")
        if input.shape != other.shape:
            return self._sum(input, other)
        result = np.empty(input.shape, self.output_format.dtype)
        for part in _parts(input, can_split=True):
            result[part] = self._sum(input[part], other[part])
        return result

    def _sum(self, input: Integers, other: Integers) -> Integers:
        (y, z), (m, n) = self.input_zero_points, self.multipliers
        total = (input.astype(np.int64) - y) * m + (other.astype(np.int64) - z) * n
        return fit(shift_right(total, self.shift, self.rounding) + self.output_zero_point, self.output_format)


@dataclass(frozen=True, kw_only=True)
class Multiply:
    """Products of two tensors, (input - zero point) * (other - zero point), as accumulators.

    Attributes:
        input_formats: of the two inputs.
        output_format: of the products.
        input_zero_points: the integers that stand for 0.0 in the inputs.

    Raises:
        AccumulatorTooNarrow: a product could overflow.

    Example:
        >>> gate = Multiply(input_formats=(IntegerFormat(8), IntegerFormat(8, is_signed=False)))
        >>> gate.run(np.array([[-128, 5]]), np.array([[255]])).tolist()
        [[-32640, 1275]]
    """

    kind: ClassVar[str] = "multiply"

    input_formats: tuple[IntegerFormat, IntegerFormat]
    output_format: IntegerFormat = ACCUMULATOR
    input_zero_points: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        (a, b), (y, z) = self.input_formats, self.input_zero_points
        ends = [(p - y) * (q - z) for p in (a.min, a.max) for q in (b.min, b.max)]
        if min(ends) < self.output_format.min or max(ends) > self.output_format.max:
            needed = IntegerFormat.holding(min(ends), max(ends)).name
            raise AccumulatorTooNarrow(
                f"product: it can reach {min(ends)}..{max(ends)}, which needs {needed}, not {self.output_format.name}; "
                "widen the accumulator or narrow the inputs"
            )

    def run(self, input: Integers, other: Integers) -> Integers:
        """Return accumulators; shapes follow NumPy's rules of broadcasting.

        Raises:
            TypeError, ValueError: an input is no integer array of its format, or shapes do not agree.
        """
        (a, b), (y, z) = self.input_formats, self.input_zero_points
        left = a.check(input, "input").astype(np.int64) - y
        right = b.check(other, "input").astype(np.int64) - z
        return (left * right).astype(self.output_format.dtype)


@dataclass(frozen=True, eq=False, kw_only=True)
class Lookup:
    """Any function of one number by a table of all its values (sigmoid, SiLU, GELU ...).

    Attributes:
        table: array (levels of the input format,) of the output format: entry k for the k-th smallest input.
        input_format: of at most 16 bits.
        output_format: of the entries.

    Raises:
        ConfigError: the table has another size, or the input is too wide.
        ValueError: an entry is outside of the output's format.

    Example:
        >>> int2 = IntegerFormat(2)
        >>> Lookup(table=np.array([5, 6, 7, 4]), input_format=int2, output_format=IntegerFormat(4)).run(np.array([-2, 1]))
        array([5, 4], dtype=int8)
    """

    kind: ClassVar[str] = "lookup"

    table: Integers
    input_format: IntegerFormat
    output_format: IntegerFormat

    def __post_init__(self) -> None:
        if self.input_format.bits > _MAX_TABLE_BITS:
            raise ConfigError(f"input_format must have at most {_MAX_TABLE_BITS} bits, not be {self.input_format.name}")
        if self.table.shape != (self.input_format.n_levels,):
            raise ConfigError(f"table must have shape ({self.input_format.n_levels},), not {self.table.shape}")
        self.output_format.check(self.table, "table")

    @classmethod
    def of(
        cls,
        function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        input: Quantisation,
        output: Quantisation,
        rounding: Rounding = Rounding.HALF_EVEN,
    ) -> Lookup:
        """Return the table of a real function between two quantisations, each with one scale.

        Example:
            >>> steps = Quantisation.per_tensor(IntegerFormat(3), scale=1.0)
            >>> Lookup.of(np.abs, steps, steps).table.tolist()
            [3, 3, 2, 1, 0, 1, 2, 3]
        """
        levels = np.arange(input.format.min, input.format.max + 1)
        reals = function(dequantise(levels, input, np.float64).astype(np.float64))
        table = quantise(np.asarray(reals, np.float64), output, rounding)
        return cls(table=table, input_format=input.format, output_format=output.format)

    @property
    def input_formats(self) -> tuple[IntegerFormat, ...]:
        """The format of its one input."""
        return (self.input_format,)

    def run(self, input: Integers) -> Integers:
        """Return the entries for all inputs, in their shape.

        Raises:
            TypeError, ValueError: the input is no integer array of its format.
        """
        self.input_format.check(input, "input")
        entries: Integers = self.table.astype(self.output_format.dtype)[input.astype(np.int64) - self.input_format.min]
        return entries


@dataclass(frozen=True, kw_only=True)
class Clamp:
    """Numbers limited to low..high; a ReLU is a clamp from the zero point up. Scale and zero point stay.

    Attributes:
        input_format: of the input and of the result.
        low: the smallest result.
        high: the largest; both numbers of the format.

    Raises:
        ConfigError: low and high are not as above.

    Example:
        >>> Clamp(input_format=IntegerFormat(8), low=-3, high=100).run(np.array([-50, 0, 101])).tolist()
        [-3, 0, 100]
    """

    kind: ClassVar[str] = "clamp"

    input_format: IntegerFormat
    low: int
    high: int

    def __post_init__(self) -> None:
        format = self.input_format
        if not format.min <= self.low <= self.high <= format.max:
            raise ConfigError(f"low..high must be a range of {format.name}, not {self.low}..{self.high}")

    @property
    def input_formats(self) -> tuple[IntegerFormat, ...]:
        """The format of its one input."""
        return (self.input_format,)

    @property
    def output_format(self) -> IntegerFormat:
        """That of the input."""
        return self.input_format

    def run(self, input: Integers) -> Integers:
        """Return the limited numbers, in the shape of the input.

        Raises:
            TypeError, ValueError: the input is no integer array of its format.
        """
        array = self.input_format.check(input, "input").astype(self.output_format.dtype, copy=False)
        limited: Integers = np.clip(array, self.low, self.high)
        return limited
