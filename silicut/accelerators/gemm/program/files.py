"""A program as one file: a line that says what it is, a header in JSON, then words. Reading one executes no code.

silicut gemm program 1 <bytes of the header> <hash of the header>
header: build, address map, layers, and for each part its size and hash
instructions of the six queues, 16 bytes each; parts of the memory image, 8 bytes a word; all little-endian
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.program.instruction_set import INSTRUCTIONS
from silicut.accelerators.gemm.program.places import TensorPlace, Words
from silicut.accelerators.gemm.program.program import Layer, Program, Region
from silicut.accelerators.gemm.program.queues import Queue
from silicut.hardware import Instruction
from silicut.records import BadFile, ConfigError, Record, canonical_json, content_hash, write_atomically

_MAGIC = "silicut gemm program 1"
_FIRST_LINE = re.compile(rb"silicut gemm program (\d+) (\d{1,9}) ([0-9a-f]{16})\n")
_MAX_FIRST_LINE = 80


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Words of a file; `what` and `address` are those of a region of the image, or a queue and 0."""

    what: str
    address: int
    n_words: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class _Header(Record):
    """All of a program but its words."""

    schema: ClassVar[str] = "gemm-program/1"

    config: GemmConfig
    config_hash: str
    memory_words: int
    places: dict[str, TensorPlace]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    queues: tuple[_Part, ...]
    image: tuple[_Part, ...]


def program_bytes(program: Program) -> bytes:
    """Return the file of a program; equal programs give equal bytes.

    Raises:
        ValueError: a field of an instruction is out of range.
    """
    queues = [(queue.value, 0, program.encoded[queue].reshape(-1)) for queue in Queue]
    image = [(region.what, region.address, region.words) for region in program.image]
    header = _Header(
        config=program.config,
        config_hash=program.config.hash,
        memory_words=program.memory_words,
        places=dict(program.places),
        inputs=program.inputs,
        outputs=program.outputs,
        layers=program.layers,
        queues=tuple(_part(*part) for part in queues),
        image=tuple(_part(*part) for part in image),
    )
    text = canonical_json(header.to_json()).encode()
    first = f"{_MAGIC} {len(text)} {content_hash(text)}\n".encode()
    return b"".join([first, text, *(_bytes(words) for _, _, words in (*queues, *image))])


def _bytes(words: Words) -> bytes:
    return words.astype("<u8").tobytes()


def _part(what: str, address: int, words: Words) -> _Part:
    return _Part(what=what, address=address, n_words=len(words), hash=content_hash(_bytes(words)))


def program_hash(program: Program) -> str:
    """Return the hash of everything in a program."""
    return content_hash(program_bytes(program))


def save_program(program: Program, path: str | Path) -> Path:
    """Write a program into one file, atomically, and return its path.

    Raises:
        ValueError: a field of an instruction is out of range.
    """
    path = Path(path)
    write_atomically(path, program_bytes(program))
    return path


def load_program(path: str | Path) -> Program:
    """Read a program that `save_program` wrote.

    Raises:
        BadFile: the file is missing, cut off, damaged or of another kind; the message says in which part.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadFile(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise BadFile(f"{path} cannot be read ({error}); check the path") from None
    return read_program(data, str(path))


def read_program(data: bytes, source: str) -> Program:
    """Read a program from the bytes of its file.

    Raises:
        BadFile: as `load_program`; `source` names where the bytes came from.
    """
    header, start = _header(data, source)
    parts = list(_words(data, start, header, source))
    queues, image = parts[: len(header.queues)], parts[len(header.queues) :]
    names = [queue.what for queue in header.queues]
    if names != [queue.value for queue in Queue]:
        raise BadFile(f"{source}: queues must be {', '.join(Queue)}, not {', '.join(names)}; compile the program again")
    try:
        return Program(
            config=header.config,
            queues={queue: _decoded(queue, words, source) for queue, words in zip(Queue, queues, strict=True)},
            memory_words=header.memory_words,
            image=tuple(Region(p.address, words, p.what) for p, words in zip(header.image, image, strict=True)),
            places=header.places,
            inputs=header.inputs,
            outputs=header.outputs,
            layers=header.layers,
        )
    except ConfigError as error:
        raise BadFile(f"{source}: {error}; compile the program again") from None


def _header(data: bytes, source: str) -> tuple[_Header, int]:
    """Return the header and the position behind it."""
    first = _FIRST_LINE.match(data[:_MAX_FIRST_LINE])
    if first is None:
        raise BadFile(f"{source} must start with the line '{_MAGIC} <bytes> <hash>'; it is no program, or is damaged there")
    if first[1] != _MAGIC.rsplit(maxsplit=1)[-1].encode():
        raise BadFile(f"{source} has version {first[1].decode()} of programs, not 1; compile it again with this version")
    start, end = first.end(), first.end() + int(first[2])
    text = data[start:end]
    if len(text) < end - start:
        raise BadFile(f"{source} is cut off in its header, at byte {len(data)} of {end}; copy it again")
    if content_hash(text) != first[3].decode():
        raise BadFile(f"{source} is damaged in its header or first line (bytes 0..{end - 1}); copy it again")
    try:
        header = _Header.from_json(_json(text, source), f"{source}: its header")
    except ConfigError as error:
        raise BadFile(f"{source}: the build in its header is not legal ({error}); compile it again") from None
    if header.config_hash != header.config.hash:
        raise BadFile(f"{source}: config_hash must be {header.config.hash}, not {header.config_hash}; compile it again")
    return header, end


def _json(text: bytes, source: str) -> Any:
    try:
        return json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadFile(f"{source}: its header is no JSON ({error}); compile it again") from None


def _words(data: bytes, start: int, header: _Header, source: str) -> Iterator[Words]:
    """Yield the words of every part, whose sizes and hashes the header knows."""
    for part in (*header.queues, *header.image):
        end = start + 8 * part.n_words
        where = f"part {part.what}" + (f" at word {part.address}" if part.address else "")
        if part.n_words < 0 or end > len(data):
            raise BadFile(f"{source} is cut off in its {where}, at byte {len(data)} of {end}; copy it again")
        if content_hash(data[start:end]) != part.hash:
            raise BadFile(f"{source} is damaged in its {where} (bytes {start}..{end - 1}); copy it again")
        yield np.frombuffer(data[start:end], "<u8").astype(np.uint64)
        start = end
    if start < len(data):
        raise BadFile(f"{source} must end at byte {start}, not {len(data)}; copy it again")


def _decoded(queue: Queue, words: Words, source: str) -> tuple[Instruction, ...]:
    if len(words) % 2:
        raise BadFile(f"{source}: {queue} must have two words an instruction, not {len(words)}; compile it again")
    instructions = []
    for i, (low, high) in enumerate(words.reshape(-1, 2).tolist()):
        try:
            instructions.append(INSTRUCTIONS.decode(low | high << 64))
        except ValueError as error:
            raise BadFile(f"{source}: {queue} instruction {i} cannot be decoded ({error}); compile it again") from None
    return tuple(instructions)
