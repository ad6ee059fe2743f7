"""One pruning run as one self-contained HTML page: it loads nothing, works on phones, in the dark and on paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from silicut.report import wording
from silicut.report.figures.charts import epochs_svg, validation_svg
from silicut.report.figures.stacked import stacked_svg
from silicut.report.figures.staircases import Panel, panels_of, staircase_svg
from silicut.report.machine import machine_view
from silicut.report.sections import Section, sections_of
from silicut.report.summary import LayerSummary, RunSummary
from silicut.report.templates import page_environment, trusted
from silicut.report.theme import DARK, LIGHT, css_variables

_TEMPLATE = "page.html.jinja"
_N_PANELS_SHOWN = 12


@dataclass(frozen=True)
class _LayerRow:
    """One line of the table of layers; bars are in per cent of the longest one."""

    layer: LayerSummary
    section: int
    dense_bar: float
    pruned_bar: float


@dataclass(frozen=True)
class _SizeRow:
    """One line of the table of sizes, in words; `budget` is "" where there is none."""

    name: str
    dense: str
    pruned: str
    change: str
    left_frac: float
    budget: str = ""
    is_kept: bool = True


def render_page(summary: RunSummary) -> str:
    """Return the page: HTML text that refers to nothing outside itself, the same for the same summary.

    Raises:
        ToolMissing: jinja2 or matplotlib is not installed (extra "report").
    """
    template = page_environment().get_template(_TEMPLATE)
    sections = sections_of(summary.layers)
    ms = (summary.dense.ms, summary.predicted_ms, summary.measured.ms, summary.target_ms)
    return str(
        template.render(
            run=summary,
            headline=wording.headline(summary),
            engine=wording.engine_text(summary.settings),
            loss=wording.accuracy_loss(summary.stages),
            decimals=wording.shared_decimals(ms),
            sections=sections,
            rows=_layer_rows(sections),
            layer_decimals=wording.decimals_for(max(layer.dense_ms for layer in summary.layers)),
            size_rows=_size_rows(summary, wording.shared_decimals(ms)),
            engine_decimals=wording.shared_decimals(ms for e in summary.engines for ms in (e.dense_ms, e.pruned_ms)),
            panels=_panels(summary),
            n_panels_shown=_N_PANELS_SHOWN,
            figures=_figures(summary),
            validation_sentences=wording.validation_sentences(summary.validation) if summary.validation else [],
            part_rows=wording.part_rows(summary.parts) if summary.parts else [],
            no_cause=wording.NO_CAUSE,
            fingerprint=_plain_values(summary.fingerprint),
            machine=None if summary.simulation is None else machine_view(summary.simulation),
            themes={"light": trusted(css_variables(LIGHT)), "dark": trusted(css_variables(DARK))},
        )
    )


def _figures(summary: RunSummary) -> dict[str, Any]:
    figures = {"stacked": stacked_svg(summary), "stacked_narrow": stacked_svg(summary, is_narrow=True)}
    if summary.validation is not None:
        figures["validation"] = validation_svg(summary.validation, summary.settings.how)
    if summary.epochs:
        figures["epochs"] = epochs_svg(summary.epochs)
    return {name: trusted(svg) for name, svg in figures.items()}


def _panels(summary: RunSummary) -> list[tuple[Panel, Any]]:
    """Return the panels with their drawings: in the order of the network, but the costliest ones before the fold."""
    panels = panels_of(summary.groups)
    costliest = sorted(panels, key=lambda panel: -panel.dense_ms)[:_N_PANELS_SHOWN]
    ordered = [p for p in panels if p in costliest] + [p for p in panels if p not in costliest]
    return [(panel, trusted(staircase_svg(panel, number))) for number, panel in enumerate(ordered)]


def _layer_rows(sections: tuple[Section, ...]) -> list[_LayerRow]:
    layers = [(number, layer) for number, section in enumerate(sections) for layer in section.layers]
    longest_ms = max(max(layer.dense_ms, layer.pruned_ms) for _, layer in layers) or 1.0
    return [
        _LayerRow(layer, number, 100 * layer.dense_ms / longest_ms, 100 * layer.pruned_ms / longest_ms)
        for number, layer in layers
    ]


def _size_rows(summary: RunSummary, ms_decimals: int) -> list[_SizeRow]:
    sizes, budgets = (summary.dense_size, summary.pruned_size), {budget.name: budget for budget in summary.size_budgets}
    counted = (
        ("parameters", "parameters", "", [size.n_parameters for size in sizes]),
        ("multiply-accumulates", "multiply-accumulates", "", [size.n_macs for size in sizes]),
        ("ONNX file", "file_bytes", "B", [size.file_bytes for size in sizes]),
    )
    rows = []
    for name, budget_name, unit, (was, now) in counted:
        budget = budgets.get(budget_name)
        limit, is_kept = ("", True) if budget is None else (wording.count_text(budget.limit, unit), budget.is_kept)
        texts = (wording.count_text(was, unit), wording.count_text(now, unit), wording.change_text(was, now))
        rows.append(_SizeRow(name, *texts, now / was if was else 0.0, limit, is_kept))
    ratio, ms = summary.ratio.ratio, (summary.dense.ms, summary.measured.ms, summary.target_ms)
    dense, pruned, target = (wording.ms_text(number, ms_decimals) for number in ms)
    change = wording.change_text(1, ratio)
    return [*rows, _SizeRow("latency", dense, pruned, change, ratio, target, summary.is_within_budget)]


def _plain_values(values: Mapping[str, Any]) -> dict[str, str]:
    def plain(value: Any) -> str:
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    return {key.removeprefix("n_").replace("_", " "): plain(value) for key, value in values.items()}
