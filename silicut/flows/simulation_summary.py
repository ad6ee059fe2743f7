"""From a run of a program to the record that tables and pages are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from silicut.accelerators.gemm.program import Queue
from silicut.accelerators.gemm.program.files import program_hash
from silicut.accelerators.gemm.simulate import Activity, LayerUse, Simulation
from silicut.flows.estimate import on_part
from silicut.flows.label import created, versions
from silicut.records import ConfigError
from silicut.report.compilation import Compilation, CompiledLayer
from silicut.report.published import published_for
from silicut.report.simulation import ARRAYS, MEMORY_STAGES, STAGES, SimulatedLayer, SimulationSummary, Span, StageUse
from silicut.targets.parts import Board, Part, device_table

_N_SPANS = 400  # gaps below this part of the run are drawn over
_NO_WORK = ("sync", "barrier")


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What a run is told with; none of it changes a cycle.

    Attributes:
        clock_mhz: instead of that of the build.
        part: that resources are compared with.
        board: whose memory must carry the traffic; None for the ports at full speed.
        command: text that repeats the run.

    Raises:
        ConfigError: the clock is not positive.
    """

    clock_mhz: float | None = None
    part: Part = field(default_factory=lambda: device_table().part("xc7z020"))
    board: Board | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.clock_mhz is not None and not 0 < self.clock_mhz < float("inf"):
            raise ConfigError(f"clock must be above 0 MHz and finite, not {self.clock_mhz:g}")


def summary_of(
    run: Simulation, record: Compilation | None, circumstances: Circumstances, counted: tuple[int, int | None]
) -> SimulationSummary:
    """Return the summary of a run.

    Args:
        run: of one image.
        record: of the compilation, None for a program file alone.
        circumstances: clock, part, label.
        counted: images that were run, and how many were right.
    """
    config, name = run.program.config, record.network if record else "program"
    clock_hz = config.clock_hz if circumstances.clock_mhz is None else circumstances.clock_mhz * 1e6
    return SimulationSummary(
        network=name,
        command=circumstances.command,
        created=created(),
        versions=versions(),
        hashes={"program": program_hash(run.program), "accelerator": config.hash},
        bytes_per_cycle=config.memory.bytes_per_cycle,
        cycles=run.cycles,
        n_images=counted[0],
        n_correct=counted[1],
        layers=tuple(_layers(run, record)),
        stages=tuple(
            StageUse(name=name, run=use.run, receive=use.receive, idle=use.idle) for name, use in run.stages.items()
        ),
        spans=tuple(_spans(run)),
        occupancy={} if run.machine is None else {name: o.peak / o.n_words for name, o in run.occupancy.items()},
        on_host=tuple(f"{row.operator} ({row.kind})" for row in record.on_host) if record else (),
        **on_part(dataclasses.replace(config, clock_hz=clock_hz), circumstances.part, circumstances.board),
        published=published_for(name, sum(layer.n_macs for layer in run.layers)),
    )


def _layers(run: Simulation, record: Compilation | None) -> Iterator[SimulatedLayer]:
    known: Sequence[CompiledLayer | None] = record.layers if record else [None] * len(run.layers)
    in_arrays, latest = _array_times(run), 0
    for number, (use, layer) in enumerate(zip(run.layers, known, strict=True)):
        first, last = in_arrays.get(number, (0, 0))
        yield _layer(use, layer, max(0, use.end - latest), last - first)
        latest = max(latest, use.end)


def _layer(use: LayerUse, layer: CompiledLayer | None, added: int, array_cycles: int) -> SimulatedLayer:
    return SimulatedLayer(
        name=use.name,
        kind=layer.kind if layer else "",
        w_bits=layer.w_bits if layer else 0,
        a_bits=layer.a_bits if layer else 0,
        n_lut=layer.n_lut if layer else 0,
        n_dsp=layer.n_dsp if layer else 0,
        n_macs=use.n_macs,
        start=use.start,
        end=use.end,
        added=added,
        array_cycles=array_cycles,
        busy=dict(use.busy),
        n_bytes=dict(use.n_bytes),
        peak_ops=use.peak_ops,
    )


def _array_times(run: Simulation) -> dict[int, tuple[int, int]]:
    """Return from when to when each layer is in the arrays."""
    times: dict[int, tuple[int, int]] = {}
    for stage in ARRAYS:
        for done in _work(run, stage):
            first, last = times.get(done.layer, (done.start, done.end))
            times[done.layer] = min(first, done.start), max(last, done.end)
    return times


def _spans(run: Simulation) -> Iterator[Span]:
    """Yield when each stage works for which layer; neighbours with short gaps between are one."""
    gap = run.cycles // _N_SPANS
    for stage in STAGES:
        span: Span | None = None
        for done in _work(run, stage):
            start, end = done.start, _worked_until(stage, done)
            if span and span.layer == done.layer and start - span.end <= gap:
                span = dataclasses.replace(span, end=max(span.end, end), busy=span.busy + done.busy)
                continue
            if span:
                yield span
            span = Span(stage=stage, layer=done.layer, start=start, end=end, busy=done.busy)
        if span:
            yield span


def _work(run: Simulation, stage: str) -> Iterator[Activity]:
    """Yield what a stage does besides taking registers and tokens, which later layers may do long before their work."""
    is_memory = stage in MEMORY_STAGES
    queue = Queue.MEMORY if is_memory else Queue(stage.replace("execute", "compute").replace("result", "compute"))
    instructions = run.program.of(queue)
    for done in run.times.activities[stage]:
        kind = instructions[done.number].mnemonic
        if not kind.startswith("set_") and kind not in _NO_WORK:
            yield done


def _worked_until(stage: str, done: Activity) -> int:
    """Return until when a stage is taken: data of the memory arrive later than the next transfer may begin."""
    return done.start + done.busy if stage in MEMORY_STAGES else done.end
