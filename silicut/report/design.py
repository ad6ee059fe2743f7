"""A design search: the record behind `silicut design`.

Times of the chosen build are *simulated* (the exact recurrence, equal to the simulator to the cycle), all others *predicted*
from sizes; the clock is assumed, resources are modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.report.estimate import OnAccelerator
from silicut.report.part import Part


@dataclass(frozen=True, kw_only=True)
class DesignedLayer(Part):
    """One layer on the chosen build.

    Attributes:
        name: of its first operator.
        kind: "product", "depthwise" or "windows".
        m, k, n: output pixels, inputs of one output, output channels.
        a_bits, w_bits: of what it reads and of its weights, 0 without weights.
        n_lut, n_dsp: filters of each core.
        cycles: predicted.
    """

    name: str
    kind: str
    m: int
    k: int
    n: int
    a_bits: int
    w_bits: int
    n_lut: int
    n_dsp: int
    cycles: float


@dataclass(frozen=True, kw_only=True)
class SearchedStep(Part):
    """One step of the branch and bound.

    Attributes:
        name: what it decides.
        n_visited, n_pruned, n_infeasible: decisions that were opened, that cannot lead to anything better, that exceed the
            part.
    """

    name: str
    n_visited: int
    n_pruned: int
    n_infeasible: int


@dataclass(frozen=True, kw_only=True)
class Contender(Part):
    """A build that was timed.

    Attributes:
        point: its parameters.
        predicted: cycles.
        simulated: cycles; None where a buffer refused a layer.
        refusal: why.
        n_luts, n_dsps, n_bram36: what it takes of the part.
    """

    point: dict[str, int]
    predicted: float
    simulated: int | None
    refusal: str
    n_luts: int
    n_dsps: int
    n_bram36: int


@dataclass(frozen=True, kw_only=True)
class SolverCurve(Part):
    """A black-box search on the same grid.

    Attributes:
        solver: its name.
        seed: of its random numbers.
        n_evaluations, n_infeasible: distinct builds that it tried, and how many of these break a limit.
        seconds: that it took.
        steps: after how many evaluations the least predicted cycles fell, and to what.
        tried: predicted cycles and look-up tables of the builds that fit.
    """

    solver: str
    seed: int
    n_evaluations: int
    n_infeasible: int
    seconds: float
    steps: tuple[tuple[int, float], ...]
    tried: tuple[tuple[float, int], ...] = ()

    @property
    def best(self) -> float | None:
        """The least predicted cycles, None where nothing fitted."""
        return self.steps[-1][1] if self.steps else None


@dataclass(frozen=True, kw_only=True)
class Help(Part):
    """What more of something would bring.

    Attributes:
        what: "10 % more look-up tables".
        cycles: predicted, of the best build then; None where the search was not finished.
        n_luts: that this build takes.
    """

    what: str
    cycles: float | None
    n_luts: int = 0


@dataclass(frozen=True, kw_only=True)
class BitsPoint(Part):
    """Widths that are proven best for the chosen build within one budget of loss.

    Attributes:
        loss: of these.
        cycles: predicted.
        mean_weight_bits: over multiply-accumulates, of the layers whose bits are free.
    """

    loss: float
    cycles: float
    mean_weight_bits: float


@dataclass(frozen=True, kw_only=True)
class DesignSummary(OnAccelerator):
    """What was chosen, and why it is best.

    Attributes:
        goal: "latency", "fps" or "accuracy".
        bits: of weights and of what layers read, in words.
        bandwidth_gb_per_s: of the memory, pauses counted.
        point: the build's parameters.
        layers: in order of execution.
        predicted_cycles: of the chosen build.
        simulated_cycles: of the chosen build; None where it was not compiled.
        least_cycles: of the build that is predicted best.
        bound: no point of the grid has less of what was minimised ("cycles" or "loss", see `minimised`).
        minimised: what was minimised.
        machine_bound_cycles: below which no schedule of the network on the chosen build comes.
        n_points: of the grid.
        search_seconds: of the branch and bound.
        steps: of the branch and bound.
        contenders: builds that were timed, the best first.
        curves: of black-box searches.
        helps: what more of a limit would bring.
        loss, loss_kind, mean_weight_bits: of the chosen widths, where widths were chosen; else None, "" and None.
        front: of the chosen build, where widths were chosen.
        created: date and time, ISO 8601.
        command: text that repeats the run.
        versions: of packages, by name.
        hashes: content hashes of what was written.
    """

    schema: ClassVar[str] = "design/1"

    goal: str
    bits: str
    bandwidth_gb_per_s: float
    point: dict[str, int]
    layers: tuple[DesignedLayer, ...]
    predicted_cycles: float
    simulated_cycles: int | None
    least_cycles: float
    bound: float
    minimised: str
    machine_bound_cycles: float
    n_points: int
    search_seconds: float
    steps: tuple[SearchedStep, ...]
    contenders: tuple[Contender, ...]
    curves: tuple[SolverCurve, ...]
    helps: tuple[Help, ...]
    loss: float | None
    loss_kind: str
    mean_weight_bits: float | None
    front: tuple[BitsPoint, ...]
    created: str
    command: str
    versions: dict[str, str]
    hashes: dict[str, str]

    @property
    def total_ms(self) -> float:
        """The time of an inference: simulated where it was, else predicted."""
        return self.ms(self.predicted_cycles if self.simulated_cycles is None else self.simulated_cycles)

    @property
    def reached(self) -> float:
        """What was minimised, of the best that was found."""
        return self.least_cycles if self.minimised == "cycles" else (self.loss or 0.0)

    @property
    def gap_frac(self) -> float:
        """How far what was reached lies above the bound, relative to it; 0 where it is proven best."""
        return max(0.0, self.reached / self.bound - 1) if self.bound > 0 else 0.0
