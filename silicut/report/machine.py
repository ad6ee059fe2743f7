"""What pages say of the simulated accelerator: stages over time, layers, roofs, and what the build needs of its part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from silicut.report import wording
from silicut.report.figures.roofline import roofline_svg
from silicut.report.figures.stages import section_numbers, stages_svg
from silicut.report.resource_bars import ResourceBar, resource_bars
from silicut.report.simulation import STAGES, SimulatedLayer, SimulationSummary
from silicut.report.templates import trusted
from silicut.report.terminal_compilation import bits_text, split_text
from silicut.report.terminal_simulation import SHOWN, utilisation_text, waited_for


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
class MachineView:
    """What the sections of `machine.html.jinja` are made of.

    Attributes:
        run: the record.
        rows: of the table of layers.
        stages: of the table of stages.
        amounts: of resources.
        figures: drawings by name, as HTML.
    """

    run: SimulationSummary
    rows: tuple[_Row, ...]
    stages: tuple[_StageRow, ...]
    amounts: tuple[ResourceBar, ...]
    figures: Mapping[str, Any]


def machine_view(summary: SimulationSummary) -> MachineView:
    """Return a run of the accelerator as pages show it.

    Raises:
        ToolMissing: jinja2 or matplotlib is not installed (extra "report").
    """
    figures = {
        "stages": stages_svg(summary),
        "stages_narrow": stages_svg(summary, is_narrow=True),
        "roofline": roofline_svg(summary),
    }
    return MachineView(
        run=summary,
        rows=tuple(_rows(summary)),
        stages=tuple(_stage_rows(summary)),
        amounts=resource_bars(summary),
        figures={name: trusted(svg) for name, svg in figures.items()},
    )


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
