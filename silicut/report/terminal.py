"""The same results for a terminal: rich renderables that the command line prints, and CSV."""

from __future__ import annotations

import csv
import io

from rich.console import Group
from rich.table import Table
from rich.text import Text

from silicut.report import wording
from silicut.report.summary import NetworkSize, RunSummary, Stage
from silicut.targets.measure import Measurement, Timing
from silicut.targets.profile import Profile

CSV_COLUMNS = (
    "name",
    "shape",
    "n_in_dense",
    "n_in_pruned",
    "n_out_dense",
    "n_out_pruned",
    "dense_ms",
    "pruned_ms",
    "is_removed",
)
"""The columns of `layers_csv`: the fields of `LayerSummary`."""


def summary_table(summary: RunSummary) -> Group:
    """Return a run's findings: headline, latency and size before and after, accuracy by stage, outcome and warnings."""
    loss = wording.accuracy_loss(summary.stages)
    parts: list[Text | Table] = [Text(wording.headline(summary), style="bold")]
    if loss is not None:
        parts.append(Text(wording.accuracy_sentence(loss)))
    parts.append(_before_and_after(summary))
    if summary.engines:
        parts.append(_engine_table(summary))
    if summary.stages:
        parts.append(accuracy_table(summary.stages))
    if summary.values:
        parts.append(_value_table(summary))
    parts += [Text(wording.drop_sentence(drop)) for drop in summary.drops]
    parts.append(Text(summary.outcome.sentence, style="green" if summary.is_within_budget else "red"))
    if summary.outcome.next_ms is not None:
        parts.append(Text(f"next better plan: {wording.ms_text(summary.outcome.next_ms)}, predicted"))
    if summary.simulation is not None:
        parts += [Text(sentence) for sentence in wording.origins(summary.simulation)]
    parts += [Text(f"warning: {warning}", style="yellow") for warning in summary.warnings]
    return Group(*parts)


def measurement_table(measurement: Measurement) -> Table:
    """Return the latencies of networks measured together, their ratios to the reference (median over rounds, and fastest run
    over fastest run) and how many runs these are over; warnings are the caption."""
    table = headed_table(
        "network", "latency", "95 % interval", f"relative to {measurement.reference}", "95 % interval", "fastest runs", "n"
    )
    how = "predicted for" if measurement.settings.is_predicted else "measured on"
    table.title = Text(f"{how} {wording.engine_text(measurement.settings)}")
    decimals = wording.shared_decimals(timing.latency_ms for timing in measurement.timings.values())
    for name, timing in measurement.timings.items():
        add_row(table, name, *_timing_cells(timing, decimals, is_reference=name == measurement.reference))
    if measurement.warnings:
        table.caption = Text("\n".join(f"warning: {warning}" for warning in measurement.warnings), style="yellow")
    return table


def profile_table(profile: Profile) -> Group:
    """Return what a profile found: latency, groups with their stairs and legal widths, how well it predicts."""
    check = profile.validation
    table = headed_table("channel group", "channels", "step", "cliffs at", "legal widths", "ms (dense)")
    levels = {variable.name: variable.levels for variable in profile.variables}
    for stairs in profile.staircases:
        add_row(
            table,
            stairs.group,
            str(stairs.widths[-1]),
            str(stairs.step),
            wording.numbers_text(stairs.cliffs) or "none",
            wording.numbers_text(levels[stairs.group]),
            f"{stairs.costs_ms[-1]:.{wording.decimals_for(profile.dense_ms) + 1}f}",
        )
    cpu = profile.fingerprint.get("cpu", "this machine")
    where = f"{wording.engine_text(profile.settings)} on {cpu}"
    return Group(
        Text(f"{wording.ms_text(profile.dense_ms)} measured: the dense network, {where}", style="bold"),
        table,
        *(Text(sentence) for sentence in wording.validation_sentences(check)),
        Text(f"{profile.n_measured} networks were measured for it."),
    )


def layers_csv(summary: RunSummary) -> str:
    """Return the layers as CSV text: a header of `CSV_COLUMNS`, then a line for each layer, in order of execution."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows([getattr(layer, column) for column in CSV_COLUMNS] for layer in summary.layers)
    return text.getvalue()


def _before_and_after(summary: RunSummary) -> Table:
    table = headed_table("", "dense", "pruned", "change", "")
    table.columns[-1].justify = "left"
    for row in (*_latency_rows(summary), *_size_rows(summary.dense_size, summary.pruned_size)):
        add_row(table, *row)
    if summary.removed_blocks:
        add_row(table, "blocks removed", "", str(len(summary.removed_blocks)), "", wording.listing(summary.removed_blocks))
    return table


def _latency_rows(summary: RunSummary) -> list[tuple[str, ...]]:
    ms = (summary.dense.ms, summary.predicted_ms, summary.measured.ms, summary.target_ms)
    decimals = wording.shared_decimals(ms)
    dense, predicted, measured, target = (wording.ms_text(number, decimals) for number in ms)
    change, interval = wording.change_text(1, summary.ratio.ratio), wording.interval_text(summary.measured, decimals)
    speedup, low, high = summary.ratio.speedup
    how = summary.settings.how
    if summary.settings.is_predicted:
        return [
            ("latency, predicted", dense, measured, change, "not run on the device"),
            ("budget", "", target, "", "kept" if summary.is_within_budget else "exceeded"),
            *_size_budget_rows(summary),
            ("speed-up, predicted", "", f"{speedup:.2f}x", "", ""),
        ]
    return [
        (f"latency, {how}", dense, measured, change, interval or _at_clock(summary)),
        ("latency, predicted", "", predicted, "", wording.error_text(summary.predicted_ms, summary.measured.ms)),
        ("budget", "", target, "", "kept" if summary.is_within_budget else "exceeded"),
        *_size_budget_rows(summary),
        (f"speed-up, {how}", "", f"{speedup:.2f}x", "", f"95 %: {low:.2f} to {high:.2f}" if low < high else ""),
    ]


def _at_clock(summary: RunSummary) -> str:
    """Return what a simulated latency rests on, "" for others."""
    found = summary.simulation
    return "" if found is None else f"{found.cycles:,} cycles; {found.clock_hz / 1e6:g} MHz assumed"


def _size_budget_rows(summary: RunSummary) -> list[tuple[str, ...]]:
    return [
        (f"budget, {b.name.replace('_', ' ')}", "", wording.count_text(b.limit), "", "kept" if b.is_kept else "exceeded")
        for b in summary.size_budgets
    ]


def _engine_table(summary: RunSummary) -> Table:
    table = headed_table("engine, measured", "dense", "pruned", "ratio", "95 % interval", "model's mean error")
    for engine in summary.engines:
        decimals = wording.shared_decimals((engine.dense_ms, engine.pruned_ms))
        ms = (wording.ms_text(number, decimals) for number in (engine.dense_ms, engine.pruned_ms))
        interval = f"{engine.ratio_low:.3f} to {engine.ratio_high:.3f}"
        error = wording.percent_text(engine.mean_error_frac)
        add_row(table, wording.engine_text(engine.settings), *ms, f"{engine.ratio:.3f}", interval, error)
    return table


def _value_table(summary: RunSummary) -> Table:
    table = headed_table("value function", "right untrained", "rank correlation", "")
    for value in summary.values:
        right = "" if value.accuracy_frac is None else wording.percent_text(value.accuracy_frac)
        ranks = "" if value.rank_correlation is None else f"{value.rank_correlation:.2f}"
        add_row(table, value.name, right, ranks, "chosen" if value.name == summary.search.value_function else "")
    return table


def _size_rows(dense: NetworkSize, pruned: NetworkSize) -> list[tuple[str, ...]]:
    sizes = (
        ("parameters", "", dense.n_parameters, pruned.n_parameters),
        ("multiply-accumulates", "", dense.n_macs, pruned.n_macs),
        ("ONNX file", "B", dense.file_bytes, pruned.file_bytes),
    )
    return [
        (name, wording.count_text(was, unit), wording.count_text(now, unit), wording.change_text(was, now), "")
        for name, unit, was, now in sizes
    ]


def accuracy_table(stages: tuple[Stage, ...]) -> Table:
    """Return the accuracy after each stage with its interval."""
    table = headed_table("accuracy, measured", "right", "95 % interval", "images")
    for stage in stages:
        low, high = wording.wilson_interval(stage)
        accuracy = wording.percent_text(stage.accuracy_frac, 2)
        add_row(table, stage.name, accuracy, f"{100 * low:.2f} to {100 * high:.2f}", f"{stage.n_correct:,} of {stage.n:,}")
    return table


def _timing_cells(timing: Timing, decimals: int, *, is_reference: bool) -> tuple[str, ...]:
    latency = f"{timing.latency_low_ms:.{decimals}f} to {timing.latency_high_ms:.{decimals}f}"
    ratio = f"{timing.ratio_low:.3f} to {timing.ratio_high:.3f}"
    intervals = ("", "") if is_reference else (latency, ratio)
    ratios = (f"{timing.ratio:.3f}", intervals[1], f"{timing.ratio_of_minima:.3f}")
    return wording.ms_text(timing.latency_ms, decimals), intervals[0], *ratios, str(timing.n)


def headed_table(*headings: str) -> Table:
    """Return an empty table, all columns but the first to the right."""
    from rich import box

    table = Table(box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left", pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if number else "left")
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add cells as plain text: names may hold what rich would read as markup."""
    table.add_row(*map(Text, cells))
