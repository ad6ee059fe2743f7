"""What a build takes of a part: look-up tables, flip-flops, DSP slices, blocks of memory.

Three kinds of figures stand apart, because they are not equally sure:

- the *arrays* follow BISMO's model (Umuroglu et al., arXiv 1901.00370 for `BISMO_V2`, arXiv 1806.08862 for `BISMO_V1`),
  fitted by its authors to their builds, and count of memories;
- the *buffers* are counted: words of 64 bits in blocks of memory;
- the *glue* (moving data, control, post-processing) and all flip-flops are assumptions, to be replaced by synthesis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from silicut.accelerators.gemm.config import DspCore, GemmConfig, LutCore
from silicut.targets.parts import Board, Part

_BRAM_SHAPES = ((1024, 36), (512, 72))  # words and bits, parity bits used as data
_WORD_BITS = 64  # of a buffer
_ACCUMULATOR_BITS = 32
_SLICE_FFS = 48  # of the tree of sums behind a slice
_N_BANKS = 2  # of accumulators
_N_LARGEST = 3


@dataclass(frozen=True)
class ArrayModel:
    """Look-up tables of a unit of the bit-serial core: slope * word_bits + offset, and those of its result.

    Attributes:
        name: for tables.
        slope: for each bit of the word.
        offset: of a unit.
        result: of a unit's way to the output.
    """

    name: str
    slope: float
    offset: float
    result: float = 120.1

    def n_luts(self, core: LutCore) -> int:
        """Return the look-up tables of the array."""
        unit = self.slope * core.word_bits + self.offset + self.result
        return round(core.n_rows * core.n_columns * unit)


BISMO_V2 = ArrayModel("BISMO v2", 1.17, 44.1)
"""Compressors that absorb the AND; the default."""
BISMO_V1 = ArrayModel("BISMO v1", 2.04, 109.41)
"""Counters of 6 to 3, nearer to what a synthesiser infers from a sum of bits."""


@dataclass(frozen=True)
class Use:
    """Amounts of what a part has."""

    n_luts: int = 0
    n_ffs: int = 0
    n_dsps: int = 0
    n_bram36: int = 0

    def __add__(self, other: Use) -> Use:
        """Return the sum of both, amount by amount."""
        return Use(*(getattr(self, name) + getattr(other, name) for name in AMOUNTS))


AMOUNTS = {"n_luts": "LUTs", "n_ffs": "flip-flops", "n_dsps": "DSP slices", "n_bram36": "BRAM36"}
"""The fields of `Use`, which are also fields of `Part`, and what they are called in sentences."""


@dataclass(frozen=True)
class Item:
    """One user of a part.

    Attributes:
        name: for tables.
        group: "arrays", "buffers" or "glue".
        use: what it takes.
    """

    name: str
    group: str
    use: Use


@dataclass(frozen=True)
class Resources:
    """What a build takes, user by user.

    Attributes:
        items: the users.
        model: of the bit-serial array, by name.
    """

    items: tuple[Item, ...]
    model: str

    @property
    def total(self) -> Use:
        """Everything."""
        return sum((item.use for item in self.items), Use())

    def of(self, group: str) -> Use:
        """Return what the users of a group take together."""
        return sum((item.use for item in self.items if item.group == group), Use())

    def largest(self, amount: str) -> tuple[Item, ...]:
        """Return the three users that take most of a field of `Use`, the first most."""
        users = [item for item in self.items if getattr(item.use, amount)]
        return tuple(sorted(users, key=lambda item: -getattr(item.use, amount))[:_N_LARGEST])


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Shares of a part that a plan may use; fuller parts are hard to route.

    Attributes:
        n_luts, n_ffs, n_dsps, n_bram36: of each amount.
    """

    n_luts: float = 0.85
    n_ffs: float = 0.85
    n_dsps: float = 1.0
    n_bram36: float = 1.0


def resources(config: GemmConfig, model: ArrayModel = BISMO_V2) -> Resources:
    """Return what a build takes.

    Example:
        >>> from silicut.accelerators.gemm.config import N3H
        >>> resources(N3H).of("arrays")
        Use(n_luts=40187, n_ffs=31744, n_dsps=128, n_bram36=136)
    """
    return Resources((*_arrays(config, model), *_buffers(config), *_glue(config)), model.name)


def exceeded(found: Resources, part: Part, limits: Limits = Limits()) -> tuple[str, ...]:
    """Return a sentence for each amount that a build needs more of than a plan may use of the part; none where it fits."""
    return tuple(_exceeded(found, part, limits))


def exceeded_by_memory(config: GemmConfig, board: Board) -> tuple[str, ...]:
    """Return a sentence for each way in which a board's memory gives less than the configuration counts on."""
    sentences = []
    if config.memory.n_ports > board.n_ports:
        sentences.append(f"{board.name} has {board.n_ports} ports of 64 bits, not {config.memory.n_ports}")
    needed = config.memory.bytes_per_cycle * config.clock_hz / 1e9
    if needed > board.bandwidth_gb_per_s:
        sentences.append(
            f"the ports carry {needed:.1f} GB/s at {config.clock_hz / 1e6:.0f} MHz, the memory of {board.name} "
            f"{board.bandwidth_gb_per_s:.1f} GB/s"
        )
    return tuple(sentences)


def _exceeded(found: Resources, part: Part, limits: Limits) -> Iterator[str]:
    for amount, words in AMOUNTS.items():
        needed, there = getattr(found.total, amount), getattr(part, amount)
        allowed = math.floor(getattr(limits, amount) * there)
        if needed > allowed:
            users = ", ".join(f"{item.name} {getattr(item.use, amount):,}" for item in found.largest(amount))
            share = "" if allowed == there else f" ({allowed / there:.0%} of {there:,})"
            yield f"{words}: {needed:,} needed, {part.name} allows {allowed:,}{share}; most go to {users}"


def _arrays(config: GemmConfig, model: ArrayModel) -> Iterator[Item]:
    if config.lut is not None:
        yield Item("LUT core", "arrays", _lut_array(config.lut, model))
    if config.dsp is not None:
        yield Item("DSP core", "arrays", _dsp_array(config.dsp))


def _lut_array(core: LutCore, model: ArrayModel) -> Use:
    """Return look-up tables by the model; a flip-flop for each bit counted (all stages together), two sums a unit."""
    n_ffs = _n_sums(core) * (core.word_bits + _N_BANKS * _ACCUMULATOR_BITS)
    return Use(model.n_luts(core), n_ffs, 0, _bank_blocks(core, core.word_bits))


def _dsp_array(core: DspCore) -> Use:
    """Return slices with the memories of their operands; flip-flops of the tree of sums and of two sums a filter."""
    n_ffs = core.n_slices * _SLICE_FFS + _n_sums(core) * _N_BANKS * _ACCUMULATOR_BITS
    return Use(0, n_ffs, core.n_slices, _bank_blocks(core, core.n_inputs * 8))


def _n_sums(core: LutCore | DspCore) -> int:
    """Return the sums of a bank of accumulators."""
    return core.n_rows * (core.n_columns if isinstance(core, LutCore) else core.n_outputs)


def _bank_blocks(core: LutCore | DspCore, word_bits: int) -> int:
    """Return the blocks of memory of a core's banks, one for each row and one for each column."""
    return core.n_rows * _blocks(core.lhs_depth, word_bits) + core.n_columns * _blocks(core.rhs_depth, word_bits)


def _blocks(n_words: int, word_bits: int) -> int:
    """Return the blocks of a memory, deep or wide ones, whichever are fewer.

    Example:
        >>> _blocks(1024, 128), _blocks(512, 288), _blocks(8192, 64)
        (4, 4, 16)
    """
    return min(math.ceil(word_bits / bits) * math.ceil(n_words / depth) for depth, bits in _BRAM_SHAPES)


def _units(config: GemmConfig) -> Iterator[str]:
    """Yield the units that have buffers and post-processing of their own."""
    yield from (name for name, core in (("LUT core", config.lut), ("DSP core", config.dsp)) if core is not None)
    yield "vector unit"


def _buffers(config: GemmConfig) -> Iterator[Item]:
    buffers = config.buffers
    sizes = (buffers.feature_words, buffers.residual_words, buffers.output_words, buffers.table_entries)
    blocks = sum(_blocks(size, _WORD_BITS) for size in sizes)
    yield from (Item(f"buffers of the {unit}", "buffers", Use(n_bram36=blocks)) for unit in _units(config))


@dataclass(frozen=True, kw_only=True)
class Glue:
    """Assumed amounts around the arrays, until synthesis tells.

    They come to 8,000 look-up tables for two cores, 8 lanes, 2 ports and fills of 128 bits, what a fetch and result unit,
    its controllers, the post-processing and the bus of comparable designs take together.

    Attributes:
        memory_luts: of the unit that moves data.
        port_luts: of each port.
        queue_luts: of each of the queues of instructions.
        window_luts: of each core's window unit: addresses and registers.
        fill_luts: of each bit that it fills in a cycle, for the shifter.
        tap_luts: of the vector unit, for each byte that it reads in a cycle: a comparison and a sum.
        lane_luts: of each lane of post-processing, of which every unit has its own.
        lane_dsps: of each lane: two for the multiplier of a 32-bit sum, two for an addition, one for the copy of fewer bits.
        sum_luts: of each sum of a core that holds more of them than two registers do: a memory of 32 words of 32 bits, six
            bits of which take four look-up tables.
        add_luts: of each lane, in place of the two for an addition: half a look-up table for each of its 2 x 9 x 16 products
            of bits, and the carries.
        slice_luts: of each DSP slice of the array, for its inputs and the sum behind it.
        packed_slice_luts: of each slice that computes two filters at once: to take their results apart.
        ffs_per_lut: flip-flops for each look-up table of these.
    """

    memory_luts: int = 2180
    port_luts: int = 500
    queue_luts: int = 200
    window_luts: int = 130
    fill_luts: float = 2.5
    tap_luts: int = 20
    lane_luts: int = 100
    lane_dsps: int = 5
    sum_luts: int = 24
    add_luts: int = 180
    slice_luts: int = 8
    packed_slice_luts: int = 22
    ffs_per_lut: float = 1.2

    def use(self, n_luts: int, n_dsps: int = 0) -> Use:
        """Return look-up tables with their flip-flops, and slices."""
        return Use(n_luts, round(self.ffs_per_lut * n_luts), n_dsps)


def _glue(config: GemmConfig, glue: Glue = Glue()) -> Iterator[Item]:
    cores = [core for core in (config.lut, config.dsp) if core is not None]
    yield Item("memory unit", "glue", glue.use(glue.memory_luts + glue.port_luts * config.memory.n_ports))
    yield Item("queues", "glue", glue.use(glue.queue_luts * (2 + 2 * len(cores))))
    window = glue.window_luts + math.ceil(glue.fill_luts * config.fill_bits)
    yield Item("window units", "glue", glue.use(window * len(cores)))
    yield Item("taps of the vector unit", "glue", glue.use(glue.tap_luts * config.vector_word_bits // 8))
    n_lanes = config.n_lanes * len(cores) + config.n_vector_lanes
    luts, dsps = glue.lane_luts, glue.lane_dsps
    if config.adds_in_luts:
        luts, dsps = luts + glue.add_luts, dsps - 2
    yield Item("post-processing", "glue", glue.use(luts * n_lanes, dsps * n_lanes))
    n_sums = sum(_n_sums(core) for core in cores if core.n_accumulator_banks > _N_BANKS)
    yield Item("memories of sums", "glue", glue.use(glue.sum_luts * n_sums))
    if config.dsp is not None:
        packs = config.dsp.macs_per_slice_4bit == 4 or config.dsp.macs_per_slice_8bit == 2
        each = glue.packed_slice_luts if packs else glue.slice_luts
        yield Item("inputs and sums of DSP slices", "glue", glue.use(each * config.dsp.n_slices))
