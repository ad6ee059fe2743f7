"""A run on the simulated accelerator: what every stage worked for, over time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from silicut.report.figures.canvas import Canvas, inline, text_width
from silicut.report.simulation import STAGES, SimulatedLayer, SimulationSummary, Span
from silicut.report.theme import N_SECTION_COLOURS
from silicut.report.wording import ms_text, percent_text

_ROW_PX, _BAR_PX = 34, 22
_GUTTER, _RIGHT, _AXIS, _HEAD = 104, 10, 44, 26
_FAINTEST = 0.28


def stages_svg(summary: SimulationSummary, *, is_narrow: bool = False) -> str:
    """Return stages over time as an `<svg>` element, a colour for each part of the network, for wide pages or for phones.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    name, width = ("stages-narrow", 380) if is_narrow else ("stages", 1040)
    return inline(lambda colours: _draw(summary, width, colours), name, "What each stage worked for, over time")


def section_numbers(layers: Sequence[SimulatedLayer]) -> list[int]:
    """Return a number for each layer: neighbours whose dotted paths begin alike share it; single ones are a part together.

    Example:
        >>> names = ("stem", "layer1.0", "layer1.1", "layer2.0", "pool", "head")
        >>> section_numbers([SimulatedLayer(name=name) for name in names])
        [0, 1, 1, 2, 3, 3]
    """
    runs = [list(run) for _, run in itertools.groupby(layers, key=lambda layer: layer.name.partition(".")[0])]
    numbers: list[int] = []
    number, was_single = -1, False
    for run in runs:
        is_single = len(run) == 1 and "." not in run[0].name
        number += not (is_single and was_single)
        was_single = is_single
        numbers += [number % N_SECTION_COLOURS] * len(run)
    return numbers


def _draw(summary: SimulationSummary, width: int, colours: Mapping[str, str]) -> Canvas:
    shown = [stage for stage in STAGES if any(span.stage == stage for span in summary.spans)]
    gutter = _GUTTER if width > 500 else 78
    canvas = Canvas(width, _AXIS + _HEAD + _ROW_PX * len(shown), colours)
    axes = canvas.axes(gutter, _AXIS, _RIGHT, 0)
    end_ms = summary.total_ms or 1.0
    axes.set(xlim=(0, end_ms), ylim=(0, _ROW_PX * len(shown) + _HEAD), yticks=[])
    _time_axis(axes, canvas, end_ms, _ROW_PX * len(shown))
    sections = section_numbers(summary.layers)
    for row, stage in enumerate(reversed(shown)):
        y = _ROW_PX * row + (_ROW_PX - _BAR_PX) / 2
        axes.broken_barh([(0, end_ms)], (y, _BAR_PX), facecolor=colours["faint"], zorder=1)
        for span in summary.spans:
            if span.stage == stage and span.layer < len(sections):
                _bar(axes, canvas, summary, span, (y, sections[span.layer]))
        _label(axes, colours, summary, (stage, gutter, y))
    _section_names(axes, colours, summary, sections, (width - gutter - _RIGHT) / end_ms)
    return canvas


def _time_axis(axes: Any, canvas: Canvas, end_ms: float, top: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(max(4, canvas.width // 130), steps=[1, 2, 2.5, 5, 10]))
    ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= end_ms]
    axes.vlines(ticks, 0, top, canvas.colours["line"], lw=0.8, zorder=0)
    axes.set_xlabel("milliseconds at the assumed clock", color=canvas.colours["muted"], fontsize=11.5, labelpad=3)


def _bar(axes: Any, canvas: Canvas, summary: SimulationSummary, span: Span, place: tuple[float, int]) -> None:
    """Draw one span, fainter where the stage rests in it."""
    from matplotlib.patches import Rectangle

    layer, (y, section) = summary.layers[span.layer], place
    share = min(1.0, span.busy / max(1, span.end - span.start))
    start, length = summary.ms(span.start), summary.ms(span.end - span.start)
    time = f"{ms_text(start)} to {ms_text(start + length)}, at work {percent_text(share, 0)}"
    tip = f"{layer.name}: {STAGES[span.stage]}, {time}"
    alpha = (_FAINTEST + (1 - _FAINTEST) * share) * (0.78 if span.layer % 2 else 1.0)
    colour = canvas.colours[f"section{section}"]
    axes.add_patch(
        Rectangle((start, y), length, _BAR_PX, facecolor=colour, alpha=alpha, lw=0, zorder=2, gid=canvas.tip(tip))
    )


def _label(axes: Any, colours: Mapping[str, str], summary: SimulationSummary, place: tuple[str, int, float]) -> None:
    stage, gutter, y = place
    pixels = axes.figure.get_figwidth() * 72 - gutter - _RIGHT
    left = -(gutter - 2) * (summary.total_ms or 1.0) / pixels
    use = next(use for use in summary.stages if use.name == stage)
    share = percent_text(use.run / summary.cycles if summary.cycles else 0.0, 0)
    size = 12 if gutter == _GUTTER else 10.5
    style = {"va": "center", "clip_on": False}
    axes.text(left, y + _BAR_PX / 2 + 6, STAGES[stage], color=colours["ink"], fontsize=size, **style)
    axes.text(left, y + _BAR_PX / 2 - 7, f"{share} at work", color=colours["muted"], fontsize=size - 2, **style)


def _section_names(
    axes: Any, colours: Mapping[str, str], summary: SimulationSummary, sections: Sequence[int], pixels_per_ms: float
) -> None:
    """Name the parts of the network above the time in which they end, where there is room."""
    y = axes.get_ylim()[1] - 12
    start = 0
    runs = itertools.groupby(zip(sections, summary.layers, strict=True), key=lambda pair: pair[0])
    for number, run in runs:
        layers = [layer for _, layer in run]
        end = start + sum(layer.added for layer in layers)
        names = [layer.name.partition(".")[0] for layer in (layers[0], layers[-1])]
        name = names[0] if names[0] == names[1] else f"{names[0]} \u2013 {names[1]}"
        room = summary.ms(end - start) * pixels_per_ms - 4
        text = next((t for t in (name, names[0]) if text_width(t, 12) < room), "")
        middle = summary.ms((start + end) / 2)
        axes.text(
            middle, y, text, color=colours[f"section{number}"], fontsize=12, ha="center", va="center", fontweight="bold"
        )
        start = end
