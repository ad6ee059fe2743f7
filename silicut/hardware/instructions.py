"""Instruction sets of machines of in-order queues and tokens: one definition of each instruction gives everything else.

An instruction is a frozen dataclass whose docstring is the loop nest that it means and whose fields say their widths. From
it follow encoding, decoding, checking, text and documentation, so that compiler, simulator and hardware cannot differ.

Every instruction starts with the same header: queue, opcode, layer, and for the channels of its queue how many tokens it
takes and whether it sends one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, ClassVar

from silicut.hardware.fields import BitField, Layout, bit_fields, layout_table
from silicut.records import ConfigError

WORD_BITS = 128
QUEUE_BITS, OPCODE_BITS, LAYER_BITS, WAIT_BITS = 3, 4, 9, 5
MAX_WAIT = (1 << WAIT_BITS) - 1
"""The most tokens of a channel that one instruction takes."""


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """What all instructions have.

    Attributes:
        queue: name of the queue that executes it.
        layer: number of the layer that it works for, 0..511; for reports only.
        waits: how many tokens it takes, by channel of its queue; 0..31 each, 0 as good as left out.
        sends: the channels of its queue to which it gives one token each.
    """

    mnemonic: ClassVar[str]

    queue: str
    layer: int = 0
    waits: Mapping[str, int] = field(default_factory=dict)
    sends: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if 0 in self.waits.values():
            object.__setattr__(self, "waits", {name: count for name, count in self.waits.items() if count})

    @property
    def numbers(self) -> dict[str, int]:
        """The fields of its own, by name."""
        return {field.name: int(getattr(self, field.name)) for field in fields_of(type(self))}


_fields = cache(bit_fields)


def fields_of(kind: Any) -> tuple[BitField, ...]:
    """Return the fields of a kind of instruction, header left out."""
    return _fields(kind)


@dataclass(frozen=True)
class QueueFormat:
    """What the instructions of one queue may be.

    Attributes:
        name: of the queue.
        waits: channels from which it takes tokens.
        sends: channels to which it gives tokens.
        kinds: its instructions; the position is the opcode.
    """

    name: str
    waits: tuple[str, ...]
    sends: tuple[str, ...]
    kinds: tuple[type[Instruction], ...]

    @cached_property
    def header(self) -> Layout:
        """The fields that all of its instructions start with."""
        fields = [
            BitField("queue", QUEUE_BITS, about="number of the queue"),
            BitField("opcode", OPCODE_BITS, about="which instruction of the queue"),
            BitField("layer", LAYER_BITS, about="for reports"),
        ]
        fields += [BitField(f"wait_{name}", WAIT_BITS, about=f"tokens taken from {name}") for name in self.waits]
        fields += [BitField(f"send_{name}", 1, about=f"1 gives a token to {name}") for name in self.sends]
        return Layout(tuple(fields), WORD_BITS)

    def payload(self, kind: type[Instruction]) -> Layout:
        """Return the layout of an instruction's own fields, above the header."""
        return Layout(fields_of(kind), WORD_BITS - self.header.n_bits)

    @cached_property
    def layouts(self) -> dict[type[Instruction], Layout]:
        """The payload of every instruction."""
        return {kind: self.payload(kind) for kind in self.kinds}


@dataclass(frozen=True)
class InstructionSet:
    """All instructions of a machine.

    Attributes:
        queues: formats; the position is the queue's number.

    Raises:
        ConfigError: an instruction does not fit a word, or a queue has more instructions than opcodes.
    """

    queues: tuple[QueueFormat, ...]

    def __post_init__(self) -> None:
        if len(self.queues) > 1 << QUEUE_BITS:
            raise ConfigError(f"queues must be at most {1 << QUEUE_BITS}, not {len(self.queues)}")
        for queue in self.queues:
            if len(queue.kinds) > 1 << OPCODE_BITS:
                raise ConfigError(f"{queue.name} must have at most {1 << OPCODE_BITS} instructions, not {len(queue.kinds)}")
            _ = queue.layouts

    @cached_property
    def by_name(self) -> dict[str, QueueFormat]:
        """The queues by name."""
        return {queue.name: queue for queue in self.queues}

    def problems(self, instruction: Instruction) -> Iterator[str]:
        """Yield what keeps an instruction from being encoded."""
        queue = self.by_name.get(instruction.queue)
        if queue is None or type(instruction) not in queue.layouts:
            yield f"{instruction.mnemonic} must be in a queue that has it, not in {str(instruction.queue)!r}"
            return
        for what, given, known in (("waits", instruction.waits, queue.waits), ("sends", instruction.sends, queue.sends)):
            strange = sorted(set(given) - set(known))
            if strange:
                yield f"{what} of {queue.name} must be of {', '.join(known)}, not {', '.join(strange)}"
        for channel, count in instruction.waits.items():
            if not 0 <= count <= MAX_WAIT:
                yield f"waits for {channel} must be 0..{MAX_WAIT}, not {count}"
        if not 0 <= instruction.layer < 1 << LAYER_BITS:
            yield f"layer must be 0..{(1 << LAYER_BITS) - 1}, not {instruction.layer}"
        yield from queue.layouts[type(instruction)].problems(instruction.numbers)

    def encode(self, instruction: Instruction) -> int:
        """Return the word of an instruction.

        Raises:
            ValueError: a field is out of range, or the queue has no such instruction or channel.
        """
        wrong = list(self.problems(instruction))
        if wrong:
            raise ValueError("; ".join(wrong))
        queue = self.by_name[instruction.queue]
        header = {
            "queue": self.queues.index(queue),
            "opcode": queue.kinds.index(type(instruction)),
            "layer": instruction.layer,
            **{f"wait_{name}": instruction.waits.get(name, 0) for name in queue.waits},
            **{f"send_{name}": int(name in instruction.sends) for name in queue.sends},
        }
        payload = queue.layouts[type(instruction)].pack(instruction.numbers)
        return queue.header.pack(header) | payload << queue.header.n_bits

    def decode(self, word: int) -> Instruction:
        """Return the instruction of a word.

        Raises:
            ValueError: no queue or opcode has these numbers, or unused bits are set.
        """
        number, opcode = word & ((1 << QUEUE_BITS) - 1), (word >> QUEUE_BITS) & ((1 << OPCODE_BITS) - 1)
        if number >= len(self.queues):
            raise ValueError(f"queue must be 0..{len(self.queues) - 1}, not {number}")
        queue = self.queues[number]
        if opcode >= len(queue.kinds):
            raise ValueError(f"opcode of {queue.name} must be 0..{len(queue.kinds) - 1}, not {opcode}")
        n_bits, kind = queue.header.n_bits, queue.kinds[opcode]
        header = queue.header.unpack(word & ((1 << n_bits) - 1))
        try:
            numbers: dict[str, Any] = queue.layouts[kind].unpack(word >> n_bits)
        except ValueError as error:
            raise ValueError(f"{kind.mnemonic}: {error} in the payload") from None
        return kind(
            queue=queue.name,
            layer=header["layer"],
            waits={name: count for name in queue.waits if (count := header[f"wait_{name}"])},
            sends=frozenset(name for name in queue.sends if header[f"send_{name}"]),
            **numbers,
        )


def to_text(instruction: Instruction) -> str:
    """Return an instruction as one line; what is 0 is left out."""
    parts = [instruction.mnemonic]
    if instruction.layer:
        parts.append(f"layer={instruction.layer}")
    parts += [f"{name}={value}" for name, value in instruction.numbers.items() if value]
    waits = [f"{name}:{count}" for name, count in sorted(instruction.waits.items()) if count]
    parts += [f"wait={','.join(waits)}"] if waits else []
    parts += [f"send={','.join(sorted(instruction.sends))}"] if instruction.sends else []
    return " ".join(parts)


def from_text(line: str, queue: QueueFormat) -> Instruction:
    """Return the instruction of a line that `to_text` made, or that was written by hand; what is left out is 0.

    Raises:
        ValueError: the queue has no such instruction, or a word of the line is none of its fields.
    """
    mnemonic, *words = line.split()
    kinds = {kind.mnemonic: kind for kind in queue.kinds}
    if mnemonic not in kinds:
        raise ValueError(f"{queue.name} has {', '.join(kinds)}, not {mnemonic}")
    kind = kinds[mnemonic]
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name in given:
            raise ValueError(f"{mnemonic}: {word!r} must be a field=value, once")
        given[name] = value
    header: dict[str, Any] = {
        "waits": {name: _number(count) for name, count in _pairs(given.pop("wait", ""))},
        "sends": frozenset(name for name in given.pop("send", "").split(",") if name),
        "layer": _number(given.pop("layer", "0")),
    }
    names = [field.name for field in fields_of(kind)]
    strange = [name for name in given if name not in names]
    if strange:
        raise ValueError(f"{mnemonic} has the fields {', '.join(names) or '(none)'}, not {', '.join(strange)}")
    header |= {name: _number(given.get(name, "0")) for name in names}
    return kind(queue=queue.name, **header)


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r} must be a whole number") from None


def _pairs(text: str) -> Iterable[Sequence[str]]:
    pairs = [part.split(":") for part in text.split(",") if part]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"wait must be channel:count,channel:count, not {text!r}")
    return pairs


def documentation(instructions: InstructionSet) -> str:
    """Return the reference of an instruction set in Markdown: headers by queue, then every instruction."""
    parts = []
    seen: set[type[Instruction]] = set()
    for queue in instructions.queues:
        kinds = ", ".join(f"{opcode} `{kind.mnemonic}`" for opcode, kind in enumerate(queue.kinds))
        parts += [f"## Queue {queue.name}\n", f"Opcodes: {kinds}.\n", _table(layout_table([queue.header]))]
        for kind in queue.kinds:
            if kind not in seen:
                parts += [f"### {kind.mnemonic}\n", _prose(kind), _table(layout_table([queue.header, queue.payload(kind)]))]
            seen.add(kind)
    return "\n".join(parts)


def _prose(kind: type[Instruction]) -> str:
    """Return a docstring in Markdown; indented parts, the loop nests, stay as they are."""
    text = inspect.getdoc(kind) or ""
    return text.replace("\n::\n", "").rstrip() + "\n"


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    lines = ["| bits | field | meaning |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n"
