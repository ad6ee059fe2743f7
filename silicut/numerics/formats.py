"""Number formats as objects: how many bits, signed or not, and what fits them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.records import ConfigError

Integers = NDArray[np.integer[Any]]
"""An array of any of NumPy's integer types."""

_MAX_BITS = 32
_MAX_SIGNED_BITS = 64
_NAME = re.compile(r"(u?)int([1-9]\d*)(_narrow)?")


@dataclass(frozen=True)
class IntegerFormat:
    """Two's complement or unsigned integers of some width.

    Attributes:
        bits: 1..32; signed formats go up to 64, for accumulators.
        is_signed: two's complement, else unsigned.
        is_narrow: without the most negative number, so that the range is symmetric about 0 (-7..7 for 4 bits); only for
            signed formats of at least 2 bits.

    Raises:
        ConfigError: the attributes are not as above.

    Example:
        >>> weights = IntegerFormat(4, is_narrow=True)
        >>> weights.name, weights.min, weights.max, weights.dtype
        ('int4_narrow', -7, 7, dtype('int8'))
    """

    bits: int
    is_signed: bool = True
    is_narrow: bool = False

    def __post_init__(self) -> None:
        most = _MAX_SIGNED_BITS if self.is_signed else _MAX_BITS
        problems = []
        if not 1 <= self.bits <= most:
            kind = "a signed" if self.is_signed else "an unsigned"
            problems.append(f"bits of {kind} format must be 1..{most}, not {self.bits}")
        if self.is_narrow and (not self.is_signed or self.bits < 2):
            problems.append(f"a narrow format must be signed and have 2 bits or more, not be {self._plain_name}")
        if problems:
            raise ConfigError(*problems)

    @classmethod
    def of(cls, name: str) -> IntegerFormat:
        """Return the format of a name such as "int4", "uint8" or "int4_narrow".

        Raises:
            ConfigError: it is no such name.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ConfigError(f"a format must be named like int4, uint8 or int4_narrow, not {name!r}")
        return cls(int(match[2]), is_signed=not match[1], is_narrow=match[3] is not None)

    @classmethod
    def holding(cls, low: int, high: int) -> IntegerFormat:
        """Return the narrowest signed format that holds every number of low..high.

        Example:
            >>> IntegerFormat.holding(-8, 7).name, IntegerFormat.holding(-9, 7).name, IntegerFormat.holding(0, 8).name
            ('int4', 'int5', 'int5')
        """
        return cls(signed_bits(low, high))

    @property
    def _plain_name(self) -> str:
        return f"{'' if self.is_signed else 'u'}int{self.bits}"

    @property
    def name(self) -> str:
        """Its name: "int4", "uint8", "int4_narrow"."""
        return self._plain_name + ("_narrow" if self.is_narrow else "")

    @property
    def min(self) -> int:
        """The smallest number."""
        return -(1 << (self.bits - 1)) + self.is_narrow if self.is_signed else 0

    @property
    def max(self) -> int:
        """The largest number."""
        return (1 << (self.bits - self.is_signed)) - 1

    @property
    def n_levels(self) -> int:
        """How many numbers it has."""
        return self.max - self.min + 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest NumPy type that holds it."""
        size = next(size for size in (8, 16, 32, 64) if size >= self.bits)
        return np.dtype(f"{'' if self.is_signed else 'u'}int{size}")

    def holds(self, values: Integers) -> bool:
        """Tell whether every number of an integer array is one of the format."""
        return self._holds_type(values.dtype) or values.size == 0 or self._holds_range(int(values.min()), int(values.max()))

    def _holds_type(self, dtype: np.dtype[Any]) -> bool:
        limits = np.iinfo(dtype)
        return self._holds_range(int(limits.min), int(limits.max))

    def _holds_range(self, low: int, high: int) -> bool:
        return self.min <= low and high <= self.max

    def check(self, values: Any, what: str) -> Integers:
        """Return an integer array of the format as it came.

        Args:
            values: an array.
            what: how an error calls it.

        Raises:
            TypeError: it is no NumPy array of integers.
            ValueError: a number is outside of the format.
        """
        array = require_integers(values, what)
        if not self.holds(array):
            low, high = int(array.min()), int(array.max())
            raise ValueError(f"{what} must hold {self.name} ({self.min}..{self.max}), not numbers of {low}..{high}")
        return array


def require_integers(values: Any, what: str) -> Integers:
    """Return an integer array as it came.

    Raises:
        TypeError: it is no NumPy array of integers; nothing is converted in silence.
    """
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{what} must be a NumPy array of integers, not {type(values).__name__}")
    if values.dtype.kind not in "iu":
        raise TypeError(f"{what} must hold integers, not {values.dtype}; quantise it first")
    return values


def signed_bits(low: int, high: int) -> int:
    """Return the least width of a two's complement number that can be everything in low..high.

    Example:
        >>> signed_bits(-128, 127), signed_bits(0, 128), signed_bits(0, 0)
        (8, 9, 1)
    """
    positive = high.bit_length() if high > 0 else 0
    negative = (~low).bit_length() if low < 0 else 0
    return max(positive, negative) + 1
