"""The way out of an array: a group of neighbouring filters of one pixel at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module
from amaranth.lib import data

from silicut.accelerators.gemm.rtl.stages import registered
from silicut.accelerators.gemm.rtl.sum_banks import SUM_BITS

READ_LATENCY_CYCLES = 2
"""From the choice of sums to their being there: banks (1), choice (1)."""


def sum_choice(n_banks: int, n_rows: int, n_filters: int, n_lanes: int) -> data.StructLayout:
    """Return the layout of what is read: a bank, a row, and a group of n_lanes neighbouring filters."""
    return data.StructLayout({"bank": range(n_banks), "row": range(n_rows), "group": range(-(-n_filters // n_lanes))})


def chosen_sums(m: Module, rows: Sequence[Sequence[Any]], choice: Any, n_lanes: int) -> Any:
    """Return the sums of a group, n_lanes of them, zeros behind the last filter.

    Args:
        m: where registers go.
        rows: what the banks show, one cycle after the choice of the bank: by row the sums of all filters.
        choice: a sum_choice.
        n_lanes: of a group.
    """
    row, group, n_filters = registered(m, choice.row), registered(m, choice.group), len(rows[0])
    padded = [[*sums, *[Const(0, SUM_BITS)] * (-n_filters % n_lanes)] for sums in rows]
    groups = [Array(Cat(sums[i : i + n_lanes]) for i in range(0, len(sums), n_lanes)) for sums in padded]
    return Array(of_row[group] for of_row in groups)[row]
