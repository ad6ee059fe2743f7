"""What a run used: cycles of stages, traffic, layers, and where they lie under the roofs of the build."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from silicut.accelerators.gemm.config import RESULT_LATENCY_CYCLES, GemmConfig
from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm, SetProduct, SetTaps
from silicut.accelerators.gemm.program.program import Program
from silicut.accelerators.gemm.program.queues import UNIT_OF, Queue, Unit
from silicut.accelerators.gemm.program.registers import RegisterFile, dispatched
from silicut.accelerators.gemm.program.tiles import CoreShape, is_bit_serial
from silicut.accelerators.gemm.program.tokens import COMPUTE_QUEUES
from silicut.accelerators.gemm.program.transfers import moved_words, traffic_kind
from silicut.accelerators.gemm.simulate.durations import product_cycles
from silicut.accelerators.gemm.simulate.timeline import STAGES, Timeline


@dataclass(frozen=True)
class StageCounters:
    """How a stage spent a run, as BISMO's counters tell it; the three add up to the cycles of the run.

    Sending a token takes no cycle of its own.

    Attributes:
        run: cycles at work, dispatch included.
        receive: cycles of waiting, by the channel whose token came last; "accumulators" (execute, all banks are taken),
            "sums" (result, nothing is finished) and "barrier" are no channels.
        idle: cycles after the last instruction.
    """

    run: int
    receive: dict[str, int]
    idle: int


def stage_counters(times: Timeline) -> dict[str, StageCounters]:
    """Return the counters of every stage."""
    return {stage: _stage(stage, times) for stage in STAGES}


def _stage(stage: str, times: Timeline) -> StageCounters:
    done = times.activities[stage]
    run, receive = sum(activity.busy for activity in done), Counter[str]()
    for activity in done:
        receive[activity.wait_for] += activity.wait
    for (of, reason), cycles in times.inner_waits.items():
        if of == stage:
            receive[reason] += cycles
    if stage.endswith("result") and done:
        receive["sums"] += done[-1].end - RESULT_LATENCY_CYCLES - run - sum(receive.values())
    kept = {reason: cycles for reason, cycles in sorted(receive.items()) if cycles}
    return StageCounters(run, kept, times.cycles - run - sum(kept.values()))


def traffic(program: Program) -> dict[tuple[int, str], int]:
    """Return bytes moved by number of the layer and kind of traffic."""
    moved: Counter[tuple[int, str]] = Counter()
    for instruction in program.of(Queue.MEMORY):
        kind = traffic_kind(instruction)
        if kind is not None:
            moved[instruction.layer, kind] += 8 * moved_words(instruction, program.config)
    return dict(sorted(moved.items()))


@dataclass
class LayerUse:
    """What one layer took.

    Attributes:
        name: of the layer.
        n_macs: products of the network's layer.
        start, end: cycles from its first activity to its last; in overlapped programs layers overlap.
        busy: cycles of each stage.
        n_bytes: traffic by kind.
        peak_ops: operations (two a product) of the arrays in a cycle, in the formats of the layer.
    """

    name: str
    n_macs: int
    start: int = 0
    end: int = 0
    busy: dict[str, int] = field(default_factory=dict)
    n_bytes: dict[str, int] = field(default_factory=dict)
    peak_ops: float = 0.0

    @property
    def bound(self) -> str:
        """The stage that is at work longest, "" for a layer that does nothing."""
        return max(self.busy, key=lambda stage: self.busy[stage]) if self.busy else ""

    def roofline(self, config: GemmConfig) -> Roofline:
        """Return the layer's position under the roofs of a build."""
        n_bytes, cycles = sum(self.n_bytes.values()), self.end - self.start
        intensity = 2 * self.n_macs / n_bytes if n_bytes else 0.0
        attained = 2 * self.n_macs / cycles if cycles else 0.0
        return Roofline(intensity, attained, intensity * config.memory.bytes_per_cycle, self.peak_ops)


@dataclass(frozen=True)
class Roofline:
    """A point under two roofs; operations are two a product.

    Attributes:
        intensity: operations a byte of traffic.
        attained: operations a cycle.
        memory_roof: operations a cycle that memory allows at this intensity.
        compute_roof: operations a cycle of the arrays in the layer's formats.
    """

    intensity: float
    attained: float
    memory_roof: float
    compute_roof: float


def layer_uses(program: Program, times: Timeline) -> list[LayerUse]:
    """Return what each layer took, in the order of their numbers."""
    uses = [LayerUse(layer.name, layer.n_macs) for layer in program.layers]
    spans: defaultdict[int, list[int]] = defaultdict(list)
    for stage, done in times.activities.items():
        for activity in done:
            if activity.layer < len(uses):
                busy = uses[activity.layer].busy
                busy[stage] = busy.get(stage, 0) + activity.busy
                spans[activity.layer] += [activity.start, activity.end]
    for number, span in spans.items():
        uses[number].start, uses[number].end = min(span), max(span)
    for (number, kind), n_bytes in traffic(program).items():
        if number < len(uses):
            uses[number].n_bytes[kind] = n_bytes
    peaks: defaultdict[int, dict[Unit, float]] = defaultdict(dict)
    for layer, unit, ops in _peaks(program):
        peaks[layer][unit] = max(ops, peaks[layer].get(unit, 0.0))
    for number, by_unit in peaks.items():
        if number < len(uses):
            uses[number].peak_ops = sum(by_unit.values())
    return uses


def _peaks(program: Program) -> Iterator[tuple[int, Unit, float]]:
    """Yield layer, core and operations in a cycle of each instruction that multiplies."""
    for queue in COMPUTE_QUEUES:
        for _, instruction, registers in dispatched(program.of(queue)):
            if isinstance(instruction, Gemm | Depthwise):
                unit = UNIT_OF[queue]
                yield instruction.layer, unit, _peak_ops(instruction, registers, unit, program.config)


def _peak_ops(instruction: Gemm | Depthwise, registers: RegisterFile, unit: Unit, config: GemmConfig) -> float:
    shape = CoreShape.of(unit, config)
    if isinstance(instruction, Depthwise):
        taps = registers.get(SetTaps)
        return 2.0 * shape.n_rows * min(taps.width, shape.n_banks) * (shape.bank_bits // taps.bits)
    product = registers.get(SetProduct)
    elements = shape.bank_bits if is_bit_serial(unit) else shape.bank_bits // product.lhs_bits
    cycles = product_cycles(product, unit, config) / product.n_words
    return 2.0 * shape.n_rows * shape.n_filters * elements / cycles
