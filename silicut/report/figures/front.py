"""A front of networks: accuracy over measured latency, and value over predicted latency with what could be had at best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from silicut.report.figures.canvas import Canvas, inline
from silicut.report.front import Curve, FrontPoint, FrontSummary

_SIZE = (520, 340)


def accuracy_svg(front: FrontSummary) -> str:
    """Return accuracy after the first and the last stage over the ratio as an `<svg>` element.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    return inline(lambda colours: _accuracy(front, colours), "accuracy", f"Accuracy over {front.how} latency")


def value_svg(front: FrontSummary, curve: Curve) -> str:
    """Return one value function's concave front with the plans that were built as an `<svg>` element.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    name = f"value-{curve.value_function}"
    return inline(lambda colours: _value(front, curve, colours), name, f"Value by {curve.value_function} over latency")


def _axes(canvas: Canvas, colours: Mapping[str, str], below: str, title: str) -> Any:
    from matplotlib.ticker import MaxNLocator

    axes = canvas.axes(left=64, bottom=48, right=16, top=34)
    axes.grid(color=colours["line"], lw=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(below, color=colours["muted"], fontsize=12)
    axes.set_title(title, loc="left", color=colours["ink"], fontsize=12, fontweight="bold", pad=9)
    return axes


def _built(front: FrontSummary) -> list[FrontPoint]:
    return [point for point in front.points if point.ratio is not None]


def _accuracy(front: FrontSummary, colours: Mapping[str, str]) -> Canvas:
    canvas = Canvas(*_SIZE, colours)
    axes = _axes(canvas, colours, f"latency, % of dense, {front.how}", "accuracy, %")
    points = [point for point in _built(front) if point.stages]
    dense = 100 * points[0].stages[0].accuracy_frac
    axes.axhline(dense, color=colours["muted"], lw=1.2, ls=(0, (4, 3)))
    axes.annotate("dense", (1, dense), xycoords=("axes fraction", "data"), xytext=(-2, 4), textcoords="offset points",
                  ha="right", color=colours["muted"], fontsize=11)  # fmt: skip
    ratios = [100 * point.ratio.ratio for point in points if point.ratio]
    last = [100 * point.stages[-1].accuracy_frac for point in points]
    axes.plot(ratios, last, "o-", color=colours["accent"], ms=7, mew=0, lw=1.4)
    for point, x, y in zip(points, ratios, last, strict=True):
        tip = canvas.tip(f"{point.budget}, {point.stages[-1].name}")
        axes.annotate(f"{y:.2f}", (x, y), xytext=(0, -16), textcoords="offset points", ha="center",
                      color=colours["ink"], fontsize=11, gid=tip)  # fmt: skip
    return canvas


def _value(front: FrontSummary, curve: Curve, colours: Mapping[str, str]) -> Canvas:
    canvas = Canvas(*_SIZE, colours)
    axes = _axes(canvas, colours, "latency, % of dense, predicted", f"value, {curve.value_function}")
    axes.plot([100 * frac for frac in curve.fracs], curve.values, "-", color=colours["muted"], lw=1.4)
    built = [p for p in _built(front) if p.value_function == curve.value_function and p.predicted_frac is not None]
    xs = [100 * (point.predicted_frac or 0.0) for point in built]
    axes.plot(xs, [point.value for point in built], "o", ms=7, mew=0, color=colours["accent"])
    return canvas
