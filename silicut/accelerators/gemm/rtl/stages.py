"""Registers as values: what pipelines are written with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from amaranth.hdl import Module, Signal, Value


def registered(m: Module, value: Any) -> Any:
    """Return a value one cycle later, from a register without reset."""
    held = Signal(Value.cast(value).shape(), reset_less=True)
    m.d.sync += held.eq(value)
    return held


def wired(m: Module, value: Any) -> Any:
    """Return a value as a wire of its own; what uses an expression twice would have its logic twice."""
    wire = Signal(Value.cast(value).shape())
    m.d.comb += wire.eq(value)
    return wire


def delayed(m: Module, value: Any, n_cycles: int) -> Any:
    """Return a value some cycles later; after a reset it is 0 until what came in behind the reset has passed."""
    for _ in range(n_cycles):
        held = Signal(Value.cast(value).shape())
        m.d.sync += held.eq(value)
        value = held
    return value


def pair_sums(numbers: Sequence[Any]) -> list[Any]:
    """Return the sums of neighbours, one level of a balanced tree; an odd one out stays as it is."""
    pairs = zip(numbers[::2], numbers[1::2], strict=False)
    return [left + right for left, right in pairs] + list(numbers[len(numbers) & ~1 :])


def shared_depths(n_levels: int, n_stages: int) -> list[int]:
    """Return how many levels of a tree each of some stages does, as equal as can be.

    Example:
        >>> shared_depths(n_levels=7, n_stages=4)
        [1, 2, 2, 2]
    """
    ends = [n_levels * stage // n_stages for stage in range(n_stages + 1)]
    return [end - start for start, end in pairwise(ends)]
