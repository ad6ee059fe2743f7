"""The instructions of MEMORY, and the two that every queue has.

Addresses in DRAM count words of 64 bits. A transfer of W words takes ceil(W / n_ports) beats, a cycle each, and a pause of
refresh_cycles whenever refresh_every beats have passed since the last one, counted over the whole run. The data of a load
have arrived `latency_cycles` after the queue is free for the next instruction; only then its tokens are sent. A store sends
its tokens when the queue is free.

Where each core has ports of its own, an instruction goes through those of the only core that it is for, or through all. It
waits at the head of the queue until they are free, and for dispatch alone leaves the queue to the next one; what is said of
the queue above then holds of its ports, whose beats are counted apart (of several the longest pause counts). Rows are not
loaded before the stores in front of them have ended; a word that may still be loaded through other ports must not be
overwritten. A `sync` takes no port; its tokens are sent latency_cycles after all ports are free of what stands before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.accelerators.gemm.program.queues import Queue, Resource, Unit
from silicut.hardware import Instruction, unsigned

DRAM_BITS = 27
"""Width of an address in DRAM: 2^27 words are 1 GiB."""


@dataclass(frozen=True, kw_only=True)
class Barrier(Instruction):
    """All queues of the build meet: the k-th barrier of each waits for those of the others.

    ::

        wait until everything that this queue has started has ended, tokens sent
        wait until the other queues have got here too

    It takes and gives no tokens.
    """

    mnemonic: ClassVar[str] = "barrier"


@dataclass(frozen=True, kw_only=True)
class Sync(Instruction):
    """Only takes and gives tokens.

    In MEMORY, `resource` says which channels its header means; tokens for 0..2 are sent latency_cycles after it, as those
    of loads are, so that they stay in order. Elsewhere it is 0.
    """

    mnemonic: ClassVar[str] = "sync"

    resource: int = unsigned(2, "in MEMORY: 0 rows, 1 weights, 2 residual, 3 output")


@dataclass(frozen=True, kw_only=True)
class LoadRows(Instruction):
    """Fetch rows of a slab once, for the feature buffers of any set of units.

    ::

        for i in range(n_words):
            word = dram[dram_address + i]
            if to_lut:  lut.features[lut_address + i] = word
            if to_dsp or to_post:                # `bits` words, one plane each, become `e` words of 64 / e elements
                plane[i % bits] = word
                if i % bits == bits - 1:
                    for k in range(64):
                        element = sum(plane[b][k] << b for b in range(bits)), sign-extended if is_signed
                        if to_dsp: dsp.features[dsp_address + i // bits * e + k * e // 64] gets it at bit k * e % 64
                        if to_post: post.features[post_address + i // bits * e + k * e // 64] gets it likewise

    with e = 8 if wide_elements else 4; bits is at most e, and n_words a multiple of bits.
    """

    mnemonic: ClassVar[str] = "load_rows"
    resource: ClassVar[Resource] = Resource.ROWS

    queue: str = Queue.MEMORY

    dram_address: int = unsigned(DRAM_BITS, "first word in DRAM")
    n_words: int = unsigned(14, "words to fetch")
    bits: int = unsigned(4, "planes of a granule")
    is_signed: int = unsigned(1, "elements are two's complement")
    wide_elements: int = unsigned(1, "elements of the DSP core and of POST have 8 bits, else 4")
    to_lut: int = unsigned(1, "into the feature buffer of the LUT core")
    to_dsp: int = unsigned(1, "into that of the DSP core")
    to_post: int = unsigned(1, "into that of POST")
    lut_address: int = unsigned(14, "first word there")
    dsp_address: int = unsigned(15, "first word there")
    post_address: int = unsigned(15, "first word there")

    @property
    def targets(self) -> tuple[tuple[Unit, int], ...]:
        """The units that get the rows, each with its address."""
        every = (
            (self.to_lut, Unit.LUT, self.lut_address),
            (self.to_dsp, Unit.DSP, self.dsp_address),
            (self.to_post, Unit.POST, self.post_address),
        )
        return tuple((unit, address) for is_target, unit, address in every if is_target)


@dataclass(frozen=True, kw_only=True)
class LoadResidual(Instruction):
    """Fetch rows of a tensor that is added, for the residual buffers of any set of units.

    ::

        for i in range(n_words):
            for unit in (lut, dsp, post):
                if to_unit: unit.residual[unit_address + i] = dram[dram_address + i]
    """

    mnemonic: ClassVar[str] = "load_residual"
    resource: ClassVar[Resource] = Resource.RESIDUAL

    queue: str = Queue.MEMORY

    dram_address: int = unsigned(DRAM_BITS, "first word in DRAM")
    n_words: int = unsigned(14, "words to fetch")
    to_lut: int = unsigned(1, "into the residual buffer of the LUT core")
    to_dsp: int = unsigned(1, "into that of the DSP core")
    to_post: int = unsigned(1, "into that of POST")
    lut_address: int = unsigned(14, "first word there")
    dsp_address: int = unsigned(14, "first word there")
    post_address: int = unsigned(14, "first word there")

    @property
    def targets(self) -> tuple[tuple[Unit, int], ...]:
        """The units that get the rows, each with its address."""
        every = (
            (self.to_lut, Unit.LUT, self.lut_address),
            (self.to_dsp, Unit.DSP, self.dsp_address),
            (self.to_post, Unit.POST, self.post_address),
        )
        return tuple((unit, address) for is_target, unit, address in every if is_target)


@dataclass(frozen=True, kw_only=True)
class LoadWeights(Instruction):
    """Fetch lines of the RHS banks of a core: a line is one address of the first `n_banks` banks.

    ::

        for i in range(n_lines):                                # line_words = ceil(n_banks * bank_bits / 64)
            line = dram[dram_address + i * line_words ... + line_words]
            for bank in range(n_banks):
                rhs[bank][rhs_base + i] = line[bank * bank_bits ... + bank_bits]

    with bank_bits = word_bits of the LUT core, 8 * n_inputs of the DSP core.
    """

    mnemonic: ClassVar[str] = "load_weights"
    resource: ClassVar[Resource] = Resource.WEIGHTS

    queue: str = Queue.MEMORY

    unit: int = unsigned(2, "0 LUT, 1 DSP")
    dram_address: int = unsigned(DRAM_BITS, "first word in DRAM")
    rhs_base: int = unsigned(15, "first line")
    n_lines: int = unsigned(15, "lines to fetch")
    n_banks: int = unsigned(9, "banks that get words")


@dataclass(frozen=True, kw_only=True)
class LoadTable(Instruction):
    """Fetch entries of a scale table: one word a channel, see `program.tables`.

    ::

        for i in range(n_entries):
            unit.table[(base + i) % table_entries] = dram[dram_address + i]

    Its header means the channels of the weights; POST has none, there a later `load_rows` tells that it has arrived.
    """

    mnemonic: ClassVar[str] = "load_table"
    resource: ClassVar[Resource] = Resource.WEIGHTS

    queue: str = Queue.MEMORY

    unit: int = unsigned(2, "0 LUT, 1 DSP, 2 POST")
    dram_address: int = unsigned(DRAM_BITS, "first word in DRAM")
    base: int = unsigned(14, "first entry")
    n_entries: int = unsigned(14, "entries to fetch")


@dataclass(frozen=True, kw_only=True)
class LoadLookup(Instruction):
    """Fetch a table of a function: 256 bytes, entry i in byte i % 8 of word i // 8.

    ::

        for i in range(32):
            unit.lookup[table][8 * i ... 8 * i + 8] = bytes of dram[dram_address + i]
    """

    mnemonic: ClassVar[str] = "load_lookup"
    resource: ClassVar[Resource] = Resource.WEIGHTS

    queue: str = Queue.MEMORY

    unit: int = unsigned(2, "0 LUT, 1 DSP, 2 POST")
    dram_address: int = unsigned(DRAM_BITS, "first word in DRAM")
    table: int = unsigned(1, "which of the unit's two tables")


@dataclass(frozen=True, kw_only=True)
class LoadInstructions(Instruction):
    """Fetch part of the program itself into the queues, two words an instruction: accounts for its traffic.

    ::

        for i in range(n_words):
            queues get dram[dram_address + i]
    """

    mnemonic: ClassVar[str] = "load_instructions"

    queue: str = Queue.MEMORY

    dram_address: int = unsigned(DRAM_BITS, "first word in DRAM")
    n_words: int = unsigned(20, "words to fetch")


@dataclass(frozen=True, kw_only=True)
class Store(Instruction):
    """Write words of an output buffer to DRAM; a load behind it sees them.

    ::

        for i in range(n_words):
            for byte in range(8):
                if not kept_bytes >> byte & 1:
                    dram[dram_address + i] byte = unit.output[address + i] byte

    Bytes are kept where both cores write into one slab: with a pitch of 64, byte j of a word is of channels 8 j to 8 j + 7.
    """

    mnemonic: ClassVar[str] = "store"
    resource: ClassVar[Resource] = Resource.OUTPUT

    queue: str = Queue.MEMORY

    unit: int = unsigned(2, "0 LUT, 1 DSP, 2 POST")
    dram_address: int = unsigned(DRAM_BITS, "first word in DRAM")
    address: int = unsigned(15, "first word of the output buffer")
    n_words: int = unsigned(15, "words to write")
    kept_bytes: int = unsigned(8, "bytes of every word that stay as they are, a bit each")


def resource_of(instruction: Instruction) -> Resource | None:
    """Return the resource whose channels the header of an instruction of MEMORY means, None where it means none."""
    if isinstance(instruction, Sync):
        return Resource(instruction.resource)
    return getattr(instruction, "resource", None)
