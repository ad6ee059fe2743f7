"""What runs where, and what became of it, for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from silicut.report import wording
from silicut.report.compilation import HOST, AssignedOperator, Compilation, CompiledLayer
from silicut.report.terminal import add_row, headed_table

_PLACES = {
    "cores": "on the cores",
    "post": "in the vector unit",
    "layout": "by where numbers lie, at no cost",
    HOST: "on the host",
}


def partition_view(assignments: Sequence[AssignedOperator]) -> Group:
    """Return how many operators run where, and every one that stays on the host with its reason."""
    counted = Counter(row.where for row in assignments)
    where = [f"{counted[place]} {words}" for place, words in _PLACES.items() if counted[place]]
    parts: list[RenderableType] = [Text(f"{len(assignments)} operators: {wording.listing(where, len(where))}")]
    stays = [row for row in assignments if row.where == HOST]
    if stays:
        table = headed_table("on the host", "operator", "because")
        for row in stays:
            add_row(table, row.operator, row.kind, row.reason)
        parts.append(table)
    return Group(*parts)


def compilation_view(compilation: Compilation) -> Group:
    """Return the layers with their bits and their split, and the size of the program."""
    memory = wording.count_text(compilation.memory_bytes, "B")
    mode = "a barrier after each layer" if compilation.has_barriers else "layers overlap"
    return Group(
        _layers_table(compilation.layers),
        Text(f"{compilation.n_instructions:,} instructions, {memory} of memory, {mode}"),
    )


def _layers_table(layers: Sequence[CompiledLayer]) -> Table:
    table = headed_table("layer", "w/a", "filters", "products", "operators")
    for layer in layers:
        add_row(
            table,
            layer.name,
            bits_text(layer.w_bits, layer.a_bits),
            split_text(layer.n_lut, layer.n_dsp),
            wording.count_text(layer.n_macs) if layer.n_macs else "",
            str(len(layer.operators)),
        )
    table.caption = Text("w/a: bits of weights and of what is read; filters of the LUT core + the DSP core")
    return table


def bits_text(w_bits: int, a_bits: int) -> str:
    """Return the bits of weights and of what is read.

    Example:
        >>> bits_text(4, 8), bits_text(0, 8), bits_text(0, 0)
        ('4/8', '-/8', '')
    """
    if not a_bits:
        return ""
    return f"{w_bits}/{a_bits}" if w_bits else f"-/{a_bits}"


def split_text(n_lut: int, n_dsp: int) -> str:
    """Return the filters of the LUT core and of the DSP core.

    Example:
        >>> split_text(24, 40), split_text(0, 0)
        ('24+40', '')
    """
    return f"{n_lut}+{n_dsp}" if n_lut or n_dsp else ""
