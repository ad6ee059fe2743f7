"""A latency budget as people write it: "50%", "3ms"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from silicut.records import ConfigError

_FORM = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%|ms|us|s)\s*", re.IGNORECASE)
_MS = {"ms": 1.0, "us": 1e-3, "s": 1e3}


@dataclass(frozen=True)
class Budget:
    """The most a network may take.

    Attributes:
        amount: in per cent of the dense latency, or in milliseconds.
        is_relative: whether it is per cent.

    Example:
        >>> Budget.parse("50%").limit_frac(8.0), Budget.parse("3 ms").limit_frac(6.0)
        (0.5, 0.5)
    """

    amount: float
    is_relative: bool

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read a budget.

        Raises:
            ConfigError: it is not a percentage above 0 and up to 100, nor a time above 0.

        Example:
            >>> Budget.parse("fast")
            Traceback (most recent call last):
            ...
            silicut.records.errors.ConfigError: latency must be like 50% or 3ms, not 'fast'
        """
        match = _FORM.fullmatch(str(text))
        if match is None:
            raise ConfigError(f"latency must be like 50% or 3ms, not {text!r}")
        number, unit = float(match[1]), match[2].lower()
        if number <= 0 or (unit == "%" and number >= 100):
            raise ConfigError(f"latency must be above 0 and, in per cent, below 100, not {text!r}")
        return cls(number, True) if unit == "%" else cls(number * _MS[unit], False)

    def limit_frac(self, dense_ms: float) -> float:
        """Return the budget as a fraction of a dense latency in milliseconds."""
        return self.amount / 100 if self.is_relative else self.amount / dense_ms

    def __str__(self) -> str:
        return f"{self.amount:g}%" if self.is_relative else f"{self.amount:g} ms"
