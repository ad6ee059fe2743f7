"""What a run of a program on the simulated accelerator did: the record behind table and page.

Cycles are *simulated*: they follow from the program alone. Milliseconds are cycles at a clock that is *assumed*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from silicut.report.estimate import OnAccelerator
from silicut.report.part import Part

STAGES = {
    "memory": "memory",
    "lut.window": "LUT windows",
    "lut.execute": "LUT array",
    "lut.result": "LUT results",
    "dsp.window": "DSP windows",
    "dsp.execute": "DSP array",
    "dsp.result": "DSP results",
    "post": "vector unit",
    "memory.dsp": "memory, DSP ports",
}
"""The stages of the machine, and what they are called."""

MEMORY_STAGES = ("memory", "memory.dsp")
"""The stages that move data: all ports, or those of the LUT core and those of the DSP core."""

ARRAYS = ("lut.execute", "dsp.execute")
"""The stages that multiply."""


@dataclass(frozen=True, kw_only=True)
class Span(Part):
    """A time in which a stage works for a layer, short breaks included.

    Attributes:
        stage: one of `STAGES`.
        layer: its number.
        start, end: cycles.
        busy: cycles at work in between.
    """

    stage: str
    layer: int
    start: int
    end: int
    busy: int


@dataclass(frozen=True, kw_only=True)
class StageUse(Part):
    """How a stage spent the run; the three add up to its cycles.

    Attributes:
        name: one of `STAGES`.
        run: cycles at work.
        receive: cycles of waiting, by what was waited for.
        idle: cycles after its last instruction.
    """

    name: str
    run: int
    receive: dict[str, int]
    idle: int


@dataclass(frozen=True, kw_only=True)
class SimulatedLayer(Part):
    """One layer.

    Attributes:
        name: of its first operator.
        kind: "product", "depthwise", "vector", "" where the program came without that.
        w_bits, a_bits: of its weights and of what it reads, 0 where there are none or they are not known.
        n_lut, n_dsp: filters of each core, 0 where it has none or they are not known.
        n_macs: products, padding of tiles left out.
        start, end: cycles of its first and its last activity; layers may overlap.
        added: cycles by which it ends later than all layers before; over all layers they add up to the run.
        array_cycles: from the start of its first product to the end of its last, in either core; 0 without products.
        busy: cycles at work by stage.
        n_bytes: traffic by kind.
        peak_ops: operations (two a product) that the arrays in use could do in a cycle, in the layer's formats.
    """

    name: str
    kind: str = ""
    w_bits: int = 0
    a_bits: int = 0
    n_lut: int = 0
    n_dsp: int = 0
    n_macs: int = 0
    start: int = 0
    end: int = 0
    added: int = 0
    array_cycles: int = 0
    busy: dict[str, int] = field(default_factory=dict)
    n_bytes: dict[str, int] = field(default_factory=dict)
    peak_ops: float = 0.0

    @property
    def bound(self) -> str:
        """The stage that is at work longest, "" for a layer that does nothing."""
        return max(self.busy, key=lambda stage: self.busy[stage]) if self.busy else ""

    @property
    def utilisation_frac(self) -> float | None:
        """Products of the network over those that the arrays in use could have done while the layer was in them."""
        could = self.peak_ops * self.array_cycles
        return 2 * self.n_macs / could if could and self.n_macs else None

    @property
    def occupied_cycles(self) -> int:
        """The cycles that its products or its transfers take, whichever are more: both roofs bound operations in these."""
        return max(self.array_cycles, *(self.busy.get(stage, 0) for stage in MEMORY_STAGES))

    @property
    def ops_per_byte(self) -> float | None:
        """Operations (two a product) for each byte of traffic."""
        moved = sum(self.n_bytes.values())
        return 2 * self.n_macs / moved if moved and self.n_macs else None


@dataclass(frozen=True, kw_only=True)
class PublishedSystem(Part):
    """What is known of another system.

    Attributes:
        system: its name and where it was published.
        device: that it runs on.
        network: that was run.
        bits: of weights and activations, in words.
        clock_mhz: None where unknown.
        ms: of one inference; None where unknown.
        gops: thousand million operations (two a product) in a second; None where unknown.
        label: "paper", "recalled" or "modelled".
        note: what to know about the figure.
    """

    system: str
    device: str
    network: str
    bits: str
    clock_mhz: float | None
    ms: float | None
    gops: float | None
    label: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SimulationSummary(OnAccelerator):
    """Everything a run of a program found out.

    Attributes:
        command: text that repeats the run.
        created: date and time, ISO 8601.
        versions: of packages, by name.
        hashes: of program and build.
        bytes_per_cycle: of the memory ports.
        cycles: of one inference.
        n_images: that were run with data, 0 where only times were simulated.
        n_correct: of them, classified as their labels say; None without labels.
        layers: in order of execution.
        stages: how each spent the run.
        spans: when each stage worked for which layer.
        occupancy: by memory of the chip, the largest share in use at once; empty without data.
        published: other systems to compare with.
    """

    schema: ClassVar[str] = "simulation/1"

    command: str
    created: str
    versions: dict[str, str]
    hashes: dict[str, str]
    bytes_per_cycle: int
    cycles: int
    n_images: int
    n_correct: int | None
    layers: tuple[SimulatedLayer, ...]
    stages: tuple[StageUse, ...]
    spans: tuple[Span, ...]
    occupancy: dict[str, float]
    published: tuple[PublishedSystem, ...]

    @property
    def total_ms(self) -> float:
        """The time of one inference at the assumed clock."""
        return self.ms(self.cycles)

    @property
    def n_macs(self) -> int:
        """Products of one inference."""
        return sum(layer.n_macs for layer in self.layers)

    @property
    def n_bytes(self) -> int:
        """Traffic of one inference."""
        return sum(sum(layer.n_bytes.values()) for layer in self.layers)

    @property
    def gops(self) -> float:
        """Thousand million operations (two a product) in a second at the assumed clock."""
        return 2 * self.n_macs / self.total_ms / 1e6 if self.cycles else 0.0
