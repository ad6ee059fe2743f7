"""A run on the simulated accelerator, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from silicut.report import wording
from silicut.report.simulation import STAGES, SimulatedLayer, SimulationSummary
from silicut.report.terminal import add_row, headed_table
from silicut.report.terminal_compilation import bits_text, split_text

SHOWN = ("lut.execute", "dsp.execute", "post", "memory")
"""The stages whose cycles tables show."""


def simulation_view(summary: SimulationSummary) -> Group:
    """Return the headline, the layers, the stages, and what the figures are."""
    parts: list[RenderableType] = [
        Text(headline(summary), style="bold"),
        _layers_table(summary),
        _stages_table(summary),
    ]
    if summary.n_correct is not None:
        parts.append(Text(f"{summary.n_correct} of {summary.n_images} images right"))
    if summary.on_host:
        parts.append(Text(f"on the host and not counted: {wording.listing(summary.on_host)}", style="yellow"))
    parts += [Text(sentence, style="red") for sentence in summary.exceeded]
    parts += [Text(sentence) for sentence in wording.origins(summary)]
    return Group(*parts)


def headline(summary: SimulationSummary) -> str:
    """Return the time of one inference in one sentence."""
    gops = f"{summary.gops:.{wording.decimals_for(summary.gops)}f} GOPS"
    return (
        f"{summary.network} on {summary.accelerator}: {summary.cycles:,} cycles, {wording.ms_text(summary.total_ms)} at "
        f"{summary.clock_hz / 1e6:g} MHz ({frames_text(summary)}, {gops})"
    )


def frames_text(summary: SimulationSummary) -> str:
    """Return inferences in a second, one after the other."""
    per_s = 1e3 / summary.total_ms if summary.cycles else 0.0
    return f"{per_s:,.{wording.decimals_for(per_s)}f} images/s"


def utilisation_text(layer: SimulatedLayer) -> str:
    """Return the share of the arrays' products that the layer used, "" without products."""
    return "" if layer.utilisation_frac is None else wording.percent_text(layer.utilisation_frac, 0)


def _layers_table(summary: SimulationSummary) -> Table:
    table = headed_table("layer", "w/a", "filters", "LUT", "DSP", "vector", "memory", "bounded by", "used", "ms")
    decimals = wording.decimals_for(max((summary.ms(layer.added) for layer in summary.layers), default=0))
    for layer in summary.layers:
        busy = [layer.busy.get(stage, 0) for stage in SHOWN]
        add_row(
            table,
            layer.name,
            bits_text(layer.w_bits, layer.a_bits),
            split_text(layer.n_lut, layer.n_dsp),
            *(f"{cycles:,}" if cycles else "" for cycles in busy),
            STAGES.get(layer.bound, ""),
            utilisation_text(layer),
            f"{summary.ms(layer.added):.{decimals}f}",
        )
    table.caption = Text(
        "w/a: bits of weights and of what is read; filters of the LUT core + the DSP core; cycles at work of arrays, vector "
        "unit and memory; used: share of the arrays' products; ms: by which the layer ends later than all before"
    )
    return table


def _stages_table(summary: SimulationSummary) -> Table:
    table = headed_table("stage", "at work", "waiting", "idle at the end", "waits most for")
    for stage in summary.stages:
        if not stage.run:
            continue
        waiting = sum(stage.receive.values())
        most = max(stage.receive, key=lambda reason: stage.receive[reason], default="")
        shares = (cycles / summary.cycles if summary.cycles else 0.0 for cycles in (stage.run, waiting, stage.idle))
        reason = f"{waited_for(most)}, {stage.receive[most]:,} cycles" if most else ""
        add_row(table, STAGES[stage.name], *(wording.percent_text(share) for share in shares), reason)
    return table


def waited_for(reason: str) -> str:
    """Return in words what a stage waited for.

    Example:
        >>> waited_for("lut.rows.filled"), waited_for("accumulators")
        ('input rows to come', 'a free accumulator')
    """
    if reason in _REASONS:
        return _REASONS[reason]
    _, resource, state = reason.split(".")
    return f"{_RESOURCES[resource]} {'to come' if state == 'filled' else 'to be free'}"


_REASONS = {
    "accumulators": "a free accumulator",
    "sums": "finished sums",
    "barrier": "the other queues",
    "ports": "the other ports",
}
_RESOURCES = {
    "rows": "input rows",
    "weights": "weights",
    "residual": "rows to add",
    "output": "output rows",
    "stripe": "rows of the matrix",
}
