"""What is chosen when the accelerator is built: shapes of the two cores, buffers, memory ports, clock.

One configuration is read by compiler, cost model, simulator and (later) hardware, so they cannot drift apart. The
reference point is that of the released model of N3H-Core (Gong et al., FPGA 2022, arXiv 2112.08193); the LUT core is the
array of BISMO (Umuroglu et al., arXiv 1806.08862).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from silicut.records import ConfigError, Record

GRANULE = 64
"""Elements of a feature row that travel together: one 64-bit word of memory for each bit plane."""

LOOKUP_TABLES, LOOKUP_ENTRIES = 2, 256
"""Tables of functions that each core and the unit for vectors hold, and bytes of one."""

WINDOW_STARTUP_CYCLES = 6
"""From the start of an expansion to its first write: registers (2), feature buffer (3), shifter (1)."""
RESULT_LATENCY_CYCLES = 20
"""From a finished sum to its write into the output buffer, through all steps of post-processing, whether used or not."""
POST_STARTUP_CYCLES = 4 + RESULT_LATENCY_CYCLES
"""From the start of a pool to its first write: feature buffer (3), comparison or sum (1), post-processing."""


@dataclass(frozen=True, kw_only=True)
class LutCore:
    """The bit-serial core: n_rows x n_columns units, each of which ANDs two words and counts the ones in a cycle.

    Attributes:
        n_rows: output pixels at once (M); any positive number.
        n_columns: filters at once (N).
        word_bits: bits that a unit takes in a cycle (K); a multiple of 32.
        lhs_depth: words of each of the n_rows banks of activations.
        rhs_depth: words of each of the n_columns banks of weights.
        n_accumulator_banks: tiles whose sums are held at once: one is computed while others leave; at least 2.
    """

    n_rows: int = 8
    n_columns: int = 16
    word_bits: int = 128
    lhs_depth: int = 1024
    rhs_depth: int = 1024
    n_accumulator_banks: int = 2

    @property
    def latency_cycles(self) -> int:
        """From the last word of a tile to its finished sums: memories (3), unit (3), a stage for each level of the count."""
        return 6 + max(1, (self.word_bits // 32 - 1).bit_length())

    def problems(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from _too_small(self, "lut", ("n_rows", "n_columns", "lhs_depth", "rhs_depth"))
        yield from _too_small(self, "lut", ("n_accumulator_banks",), least=2)
        if self.word_bits < 32 or self.word_bits % 32:
            yield f"lut.word_bits must be a multiple of 32, not {self.word_bits}"


@dataclass(frozen=True, kw_only=True)
class DspCore:
    """The word-parallel core: n_rows x n_inputs x (n_outputs / n_passes) DSP slices.

    Attributes:
        n_rows: output pixels at once (B).
        n_inputs: 8-bit inputs that a column takes in a cycle (I); twice as many of 4 bits.
        n_outputs: filters of a tile (O).
        n_passes: filters that share a column one after the other (P); a divisor of n_outputs.
        lhs_depth: words of n_inputs bytes of each of the n_rows banks of activations.
        rhs_depth: words of n_inputs bytes of each of the n_outputs / n_passes banks of weights.
        macs_per_slice_4bit: products of 4 x 4 bits of a slice in a cycle; 2, or 4, which computes two filters at once.
        macs_per_slice_8bit: products of 8 x 8 bits of a slice in a cycle; 1, or 2, which computes two filters at once.
        n_accumulator_banks: tiles whose sums are held at once, at least 2. Tiles of few words need more, as a bank is taken
            from the start of a tile to the end of its result; they are small memories of LUTs.
    """

    n_rows: int = 1
    n_inputs: int = 16
    n_outputs: int = 16
    n_passes: int = 2
    lhs_depth: int = 2048
    rhs_depth: int = 1024
    macs_per_slice_4bit: int = 2
    macs_per_slice_8bit: int = 1
    n_accumulator_banks: int = 8

    @property
    def n_columns(self) -> int:
        """Physical columns, each with a bank of weights."""
        return self.n_outputs // self.n_passes

    @property
    def n_slices(self) -> int:
        """DSP slices of the array."""
        return self.n_rows * self.n_inputs * self.n_columns

    @property
    def latency_cycles(self) -> int:
        """From the last word of a tile to its finished sums: memories (3), slice (4), a stage for each level of the sum."""
        return 7 + max(1, (self.n_inputs - 1).bit_length())

    def n_word_inputs(self, element_bits: int) -> int:
        """Return how many elements of 4 or 8 bits a word holds."""
        return self.n_inputs * 8 // element_bits

    def n_tile_cycles(self, element_bits: int) -> int:
        """Return the cycles that one word of inputs keeps the array busy, for n_outputs filters."""
        twofold = self.macs_per_slice_4bit == 4 if element_bits == 4 else self.macs_per_slice_8bit == 2
        return max(1, self.n_passes // 2) if twofold else self.n_passes

    def problems(self) -> Iterator[str]:
        """Yield what is wrong."""
        names = ("n_rows", "n_inputs", "n_outputs", "n_passes", "lhs_depth", "rhs_depth")
        yield from _too_small(self, "dsp", names)
        yield from _too_small(self, "dsp", ("n_accumulator_banks",), least=2)
        if self.n_passes > 0 and self.n_outputs % self.n_passes:
            yield f"dsp.n_passes must divide n_outputs ({self.n_outputs}), not be {self.n_passes}"
        for name, legal in (("macs_per_slice_4bit", (2, 4)), ("macs_per_slice_8bit", (1, 2))):
            if getattr(self, name) not in legal:
                yield f"dsp.{name} must be {legal[0]} or {legal[1]}, not {getattr(self, name)}"
        if self.n_passes % 2 and (self.macs_per_slice_4bit == 4 or self.macs_per_slice_8bit == 2):
            yield f"dsp.n_passes must be even where a slice computes two filters at once, not {self.n_passes}"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The port to DRAM. All transfers go through one queue in the order of the program.

    Attributes:
        n_ports: 64-bit ports.
        has_core_ports: whether half of the ports belong to each core, so that what only one core gets or makes moves beside
            what the other does; what both get, and what the unit for vectors does, takes all ports. Otherwise every
            transfer takes all ports.
        latency_cycles: from a read's issue to its first word.
        refresh_every: beats after which the memory pauses; 0 for never.
        refresh_cycles: length of a pause.
    """

    n_ports: int = 2
    latency_cycles: int = 32
    refresh_every: int = 0
    refresh_cycles: int = 0
    has_core_ports: bool = False

    @property
    def bytes_per_cycle(self) -> int:
        """What one beat of all ports carries."""
        return 8 * self.n_ports

    @property
    def groups(self) -> tuple[int, ...]:
        """Ports that are always used together: all of them, or those of the LUT core and those of the DSP core."""
        return (self.n_ports // 2,) * 2 if self.has_core_ports else (self.n_ports,)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from _too_small(self, "memory", ("n_ports",))
        yield from _too_small(self, "memory", ("latency_cycles", "refresh_every", "refresh_cycles"), least=0)
        if self.has_core_ports and self.n_ports % 2:
            yield f"memory.n_ports must be even where each core has its own, not {self.n_ports}"
        if bool(self.refresh_every) != bool(self.refresh_cycles):
            yield "memory.refresh_every and refresh_cycles must both be 0 or both be positive"


@dataclass(frozen=True, kw_only=True)
class Buffers:
    """What each core has besides its banks; words of 64 bits.

    Attributes:
        feature_words: input rows, from which the window unit makes the rows of the matrix.
        residual_words: rows of a tensor that is added.
        output_words: finished rows on their way to memory.
        table_entries: channels whose bias, multiplier and shift are held.
    """

    feature_words: int = 8192
    residual_words: int = 4096
    output_words: int = 8192
    table_entries: int = 1024

    def problems(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from _too_small(self, "buffers", ("feature_words", "residual_words", "output_words", "table_entries"))


@dataclass(frozen=True, kw_only=True)
class GemmConfig(Record):
    """One build of the accelerator.

    Attributes:
        name: for tables.
        lut: the bit-serial core, None for a build without.
        dsp: the DSP core, None for a build without; one of the two must be there.
        memory: the port to DRAM.
        buffers: of each core and of the unit for vectors.
        n_lanes: results that each core's post-processing takes in a cycle.
        n_vector_lanes: results that the vector unit's takes.
        adds_in_luts: whether the two multiplications of an addition, of nine bits by sixteen, are made of look-up tables in
            all lanes, which saves two DSP slices in each.
        fill_bits: bits that a window unit writes into the banks of its core in a cycle.
        token_depth: the most tokens that a channel between two queues holds.
        clock_hz: assumed until hardware is placed and routed.

    Raises:
        ConfigError: all that is wrong, at once.
    """

    schema: ClassVar[str] = "gemm-config/1"

    name: str = "n3h"
    lut: LutCore | None = field(default_factory=LutCore)
    dsp: DspCore | None = field(default_factory=DspCore)
    memory: Memory = field(default_factory=Memory)
    buffers: Buffers = field(default_factory=Buffers)
    n_lanes: int = 8
    n_vector_lanes: int = 8
    adds_in_luts: bool = False
    fill_bits: int = 128
    token_depth: int = 255
    clock_hz: float = 100e6

    @property
    def vector_word_bits(self) -> int:
        """What the vector unit reads of its feature buffer in a cycle: as much as the memory writes there."""
        return 8 * self.memory.bytes_per_cycle

    def __post_init__(self) -> None:
        parts = [part for part in (self.lut, self.dsp, self.memory, self.buffers) if part is not None]
        problems = [problem for part in parts for problem in part.problems()]
        problems += _too_small(self, "", ("n_lanes", "n_vector_lanes", "fill_bits", "token_depth"))
        if self.lut is None and self.dsp is None:
            problems.append("lut or dsp must be there")
        if self.clock_hz <= 0:
            problems.append(f"clock_hz must be positive, not {self.clock_hz}")
        if problems:
            raise ConfigError(*problems)


def _too_small(part: object, prefix: str, names: tuple[str, ...], least: int = 1) -> Iterator[str]:
    for name in names:
        value = getattr(part, name)
        if value < least:
            yield f"{prefix}{'.' if prefix else ''}{name} must be at least {least}, not {value}"


N3H = GemmConfig()
"""The arrays of N3H-Core's released model. A yardstick of time: with all around them they exceed 85 % of an xc7z020."""

BISMO_PYNQ = GemmConfig(
    name="bismo-pynq-z1",
    lut=LutCore(n_rows=8, n_columns=8, word_bits=256),
    dsp=None,
    memory=Memory(n_ports=1),
    clock_hz=200e6,
)
"""BISMO's build for the PYNQ-Z1: 6.5 binary tera-operations a second."""

BISMO_ULTRA96 = GemmConfig(
    name="bismo-ultra96",
    lut=LutCore(n_rows=10, n_columns=10, word_bits=256),
    dsp=None,
    memory=Memory(n_ports=1),
    clock_hz=300e6,
)
"""BISMO's build for the Ultra96: 15.4 binary tera-operations a second."""

Z020 = GemmConfig(
    name="z020",
    lut=LutCore(n_rows=8, n_columns=8, word_bits=288, lhs_depth=512, rhs_depth=512),
    dsp=DspCore(
        n_rows=4,
        n_inputs=4,
        n_outputs=24,
        n_passes=2,
        lhs_depth=1024,
        rhs_depth=1536,
        macs_per_slice_4bit=4,
        macs_per_slice_8bit=2,
        n_accumulator_banks=2,
    ),
    buffers=Buffers(feature_words=3584, residual_words=2048, output_words=2048, table_entries=512),
    n_lanes=4,
    n_vector_lanes=1,
    adds_in_luts=True,
    fill_bits=192,
)
"""A build that fits an xc7z020 by `cost.resources` (85 % of its look-up tables), for ResNet-18 at 4 bits with ends at 8.

Its arrays are the best of a scan of some 10^5 shapes by the highest roof of each layer; depths, buffers, lanes and fill are
those of a local search from there, in which each build's program was compiled and timed by `cost.exact`.
"""

TINY = GemmConfig(
    name="tiny",
    lut=LutCore(n_rows=2, n_columns=4, word_bits=32, lhs_depth=128, rhs_depth=256),
    dsp=DspCore(n_rows=1, n_inputs=4, n_outputs=4, n_passes=2, lhs_depth=256, rhs_depth=256, n_accumulator_banks=3),
    memory=Memory(n_ports=1, latency_cycles=8),
    buffers=Buffers(feature_words=512, residual_words=256, output_words=512, table_entries=128),
    n_lanes=2,
    n_vector_lanes=2,
    fill_bits=32,
)
"""Small enough for tests and proofs."""

PRESETS = {config.name: config for config in (N3H, BISMO_PYNQ, BISMO_ULTRA96, Z020, TINY)}
"""Ready-made builds by name."""
