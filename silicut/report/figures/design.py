"""Figures of a design search: how black-box searches approach the exact optimum, and time over look-up tables or loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from silicut.report.design import DesignSummary
from silicut.report.figures.canvas import Canvas, inline
from silicut.report.theme import N_SECTION_COLOURS

_SIZE = (520, 340)
_TOP_FRAC = 1.6  # of the least time: what lies above is not drawn


def convergence_svg(summary: DesignSummary) -> str:
    """Return the least predicted time over evaluations of each search as an `<svg>` element, the exact optimum as a line.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    return inline(lambda colours: _convergence(summary, colours), "convergence", "Least predicted time over evaluations")


def builds_svg(summary: DesignSummary) -> str:
    """Return predicted and simulated times of builds over their look-up tables as an `<svg>` element.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    return inline(lambda colours: _builds(summary, colours), "builds", "Time of builds over their look-up tables")


def losses_svg(summary: DesignSummary) -> str:
    """Return predicted times of the chosen build over what its bits lose as an `<svg>` element.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    return inline(lambda colours: _losses(summary, colours), "losses", "Time over loss of the bits")


def _axes(canvas: Canvas, colours: Mapping[str, str], below: str, right: float = 16) -> Any:
    from matplotlib.ticker import MaxNLocator

    axes = canvas.axes(left=56, bottom=48, right=right, top=34)
    axes.grid(color=colours["line"], lw=0.8)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(below, color=colours["muted"], fontsize=12)
    axes.set_title("ms", loc="left", color=colours["ink"], fontsize=12, fontweight="bold", pad=9)
    return axes


def _convergence(summary: DesignSummary, colours: Mapping[str, str]) -> Canvas:
    canvas = Canvas(*_SIZE, colours)
    axes = _axes(canvas, colours, "builds tried", right=92)
    least = summary.ms(summary.least_cycles if summary.minimised == "cycles" else summary.predicted_cycles)
    axes.axhline(least, color=colours["budget"], lw=1.4, zorder=2)
    axes.annotate("exact", (1, least), xycoords=("axes fraction", "data"), xytext=(6, -4), textcoords="offset points",
                  color=colours["budget"], fontsize=11, annotation_clip=False)  # fmt: skip
    most = max(curve.n_evaluations for curve in summary.curves)
    top, labels = 1.1 * least, []
    for number, curve in enumerate(summary.curves):
        if not curve.steps:
            continue
        colour = colours[f"section{(number + 1) % N_SECTION_COLOURS}"]
        xs = [n for n, _ in curve.steps] + [curve.n_evaluations]
        ys = [summary.ms(cycles) for _, cycles in curve.steps]
        axes.plot(xs, [*ys, ys[-1]], drawstyle="steps-post", color=colour, lw=1.6, zorder=3)
        labels.append((ys[-1], curve.solver, colour))
        top = max(top, min(ys[0], _TOP_FRAC * least) * 1.02)
    axes.set(xlim=(0, most), ylim=(0.97 * least, top))
    _label_ends(axes, labels, least)
    return canvas


def _label_ends(axes: Any, labels: list[tuple[float, str, str]], least: float) -> None:
    """Write names beside the ends of curves, from below, so that none lies on another."""
    low, high = axes.get_ylim()
    step, last = (high - low) / 16, least
    for ms, name, colour in sorted(labels):
        y = last = max(ms, last + step)
        axes.annotate(name, (1, min(y, high)), xycoords=("axes fraction", "data"), xytext=(6, -4),
                      textcoords="offset points", color=colour, fontsize=11, annotation_clip=False)  # fmt: skip


def _builds(summary: DesignSummary, colours: Mapping[str, str]) -> Canvas:
    canvas = Canvas(*_SIZE, colours)
    axes = _axes(canvas, colours, "look-up tables, thousands")
    shown = [(cycles, n_luts) for curve in summary.curves for cycles, n_luts in curve.tried]
    limit = _TOP_FRAC * summary.least_cycles
    near = [(n_luts / 1e3, summary.ms(cycles)) for cycles, n_luts in shown if cycles <= limit]
    axes.plot([x for x, _ in near], [y for _, y in near], "o", color=colours["muted"], ms=3, mew=0, alpha=0.5, zorder=2)
    for contender in reversed(summary.contenders):
        if contender.simulated is not None:
            x, low, high = contender.n_luts / 1e3, summary.ms(contender.predicted), summary.ms(contender.simulated)
            is_best = contender is summary.contenders[0]
            colour = colours["accent" if is_best else "section1"]
            axes.plot([x, x], [low, high], color=colour, lw=1, alpha=0.6, zorder=3)
            tip = canvas.tip(f"{high:.2f} ms simulated, {low:.2f} ms predicted, {contender.n_luts:,} look-up tables")
            axes.plot([x], [high], "o", color=colour, ms=9 if is_best else 6, mew=0, zorder=4, gid=tip)
    for each in summary.helps:
        if each.cycles is not None:
            tip = canvas.tip(f"{each.what}: {summary.ms(each.cycles):.2f} ms predicted")
            axes.plot(
                [each.n_luts / 1e3], [summary.ms(each.cycles)], "D", color=colours["good"], ms=6, mew=0, zorder=4, gid=tip
            )
    return canvas


def _losses(summary: DesignSummary, colours: Mapping[str, str]) -> Canvas:
    canvas = Canvas(*_SIZE, colours)
    axes = _axes(canvas, colours, f"loss of the bits ({summary.loss_kind}), logarithmic")
    axes.set_xscale("log")
    axes.minorticks_off()
    points = sorted((point.loss, summary.ms(point.cycles), point.mean_weight_bits) for point in summary.front)
    axes.plot([x for x, _, _ in points], [y for _, y, _ in points], "o-", color=colours["section1"], ms=6, mew=0, lw=1.4)
    for x, y, bits in points:
        axes.annotate(
            f"{bits:.1f} bits", (x, y), xytext=(5, 6), textcoords="offset points", color=colours["muted"], fontsize=10.5
        )
    if summary.loss:
        axes.plot([summary.loss], [summary.total_ms], "o", color=colours["accent"], ms=9, mew=0, zorder=4,
                  gid=canvas.tip(f"chosen: {summary.total_ms:.2f} ms, loss {summary.loss:.3g}"))  # fmt: skip
    return canvas
