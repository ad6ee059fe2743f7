"""One quantisation as one self-contained HTML page, in the dress of a pruning run's page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from silicut.report.layer_latency import OTHER_LAYER
from silicut.report.quantisation import QuantisationSummary, QuantisedLayer, accuracy_text, headline, weight_bits_text
from silicut.report.templates import page_environment, trusted
from silicut.report.theme import DARK, LIGHT, css_variables

_TEMPLATE = "quantisation.html.jinja"
_WIDTH, _HEIGHT = 150.0, 30.0  # of a histogram in pixels
_FULL_BAR_DB = 60.0


@dataclass(frozen=True)
class _Row:
    """One line of the table of layers.

    Attributes:
        layer: what it is about.
        weight_bits: in words.
        reach: where the integers' range begins and ends in the histogram, pixels.
        outline: of the histogram, an SVG path.
        noise_bar: per cent of the longest bar.
    """

    layer: QuantisedLayer
    weight_bits: str
    reach: tuple[float, float]
    outline: str
    noise_bar: float


def render_quantisation(summary: QuantisationSummary) -> str:
    """Return the page: HTML text that refers to nothing outside itself, the same for the same summary.

    Raises:
        ToolMissing: jinja2 is not installed (extra "report").
    """
    template = page_environment().get_template(_TEMPLATE)
    return str(
        template.render(
            run=summary,
            headline=headline(summary),
            accuracy=accuracy_text(summary),
            other_layer=OTHER_LAYER,
            rows=[_row(layer) for layer in summary.layers],
            themes={"light": trusted(css_variables(LIGHT)), "dark": trusted(css_variables(DARK))},
        )
    )


def _row(layer: QuantisedLayer) -> _Row:
    low, high = min(layer.low, layer.read_low), max(layer.high, layer.read_high)
    span = high - low or 1.0

    def pixel(number: float) -> float:
        return _WIDTH * (number - low) / span

    noise = 0.0 if layer.noise_db is None else min(100.0, max(0.0, 100.0 * layer.noise_db / _FULL_BAR_DB))
    outline = outline_of(layer.counts, pixel(layer.read_low), pixel(layer.read_high))
    return _Row(layer, weight_bits_text(layer), (pixel(layer.low), pixel(layer.high)), outline, noise)


def outline_of(counts: Sequence[int], left: float, right: float) -> str:
    """Return the outline of a histogram on a logarithmic scale as an SVG path that stands on the ground.

    Example:
        >>> outline_of((0, 9, 0), 0.0, 3.0)
        'M0.0 30V30.0H1.0V0.0H2.0V30.0H3.0V30Z'
    """
    return f"M{left:.1f} {_HEIGHT:.0f}{''.join(_steps(counts, left, right))}V{_HEIGHT:.0f}Z"


def _steps(counts: Sequence[int], left: float, right: float) -> Iterator[str]:
    most = math.log1p(max(counts, default=0)) or 1.0
    for i, count in enumerate(counts, 1):
        top = _HEIGHT * (1.0 - math.log1p(count) / most)
        yield f"V{top:.1f}H{left + (right - left) * i / len(counts):.1f}"
