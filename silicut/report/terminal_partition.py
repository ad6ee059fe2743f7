"""A network shared among several engines, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from silicut.report import wording
from silicut.report.partition import EngineEstimate, PartitionSummary
from silicut.report.terminal import add_row, headed_table

_COLUMNS = ("Tn x Tm", "layers", "DSP slices", "BRAM18", "cycles", "at work", "inputs", "loads", "stores", "readers")


def partition_view(summary: PartitionSummary) -> Group:
    """Return the headline, engines, layers, what bounds the epoch, and what the figures are."""
    parts: list[RenderableType] = [Text(_headline(summary), style="bold"), _engine_table(summary), _layer_table(summary)]
    parts += [Text(sentence) for sentence in sentences(summary)]
    if summary.left_out:
        parts.append(Text(f"no convolutions, and not counted: {wording.listing(summary.left_out)}", style="yellow"))
    return Group(*parts)


def _headline(summary: PartitionSummary) -> str:
    fps, in_use = summary.images_per_s, wording.percent_text(summary.utilisation_frac)
    return (
        f"{summary.network}, {summary.precision}, {_plural(len(summary.engines), 'engine')} on {summary.limits.part}: "
        f"{fps:.{wording.decimals_for(fps)}f} images/s, multipliers {in_use} in use, "
        f"simulated; clock of {summary.clock_hz / 1e6:g} MHz assumed"
    )


def _engine_table(summary: PartitionSummary) -> Table:
    table = headed_table("engine", *_COLUMNS)
    for number, engine in enumerate(summary.engines):
        shares = (wording.percent_text(part / summary.simulated_cycles) for part in _spent(engine))
        add_row(
            table, str(number), f"{engine.n_inputs} x {engine.n_outputs}", str(len(engine.layers)), f"{engine.n_dsps:,}",
            f"{engine.n_bram18:,}", f"{engine.cycles:,}", *shares,
        )  # fmt: skip
    limits = summary.limits
    allowed = f"{wording.percent_text(limits.budget_frac, 0)} of {limits.part}{', recalled' if limits.is_recalled else ''}"
    add_row(table, "together", "", "", f"{summary.n_dsps:,}", f"{summary.n_bram18:,}", *[""] * 6)
    add_row(table, allowed, "", "", f"{limits.n_dsps:,}", f"{limits.n_bram18:,}", *[""] * 6)
    table.caption = Text(
        "cycles of computing for an image, modelled; shares of an epoch at work, waiting for "
        "what is read, for own loads and stores, and for readers, simulated"
    )
    return table


def _spent(engine: EngineEstimate) -> tuple[float, ...]:
    waits = engine.inputs_cycles, engine.loading_cycles, engine.storing_cycles, engine.readers_cycles
    return engine.computing_cycles, *waits


def _layer_table(summary: PartitionSummary) -> Table:
    table = headed_table("layer", "engine", "stage", "tile", "cycles", "MB", "bytes a cycle")
    for number, engine in enumerate(summary.engines):
        for layer in engine.layers:
            add_row(
                table, layer.name, str(number), str(layer.stage), f"{layer.tile_rows}x{layer.tile_columns}",
                f"{layer.cycles:,}", f"{layer.n_bytes / 1e6:.2f}", f"{layer.n_bytes / layer.cycles:.1f}",
            )  # fmt: skip
    return table


def sentences(summary: PartitionSummary) -> list[str]:
    """Return what was found, in sentences: against one engine, computed against simulated, latency, memory."""
    speedup = summary.single_cycles / summary.simulated_cycles
    found = [
        f"One engine alone would take {summary.single_cycles:,} cycles an image; these take "
        f"{summary.simulated_cycles:,.0f}, {speedup:.2f} times fewer.",
        _against_simulation(summary),
        f"An image is in the pipeline for {_plural(summary.n_stages, 'stage')}: "
        f"{wording.ms_text(summary.ms(summary.latency_cycles))}, simulated ({summary.latency_cycles:,} cycles).",
        _memory_sentence(summary),
    ]
    if summary.bound_cycles is not None:
        gap = summary.epoch_cycles / summary.bound_cycles - 1
        proven = "the best one" if not gap else f"at most {wording.percent_text(gap, 2)} above the best one"
        found.append(f"Of all partitions into runs of neighbours in the orders tried, this is {proven}, by proof.")
    return found


def _against_simulation(summary: PartitionSummary) -> str:
    gap = summary.simulated_cycles / summary.epoch_cycles - 1
    if not gap:
        return f"Computed and simulated epoch are equal, {summary.epoch_cycles:,} cycles: memory keeps no engine waiting."
    waits = summary.engines[summary.slowest].memory_cycles
    return (
        f"Computed epoch {summary.epoch_cycles:,} cycles, simulated {summary.simulated_cycles:,.0f} ({gap:+.3%}): engine "
        f"{summary.slowest} sets the pace and waits {waits:,.0f} cycles for memory. All bytes together would pass in time, "
        "but a layer that needs more than its share at once has to wait, because buffers hold only one step ahead."
    )


def _memory_sentence(summary: PartitionSummary) -> str:
    used = summary.n_bytes / summary.simulated_cycles * summary.clock_hz / 1e9
    there = summary.limits.bandwidth_gb_per_s
    of = "any bandwidth is there" if there is None else f"{there:g} GB/s are there, shared equally by all that move"
    megabytes = summary.n_bytes / 1e6
    return f"Memory: {megabytes:.{wording.decimals_for(megabytes)}f} MB an image, {used:.1f} GB/s on average; {of}."


def _plural(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
