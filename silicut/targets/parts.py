"""FPGA parts and the boards that carry them: what an accelerator may use, and how fast its memory is.

The table comes with the package (`parts.toml`); a user's own file of the same form adds to it. Figures that are recalled,
not read in a document of the vendor, are marked so, and the mark travels into every report.

    [parts.mine]                      [boards.bench]
    n_luts = 20_800                   part = "mine"
    n_ffs = 41_600                    memory = "DDR3, 16 bits"
    n_dsps = 90                       bandwidth_gb_per_s = 1.6
    n_bram36 = 50                     n_ports = 2
    dsp_slice = "DSP48E1"
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from silicut.numerics.dsp_packing import DSP48E1_PORT_BITS, DSP48E2_PORT_BITS
from silicut.records import BadFile, ConfigError

DSP_SLICES = {"DSP48E1": DSP48E1_PORT_BITS, "DSP48E2": DSP48E2_PORT_BITS}
"""Bits of the wide port of each type of slice, which `silicut.numerics.dsp_packing` is about."""

_BUILT_IN = Path(__file__).with_name("parts.toml")


@dataclass(frozen=True, kw_only=True)
class Part:
    """An FPGA.

    Attributes:
        name: as vendors write it, without package and speed grade.
        n_luts, n_ffs: six-input look-up tables; flip-flops.
        n_dsps: multiplier slices of type `dsp_slice`.
        n_bram36: blocks of 1024 words of 36 bits, or 512 of 72; each is two BRAM18.
        dsp_slice: a key of `DSP_SLICES`.
        n_urams: blocks of 4096 words of 72 bits.
        is_recalled: whether the figures are from memory.

    Raises:
        ConfigError: all that is wrong, at once.
    """

    name: str
    n_luts: int
    n_ffs: int
    n_dsps: int
    n_bram36: int
    dsp_slice: str
    n_urams: int = 0
    is_recalled: bool = False

    def __post_init__(self) -> None:
        problems = list(_not_positive(self, ("n_luts", "n_ffs"))) + list(_negative(self, ("n_dsps", "n_bram36", "n_urams")))
        if self.dsp_slice not in DSP_SLICES:
            problems.append(f"dsp_slice must be {' or '.join(DSP_SLICES)}, not {self.dsp_slice!r}")
        if problems:
            raise ConfigError(*problems)


@dataclass(frozen=True, kw_only=True)
class Board:
    """A part on a board with memory.

    Attributes:
        name: of the board.
        part: name of its part.
        bandwidth_gb_per_s: of the memory, 1e9 bytes a second; what the ports can carry at a clock may be less.
        n_ports: ports of 64 bits from the programmable logic to it.
        memory: what it is, in words.
        is_recalled: whether the figures are from memory.

    Raises:
        ConfigError: all that is wrong, at once.
    """

    name: str
    part: str
    bandwidth_gb_per_s: float
    n_ports: int
    memory: str = ""
    is_recalled: bool = False

    def __post_init__(self) -> None:
        problems = list(_not_positive(self, ("bandwidth_gb_per_s", "n_ports")))
        if self.bandwidth_gb_per_s == math.inf:
            problems.append("bandwidth_gb_per_s must be finite, not inf")
        if problems:
            raise ConfigError(*problems)


@dataclass(frozen=True)
class DeviceTable:
    """Parts and boards by name."""

    parts: Mapping[str, Part]
    boards: Mapping[str, Board]

    def part(self, name: str) -> Part:
        """Return a part by its name or by that of a board that carries it.

        Raises:
            ConfigError: there is none; the nearest names are given.

        Example:
            >>> device_table().part("pynq-z1").n_bram36
            140
        """
        board = self.boards.get(name)
        found = self.parts.get(board.part if board else name)
        if found is None:
            raise ConfigError(f"part must be {_near(name, (*self.parts, *self.boards))}, not {name!r}")
        return found

    def board(self, name: str) -> Board:
        """Return a board.

        Raises:
            ConfigError: there is none; the nearest names are given.
        """
        if name not in self.boards:
            raise ConfigError(f"board must be {_near(name, self.boards)}, not {name!r}")
        return self.boards[name]


def device_table(*files: str | Path) -> DeviceTable:
    """Return the table that comes with the package and what a user's TOML files add to it.

    Args:
        files: with tables `[parts.NAME]` and `[boards.NAME]`, whose keys are the fields of `Part` and `Board`.

    Raises:
        BadFile: a file is missing or is not TOML (a name given twice in one file is not).
        ConfigError: unknown or missing keys, values of another type, names that are taken, boards of unknown parts; all at
            once, each with its file.
    """
    parts: dict[str, Part] = {}
    boards: dict[str, Board] = {}
    problems: list[str] = []
    for path in (_BUILT_IN, *map(Path, files)):
        problems += [f"{path.name}: {problem}" for problem in _add(_read(path), parts, boards)]
    if problems:
        raise ConfigError(*problems)
    return DeviceTable(parts, boards)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadFile(f"{path} does not exist; check the path") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFile(f"{path} cannot be read as TOML ({error}); correct it there") from None


def _add(document: Mapping[str, Any], parts: dict[str, Part], boards: dict[str, Board]) -> Iterator[str]:
    """Add a document's parts and boards; yield what is wrong with it."""
    for key in document.keys() - {"parts", "boards"}:
        yield f"{key} must be left out: tables are parts.NAME and boards.NAME"
    yield from _add_rows(document, "parts", Part, parts)
    yield from _add_rows(document, "boards", Board, boards)
    for name, board in boards.items():
        if board.part not in parts:
            yield f"boards.{name}.part must be {_near(board.part, parts)}, not {board.part!r}"


_Row = TypeVar("_Row", Part, Board)


def _add_rows(document: Mapping[str, Any], table: str, kind: type[_Row], rows: dict[str, _Row]) -> Iterator[str]:
    entries = document.get(table, {})
    if not isinstance(entries, dict):
        yield f"{table} must be a table of names, not {entries!r}"
        return
    for name, keys in entries.items():
        place = f"{table}.{name}"
        problems = [f"{place} must be a new name: there is one already"] if name in rows else []
        problems += _wrong_keys(place, kind, keys)
        if not problems:
            try:
                rows[name] = kind(name=name, **keys)
            except ConfigError as error:
                problems = [f"{place}.{problem}" for problem in error.problems]
        yield from problems


def _wrong_keys(place: str, kind: type[Part] | type[Board], keys: Any) -> Iterator[str]:
    """Yield unknown and missing keys of a row, and values of another type."""
    if not isinstance(keys, dict):
        yield f"{place} must be a table of keys, not {keys!r}"
        return
    types = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name != "name"}
    for key in keys.keys() - fields.keys():
        yield f"{place}.{key} must be left out or be {_near(key, fields)}"
    for key, field in fields.items():
        if key not in keys and field.default is dataclasses.MISSING:
            yield f"{place}.{key} must be given"
        elif key in keys and not _is_of(keys[key], types[key]):
            yield f"{place}.{key} must be {_WORDS[types[key]]}, not {keys[key]!r}"


_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _is_of(value: object, kind: Any) -> bool:
    """Tell whether a value read from TOML is of a type; a whole number is a number, true is none."""
    return type(value) in ((int, float) if kind is float else (kind,))


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, 3, 0.6)
    return f"one such as {' or '.join(map(repr, near))}" if near else f"one of {', '.join(known)}"


def _not_positive(row: Part | Board, names: Iterable[str]) -> Iterator[str]:
    yield from (f"{name} must be positive, not {getattr(row, name)}" for name in names if not getattr(row, name) > 0)


def _negative(row: Part | Board, names: Iterable[str]) -> Iterator[str]:
    yield from (f"{name} must not be negative, not {getattr(row, name)}" for name in names if getattr(row, name) < 0)
