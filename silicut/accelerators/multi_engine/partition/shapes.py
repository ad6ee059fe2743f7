"""Shapes of engines by their units: the least cycles of any layers for every number of multiply-accumulates in a cycle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.multi_engine.partition.problem import Engine, Partition, PartitionProblem

IMPOSSIBLE = 2**40
"""Units of what no engine within the limits finishes in time; many of them can still be added."""
_N_REMEMBERED = 50_000


class Shapes:
    """All shapes that are worth having, by ascending units.

    Attributes:
        units: the numbers of multiply-accumulates that shapes have.
        cycles: of each layer (axis 0) on each shape.
    """

    def __init__(self, problem: PartitionProblem) -> None:
        self._problem = problem
        tables = problem.tables
        units = np.multiply.outer(tables.inputs, tables.outputs)
        shapes = np.argwhere(units <= problem.max_macs)
        self._shapes = shapes[np.argsort(units[tuple(shapes.T)], kind="stable")]
        self.units, self._firsts = np.unique(units[tuple(self._shapes.T)], return_index=True)
        self.cycles = tables.cycles[(slice(None), *self._shapes.T)]
        self.front_of = lru_cache(_N_REMEMBERED)(self._front_of)

    def front(self, cycles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the least cycles within each number of units, from the cycles of each shape."""
        return np.minimum.accumulate(np.minimum.reduceat(cycles, self._firsts))

    def _front_of(self, layers: tuple[int, ...]) -> NDArray[np.int64]:
        return self.front(self.cycles[list(layers)].sum(0))

    def engine(self, cycles: NDArray[np.int64], epoch: int, layers: Sequence[int]) -> Engine:
        """Return the engine of least units that finishes some layers within an epoch, from their cycles on each shape."""
        tables = self._problem.tables
        i, o = self._shapes[int((cycles <= epoch).argmax())]
        return Engine(int(tables.inputs[i]), int(tables.outputs[o]), tuple(sorted(layers)))

    def n_units(self, layers: tuple[int, ...], epoch: int) -> int:
        """Return the least units that finish some layers within an epoch."""
        front = self.front_of(layers)
        number = len(front) - int(np.searchsorted(front[::-1], epoch, "right"))
        return int(self.units[number]) if number < len(front) else IMPOSSIBLE

    def fitted(self, groups: Sequence[tuple[int, ...]], epoch: int) -> Partition:
        """Return the engines of least units that finish each group of layers within an epoch."""
        return tuple(self.engine(self.cycles[list(group)].sum(0), epoch, group) for group in groups)

    def best_of_groups(self, groups: Sequence[tuple[int, ...]]) -> Partition | None:
        """Return the engines of least epoch for given groups of layers; None where the units suffice for no engines."""

        def is_kept(epoch: int) -> bool:
            return sum(self.n_units(group, epoch) for group in groups) <= self._problem.max_macs

        fronts = [self.front_of(group) for group in groups]
        lowest, highest = (max(int(front[end]) for front in fronts) for end in (-1, 0))
        epoch, _ = least_that(is_kept, lowest, highest)
        return None if epoch is None else self.fitted(groups, epoch)


def least_that(holds: Callable[[int], bool], low: int, high: int) -> tuple[int | None, int]:
    """Return the least number in low..high of which something holds, None if of none, and how often it was asked.

    Args:
        holds: true of all numbers above one of which it is true.
        low, high: where to look.
    """
    if high < low or not holds(high):
        return None, int(high >= low)
    n_asked = 1
    while low < high:
        middle = (low + high) // 2
        n_asked += 1
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low, n_asked
