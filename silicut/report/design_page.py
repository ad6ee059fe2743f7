"""A design search as one self-contained HTML page, in the dress of the other pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from silicut.report import wording
from silicut.report.design import Contender, DesignedLayer, DesignSummary
from silicut.report.figures.design import builds_svg, convergence_svg, losses_svg
from silicut.report.resource_bars import resource_bars
from silicut.report.simulation_page import title_of
from silicut.report.templates import page_environment, trusted
from silicut.report.terminal_compilation import bits_text, split_text
from silicut.report.terminal_design import build_text, label_text, proof_text
from silicut.report.theme import DARK, LIGHT, css_variables

_TEMPLATE = "design.html.jinja"
_N_CONTENDERS = 12


@dataclass(frozen=True)
class _Row:
    """One line of the table of layers; shares and bars in per cent."""

    layer: DesignedLayer
    bits: str
    split: str
    lut_share: float
    ms: str
    bar: float


@dataclass(frozen=True)
class _HelpRow:
    """One line of what would help, in words."""

    what: str
    ms: str
    change: str


def render_design(summary: DesignSummary) -> str:
    """Return the page: HTML text that refers to nothing outside itself, the same for the same summary.

    Raises:
        ToolMissing: jinja2 or matplotlib is not installed (extra "report").
    """
    figures = {"builds": builds_svg(summary), "convergence": "", "losses": ""}
    if any(curve.steps for curve in summary.curves):
        figures["convergence"] = convergence_svg(summary)
    if summary.front:
        figures["losses"] = losses_svg(summary)
    template = page_environment().get_template(_TEMPLATE)
    return str(
        template.render(
            run=summary,
            title=title_of(summary.network),
            build=build_text(summary),
            proof=proof_text(summary),
            label=label_text(summary),
            number=wording.number_text,
            rows=list(_rows(summary)),
            amounts=resource_bars(summary),
            contenders=[(row, _ms(summary, row)) for row in summary.contenders[:_N_CONTENDERS]],
            helps=list(_help_rows(summary)),
            shape=_shape_text,
            figures={name: trusted(svg) for name, svg in figures.items()},
            themes={"light": trusted(css_variables(LIGHT)), "dark": trusted(css_variables(DARK))},
        )
    )


def _shape_text(contender: Contender) -> str:
    at = contender.point
    return (
        f"LUT {at['lut_rows']}x{at['lut_columns']}x{at['lut_word_bits']}, DSP {at['dsp_rows']}x{at['dsp_inputs']}x"
        f"{at['dsp_outputs']}/{at['dsp_passes']}, {at['n_lanes']} lanes"
    )


def _ms(summary: DesignSummary, row: Contender) -> tuple[str, str]:
    simulated = "refused" if row.simulated is None else wording.ms_text(summary.ms(row.simulated))
    return wording.ms_text(summary.ms(row.predicted)), simulated


def _rows(summary: DesignSummary) -> Iterator[_Row]:
    longest = max(layer.cycles for layer in summary.layers) or 1.0
    decimals = wording.decimals_for(summary.ms(longest))
    for layer in summary.layers:
        yield _Row(
            layer=layer,
            bits=bits_text(layer.w_bits, layer.a_bits),
            split=split_text(layer.n_lut, layer.n_dsp) if layer.kind == "product" else "",
            lut_share=100 * layer.n_lut / max(1, layer.n_lut + layer.n_dsp),
            ms=f"{summary.ms(layer.cycles):.{decimals}f}" if layer.kind != "windows" else "",
            bar=100 * layer.cycles / longest,
        )


def _help_rows(summary: DesignSummary) -> Iterator[_HelpRow]:
    base = summary.helps[0].cycles if summary.helps else None
    for i, each in enumerate(summary.helps):
        ms = "search not finished" if each.cycles is None else wording.ms_text(summary.ms(each.cycles))
        change = wording.change_text(base, each.cycles) if i and base and each.cycles else ""
        yield _HelpRow(each.what, ms, change)
