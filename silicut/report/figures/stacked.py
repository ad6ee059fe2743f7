"""The figure people show around: where the milliseconds were, and where they went.

Two bars on one axis of milliseconds, dense above pruned; each layer is a segment, in the colour of its section. Ribbons
lead every block from one bar to the other, and those of removed blocks run out to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from silicut.report.figures.canvas import Canvas, fixed_settings, inline, text_width
from silicut.report.sections import block_name, blocks_of, sections_of
from silicut.report.summary import Latency, LayerSummary, RunSummary
from silicut.report.theme import LIGHT
from silicut.report.wording import change_text, engine_text, headline, ms_text, shared_decimals


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels; heights count from the axis upwards.

    Attributes:
        width: of the whole figure.
        gutter, right: left and right of the bars.
        bar, ribbon: heights of a bar and of the ribbons.
        head: above the dense bar, for the names of sections and removed blocks.
        foot: below the pruned bar.
        title: above all.
        axis: below the axis.
        has_row_titles: what the bars are stands above and below them, not in the gutter.
    """

    width: int
    gutter: int
    right: int
    bar: int
    ribbon: int
    head: int = 44
    foot: int = 28
    title: int = 0
    axis: int = 42
    has_row_titles: bool = False

    @property
    def pruned(self) -> tuple[int, int]:
        return self.foot, self.foot + self.bar

    @property
    def dense(self) -> tuple[int, int]:
        return self.pruned[1] + self.ribbon, self.pruned[1] + self.ribbon + self.bar

    @property
    def plot(self) -> int:
        return self.dense[1] + self.head

    @property
    def height(self) -> int:
        return self.plot + self.axis + self.title


_WIDE = _Layout(width=1040, gutter=110, right=10, bar=50, ribbon=104)
_NARROW = _Layout(width=380, gutter=12, right=8, bar=40, ribbon=96, head=68, foot=56, has_row_titles=True)
_FILE = _Layout(width=1040, gutter=130, right=28, bar=50, ribbon=104, title=72, axis=52)
_MARGIN = 20  # of texts in the gutter of a file
_REMOVED_LABELS = 20  # height of the marks of removed blocks


@dataclass(frozen=True)
class _Piece:
    """Consecutive layers of one block, and where they lie on the axis (milliseconds)."""

    layers: tuple[LayerSummary, ...]
    colour: str
    dense: tuple[float, float]
    pruned: tuple[float, float]

    @property
    def is_removed(self) -> bool:
        return self.layers[0].is_removed


def stacked_svg(summary: RunSummary, *, is_narrow: bool = False) -> str:
    """Return the figure as an `<svg>` element, for wide pages or for phones.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    layout, name = (_NARROW, "stacked-narrow") if is_narrow else (_WIDE, "stacked")
    return inline(
        lambda colours: _Stacked(summary, layout, colours).draw(), name, f"Milliseconds by layer. {headline(summary)}"
    )


def stacked_png(summary: RunSummary, path: str | Path) -> Path:
    """Write the figure with a title, in the light theme, as a PNG 2080 pixels wide, and return the path.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    with fixed_settings():
        return _Stacked(summary, _FILE, LIGHT).draw().save(Path(path).with_suffix(".png"))


def stacked_svg_file(summary: RunSummary, path: str | Path) -> Path:
    """Write the figure with a title, in the light theme, as an SVG file, and return the path.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    with fixed_settings():
        return _Stacked(summary, _FILE, LIGHT).draw().save(Path(path).with_suffix(".svg"))


class _Stacked:
    """One drawing of the figure."""

    def __init__(self, summary: RunSummary, layout: _Layout, colours: Mapping[str, str]) -> None:
        if not summary.removed_blocks:
            layout = replace(layout, head=layout.head - _REMOVED_LABELS)
        self.summary, self.layout, self.colours = summary, layout, colours
        self.canvas = Canvas(layout.width, layout.height, colours)
        self.axes: Any = self.canvas.axes(layout.gutter, layout.axis, layout.right, layout.title)
        ends = (summary.layers_dense_ms, summary.predicted_ms, summary.target_ms)
        self.end_ms = 1.01 * max(*ends, summary.dense.high_ms, summary.measured.high_ms)
        self.pixels_per_ms = (layout.width - layout.gutter - layout.right) / self.end_ms
        self.decimals = shared_decimals((summary.dense.ms, summary.predicted_ms, summary.measured.ms, summary.target_ms))
        self.pieces = tuple(_pieces(summary))

    def draw(self) -> Canvas:
        self._axis()
        for number, piece in enumerate(self.pieces):
            self._ribbon(piece, number)
            self._segments(piece)
        self._overhead()
        self._section_labels()
        self._removed_labels()
        self._measured(self.summary.dense, self.layout.dense)
        self._measured(self.summary.measured, self.layout.pruned)
        self._budget()
        self._speedup()
        self._row_labels()
        if self.layout.title:
            self._title()
        return self.canvas

    def _text(self, x: float, y: float, text: str, colour: str = "ink", **options: Any) -> None:
        self.axes.text(x, y, text, color=self.colours[colour], **{"va": "center", "fontsize": 12, **options})

    def _axis(self) -> None:
        from matplotlib.ticker import MaxNLocator

        axes, layout = self.axes, self.layout
        axes.set_xlim(0, self.end_ms)
        axes.set_ylim(0, layout.plot)
        axes.set_yticks([])
        axes.xaxis.set_major_locator(MaxNLocator(max(4, layout.width // 130), steps=[1, 2, 2.5, 5, 10]))
        ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= self.end_ms]
        axes.vlines(ticks, 0, layout.dense[1], self.colours["line"], lw=0.8, zorder=0)
        axes.hlines([0], 0, self.end_ms, self.colours["line"], lw=0.8, zorder=0)
        axes.set_xlabel("milliseconds", color=self.colours["muted"], fontsize=11.5, labelpad=3)

    def _ribbon(self, piece: _Piece, number: int) -> None:
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path as Curve

        top, bottom = self.layout.dense[0], self.layout.pruned[1]
        middle = (top + bottom) / 2
        (a, b), (c, d) = piece.dense, piece.pruned
        points = [(a, top), (b, top), (b, middle), (d, middle), (d, bottom), (c, bottom), (c, middle), (a, middle), (a, top)]
        codes = [Curve.MOVETO, Curve.LINETO, *3 * [Curve.CURVE4], Curve.LINETO, *3 * [Curve.CURVE4]]
        colour = self.colours["removed" if piece.is_removed else piece.colour]
        alpha = 0.34 if piece.is_removed else (0.26, 0.19)[number % 2]
        patch = PathPatch(Curve(points, codes), facecolor=colour, alpha=alpha, lw=0, gid=self.canvas.tip(_block_tip(piece)))
        self.axes.add_patch(patch)

    def _segments(self, piece: _Piece) -> None:
        """Draw the layers of a piece in both bars; no separators where segments are too thin to bear them."""
        was, now = piece.dense[0], piece.pruned[0]
        mean_px = self.pixels_per_ms * (piece.dense[1] - piece.dense[0]) / len(piece.layers)
        for layer in piece.layers:
            tip = self.canvas.tip(_layer_tip(layer))
            self._segment(was, layer.dense_ms, self.layout.dense, piece, tip)
            if not layer.is_removed:
                self._segment(now, layer.pruned_ms, self.layout.pruned, piece, self.canvas.tip(_layer_tip(layer)))
            was, now = was + layer.dense_ms, now + layer.pruned_ms
        for x, (low, high) in ((piece.dense[0], self.layout.dense), (piece.pruned[0], self.layout.pruned)):
            if x > 0 and not (piece.is_removed and low == self.layout.pruned[0]):
                self.axes.vlines([x], low, high, self.colours["card"], lw=min(1.6, 0.3 + mean_px / 8))

    def _segment(self, x: float, ms: float, row: tuple[int, int], piece: _Piece, tip: str) -> None:
        from matplotlib.patches import Rectangle

        px = self.pixels_per_ms * ms
        style: dict[str, Any] = {"facecolor": self.colours[piece.colour]}
        if piece.is_removed:
            style = {"facecolor": "none", "hatch": "////", "hatch_linewidth": 0.9}
        edge = self.colours["removed" if piece.is_removed else "card"]
        width = 0.0 if piece.is_removed else min(0.9, px / 10)
        self.axes.add_patch(Rectangle((x, row[0]), ms, row[1] - row[0], edgecolor=edge, lw=width, gid=tip, **style))

    def _overhead(self) -> None:
        """Draw what belongs to no layer, where it can be seen."""
        ms = self.summary.overhead_ms
        if ms * self.pixels_per_ms < 0.5:
            return
        for x, row in (
            (self.summary.layers_dense_ms, self.layout.dense),
            (self.pieces[-1].pruned[1] + ms, self.layout.pruned),
        ):
            tip = self.canvas.tip(f"calls, input and output: {ms_text(ms)}")
            self.axes.broken_barh([(x - ms, ms)], (row[0], row[1] - row[0]), facecolor=self.colours["line"], gid=tip)

    def _section_labels(self) -> None:
        """Name sections above the dense bar where there is room, with what they lost."""
        start, y = 0.0, self.layout.plot - (34 if self.layout.has_row_titles else 10)
        for number, section in enumerate(sections_of(self.summary.layers)):
            room = section.dense_ms * self.pixels_per_ms - 4
            change = change_text(section.dense_ms, section.pruned_ms, 0)
            text = next((t for t in (f"{section.name}  {change}", section.name) if text_width(t, 12) < room), "")
            self._text(start + section.dense_ms / 2, y, text, f"section{number}", ha="center", fontweight="bold")
            start += section.dense_ms

    def _removed_labels(self) -> None:
        """Mark runs of removed blocks above the dense bar, in as many words as there is room for."""
        runs = list(_removed_runs(self.pieces))
        y = self.layout.dense[1]
        middles = [(start + end) / 2 for start, end, _ in runs]
        for number, (start, end, names) in enumerate(runs):
            left = (middles[number - 1] + middles[number]) / 2 if number else -start
            right = (middles[number] + middles[number + 1]) / 2 if number + 1 < len(runs) else 2 * self.end_ms - end
            room = 2 * self.pixels_per_ms * min(middles[number] - left, right - middles[number]) - 8
            self.axes.hlines([y + 5], start, end, self.colours["removed"], lw=2)
            texts = (f"{names[0]} removed" if len(names) == 1 else f"{len(names)} blocks removed", "removed", "\u00d7")
            text = next((t for t in texts if text_width(t, 11) < room), "")
            self._text(middles[number], y + 16, text, "muted", ha="center", fontsize=11)

    def _measured(self, latency: Latency, row: tuple[int, int]) -> None:
        low, high = row[0] - 5, row[1] + 5
        if latency.high_ms > latency.low_ms:
            self.axes.fill_betweenx(
                [low, high], latency.low_ms, latency.high_ms, color=self.colours["ink"], alpha=0.25, lw=0
            )
        self.axes.vlines([latency.ms], low, high, self.colours["ink"], lw=2.4)

    def _budget(self) -> None:
        target, y = self.summary.target_ms, self.layout.pruned[0] - 16
        self.axes.vlines([target], y - 8, self.layout.dense[1], self.colours["budget"], lw=1.4, linestyles=(0, (4, 3)))
        text = f"budget {ms_text(target, self.decimals)}"
        is_at_right = self._room_px(target) > text_width(text, 12) + 8
        gap = (6 if is_at_right else -6) / self.pixels_per_ms
        place = {"ha": "left" if is_at_right else "right", "fontweight": "bold"}
        self._text(target + gap, y, text, "budget", **place)

    def _room_px(self, x: float) -> float:
        return (self.end_ms - x) * self.pixels_per_ms

    def _speedup(self) -> None:
        summary, (low, high) = self.summary, self.layout.pruned
        speedup, *_ = summary.ratio.speedup
        x = max(summary.predicted_ms, summary.target_ms, summary.measured.high_ms)
        if summary.ratio.high < 1 and self._room_px(x) > 126:
            gap, middle = 12 / self.pixels_per_ms, (low + high) / 2
            self._text(x + gap, middle + 6, f"{speedup:.2f}\u00d7", "good", fontsize=24, fontweight="bold")
            self._text(x + gap, middle - 15, f"as fast, {summary.settings.how}", "muted", fontsize=11)

    def _row_labels(self) -> None:
        rows = (("dense", self.summary.dense, self.layout.dense), ("pruned", self.summary.measured, self.layout.pruned))
        for name, latency, (low, high) in rows:
            ms, middle = ms_text(latency.ms, self.decimals), (low + high) / 2
            if self.layout.has_row_titles:
                y = self.layout.plot - 10 if name == "dense" else low - 40
                self._text(0, y, f"{name}: {ms} {self.summary.settings.how}", fontweight="bold")
                continue
            self._text(self._left(), middle + 17, name, "muted")
            self._text(self._left(), middle, ms, fontweight="bold", fontsize=15)
            self._text(self._left(), middle - 17, self.summary.settings.how, "muted", fontsize=11)

    def _left(self) -> float:
        """Return where the texts in the gutter begin, in milliseconds."""
        return ((_MARGIN if self.layout.title else 0) - self.layout.gutter) / self.pixels_per_ms

    def _title(self) -> None:
        cpu = self.summary.fingerprint.get("cpu", "")
        where = " on ".join(filter(None, (engine_text(self.summary.settings), str(cpu))))
        self._text(self._left(), self.layout.plot + 42, headline(self.summary), fontsize=17, fontweight="bold")
        self._text(
            self._left(),
            self.layout.plot + 17,
            f"{where}. Segments: predicted for each layer; upright marks: {self.summary.settings.how}.",
            "muted",
        )


def _pieces(summary: RunSummary) -> Iterator[_Piece]:
    was = now = 0.0
    for number, section in enumerate(sections_of(summary.layers)):
        for block in blocks_of(section):
            then, after = (math.fsum(values) for values in zip(*((la.dense_ms, la.pruned_ms) for la in block), strict=True))
            yield _Piece(block, f"section{number}", (was, was + then), (now, now + after))
            was, now = was + then, now + after


def _removed_runs(pieces: Sequence[_Piece]) -> Iterator[tuple[float, float, list[str]]]:
    """Yield start, end (milliseconds) and block names of removed pieces that lie side by side."""
    run: list[_Piece] = []
    for piece in (*pieces, None):
        if piece is not None and piece.is_removed:
            run.append(piece)
        elif run:
            yield run[0].dense[0], run[-1].dense[1], list(dict.fromkeys(block_name(p.layers[0].name) for p in run))
            run = []


def _layer_tip(layer: LayerSummary) -> str:
    after = "removed" if layer.is_removed else ms_text(layer.pruned_ms)
    return f"{layer.name} ({layer.shape}): {ms_text(layer.dense_ms)} \u2192 {after}"


def _block_tip(piece: _Piece) -> str:
    name = block_name(piece.layers[0].name)
    was, now = (ms_text(end - start) for start, end in (piece.dense, piece.pruned))
    return f"{name}: {was} \u2192 {'removed' if piece.is_removed else now}"
