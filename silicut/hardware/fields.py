"""Bit fields: one list of them packs, unpacks, checks and documents a word of hardware."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from silicut.records import ConfigError


@dataclass(frozen=True)
class BitField:
    """A number in a word.

    Attributes:
        name: of the number.
        bits: its width, at least 1.
        is_signed: two's complement, else unsigned.
        about: what it means, one phrase.
    """

    name: str
    bits: int
    is_signed: bool = False
    about: str = ""

    @property
    def min(self) -> int:
        """The smallest number."""
        return -(1 << (self.bits - 1)) if self.is_signed else 0

    @property
    def max(self) -> int:
        """The largest number."""
        return (1 << (self.bits - self.is_signed)) - 1


def unsigned(bits: int, about: str) -> Any:
    """Return a field of a dataclass that is an unsigned number of some bits."""
    return dataclasses.field(metadata={"bits": bits, "is_signed": False, "about": about})


def signed(bits: int, about: str) -> Any:
    """Return a field of a dataclass that is a two's complement number of some bits."""
    return dataclasses.field(metadata={"bits": bits, "is_signed": True, "about": about})


def bit_fields(cls: Any) -> tuple[BitField, ...]:
    """Return the fields of a dataclass that were declared with `unsigned` and `signed`, in order.

    Example:
        >>> @dataclass(frozen=True)
        ... class Move:
        ...     source: int = unsigned(5, "register to read")
        ...     offset: int = signed(3, "added to it")
        >>> [(field.name, field.min, field.max) for field in bit_fields(Move)]
        [('source', 0, 31), ('offset', -4, 3)]
    """
    declared = [field for field in dataclasses.fields(cls) if "bits" in field.metadata]
    return tuple(BitField(field.name, **field.metadata) for field in declared)


@dataclass(frozen=True)
class Layout:
    """Where fields lie in a word: the first at bit 0, each next one above it, zeros above the last.

    Attributes:
        fields: from the lowest bit up.
        word_bits: width of the word.

    Raises:
        ConfigError: the fields need more bits than the word has, or two have one name.

    Example:
        >>> layout = Layout((BitField("a", 4), BitField("b", 4, is_signed=True)), word_bits=16)
        >>> word = layout.pack({"a": 5, "b": -2})
        >>> f"{word:#x}", layout.unpack(word)
        ('0xe5', {'a': 5, 'b': -2})
    """

    fields: tuple[BitField, ...]
    word_bits: int

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if self.n_bits > self.word_bits:
            raise ConfigError(f"fields {', '.join(names)} must fit {self.word_bits} bits, not need {self.n_bits}")
        if len(set(names)) < len(names):
            raise ConfigError(f"names of fields must differ, not be {', '.join(names)}")

    @property
    def n_bits(self) -> int:
        """How many bits the fields take."""
        return sum(field.bits for field in self.fields)

    @cached_property
    def placed(self) -> tuple[tuple[BitField, int], ...]:
        """Each field with its lowest bit."""
        low, placed = 0, []
        for field in self.fields:
            placed.append((field, low))
            low += field.bits
        return tuple(placed)

    def problems(self, values: Mapping[str, int]) -> Iterator[str]:
        """Yield what is wrong with values, "field must be low..high, not value"."""
        for field in self.fields:
            if not field.min <= values[field.name] <= field.max:
                yield f"{field.name} must be {field.min}..{field.max}, not {values[field.name]}"

    def pack(self, values: Mapping[str, int]) -> int:
        """Return the word of a value for each field.

        Raises:
            ValueError: a value does not fit its field.
        """
        wrong = list(self.problems(values))
        if wrong:
            raise ValueError("; ".join(wrong))
        word = 0
        for field, low in self.placed:
            word |= (int(values[field.name]) & ((1 << field.bits) - 1)) << low
        return word

    def unpack(self, word: int) -> dict[str, int]:
        """Return the value of each field.

        Raises:
            ValueError: bits are set above the last field, or the word is wider than the layout.
        """
        if word >> self.n_bits:
            raise ValueError(f"bits from {self.n_bits} up must be 0, not {word >> self.n_bits:#x}")
        values = {}
        for field, low in self.placed:
            value = (word >> low) & ((1 << field.bits) - 1)
            values[field.name] = value - (1 << field.bits) if value > field.max else value
        return values


def layout_table(layouts: Sequence[Layout]) -> list[tuple[str, str, str]]:
    """Return (bits, field, meaning) of each field of layouts that lie one above the other in a word."""
    rows, base = [], 0
    for layout in layouts:
        for field, low in layout.placed:
            first, last = base + low, base + low + field.bits - 1
            kind = "signed; " if field.is_signed else ""
            rows.append((f"{last}:{first}" if last > first else str(first), field.name, kind + field.about))
        base += layout.n_bits
    return rows
