"""A design search for a terminal: what was chosen, what it needs of the part, how it was proven, what would help."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from silicut.report import wording
from silicut.report.design import DesignSummary
from silicut.report.terminal import add_row, headed_table
from silicut.report.terminal_compilation import bits_text, split_text

_AMOUNTS = {"n_luts": "LUTs", "n_ffs": "flip-flops", "n_dsps": "DSP slices", "n_bram36": "BRAM36"}


def design_view(summary: DesignSummary) -> Group:
    """Return the headline, the build, the layers, the proof and what would help."""
    parts: list[RenderableType] = [
        Text(headline(summary), style="bold"),
        Text(build_text(summary)),
        _layers_table(summary),
        _part_table(summary),
        _steps_table(summary),
        Text(proof_text(summary)),
    ]
    parts += [_curves_table(summary)] if summary.curves else []
    parts += [_helps_table(summary)] if summary.helps else []
    if summary.on_host:
        parts.append(Text(f"on the host and not counted: {wording.listing(summary.on_host)}", style="yellow"))
    parts.append(Text(label_text(summary)))
    return Group(*parts)


def headline(summary: DesignSummary) -> str:
    """Return what was chosen in one sentence."""
    how = "simulated" if summary.simulated_cycles is not None else "predicted"
    fps = 1e3 / summary.total_ms
    return (
        f"{summary.network}, {summary.bits} bits, on {summary.part.name}: {wording.ms_text(summary.total_ms)} {how} "
        f"({fps:.{wording.decimals_for(fps)}f} fps), {wording.ms_text(summary.ms(summary.predicted_cycles))} predicted"
    )


def build_text(summary: DesignSummary) -> str:
    """Return the build in one sentence."""
    at = summary.point
    return (
        f"LUT core {at['lut_rows']} x {at['lut_columns']} units of {at['lut_word_bits']} bits, banks of "
        f"{at['lut_lhs_depth']} and {at['lut_rhs_depth']} words; DSP core {at['dsp_rows']} rows x {at['dsp_inputs']} inputs "
        f"x {at['dsp_outputs']} outputs in {at['dsp_passes']} passes, banks of {at['dsp_lhs_depth']} and "
        f"{at['dsp_rhs_depth']}; {at['n_lanes']} lanes"
    )


def proof_text(summary: DesignSummary) -> str:
    """Return what is proven."""
    what = "cycles" if summary.minimised == "cycles" else "loss"
    points = f"{summary.n_points:,}" if summary.n_points < 10**6 else f"{summary.n_points:.1e}"
    seconds = f"{summary.search_seconds:.0f} s"
    if summary.gap_frac < 1e-9:
        return f"Proven in {seconds}: of the {points} builds of the grid none is predicted to take fewer {what}."
    return (
        f"After {seconds}: of the {points} builds of the grid none is predicted to have more than "
        f"{wording.percent_text(summary.gap_frac)} less {what}."
    )


def label_text(summary: DesignSummary) -> str:
    """Return what the figures are."""
    loss = ""
    if summary.loss is not None:
        kind = "a proxy (noise power of rounding), not measured" if summary.loss_kind == "proxy" else summary.loss_kind
        loss = f" Loss {summary.loss:.3g} is {kind}; weights have {summary.mean_weight_bits:.2f} bits in the mean over MACs."
    return (
        f"Clock of {summary.clock_hz / 1e6:g} MHz assumed, {summary.bandwidth_gb_per_s:.1f} GB/s of memory; resources are "
        f"modelled, nothing is synthesised.{loss}"
    )


def _layers_table(summary: DesignSummary) -> Table:
    table = headed_table("layer", "m x k x n", "w/a", "filters", "ms, predicted")
    decimals = wording.decimals_for(max(summary.ms(layer.cycles) for layer in summary.layers))
    for layer in summary.layers:
        split = split_text(layer.n_lut, layer.n_dsp) if layer.kind == "product" else ""
        bits, sizes = bits_text(layer.w_bits, layer.a_bits), f"{layer.m}x{layer.k}x{layer.n}"
        ms = f"{summary.ms(layer.cycles):.{decimals}f}" if layer.kind != "windows" else ""
        add_row(table, layer.name, sizes, bits, split, ms)
    table.caption = Text("filters of the LUT core + the DSP core; windows run beside the layer before them")
    return table


def _part_table(summary: DesignSummary) -> Table:
    recalled = ", recalled" if summary.part.is_recalled else ""
    table = headed_table("", *_AMOUNTS.values())
    add_row(table, "needed", *(f"{summary.total(amount):,}" for amount in _AMOUNTS))
    add_row(table, f"{summary.part.name}{recalled}", *(f"{getattr(summary.part, amount):,}" for amount in _AMOUNTS))
    return table


def _steps_table(summary: DesignSummary) -> Table:
    table = headed_table("branch and bound", "opened", "pruned", "infeasible")
    for step in summary.steps:
        add_row(table, step.name, f"{step.n_visited:,}", f"{step.n_pruned:,}", f"{step.n_infeasible:,}")
    return table


def _curves_table(summary: DesignSummary) -> Table:
    table = headed_table("search", "evaluations", "infeasible", "ms, predicted", "above the least", "seconds")
    for curve in summary.curves:
        ms, above = "none fits", ""
        if curve.best is not None:
            least = summary.least_cycles if summary.minimised == "cycles" else summary.predicted_cycles
            ms, above = wording.ms_text(summary.ms(curve.best)), wording.percent_text(curve.best / least - 1)
        counts = (f"{curve.n_evaluations:,}", f"{curve.n_infeasible:,}")
        add_row(table, curve.solver, *counts, ms, above, f"{curve.seconds:.0f}")
    return table


def _helps_table(summary: DesignSummary) -> Table:
    table = headed_table("what would help", "ms, predicted", "change")
    base = summary.helps[0].cycles
    for each in summary.helps:
        ms = "not finished" if each.cycles is None else wording.ms_text(summary.ms(each.cycles))
        change = wording.change_text(base, each.cycles) if base and each.cycles and each is not summary.helps[0] else ""
        add_row(table, each.what, ms, change)
    return table
