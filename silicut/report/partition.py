"""A network shared among several engines: the record behind `silicut partition`.

Cycles of engines are *modelled*, those of the system *simulated* at an assumed clock; slices and blocks are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.records import Record
from silicut.report.part import Part


@dataclass(frozen=True, kw_only=True)
class PlacedLayerEstimate(Part):
    """A layer on its engine.

    Attributes:
        name: of the layer.
        stage: of the pipeline, from 0.
        tile_rows, tile_columns: pixels that are computed from one filling of the buffers.
        cycles: of computing.
        n_bytes: moved for one image.
    """

    name: str
    stage: int
    tile_rows: int
    tile_columns: int
    cycles: int
    n_bytes: int


@dataclass(frozen=True, kw_only=True)
class EngineEstimate(Part):
    """One engine.

    Attributes:
        n_inputs, n_outputs: channels at once.
        n_dsps, n_bram18: slices and blocks that it takes.
        layers: in the order in which it executes them.
        computing_cycles: of an epoch, simulated, as are the following.
        inputs_cycles: waiting until another layer's results are stored, or for the next image.
        loading_cycles: waiting for its loads.
        storing_cycles: waiting for its stores.
        readers_cycles: waiting until a copy in memory has been read and may be written over.
    """

    n_inputs: int
    n_outputs: int
    n_dsps: int
    n_bram18: int
    layers: tuple[PlacedLayerEstimate, ...]
    computing_cycles: float
    inputs_cycles: float
    loading_cycles: float
    storing_cycles: float
    readers_cycles: float

    @property
    def cycles(self) -> int:
        """Cycles of computing for each image, modelled."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def memory_cycles(self) -> float:
        """Cycles of an epoch in which it waits for memory, simulated."""
        return self.loading_cycles + self.storing_cycles


@dataclass(frozen=True, kw_only=True)
class PartitionLimits(Part):
    """What all engines may take together.

    Attributes:
        part: name of the part.
        is_recalled: whether its figures are from memory.
        budget_frac: share of its slices and blocks.
        n_dsps, n_bram18: that share.
        bandwidth_gb_per_s: of the memory; None for any.
    """

    part: str
    is_recalled: bool
    budget_frac: float
    n_dsps: int
    n_bram18: int
    bandwidth_gb_per_s: float | None


@dataclass(frozen=True, kw_only=True)
class PartitionSummary(Record):
    """A partition, and how it runs.

    Attributes:
        network: as it was asked for.
        precision: of all numbers.
        clock_hz: assumed.
        limits: what the engines may take.
        solver: that found it.
        seed: of a solver that walks at random, else 0.
        n_evaluations: epochs that were tested, or partitions that were evaluated.
        engines: of the partition.
        n_macs: multiply-accumulates of one image.
        single_cycles: of an image on the best single engine, slices alone limited.
        epoch_cycles: between two images, computed: of the busiest engine, or of memory.
        bound_cycles: below which no partition into runs of the orders tried is; None where the solver proves nothing.
        simulated_cycles: between two images, simulated.
        is_steady: whether these were equal between all of the last images.
        n_stages: of the pipeline.
        latency_cycles: of an image, simulated.
        left_out: layers that are no convolutions and are counted nowhere.
    """

    schema: ClassVar[str] = "partition/1"

    network: str
    precision: str
    clock_hz: float
    limits: PartitionLimits
    solver: str
    seed: int
    n_evaluations: int
    engines: tuple[EngineEstimate, ...]
    n_macs: int
    single_cycles: int
    epoch_cycles: int
    bound_cycles: int | None
    simulated_cycles: float
    is_steady: bool
    n_stages: int
    latency_cycles: int
    left_out: tuple[str, ...]

    @property
    def utilisation_frac(self) -> float:
        """Share of the multiply-accumulate units that do what is needed, on average over an epoch as simulated."""
        units = sum(engine.n_inputs * engine.n_outputs for engine in self.engines)
        return self.n_macs / (self.simulated_cycles * units)

    @property
    def n_bytes(self) -> int:
        """Bytes that are moved for each image."""
        return sum(layer.n_bytes for engine in self.engines for layer in engine.layers)

    @property
    def n_dsps(self) -> int:
        """Slices of all engines."""
        return sum(engine.n_dsps for engine in self.engines)

    @property
    def n_bram18(self) -> int:
        """Blocks of all engines."""
        return sum(engine.n_bram18 for engine in self.engines)

    @property
    def slowest(self) -> int:
        """Number of the engine that sets the pace: most cycles of computing and of waiting for memory."""
        own = [engine.computing_cycles + engine.memory_cycles for engine in self.engines]
        return own.index(max(own))

    def ms(self, cycles: float) -> float:
        """Return the milliseconds of cycles at the assumed clock."""
        return cycles * 1e3 / self.clock_hz

    @property
    def images_per_s(self) -> float:
        """Images a second, simulated."""
        return self.clock_hz / self.simulated_cycles
