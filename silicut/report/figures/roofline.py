"""Layers under the roofs of a build: operations a second over operations a byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from silicut.report.figures.canvas import Canvas, inline
from silicut.report.figures.stages import section_numbers
from silicut.report.simulation import SimulatedLayer, SimulationSummary
from silicut.report.wording import percent_text

_WIDTH, _HEIGHT = 520, 400


def roofline_svg(summary: SimulationSummary) -> str:
    """Return the roofline as an `<svg>` element; "" where no layer multiplies.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    layers = [layer for layer in summary.layers if layer.ops_per_byte and layer.array_cycles]
    if not layers:
        return ""
    return inline(lambda colours: _draw(summary, layers, colours), "roofline", "Operations a second over operations a byte")


def _draw(summary: SimulationSummary, layers: list[SimulatedLayer], colours: Mapping[str, str]) -> Canvas:
    canvas = Canvas(_WIDTH, _HEIGHT, colours)
    axes = canvas.axes(left=58, bottom=48, right=14, top=14)
    giga = summary.clock_hz / 1e9
    points = [(layer.ops_per_byte or 0.0, 2 * layer.n_macs / layer.occupied_cycles * giga) for layer in layers]
    roofs = [layer.peak_ops * giga for layer in layers]
    low = min(*(x for x, _ in points), max(roofs) / (summary.bytes_per_cycle * giga)) / 2
    high = max(x for x, _ in points) * 2
    bottom, top = min(y for _, y in points) / 2, max(roofs) * 2
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(bottom, top))
    axes.minorticks_off()
    axes.grid(color=colours["line"], lw=0.8)
    axes.set_xlabel("operations a byte of traffic", color=colours["muted"], fontsize=12)
    axes.set_ylabel("GOPS", color=colours["muted"], fontsize=12)
    _plain_numbers(axes)
    _memory_roof(axes, colours, (low, high), summary.bytes_per_cycle * giga, (bottom, top))
    sections = dict(zip([layer.name for layer in summary.layers], section_numbers(summary.layers), strict=True))
    for layer, point, roof in zip(layers, points, roofs, strict=True):
        _point(axes, canvas, layer, (*point, roof), colours[f"section{sections[layer.name]}"])
    return canvas


def _plain_numbers(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}" if number >= 1 else f"{number:g}"))


def _memory_roof(
    axes: Any, colours: Mapping[str, str], ends: tuple[float, float], slope: float, limits: tuple[float, float]
) -> None:
    low, high = ends
    axes.plot([low, high], [slope * low, slope * high], color=colours["muted"], lw=1.4, zorder=2)
    x = min(high, limits[1] / slope) / 1.5
    axes.annotate(
        f"memory, {slope:.1f} GB/s",
        (x, slope * x),
        xytext=(-8, 0),
        textcoords="offset points",
        ha="right",
        color=colours["muted"],
        fontsize=11,
    )


def _point(axes: Any, canvas: Canvas, layer: SimulatedLayer, place: tuple[float, float, float], colour: str) -> None:
    """Draw a layer with the roof of its own formats and a line up to it."""
    x, y, roof = place
    tip = f"{layer.name}: {y:.1f} of {roof:.1f} GOPS ({percent_text(y / roof, 0)}), {x:.0f} operations a byte"
    axes.plot([x, x], [y, roof], color=colour, lw=1, alpha=0.5, zorder=3)
    axes.plot([x], [roof], "_", color=colour, ms=13, mew=2, zorder=3)
    axes.plot([x], [y], "o", color=colour, ms=8, mew=0, zorder=4, gid=canvas.tip(tip))
