"""Staircases: what a group of channels costs over its width, in small multiples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silicut.report.figures.canvas import Canvas, fixed_settings, inline
from silicut.report.summary import GroupSummary
from silicut.report.theme import LIGHT
from silicut.report.wording import listing

SAME_FRAC = 0.02  # of the greatest cost: staircases that differ by less share a panel
_LABEL_PX = 24


@dataclass(frozen=True)
class Panel:
    """Groups with the same staircase.

    Attributes:
        groups: at least one; the first one's probes are drawn.
    """

    groups: tuple[GroupSummary, ...]

    @property
    def title(self) -> str:
        """The names of the groups, the surplus counted."""
        return listing([group.name for group in self.groups], 2 if len(self.groups) == 2 else 1)

    @property
    def chosen(self) -> dict[int, int]:
        """How many groups chose each width; 0 stands for removed ones."""
        return dict(sorted(Counter(group.chosen_width for group in self.groups).items()))

    @property
    def steps(self) -> tuple[int, ...]:
        """The widths of a stair, increasing; several where the groups' probes differ in noise."""
        return tuple(sorted({group.step for group in self.groups}))

    @property
    def levels(self) -> dict[int, float]:
        """Predicted milliseconds by legal width of any of the groups; 0 at width 0."""
        pairs = (zip(group.levels, group.level_costs_ms, strict=True) for group in reversed(self.groups))
        return {0: 0.0} | {width: cost for pair in pairs for width, cost in pair}

    @property
    def dense_ms(self) -> float:
        """What the layers of one group cost at full width."""
        return self.groups[0].costs_ms[-1]


def panels_of(groups: Sequence[GroupSummary]) -> tuple[Panel, ...]:
    """Return the groups in panels, in order of their first group."""
    panels: list[list[GroupSummary]] = []
    for group in groups:
        same = next((panel for panel in panels if _is_same(panel[0], group)), None)
        if same is None:
            panels.append([group])
        else:
            same.append(group)
    return tuple(Panel(tuple(panel)) for panel in panels)


def _is_same(one: GroupSummary, other: GroupSummary) -> bool:
    if (one.widths, one.dense_width) != (other.widths, other.dense_width):
        return False
    limit_ms = SAME_FRAC * max(one.costs_ms)
    return all(abs(a - b) <= limit_ms for a, b in zip(one.costs_ms, other.costs_ms, strict=True))


def staircase_svg(panel: Panel, number: int) -> str:
    """Return one panel as an `<svg>` element; `number` tells it from others on the page.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    description = f"Milliseconds over channels of {panel.title}"
    return inline(lambda colours: _draw(panel, colours), f"staircase{number}", description)


def staircase_svg_file(panel: Panel, path: str | Path) -> Path:
    """Write one panel, in the light theme, as an SVG file, and return the path.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    with fixed_settings():
        return _draw(panel, LIGHT).save(Path(path).with_suffix(".svg"))


def _draw(panel: Panel, colours: Mapping[str, str]) -> Canvas:
    from matplotlib.ticker import MaxNLocator, MultipleLocator

    group = panel.groups[0]
    canvas = Canvas(320, 206, colours)
    axes = canvas.axes(left=60, bottom=40, right=12, top=26)
    axes.set_xlim(-0.02 * group.dense_width, 1.03 * group.dense_width)
    axes.set_ylim(0, 1.08 * max(*group.costs_ms, *panel.levels.values()))
    axes.xaxis.set_major_locator(MultipleLocator(max(1, round(group.dense_width / 4))))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y", color=colours["line"], lw=0.8)
    axes.set_xlabel("channels", color=colours["muted"], fontsize=11.5, labelpad=2)
    axes.set_ylabel("ms", color=colours["muted"], fontsize=11.5)
    _mark_chosen(canvas, axes, panel)
    _mark_probes(axes, panel, colours)
    return canvas


def _mark_probes(axes: Any, panel: Panel, colours: Mapping[str, str]) -> None:
    group, levels = panel.groups[0], {width: cost for width, cost in panel.levels.items() if width}
    axes.plot(group.widths, group.costs_ms, color=colours["muted"], lw=1, alpha=0.55)
    axes.plot(levels.keys(), levels.values(), "s", ms=7, mew=1.2, mfc="none", mec=colours["accent"])
    good = [(w, c) for w, c in zip(group.widths, group.costs_ms, strict=True) if w not in group.cliffs]
    cliffs = [(w, c) for w, c in zip(group.widths, group.costs_ms, strict=True) if w in group.cliffs]
    if good:
        axes.plot(*zip(*good, strict=True), "o", ms=4, mew=0, color=colours["ink"])
    if cliffs:
        axes.plot(*zip(*cliffs, strict=True), "^", ms=6, mew=0, color=colours["budget"])


def _mark_chosen(canvas: Canvas, axes: Any, panel: Panel) -> None:
    """Draw a line from every chosen width to its count above the panel."""
    cost, colours = panel.levels, canvas.colours
    pixels = axes.bbox.width / (axes.get_xlim()[1] - axes.get_xlim()[0])
    top = axes.get_ylim()[1]
    chosen = panel.chosen
    places = _spread([width * pixels for width in chosen], _LABEL_PX)
    for (width, n), place in zip(chosen.items(), places, strict=True):
        colour = colours["good" if width else "removed"]
        x = place / pixels
        axes.plot([width, width, x], [cost.get(width, 0.0), top, 1.05 * top], color=colour, lw=1.4, clip_on=False)
        axes.plot(
            [width], [cost.get(width, 0.0)], "s" if width else "X", ms=9 if width else 8, mew=0, color=colour, clip_on=False
        )
        text = f"\u00d7{n}" if len(panel.groups) > 1 else "removed" if not width else str(width)
        options = {"ha": "left" if width == 0 and text == "removed" else "center", "fontsize": 11.5, "fontweight": "bold"}
        axes.text(x, 1.06 * top, text, color=colour, va="bottom", **options)


def _spread(places: Sequence[float], distance: float) -> list[float]:
    """Return increasing places moved as little as needed to lie this far apart.

    Example:
        >>> _spread([0, 4, 100], 20)
        [-8.0, 12.0, 100.0]
    """
    clusters: list[list[float]] = []
    for place in places:
        clusters.append([float(place)])
        while len(clusters) > 1 and _end(clusters[-2], distance) + distance > _start(clusters[-1], distance):
            last = clusters.pop()
            clusters[-1] += last
    return [_start(c, distance) + distance * i for c in clusters for i in range(len(c))]


def _start(cluster: Sequence[float], distance: float) -> float:
    return sum(cluster) / len(cluster) - distance * (len(cluster) - 1) / 2


def _end(cluster: Sequence[float], distance: float) -> float:
    return _start(cluster, distance) + distance * (len(cluster) - 1)
