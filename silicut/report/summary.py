"""The record of one pruning run, from which page, tables and figures are made: plain values, each with its unit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from silicut.records import ConfigError, Record
from silicut.report.comparisons import EngineSummary, SizeBudget, TriedDrop, ValueSummary
from silicut.report.findings import Finding, LatencyParts
from silicut.report.part import Part
from silicut.report.simulation import SimulationSummary
from silicut.targets.engine import EngineSettings
from silicut.targets.profile import Validation


@dataclass(frozen=True, kw_only=True)
class Latency(Part):
    """A measured latency.

    Attributes:
        ms: milliseconds of one inference.
        low_ms, high_ms: its 95 % interval; both equal `ms` for the network all ratios are relative to.
    """

    ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True, kw_only=True)
class Ratio(Part):
    """Measured latency of the pruned network over that of the dense one; below 1 is faster.

    Attributes:
        ratio: the median of paired measurements.
        low, high: its 95 % interval.

    Example:
        >>> Ratio(ratio=0.5, low=0.4, high=0.625).speedup
        (2.0, 1.6, 2.5)
    """

    ratio: float
    low: float
    high: float

    @property
    def speedup(self) -> tuple[float, float, float]:
        """How many times faster: value, lower and upper end of the 95 % interval."""
        return 1 / self.ratio, 1 / self.high, 1 / self.low


@dataclass(frozen=True, kw_only=True)
class Outcome(Part):
    """Whether the budget was met.

    Attributes:
        is_met: the measured latency is within the budget, and no better plan is known to be within it.
        sentence: the same in words, with the reason where it is not.
        next_ms: predicted milliseconds of the cheapest better plan, None where there is none.
    """

    is_met: bool
    sentence: str
    next_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Search(Part):
    """How the plan was chosen.

    Attributes:
        value_function: what was maximised.
        value: what the plan reaches of it, any unit.
        solver: name of the solver.
        bound: no plan within the same predicted budget has a greater value.
        gap_frac: (bound - value) / abs(value), >= 0.
    """

    value_function: str
    value: float
    solver: str
    bound: float
    gap_frac: float


@dataclass(frozen=True, kw_only=True)
class Round(Part):
    """One turn of solve, apply, measure and correct.

    Attributes:
        target_ms: predicted milliseconds the plan was solved for.
        predicted_ms: of the plan.
        measured_ms: of the network made from it; None where it was not measured.
        value: of the plan.
        n_widths_changed: groups whose width differs from the round before (from dense in the first).
    """

    target_ms: float
    predicted_ms: float
    measured_ms: float | None
    value: float
    n_widths_changed: int


@dataclass(frozen=True, kw_only=True)
class Stage(Part):
    """Accuracy after one stage of the run.

    Attributes:
        name: "dense", "pruned", "batch norm recalibrated", "fine-tuned", "onnx", ...
        n: images evaluated, >= 1.
        n_correct: images classified right.
        n_lost, n_gained: images that the first stage had right and this one wrong, and the reverse; None where the two
            were not compared image by image.
    """

    name: str
    n: int
    n_correct: int
    n_lost: int | None = None
    n_gained: int | None = None

    @property
    def accuracy_frac(self) -> float:
        """`n_correct / n`."""
        return self.n_correct / self.n


@dataclass(frozen=True, kw_only=True)
class Epoch(Part):
    """One epoch of fine-tuning.

    Attributes:
        epoch: counted from 1.
        loss: mean training loss.
        accuracy_frac: on the evaluation images after the epoch, None where it was not evaluated.
        learning_rate: of the last step.
    """

    epoch: int
    loss: float
    accuracy_frac: float | None
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class LayerSummary(Part):
    """One layer before and after.

    Attributes:
        name: the operator; its dotted path puts it into a block and a section of the network.
        shape: in words.
        n_in_dense, n_out_dense: channels read and made, dense.
        n_in_pruned, n_out_pruned: the same in the pruned network; 0 where the layer is removed.
        dense_ms, pruned_ms: predicted milliseconds; the latter 0 where the layer is removed.
        is_removed: went with its block.
    """

    name: str
    shape: str
    n_in_dense: int
    n_in_pruned: int
    n_out_dense: int
    n_out_pruned: int
    dense_ms: float
    pruned_ms: float
    is_removed: bool = False


@dataclass(frozen=True, kw_only=True)
class GroupSummary(Part):
    """One channel group: its staircase and the width it got.

    Attributes:
        name: the group.
        dense_width, chosen_width: channels before and after; the latter 0 where the group's block is removed.
        widths: probed widths, increasing.
        costs_ms: measured milliseconds of the layers that touch the group at each, the other groups dense.
        step: width of a stair.
        cliffs: probed widths that cost more than a larger one.
        levels: legal widths, increasing.
        level_costs_ms: milliseconds that the model of layer costs predicts at each, the other groups dense.
    """

    name: str
    dense_width: int
    chosen_width: int
    widths: tuple[int, ...]
    costs_ms: tuple[float, ...]
    step: int
    cliffs: tuple[int, ...]
    levels: tuple[int, ...]
    level_costs_ms: tuple[float, ...]

    @property
    def is_removed(self) -> bool:
        """The group went with its block."""
        return self.chosen_width == 0


@dataclass(frozen=True, kw_only=True)
class FrozenSummary(Part):
    """Channels that had to stay.

    Attributes:
        operators: the layers that make them.
        n_channels: how many.
        reason: one sentence.
    """

    operators: tuple[str, ...]
    n_channels: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class NetworkSize(Part):
    """How large a network is.

    Attributes:
        n_parameters: trained numbers.
        n_macs: multiply-accumulates of one inference.
        file_bytes: of the ONNX file.
    """

    n_parameters: int
    n_macs: int
    file_bytes: int


@dataclass(frozen=True, kw_only=True)
class OnnxAgreement(Part):
    """The exported file, run by the engine, beside the PyTorch module.

    Attributes:
        max_abs_difference: over all logits.
        n_images: images compared.
        n_same_top1: of these, images with the same largest logit.
    """

    max_abs_difference: float
    n_images: int
    n_same_top1: int


@dataclass(frozen=True, kw_only=True)
class RunSummary(Record):
    """Everything one pruning run found out.

    Attributes:
        network: its name.
        settings: engine, threads, batch.
        created: date and time, ISO 8601.
        command: text that repeats the run.
        versions: of packages, by name.
        hashes: of inputs and outputs, by what they are of.
        fingerprint: machine and engine, as the engine gave it.
        target_ms: the budget.
        dense: measured.
        predicted_ms: of the pruned network, by the profile.
        overhead_ms: the part of the predictions that belongs to no layer.
        measured: of the pruned network.
        ratio: pruned over dense, measured together.
        outcome: whether the budget was met.
        search: how the plan was chosen.
        dense_size, pruned_size: parameters, multiply-accumulates, bytes.
        rounds: of solve and measure, in order; at least one.
        layers: every layer that takes time, in order of execution.
        groups: every channel group.
        removed_blocks: names of the residual blocks that went.
        frozen: channels that had to stay.
        stages: accuracy, dense first; empty without data.
        epochs: of fine-tuning; empty without.
        validation: how well latency is predicted; None where it was not checked.
        onnx_agreement: None where it was not checked.
        warnings: sentences on what makes the figures less sure.
        engines: the network on each of several engines; empty where there is one, which everything else is about.
        size_budgets: budgets besides latency.
        values: how each value function did; empty where they were not compared.
        drops: latencies that were tried for a drop of accuracy; empty where a latency was asked for.
        parts: of the pruned network's predicted latency, by what could still change them; None where nobody looked.
        findings: the known causes of a network that is no faster which apply to the pruned network.
        simulation: where the cycles of the pruned network go on an accelerator; None on engines.

    Raises:
        ConfigError: a latency or a count is not above 0, or lists that belong together differ in length; all are named.
    """

    schema: ClassVar[str] = "run_summary/1"

    network: str
    settings: EngineSettings
    created: str
    command: str
    versions: dict[str, str]
    hashes: dict[str, str]
    fingerprint: dict[str, Any]
    target_ms: float
    dense: Latency
    predicted_ms: float
    overhead_ms: float
    measured: Latency
    ratio: Ratio
    outcome: Outcome
    search: Search
    dense_size: NetworkSize
    pruned_size: NetworkSize
    rounds: tuple[Round, ...]
    layers: tuple[LayerSummary, ...]
    groups: tuple[GroupSummary, ...]
    removed_blocks: tuple[str, ...] = ()
    frozen: tuple[FrozenSummary, ...] = ()
    stages: tuple[Stage, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    validation: Validation | None = None
    onnx_agreement: OnnxAgreement | None = None
    warnings: tuple[str, ...] = ()
    engines: tuple[EngineSummary, ...] = ()
    size_budgets: tuple[SizeBudget, ...] = ()
    values: tuple[ValueSummary, ...] = ()
    drops: tuple[TriedDrop, ...] = ()
    parts: LatencyParts | None = None
    findings: tuple[Finding, ...] = ()
    simulation: SimulationSummary | None = None

    def __post_init__(self) -> None:
        problems = [*self._wrong_numbers(), *self._wrong_lists()]
        if problems:
            raise ConfigError(*problems)

    @property
    def is_within_budget(self) -> bool:
        """The measured latency is at most the budget."""
        return self.measured.ms <= self.target_ms

    @property
    def layers_dense_ms(self) -> float:
        """Predicted milliseconds of the dense network: its layers and the overhead."""
        return self.overhead_ms + math.fsum(layer.dense_ms for layer in self.layers)

    def _wrong_numbers(self) -> Iterator[str]:
        numbers = {
            "target_ms": self.target_ms,
            "predicted_ms": self.predicted_ms,
            "dense.ms": self.dense.ms,
            "measured.ms": self.measured.ms,
            "ratio.ratio": self.ratio.ratio,
            "ratio.low": self.ratio.low,
        } | {f"stages {stage.name!r} n": stage.n for stage in self.stages}
        for name, number in numbers.items():
            if not (number > 0 and math.isfinite(number)):
                yield f"{name} must be above 0 and finite, not {number}"

    def _wrong_lists(self) -> Iterator[str]:
        for name in ("layers", "rounds"):
            if not getattr(self, name):
                yield f"{name} must hold at least one entry, not none"
        for group in self.groups:
            for xs, ys in (("widths", "costs_ms"), ("levels", "level_costs_ms")):
                n_xs, n_ys = len(getattr(group, xs)), len(getattr(group, ys))
                if n_xs != n_ys or not n_xs:
                    yield f"groups {group.name!r} {ys} must hold one number for each of {xs}, not {n_ys} for {n_xs}"
        if (check := self.validation) is not None:
            n, counts = len(check.measured_ms), {len(check.predicted_ms), len(check.isolated_ms) or len(check.measured_ms)}
            if counts != {n}:
                yield f"validation must hold one prediction for each of {n} measured networks, not {sorted(counts)}"
