"""How two executors of a network compare, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from silicut.report.comparison import Comparison, IntegerDifference, RealDifference
from silicut.report.terminal import add_row, headed_table


def comparison_view(comparison: Comparison) -> Group:
    """Return the finding, and a table of the tensors: those that differ, or all that were compared as reals."""
    parts: list[RenderableType] = [
        Text(f"{comparison.a} against {comparison.b}, {comparison.n_inputs} inputs", style="bold")
    ]
    colour = "red" if comparison.first is not None else "green" if comparison.integers else ""
    parts.append(Text(comparison.sentence, style=colour))
    if comparison.roundings:
        parts.append(Text(f"Rounding: {', '.join(comparison.roundings)}."))
    differing = [each for each in comparison.integers if each.n_differing]
    if differing:
        parts.append(_integers_table(differing))
    if comparison.reals:
        parts.append(_reals_table(comparison.reals))
    return Group(*parts)


def _integers_table(differing: list[IntegerDifference]) -> Table:
    table = headed_table("tensor", "operator", "differing", "of", "largest", "first at", "a", "b")
    for each in differing:
        at = ", ".join(map(str, each.index or ()))
        numbers = (f"{each.n_differing:,}", f"{each.n:,}", str(each.largest), at, str(each.a), str(each.b))
        add_row(table, each.tensor, each.operator, *numbers)
    return table


def _reals_table(reals: tuple[RealDifference, ...]) -> Table:
    table = headed_table("tensor", "operator", "signal to noise", "largest error", "in steps", "at")
    for each in reals:
        noise = "no difference" if each.sqnr_db is None else f"{each.sqnr_db:.1f} dB"
        steps = "" if each.largest_steps is None else f"{each.largest_steps:.1f}"
        add_row(table, each.tensor, each.operator, noise, f"{each.largest:.3g}", steps, ", ".join(map(str, each.index)))
    return table
