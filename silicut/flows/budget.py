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


_SIZE_FORM = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%|[kMGT]?i?B?)\s*", re.IGNORECASE)
_PREFIXES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class SizeLimit:
    """The most a size may be: parameters, multiply-accumulates or bytes.

    Attributes:
        amount: in per cent of the dense network, or in units.
        is_relative: whether it is per cent.

    Example:
        >>> SizeLimit.parse("1.5M", "max-parameters").of(8e6), SizeLimit.parse("60%", "max-macs").of(200.0)
        (1500000.0, 120.0)
    """

    amount: float
    is_relative: bool

    @classmethod
    def parse(cls, text: str, name: str) -> SizeLimit:
        """Read a limit: a percentage, or a number with k, M, G or T (kiB and so on are powers of 1024).

        Args:
            text: what was typed.
            name: of the option, for messages.

        Raises:
            ConfigError: it is neither, or not above 0, or 100 % and more.
        """
        match = _SIZE_FORM.fullmatch(str(text))
        if match is None:
            raise ConfigError(f"{name} must be like 60%, 300k or 2MB, not {text!r}")
        number, unit = float(match[1]), match[2].lower()
        if number <= 0 or (unit == "%" and number >= 100):
            raise ConfigError(f"{name} must be above 0 and, in per cent, below 100, not {text!r}")
        if unit == "%":
            return cls(number, True)
        return cls(number * (1024 if "i" in unit else 1000) ** _PREFIXES[unit.rstrip("ib")], False)

    def of(self, dense: float) -> float:
        """Return the limit in units, given the size of the dense network."""
        return self.amount / 100 * dense if self.is_relative else self.amount
