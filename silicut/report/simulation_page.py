"""One run on the simulated accelerator as one self-contained HTML page, in the dress of a pruning run's page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from silicut.report import wording
from silicut.report.figures.roofline import roofline_svg
from silicut.report.figures.stages import section_numbers, stages_svg
from silicut.report.page import page_environment, trusted
from silicut.report.simulation import ARRAYS, STAGES, SimulatedLayer, SimulationSummary
from silicut.report.terminal_compilation import bits_text, split_text
from silicut.report.terminal_simulation import SHOWN, frames_text, utilisation_text, waited_for
from silicut.report.theme import DARK, LIGHT, css_variables

_TEMPLATE = "simulation.html.jinja"
_AMOUNTS = {"n_luts": "LUTs", "n_ffs": "flip-flops", "n_dsps": "DSP slices", "n_bram36": "BRAM36"}
_GROUPS = ("arrays", "buffers", "glue")


@dataclass(frozen=True)
class _Row:
    """One line of the table of layers; shares and bars in per cent."""

    layer: SimulatedLayer
    section: int
    bits: str
    split: str
    lut_share: float
    busy: tuple[int, ...]
    bound: str
    used: str
    ms: str
    bar: float


@dataclass(frozen=True)
class _StageRow:
    """One line of the table of stages, in words."""

    name: str
    run: str
    waiting: str
    reason: str


@dataclass(frozen=True)
class _Amount:
    """One bar of resources: shares of its users and where the part ends, in per cent of the bar."""

    name: str
    needed: int
    there: int
    shares: tuple[tuple[str, float], ...]
    limit: float
    title: str

    @property
    def is_exceeded(self) -> bool:
        """More is needed than there is."""
        return self.needed > self.there


def render_simulation(summary: SimulationSummary) -> str:
    """Return the page: HTML text that refers to nothing outside itself, the same for the same summary.

    Raises:
        ToolMissing: jinja2 or matplotlib is not installed (extra "report").
    """
    template = page_environment().get_template(_TEMPLATE)
    figures = {
        "stages": stages_svg(summary),
        "stages_narrow": stages_svg(summary, is_narrow=True),
        "roofline": roofline_svg(summary),
    }
    return str(
        template.render(
            run=summary,
            title=title_of(summary.network),
            lead=_lead(summary),
            frames=frames_text(summary),
            arrays=_arrays_text(summary),
            number=_number,
            bits=_bits_of_all(summary),
            rows=list(_rows(summary)),
            stages=list(_stage_rows(summary)),
            amounts=[_amount(summary, name, words) for name, words in _AMOUNTS.items()],
            figures={name: trusted(svg) for name, svg in figures.items()},
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


def _number(value: float) -> str:
    return f"{value:,.{wording.decimals_for(value)}f}"


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


def _rows(summary: SimulationSummary) -> Iterator[_Row]:
    longest = max((layer.added for layer in summary.layers), default=0) or 1
    decimals = wording.decimals_for(summary.ms(longest))
    for layer, section in zip(summary.layers, section_numbers(summary.layers), strict=True):
        yield _Row(
            layer=layer,
            section=section,
            bits=bits_text(layer.w_bits, layer.a_bits),
            split=split_text(layer.n_lut, layer.n_dsp),
            lut_share=100 * layer.n_lut / max(1, layer.n_lut + layer.n_dsp),
            busy=tuple(layer.busy.get(stage, 0) for stage in SHOWN),
            bound=STAGES.get(layer.bound, ""),
            used=utilisation_text(layer),
            ms=f"{summary.ms(layer.added):.{decimals}f}",
            bar=100 * layer.added / longest,
        )


def _stage_rows(summary: SimulationSummary) -> Iterator[_StageRow]:
    for use in summary.stages:
        if use.run:
            most = max(use.receive, key=lambda reason: use.receive[reason], default="")
            run, waiting = (wording.percent_text(n / summary.cycles, 0) for n in (use.run, sum(use.receive.values())))
            yield _StageRow(STAGES[use.name], run, waiting, waited_for(most) if most else "")


def _amount(summary: SimulationSummary, name: str, words: str) -> _Amount:
    needed, there = summary.total(name), getattr(summary.part, name)
    whole = 1.02 * max(needed, there, 1)
    shares = [(group, sum(getattr(user, name) for user in summary.resources if user.group == group)) for group in _GROUPS]
    title = ", ".join(f"{user.name} {getattr(user, name):,}" for user in summary.resources if getattr(user, name))
    return _Amount(words, needed, there, tuple((group, 100 * n / whole) for group, n in shares), 100 * there / whole, title)
