"""The templates of all pages, with their filters and functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silicut.records import ToolMissing
from silicut.report import wording


def page_environment() -> Any:
    """Return the templates with their filters and functions.

    Raises:
        ToolMissing: jinja2 is not installed (extra "report").
    """
    try:
        import jinja2
    except ImportError:
        raise ToolMissing("jinja2", "report") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ms": wording.ms_text,
        "percent": wording.percent_text,
        "count": wording.count_text,
        "engine": wording.engine_text,
        "listing": wording.listing,
        "wilson": wording.wilson_interval,
    }
    environment.globals |= {
        "accuracy_sentence": wording.accuracy_sentence,
        "error": wording.error_text,
        "interval": wording.interval_text,
        "parts_sentence": wording.parts_sentence,
    }
    return environment


def trusted(text: str) -> Any:
    """Return text of our own making, marked as HTML."""
    import markupsafe  # comes with jinja2

    return markupsafe.Markup(text)
