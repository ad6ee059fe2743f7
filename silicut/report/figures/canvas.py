"""A drawing surface measured in pixels: matplotlib's SVG made small, themable and safe to put into a page."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from silicut.records import ToolMissing, write_atomically
from silicut.report.theme import SENTINELS, with_variables

_PIXELS_PER_INCH = 72  # one unit of the SVG is one pixel of the page, and font sizes are in pixels
_SETTINGS = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "silicut",  # ids are the same in every run
    "text.parse_math": False,  # names may hold "$"
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the layout is the same everywhere
    "font.size": 12.0,
}


class Canvas:
    """A figure of fixed size in pixels.

    Attributes:
        width, height: pixels.
        colours: role -> colour to draw with (`silicut.report.theme`).
        figure: the matplotlib figure.
    """

    def __init__(self, width: int, height: int, colours: Mapping[str, str]) -> None:
        from matplotlib.figure import Figure

        self.width, self.height, self.colours = width, height, colours
        self.figure = Figure(figsize=(width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH), dpi=_PIXELS_PER_INCH)
        self._tips: list[str] = []

    def axes(self, left: float, bottom: float, right: float, top: float) -> Any:
        """Return bare axes inside these margins (pixels): no frame, quiet ticks."""
        box = (left, bottom, self.width - left - right, self.height - bottom - top)
        axes = self.figure.add_axes(
            (box[0] / self.width, box[1] / self.height, box[2] / self.width, box[3] / self.height), facecolor="none"
        )
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0, pad=6, colors=self.colours["muted"], labelsize=11.5)
        axes.set_axisbelow(True)
        return axes

    def tip(self, text: str) -> str:
        """Return the gid of an artist that shows a text when pointed at."""
        self._tips.append(text)
        return f"tip-{len(self._tips) - 1}"

    def inline(self, name: str, description: str) -> str:
        """Return the drawing as an `<svg>` element for a page.

        Args:
            name: unique on the page; prefix of all ids.
            description: what a screen reader says.
        """
        svg = _without_metadata(self._svg())
        svg = _with_short_numbers(_with_prefixed_ids(svg, name))
        svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
        for number, text in enumerate(self._tips):
            svg = svg.replace(f'<g id="tip-{number}">', f"<g><title>{html.escape(text)}</title>")
        opening = (
            f'<svg class="figure" role="img" aria-label="{html.escape(description)}" '
            f'style="max-width:{self.width}px" viewBox="0 0 {self.width} {self.height}">'
        )
        return with_variables(re.sub(r"<svg [^>]*>", lambda _: opening, svg, count=1)).strip()

    def save(self, path: str | Path) -> Path:
        """Write a PNG (at twice the size, for sharp screens) or an SVG, by the path's ending."""
        path = Path(path)
        if path.suffix.lower() == ".svg":
            write_atomically(path, self._svg().encode())
        else:
            buffer = io.BytesIO()
            self.figure.savefig(buffer, format="png", dpi=2 * _PIXELS_PER_INCH, facecolor=self.colours["card"])
            write_atomically(path, buffer.getvalue())
        return path

    def _svg(self) -> str:
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        is_for_page = self.colours == SENTINELS
        FigureCanvasSVG(self.figure)
        buffer = io.StringIO()
        face = "none" if is_for_page else self.colours["card"]
        self.figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor=face)
        return buffer.getvalue()


@contextmanager
def fixed_settings() -> Iterator[None]:
    """Draw with the same settings whatever the user's own matplotlib settings are.

    Raises:
        ToolMissing: matplotlib is not installed.
    """
    try:
        from matplotlib import style
    except ImportError:
        raise ToolMissing("matplotlib", "report") from None
    with warnings.catch_warnings(), style.context(["default", _SETTINGS]):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's browser has its own fonts
        yield


def inline(draw: Callable[[Mapping[str, str]], Canvas], name: str, description: str) -> str:
    """Return what `draw` draws, given colours, as an `<svg>` element in the page's colours."""
    with fixed_settings():
        return draw(SENTINELS).inline(name, description)


def text_width(text: str, size: float) -> float:
    """Return about how many pixels a text takes, rather more than less."""
    return 0.6 * size * len(text)


def _without_metadata(svg: str) -> str:
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, count=1, flags=re.DOTALL)


def _with_prefixed_ids(svg: str, name: str) -> str:
    """Drop ids that nothing refers to, and make the others unique on the page."""
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="(?!tip-)([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(url\(#|(?:xlink:)?href="#)([^")]+)', rf"\g<1>{name}-\2", svg).replace("xlink:href", "href")


def _with_short_numbers(svg: str) -> str:
    def shorten(match: re.Match[str]) -> str:
        value = re.sub(r"\d+\.\d+", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), match[2])
        return f'{match[1]}="{" ".join(value.split())}"'

    return re.sub(r'\b(d|x|y|transform)="([^"]*)"', shorten, svg)
