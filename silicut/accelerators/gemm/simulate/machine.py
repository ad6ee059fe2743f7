"""The contents of all memories of the accelerator while a program runs, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import LOOKUP_ENTRIES, LOOKUP_TABLES, GemmConfig
from silicut.accelerators.gemm.program.places import Words
from silicut.accelerators.gemm.program.program import Program
from silicut.accelerators.gemm.program.queues import Unit
from silicut.accelerators.gemm.program.tiles import CoreShape
from silicut.accelerators.gemm.simulate.tracked import Fault, Tracked

Sums = NDArray[np.int64]
_ALL_BYTES = 255


class Dram:
    """The external memory. One queue reads and writes it in order, so only words that nothing has written are an error.

    Attributes:
        words: array of uint64.
    """

    def __init__(self, n_words: int) -> None:
        self.words: Words = np.zeros(n_words, np.uint64)
        self._written = np.zeros(n_words, np.uint8)  # a bit for each byte

    def put(self, address: int, words: Words, kept_bytes: int = 0) -> None:
        """Write words, but for those of their bytes that are kept, a bit each."""
        part = slice(address, address + len(words))
        bits = np.unpackbits(np.array([kept_bytes], np.uint8), bitorder="little")
        kept = (bits * np.uint8(_ALL_BYTES)).view("<u8").astype(np.uint64)
        self.words[part] = self.words[part] & kept | words & ~kept
        self._written[part] |= np.uint8(_ALL_BYTES & ~kept_bytes)

    def mark(self, address: int, n_words: int) -> None:
        """Note that words have been written."""
        self._written[address : address + n_words] = _ALL_BYTES

    def get(self, address: int, n_words: int) -> Words:
        """Return words.

        Raises:
            Fault: one of them was never written.
        """
        part = slice(address, address + n_words)
        is_written = self._written[part] == _ALL_BYTES
        if not is_written.all():
            first = address + int(np.argmin(is_written))
            raise Fault(f"reads dram word {first}, which nothing has written")
        return self.words[part]


class Buffer:
    """A memory of 64-bit words.

    Attributes:
        words: its content.
        times: of accesses.
    """

    def __init__(self, name: str, n_words: int) -> None:
        self.words: Words = np.zeros(n_words, np.uint64)
        self.times = Tracked(name, n_words)


class OutputBuffer:
    """A memory that is written bit by bit and read by words.

    Attributes:
        bits: array (words, 64), bit i of a word in column i.
        times: of accesses.
    """

    def __init__(self, name: str, n_words: int) -> None:
        self.bits = np.zeros((n_words, 64), np.uint8)
        self.times = Tracked(name, n_words)


class Banks:
    """Memories side by side, with what has been decoded of them last.

    Attributes:
        bytes: array (banks, depth, bytes of a word).
        times: of accesses.
    """

    def __init__(self, name: str, n_banks: int, depth: int, word_bits: int) -> None:
        self.bytes = np.zeros((n_banks, depth, word_bits // 8), np.uint8)
        self.times = Tracked(name, n_banks, depth)
        self._decoded: dict[Any, tuple[int, int, NDArray[Any]]] = {}

    def changed(self, first: int, n: int) -> None:
        """Forget what was decoded of some addresses."""
        self._decoded = {k: v for k, v in self._decoded.items() if v[1] <= first or v[0] >= first + n}

    def known(self, key: Any) -> NDArray[Any] | None:
        """Return numbers decoded before under a key, if their words have not changed since."""
        found = self._decoded.get(key)
        return None if found is None else found[2]

    def remember(self, key: Any, first: int, n: int, numbers: NDArray[Any]) -> NDArray[Any]:
        """Keep and return the numbers decoded of some addresses."""
        self._decoded[key] = first, first + n, numbers
        return numbers


class PostMemories:
    """What every unit has behind its sums.

    Attributes:
        features, residual: buffers of input rows and of rows that are added.
        output: buffer of finished rows.
        table: scale table, one word a channel.
        lookup: tables of functions, array (tables, entries) of bytes; `lookup_times` by table.
    """

    def __init__(self, unit: Unit, config: GemmConfig) -> None:
        buffers, label = config.buffers, unit.label
        self.features = Buffer(f"{label}.features", buffers.feature_words)
        self.residual = Buffer(f"{label}.residual", buffers.residual_words)
        self.output = OutputBuffer(f"{label}.output", buffers.output_words)
        self.table = Buffer(f"{label}.table", buffers.table_entries)
        self.lookup = np.zeros((LOOKUP_TABLES, LOOKUP_ENTRIES), np.uint8)
        self.lookup_times = Tracked(f"{label}.lookup", LOOKUP_TABLES)


class CoreMemories:
    """What a core has in front of its sums.

    Attributes:
        shape: sizes.
        lhs, rhs: banks of activations and of weights.
        sums: finished sums of instructions whose results have not left yet, by number of the instruction.
        open_sum: a sum that waits for its next part.
    """

    def __init__(self, unit: Unit, shape: CoreShape) -> None:
        self.shape = shape
        self.lhs = Banks(f"{unit.label}.lhs", shape.n_rows, shape.lhs_depth, shape.bank_bits)
        self.rhs = Banks(f"{unit.label}.rhs", shape.n_banks, shape.rhs_depth, shape.bank_bits)
        self.sums: dict[int, Sums] = {}
        self.open_sum: Sums | None = None


@dataclass
class Machine:
    """All memories.

    Attributes:
        config: the build.
        dram: external memory.
        units: memories behind the sums.
        cores: memories in front of them, of the cores that the build has.
    """

    config: GemmConfig
    dram: Dram
    units: dict[Unit, PostMemories] = field(default_factory=dict)
    cores: dict[Unit, CoreMemories] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program) -> Machine:
        """Return the machine before the start of a program: its image in memory, everything else empty."""
        machine = cls(program.config, Dram(program.memory_words))
        for region in program.image:
            machine.dram.put(region.address, region.words)
        for unit in Unit:
            machine.units[unit] = PostMemories(unit, program.config)
        for unit, core in ((Unit.LUT, program.config.lut), (Unit.DSP, program.config.dsp)):
            if core is not None:
                machine.cores[unit] = CoreMemories(unit, CoreShape.of(unit, program.config))
        return machine

    def tracked(self) -> dict[str, Tracked]:
        """Return the accesses to all memories on the chip, by name."""
        every = [m.times for u in self.units.values() for m in (u.features, u.residual, u.output, u.table)]
        every += [banks.times for core in self.cores.values() for banks in (core.lhs, core.rhs)]
        return {times.name: times for times in every}
