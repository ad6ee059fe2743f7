"""The record of several budgets on one profile, with its table and its CSV: a front of networks to choose from."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import ClassVar

from rich.console import Group
from rich.text import Text

from silicut.records import ConfigError, Record
from silicut.report import wording
from silicut.report.part import Part
from silicut.report.summary import NetworkSize, Ratio, Stage
from silicut.report.terminal import add_row, headed_table
from silicut.targets.engine import EngineSettings

FRONT_COLUMNS = (
    "budget",
    "is_met",
    "predicted_frac",
    "ratio",
    "ratio_low",
    "ratio_high",
    "value_function",
    "value",
    "bound",
    "n_parameters",
    "n_macs",
    "file_bytes",
    "sentence",
)
"""The columns of `front_csv` besides one for the accuracy after each stage."""


@dataclass(frozen=True, kw_only=True)
class FrontPoint(Part):
    """One budget of a front.

    Attributes:
        budget: as it was asked for.
        folder: where its network lies, inside the front's folder; "" where there is none.
        is_met: whether it measured within the budget and nothing better is known to.
        sentence: what came of it, or why there is no network.
        predicted_frac: of the dense latency; None where there is no network, as for all that follow.
        ratio: measured.
        value_function: what was maximised.
        value: what the plan reaches of it.
        bound: no plan of this predicted latency exceeds it: from the whole concave front where it was made.
        size: of the network.
        stages: accuracy, dense first.
    """

    budget: str
    folder: str
    is_met: bool
    sentence: str
    predicted_frac: float | None = None
    ratio: Ratio | None = None
    value_function: str = ""
    value: float | None = None
    bound: float | None = None
    size: NetworkSize | None = None
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Curve(Part):
    """The concave front of one value function: plans that are best at some price of latency.

    Attributes:
        value_function: its name.
        fracs: predicted latencies as fractions of the dense one, rising.
        values: of the plans, rising.
    """

    value_function: str
    fracs: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class FrontSummary(Record):
    """Several budgets on one profile.

    Attributes:
        network: its name.
        settings: engine, threads, batch (of the first engine).
        created: date and time, ISO 8601.
        command: text that repeats the run.
        versions: of packages, by name.
        dense_ms: latency of the dense network.
        dense_size: of the dense network.
        points: one for each budget, from the largest to the smallest.
        curves: what could be predicted before anything was built, one for each value function that was used.

    Raises:
        ConfigError: there is no point.
    """

    schema: ClassVar[str] = "front_summary/1"

    network: str
    settings: EngineSettings
    created: str
    command: str
    versions: dict[str, str]
    dense_ms: float
    dense_size: NetworkSize
    points: tuple[FrontPoint, ...]
    curves: tuple[Curve, ...] = ()

    def __post_init__(self) -> None:
        if not self.points:
            raise ConfigError("points must hold at least one entry, not none")

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages that any point has, in order."""
        return tuple(dict.fromkeys(stage.name for point in self.points for stage in point.stages))

    @property
    def how(self) -> str:
        """How the latencies are known: "measured", "predicted" for a device elsewhere, or "simulated"."""
        return self.settings.how

    @property
    def how_planned(self) -> str:
        """What the latency is called that a plan was chosen by, beside `how`."""
        return "plan" if self.settings.is_predicted else "predicted"


def front_table(front: FrontSummary) -> Group:
    """Return one row a budget: measured ratio, value beside its bound, accuracy after each stage; sentences below."""
    table = headed_table("budget", front.how, "95 % interval", front.how_planned, "value", "at most", *front.stage_names)
    for point in front.points:
        add_row(table, *_cells(point, front.stage_names))
    where = wording.engine_text(front.settings)
    title = f"{front.network} at {len(front.points)} latencies, {wording.ms_text(front.dense_ms)} dense on {where}"
    sentences = [
        Text(f"{point.budget}: {point.sentence}", style="green" if point.is_met else "red") for point in front.points
    ]
    return Group(Text(title, style="bold"), table, *sentences)


def front_csv(front: FrontSummary) -> str:
    """Return the points as CSV text: a header of `FRONT_COLUMNS` and the stages, then a line a budget."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FRONT_COLUMNS, *(f"accuracy_frac {name}" for name in front.stage_names)])
    for point in front.points:
        accuracy = {stage.name: stage.accuracy_frac for stage in point.stages}
        writer.writerow([*_numbers(point), *(accuracy.get(name, "") for name in front.stage_names)])
    return text.getvalue()


def _cells(point: FrontPoint, stages: tuple[str, ...]) -> list[str]:
    if point.ratio is None or point.predicted_frac is None or point.size is None:
        return [point.budget, "none"]
    accuracy = {stage.name: wording.percent_text(stage.accuracy_frac, 2) for stage in point.stages}
    return [
        point.budget,
        wording.percent_text(point.ratio.ratio),
        f"{100 * point.ratio.low:.1f} to {100 * point.ratio.high:.1f}",
        wording.percent_text(point.predicted_frac),
        f"{point.value:.5g}",
        "" if point.bound is None else f"{point.bound:.5g}",
        *(accuracy.get(name, "") for name in stages),
    ]


def _numbers(point: FrontPoint) -> list[object]:
    ratio, size = point.ratio, point.size
    ratios = ["", "", ""] if ratio is None else [ratio.ratio, ratio.low, ratio.high]
    sizes = ["", "", ""] if size is None else [size.n_parameters, size.n_macs, size.file_bytes]
    plan = [point.value_function, *("" if number is None else number for number in (point.value, point.bound))]
    predicted = "" if point.predicted_frac is None else point.predicted_frac
    return [point.budget, point.is_met, predicted, *ratios, *plan, *sizes, point.sentence]
