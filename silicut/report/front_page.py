"""A front of networks as one self-contained HTML page, in the dress of a run's page."""

from __future__ import annotations

from silicut.report import wording
from silicut.report.figures.front import accuracy_svg, value_svg
from silicut.report.front import FrontSummary
from silicut.report.templates import page_environment, trusted
from silicut.report.theme import DARK, LIGHT, css_variables

_TEMPLATE = "front.html.jinja"


def render_front(front: FrontSummary) -> str:
    """Return the page: HTML text that refers to nothing outside itself, the same for the same front.

    Raises:
        ToolMissing: jinja2 or matplotlib is not installed (extra "report").
    """
    has_accuracy = any(point.stages and point.ratio for point in front.points)
    return str(
        page_environment()
        .get_template(_TEMPLATE)
        .render(
            front=front,
            engine=wording.engine_text(front.settings),
            accuracy=trusted(accuracy_svg(front)) if has_accuracy else None,
            values=[trusted(value_svg(front, curve)) for curve in front.curves],
            themes={"light": trusted(css_variables(LIGHT)), "dark": trusted(css_variables(DARK))},
        )
    )
