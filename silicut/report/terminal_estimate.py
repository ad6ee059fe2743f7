"""What a network would cost on an accelerator, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from silicut.report import wording
from silicut.report.estimate import Estimate
from silicut.report.simulation import STAGES
from silicut.report.terminal import add_row, headed_table
from silicut.report.terminal_compilation import bits_text, split_text

_UNITS = {stage.replace(".", "_"): words for stage, words in STAGES.items()} | {
    "vector": STAGES["post"],
    "lut_banks": "LUT accumulators",
    "dsp_banks": "DSP accumulators",
}
_AMOUNTS = {"n_luts": "LUTs", "n_ffs": "flip-flops", "n_dsps": "DSP slices", "n_bram36": "BRAM36"}
_GROUPS = {
    "arrays": "arrays, modelled",
    "buffers": "buffers, counted",
    "glue": "glue, assumed until synthesis",
}


def estimate_view(estimate: Estimate) -> Group:
    """Return the headline, the layers, what of the part is needed, and what the figures are."""
    parts: list[RenderableType] = [
        Text(_headline(estimate), style="bold"),
        _layers_table(estimate),
        _resource_table(estimate),
    ]
    if estimate.exceeded:
        parts += [Text(sentence, style="red") for sentence in estimate.exceeded]
    else:
        parts.append(Text(f"fits {estimate.part.name}", style="green"))
    if estimate.on_host:
        parts.append(Text(f"on the host and not counted: {wording.listing(estimate.on_host)}", style="yellow"))
    parts += [Text(sentence) for sentence in _labels(estimate)]
    return Group(*parts)


def _headline(estimate: Estimate) -> str:
    ms = estimate.ms(estimate.any_split_cycles)
    gops = 2 * estimate.n_macs / ms / 1e6 if ms else 0.0
    frames = f"{1e3 / ms:.{wording.decimals_for(1e3 / ms)}f} fps" if ms else "no layers"
    return (
        f"{estimate.network}, {estimate.bits}, on {estimate.accelerator}: at least {wording.ms_text(ms)} "
        f"({frames}, {gops:.0f} GOPS at most), modelled"
    )


def _layers_table(estimate: Estimate) -> Table:
    table = headed_table("layer", "m x k x n", "w/a", "filters", "LUT", "DSP", "vector", "memory", "bounded by", "ms")
    decimals = wording.decimals_for(max([estimate.ms(layer.cycles) for layer in estimate.layers], default=0))
    for layer in estimate.layers:
        cycles = (layer.lut_cycles, layer.dsp_cycles, layer.vector_cycles, layer.memory_cycles)
        add_row(
            table,
            layer.name,
            f"{layer.m}x{layer.k}x{layer.n}",
            bits_text(layer.w_bits, layer.a_bits),
            split_text(layer.n_lut, layer.n_dsp) if layer.kind == "product" else "",
            *(f"{number:,}" if number else "" for number in cycles),
            _UNITS[layer.limited_by],
            f"{estimate.ms(layer.cycles):.{decimals}f}",
        )
    overlapped, in_turn = (estimate.ms(cycles) for cycles in (estimate.overlapped_cycles, estimate.in_turn_cycles))
    table.caption = Text(
        "w/a: bits of weights and of what is read; filters of the LUT core + the DSP core; cycles that each unit is busy at "
        f"least; with this split the network takes at least {wording.ms_text(overlapped)}, layers one after the other "
        f"{wording.ms_text(in_turn)}"
    )
    return table


def _resource_table(estimate: Estimate) -> Table:
    recalled = ", recalled" if estimate.part.is_recalled else ""
    table = headed_table("", *_AMOUNTS.values())
    for group, words in _GROUPS.items():
        users = [user for user in estimate.resources if user.group == group]
        add_row(table, words, *(f"{sum(getattr(user, amount) for user in users):,}" for amount in _AMOUNTS))
    add_row(table, "together", *(f"{estimate.total(amount):,}" for amount in _AMOUNTS))
    add_row(table, f"{estimate.part.name}{recalled}", *(f"{getattr(estimate.part, amount):,}" for amount in _AMOUNTS))
    shares = ((estimate.total(amount), getattr(estimate.part, amount)) for amount in _AMOUNTS)
    add_row(table, "share", *(wording.percent_text(needed / there) if there else "" for needed, there in shares))
    return table


def _labels(estimate: Estimate) -> list[str]:
    return [
        f"Time: lower bounds, modelled; clock of {estimate.clock_hz / 1e6:g} MHz assumed; "
        f"{estimate.bandwidth_gb_per_s:.1f} GB/s of memory.",
        f"Resources: look-up tables of the array by {estimate.resource_model}, memories counted, glue and flip-flops "
        "assumed; nothing is synthesised.",
    ]
