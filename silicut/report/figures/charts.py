"""Predictions beside measurements, and the course of fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from silicut.report.figures.canvas import Canvas, inline
from silicut.report.summary import Epoch
from silicut.targets.profile import Validation

_ROW_PX = 116


def validation_svg(check: Validation, how: str = "measured") -> str:
    """Return predicted over measured (or simulated) milliseconds as an `<svg>` element, sums of isolated layers beside.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    return inline(lambda colours: _validation(check, how, colours), "validation", f"Predicted over {how} milliseconds")


def epochs_svg(epochs: Sequence[Epoch]) -> str:
    """Return accuracy (where there is any), loss and learning rate over epochs as an `<svg>` element.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    return inline(lambda colours: _epochs(epochs, colours), "epochs", "Accuracy, loss and learning rate over epochs")


def _validation(check: Validation, how: str, colours: Mapping[str, str]) -> Canvas:
    from matplotlib.ticker import MaxNLocator

    canvas = Canvas(440, 400, colours)
    axes = canvas.axes(left=56, bottom=48, right=14, top=14)
    numbers = (*check.measured_ms, *check.predicted_ms, *check.isolated_ms)
    low, high = 0.94 * min(numbers), 1.04 * max(numbers)
    axes.set(xlim=(low, high), ylim=(low, high))
    for axis, label in ((axes.xaxis, f"{how}, ms"), (axes.yaxis, "predicted, ms")):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_label_text(label, color=colours["muted"], fontsize=12)
    axes.grid(color=colours["line"], lw=0.8)
    axes.plot([low, high], [low, high], color=colours["muted"], lw=1.2)
    place = low + 0.66 * (high - low)
    axes.text(place, 0.965 * place, f"predicted = {how}", color=colours["muted"], fontsize=11, va="top")
    if check.isolated_ms:
        axes.plot(check.measured_ms, check.isolated_ms, "D", ms=6, mfc="none", mew=1.3, mec=colours["section3"])
    axes.plot(check.measured_ms, check.predicted_ms, "o", ms=7, mew=0, color=colours["accent"], alpha=0.85)
    return canvas


def _epochs(epochs: Sequence[Epoch], colours: Mapping[str, str]) -> Canvas:
    numbers = [e.epoch for e in epochs]
    evaluated = [(e.epoch, 100 * e.accuracy_frac) for e in epochs if e.accuracy_frac is not None]
    rows: list[tuple[str, Any, str]] = [
        ("loss", (numbers, [e.loss for e in epochs]), "accent"),
        ("learning rate", (numbers, [e.learning_rate for e in epochs]), "muted"),
    ]
    if evaluated:
        rows.insert(0, ("accuracy, %", tuple(zip(*evaluated, strict=True)), "good"))
    canvas = Canvas(440, _ROW_PX * len(rows) + 40, colours)
    for number, (label, series, colour) in enumerate(rows):
        _epoch_row(canvas, len(rows) - 1 - number, label, series, colour)
    return canvas


def _epoch_row(canvas: Canvas, place: int, label: str, series: Any, colour: str) -> None:
    from matplotlib.ticker import MaxNLocator

    bottom = 40 + _ROW_PX * place
    axes = canvas.axes(left=56, bottom=bottom, right=14, top=canvas.height - bottom - _ROW_PX + 30)
    axes.plot(*series, "o-", ms=3.5 if len(series[0]) < 60 else 0, lw=1.6, color=canvas.colours[colour])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.grid(color=canvas.colours["line"], lw=0.8)
    axes.set_title(label, loc="left", color=canvas.colours[colour], fontsize=12, fontweight="bold", pad=7)
    if place:
        axes.tick_params(labelbottom=False)
    else:
        axes.set_xlabel("epoch", color=canvas.colours["muted"], fontsize=12, labelpad=3)
