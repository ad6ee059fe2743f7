"""Several latencies on one profile: a network for each, and the whole front of plans that could be predicted before."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from silicut.flows.budget import Budget
from silicut.flows.label import Label, created, versions
from silicut.flows.pruning_problem import LATENCY
from silicut.flows.result import Pruned
from silicut.flows.run_folder import RunFolder
from silicut.flows.stages import PRUNED
from silicut.flows.summary import network_size, report_stages, summarise, write_report
from silicut.records import DoesNotFit, NotFaster, ToolMissing, write_atomically
from silicut.report import summary as report
from silicut.report.front import Curve, FrontPoint, FrontSummary, front_csv
from silicut.search import Hull, hull
from silicut.training import is_first

_HULL_S = 30.0

PruneOne = Callable[[str, RunFolder], Pruned]
"""Prunes to a latency into a folder: `silicut.prune` with everything else filled in."""


def prune_front(budgets: Sequence[str], folder: RunFolder, prune_one: PruneOne, label: Label) -> FrontSummary:
    """Prune to each of several latencies, each in a folder of its own, and return the front.

    A latency that cannot be had is a point that says so; the others are made all the same. Profiles come from one cache
    and divergences from one file, so what is measured for the first latency serves all.

    Args:
        budgets: at least two, all different, as `Budget` reads them.
        folder: of the front; front.json, front.csv and front.html are written into it, and a folder for each latency.
        prune_one: does one of them.
        label: what a person calls the run.

    Raises:
        DoesNotFit, NotFaster: none of the latencies can be had; the message is that of the largest.
    """
    ordered = sorted(dict.fromkeys(budgets), key=lambda text: -Budget.parse(text).amount)
    points, results, first_error = [], [], None
    curves: dict[str, Curve] = {}
    for text in ordered:
        try:
            result, where = _pruned(text, folder, prune_one)
        except (DoesNotFit, NotFaster) as error:
            points.append(FrontPoint(budget=text, folder="", is_met=False, sentence=str(error)))
            first_error = first_error or error
            continue
        _write_report(result, where, label)
        found = _hull(result)
        if found is not None:
            curves[result.plan.value[0]] = _curve(result, found)
        points.append(_point(text, str(where.relative_to(folder.path)), result, found))
        results.append(result)
    if first_error is not None and not results:
        with folder.kept_from("front"):
            raise first_error
    front = _summary(results[0], points, tuple(curves.values()), label)
    if is_first():
        front.save(folder.file("front.json"))
        write_atomically(folder.file("front.csv"), front_csv(front).encode())
        with contextlib.suppress(ToolMissing):  # table and CSV say the same
            from silicut.report.front_page import render_front

            write_atomically(folder.file("front.html"), render_front(front).encode())
    return front


def _pruned(text: str, folder: RunFolder, prune_one: PruneOne) -> tuple[Pruned, Path]:
    path = folder.path / folder_name(text)
    has_begun = (path / "run.json").is_file()
    with RunFolder(path, {"latency": text}, resumes=has_begun, shared_with=folder.path) as inner:
        return prune_one(text, inner), path


def folder_name(budget: str) -> str:
    """Return the name of the folder of one latency.

    Example:
        >>> folder_name("50%"), folder_name("3 ms")
        ('latency-50%', 'latency-3ms')
    """
    return f"latency-{budget.replace(' ', '')}"


def _write_report(result: Pruned, folder: Path, label: Label) -> None:
    """Write one latency's report; a page that cannot be made costs nothing else."""
    if not is_first():
        return
    summary = summarise(result, label)
    try:
        write_report(summary, folder)
    except ToolMissing:
        summary.save(folder / "summary.json")


def _point(text: str, folder: str, result: Pruned, found: Hull | None) -> FrontPoint:
    outcome, timing = result.outcome, result.measurement.timings[PRUNED]
    predicted_ms = outcome.chosen.predicted_frac * result.profile.dense_ms
    return FrontPoint(
        budget=text,
        folder=folder,
        is_met=outcome.is_met,
        sentence=outcome.sentence,
        predicted_frac=outcome.chosen.predicted_frac,
        ratio=report.Ratio(ratio=timing.ratio, low=timing.ratio_low, high=timing.ratio_high),
        value_function=result.plan.value[0],
        value=outcome.solution.value,
        bound=outcome.solution.bound if found is None else max(found.bound(predicted_ms), outcome.solution.value),
        size=network_size(result.network, result.planner.batch),
        stages=report_stages(result),
    )


def _hull(result: Pruned) -> Hull | None:
    """Return the concave front of the value that was maximised; None where there is more than one budget or engine."""
    if len(result.targets) > 1 or result.planner.limits:
        return None
    return hull(result.planner.problem(result.scores, result.latencies, 1.0), LATENCY, _HULL_S)


def _curve(result: Pruned, found: Hull) -> Curve:
    return Curve(
        value_function=result.plan.value[0],
        fracs=tuple(point.cost / result.profile.dense_ms for point in found.points),
        values=tuple(point.value for point in found.points),
    )


def _summary(first: Pruned, points: Sequence[FrontPoint], curves: tuple[Curve, ...], label: Label) -> FrontSummary:
    return FrontSummary(
        network=label.network,
        settings=first.measurement.settings,
        created=created(),
        command=label.command,
        versions=versions(),
        dense_ms=first.profile.dense_ms,
        dense_size=network_size(first.dense, first.planner.batch),
        points=tuple(points),
        curves=curves,
    )
