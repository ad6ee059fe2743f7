"""One run on the simulated accelerator as one self-contained HTML page, in the dress of a pruning run's page."""

from __future__ import annotations

from silicut.report import wording
from silicut.report.machine import machine_view
from silicut.report.simulation import ARRAYS, SimulationSummary
from silicut.report.templates import page_environment, trusted
from silicut.report.terminal_compilation import bits_text
from silicut.report.terminal_simulation import frames_text
from silicut.report.theme import DARK, LIGHT, css_variables

_TEMPLATE = "simulation.html.jinja"


def render_simulation(summary: SimulationSummary) -> str:
    """Return the page: HTML text that refers to nothing outside itself, the same for the same summary.

    Raises:
        ToolMissing: jinja2 or matplotlib is not installed (extra "report").
    """
    template = page_environment().get_template(_TEMPLATE)
    return str(
        template.render(
            run=summary,
            title=title_of(summary.network),
            lead=_lead(summary),
            frames=frames_text(summary),
            arrays=_arrays_text(summary),
            number=wording.number_text,
            bits=_bits_of_all(summary),
            machine=machine_view(summary),
            themes={"light": trusted(css_variables(LIGHT)), "dark": trusted(css_variables(DARK))},
        )
    )


def title_of(network: str) -> str:
    """Return what a page calls a network: the last part of a path, without the ending of a file.

    Example:
        >>> title_of("runs/resnet20/"), title_of("nets/mine.onnx"), title_of("resnet18")
        ('resnet20', 'mine', 'resnet18')
    """
    return network.rstrip("/").rpartition("/")[2].removesuffix(".onnx") or network


def _lead(summary: SimulationSummary) -> str:
    n = summary.n_images
    times = "Only times were simulated; no cycle depends on data."
    one, several = "One image was run to the last bit; no cycle depends on it.", f"{n:,} images were run to the last bit."
    data = times if n == 0 else one if n == 1 else several
    return f"Every cycle and every transfer is simulated; the clock of {summary.clock_hz / 1e6:g} MHz is assumed. {data}"


def _arrays_text(summary: SimulationSummary) -> str:
    """Return how long each array is at work, for those that the build has."""
    runs = [use.run for use in summary.stages if use.name in ARRAYS and use.run]
    return " + ".join(wording.percent_text(run / summary.cycles, 0) for run in runs) if runs else "none"


def _bits_of_all(summary: SimulationSummary) -> str:
    known = [bits_text(layer.w_bits, layer.a_bits) for layer in summary.layers if layer.w_bits]
    inner = sorted(set(known[1:-1])) or sorted(set(known))
    ends = sorted({*known[:1], *known[-1:]} - set(inner))
    text = inner[0] if len(inner) == 1 else "mixed" if inner else ""
    return text + (f", ends {wording.listing(ends)}" if ends and len(inner) == 1 else "")
