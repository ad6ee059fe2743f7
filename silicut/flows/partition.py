"""Sharing a network among several engines: layers, a solver, tiles, and a simulation of the whole system."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from silicut.accelerators.multi_engine.config import PRECISIONS, EngineConfig, MultiEngineConfig
from silicut.accelerators.multi_engine.cost.arrays import layer_cycles
from silicut.accelerators.multi_engine.cost.buffers import engine_bram18
from silicut.accelerators.multi_engine.cost.traffic import layer_words
from silicut.accelerators.multi_engine.layers import ConvLayer, by_name, conv_layers
from silicut.accelerators.multi_engine.partition import Limits, Partition, PartitionProblem
from silicut.accelerators.multi_engine.partition.contiguous import exact_partition
from silicut.accelerators.multi_engine.partition.limited import limited_partition
from silicut.accelerators.multi_engine.partition.memory import configured, least_traffic
from silicut.accelerators.multi_engine.partition.problem import MAX_ENGINES
from silicut.accelerators.multi_engine.partition.walks import WALKS, walk
from silicut.accelerators.multi_engine.program import programs
from silicut.accelerators.multi_engine.published_layers import PUBLISHED_NETWORKS, published_layers
from silicut.accelerators.system import Stages, SystemRun, Waits, computed_epoch, simulate, stages
from silicut.flows.estimate import read_layers
from silicut.flows.new_folder import new_folder
from silicut.records import Cache, ConfigError, DoesNotFit, Progress, silent
from silicut.report.partition import EngineEstimate, PartitionLimits, PartitionSummary, PlacedLayerEstimate
from silicut.targets.parts import Part, device_table

SOLVERS = ("exact", *WALKS)


@dataclass(frozen=True, kw_only=True)
class PartitionOptions:
    """What a network is shared with.

    Attributes:
        precision: a key of `PRECISIONS`.
        part: whose slices and blocks there are.
        budget_frac: the share of them that engines may take.
        clock_hz: assumed.
        bandwidth_gb_per_s: of the memory; None for any.
        solver: "exact" (dynamic programme over runs of layers), "annealing" or "tabu".
        max_engines: how many there may be.
        n_evaluations: partitions that annealing and tabu search may try.
        seed: of theirs.
        follows: whether a layer may follow in the same round what it reads, where one engine makes both: fewer stages.

    Raises:
        ConfigError: all that is wrong, at once.
    """

    precision: str = "fixed16"
    part: Part = field(default_factory=lambda: device_table().part("xc7vx690t"))
    budget_frac: float = 0.8
    clock_hz: float = 100e6
    bandwidth_gb_per_s: float | None = None
    solver: str = "exact"
    max_engines: int = MAX_ENGINES
    n_evaluations: int = 3000
    seed: int = 0
    follows: bool = False

    def __post_init__(self) -> None:
        problems = tuple(self._problems())
        if problems:
            raise ConfigError(*problems)

    def _problems(self) -> Iterator[str]:
        if self.precision not in PRECISIONS:
            yield f"precision must be {' or '.join(PRECISIONS)}, not {self.precision!r}"
        if self.solver not in SOLVERS:
            yield f"solver must be one of {', '.join(SOLVERS)}, not {self.solver!r}"
        if not 0 < self.budget_frac <= 1:
            yield f"budget must be above 0 and at most 1, not {self.budget_frac:g}"
        if not self.clock_hz > 0:
            yield f"clock must be positive, not {self.clock_hz / 1e6:g}"
        if self.bandwidth_gb_per_s is not None and not 0 < self.bandwidth_gb_per_s < float("inf"):
            yield f"bandwidth must be positive and finite, not {self.bandwidth_gb_per_s:g}"
        if self.max_engines < 1:
            yield f"engines must be at least 1, not {self.max_engines}"
        if self.n_evaluations < 1:
            yield f"evaluations must be at least 1, not {self.n_evaluations}"

    @property
    def bytes_per_cycle(self) -> Fraction | None:
        """What memory moves in a cycle."""
        if self.bandwidth_gb_per_s is None:
            return None
        return Fraction(self.bandwidth_gb_per_s * 1e9 / self.clock_hz).limit_denominator(1000)

    @property
    def limits(self) -> Limits:
        """What all engines may take together."""
        per_cycle = self.bytes_per_cycle
        return Limits.of_part(self.part, self.budget_frac, None if per_cycle is None else float(per_cycle))


@dataclass(frozen=True)
class Partitioned:
    """A partition with all that it was made of.

    Attributes:
        config: engines, their layers and tiles.
        summary: how it runs.
        run: the simulation.
    """

    config: MultiEngineConfig
    summary: PartitionSummary
    run: SystemRun

    def save(self, folder: str | Path) -> Path:
        """Write `config.json` and `summary.json` into a new folder, and return its path.

        Raises:
            OutputExists: the folder holds something.
        """
        folder = new_folder(folder)
        self.config.save(folder / "config.json")
        self.summary.save(folder / "summary.json")
        return folder


def read_conv_layers(
    network: str, input_shape: tuple[int, ...] | None = None, cache: Cache | None = None
) -> tuple[tuple[ConvLayer, ...], tuple[str, ...]]:
    """Return the convolutions of a network, and the layers that are left out.

    Args:
        network: a name of `PUBLISHED_NETWORKS`, or what `read_layers` takes.
        input_shape, cache: as `read_layers` takes them.

    Raises:
        ConfigError: there is no such network, or no convolution in it.
        BadFile: a file is missing or damaged.
        UnsupportedModel: the ONNX file holds what silicut cannot capture.
    """
    if network in PUBLISHED_NETWORKS:
        return published_layers(network), ()
    return conv_layers(read_layers(network, input_shape, cache))


def partition(
    layers: Sequence[ConvLayer],
    options: PartitionOptions,
    name: str = "network",
    left_out: Sequence[str] = (),
    progress: Progress = silent,
) -> Partitioned:
    """Return engines for a network, as the solver found them, and the simulation of the system that they make.

    Args:
        layers: convolutions, in order of execution.
        options: part, precision, limits, solver.
        name: of the network, for the report.
        left_out: layers that are no convolutions, for the report.
        progress: told how far annealing and tabu search are.

    Raises:
        DoesNotFit: no partition within the limits was found.
        ConfigError: the slices suffice for no engine.

    Example:
        >>> found = partition(published_layers("alexnet-2012"), PartitionOptions(precision="fp32"), "alexnet-2012")
        >>> found.summary.epoch_cycles == found.summary.simulated_cycles == 1168128
        True
    """
    problem = PartitionProblem(tuple(layers), PRECISIONS[options.precision], options.limits, options.max_engines)
    solved = _solved(problem, options, progress)
    use = least_traffic(problem, solved.partition, problem.limits.n_bram18)
    config = configured(problem, solved.partition, use, network=name, precision=options.precision, clock_hz=options.clock_hz)
    system = programs(config, layers)
    pipeline, epoch = stages(system, options.follows), computed_epoch(system, options.bytes_per_cycle)
    run = simulate(system, pipeline, options.bytes_per_cycle, epoch)
    alone = dataclasses.replace(problem, max_engines=1, limits=Limits(n_dsps=problem.limits.n_dsps))
    summary = PartitionSummary(
        network=name,
        precision=options.precision,
        clock_hz=options.clock_hz,
        limits=_limits(options),
        solver=options.solver,
        seed=options.seed if options.solver in WALKS else 0,
        n_evaluations=solved.n_evaluations,
        engines=tuple(
            _engine(engine, layers, options, pipeline, run.waits[accelerator.name])
            for engine, accelerator in zip(config.engines, system, strict=True)
        ),
        n_macs=sum(layer.n_macs for layer in layers),
        single_cycles=exact_partition(alone).epoch_cycles,
        epoch_cycles=epoch,
        bound_cycles=solved.bound_cycles,
        simulated_cycles=float(run.epoch_cycles),
        is_steady=run.is_steady,
        n_stages=pipeline.n_stages,
        latency_cycles=run.latency_cycles,
        left_out=tuple(left_out),
    )
    return Partitioned(config, summary, run)


@dataclass(frozen=True)
class _Solved:
    partition: Partition
    bound_cycles: int | None
    n_evaluations: int


def _solved(problem: PartitionProblem, options: PartitionOptions, progress: Progress) -> _Solved:
    if options.solver == "exact":
        exact = limited_partition(problem)
        if exact.partition is None:
            raise DoesNotFit(f"no engines fit {_budget_text(options)}; give another part or a larger --budget")
        return _Solved(exact.partition, exact.bound_cycles, exact.n_epochs)
    walked = walk(problem, options.solver, options.n_evaluations, options.seed, progress)
    if not walked.outcome.is_feasible:
        reasons = "; ".join(walked.outcome.reasons)
        raise DoesNotFit(f"no engines found that fit {_budget_text(options)} ({reasons}); more --evaluations may find some")
    return _Solved(walked.partition, None, walked.n_evaluations)


def _budget_text(options: PartitionOptions) -> str:
    return f"{options.budget_frac:.0%} of {options.part.name}"


def _limits(options: PartitionOptions) -> PartitionLimits:
    limits = options.limits
    assert limits.n_bram18 is not None  # a part always has a number
    return PartitionLimits(
        part=options.part.name,
        is_recalled=options.part.is_recalled,
        budget_frac=options.budget_frac,
        n_dsps=limits.n_dsps,
        n_bram18=limits.n_bram18,
        bandwidth_gb_per_s=options.bandwidth_gb_per_s,
    )


def _engine(
    engine: EngineConfig, layers: Sequence[ConvLayer], options: PartitionOptions, pipeline: Stages, waits: Waits
) -> EngineEstimate:
    known, precision = by_name(layers), PRECISIONS[options.precision]
    return EngineEstimate(
        n_inputs=engine.n_inputs,
        n_outputs=engine.n_outputs,
        n_dsps=precision.n_dsps_per_mac * engine.n_macs_per_cycle,
        n_bram18=engine_bram18(engine, layers, precision),
        layers=tuple(
            PlacedLayerEstimate(
                name=placed.name,
                stage=pipeline.of[placed.name],
                tile_rows=placed.tile_rows,
                tile_columns=placed.tile_columns,
                cycles=layer_cycles(known[placed.name], engine.n_inputs, engine.n_outputs),
                n_bytes=precision.n_bytes * layer_words(known[placed.name], placed, engine.n_outputs),
            )
            for placed in engine.layers
        ),
        computing_cycles=waits.computing,
        inputs_cycles=waits.inputs,
        loading_cycles=waits.loading,
        storing_cycles=waits.storing,
        readers_cycles=waits.readers,
    )
