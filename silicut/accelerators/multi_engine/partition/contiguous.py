"""The exact dynamic programme where slices alone are limited.

For an order of the layers, an epoch T can be kept if the layers can be cut into at most six runs of neighbours so that the
cheapest engines that finish each run within T have slices enough together. The least such T is found by bisection; each test
is a dynamic programme over where the runs end. The answer is exact for the order, and the best of several orders is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.multi_engine.partition.orders import Order, layer_orders
from silicut.accelerators.multi_engine.partition.problem import Engine, Partition, PartitionProblem
from silicut.accelerators.multi_engine.partition.shapes import IMPOSSIBLE, Shapes, least_that


@dataclass(frozen=True)
class ExactPartition:
    """What the dynamic programme found.

    Attributes:
        partition: engines of least size that keep the epoch.
        epoch_cycles: the least that any cut of any of the orders allows.
        order: name of the order of layers.
        n_epochs: how many epochs were tested, for all orders together.
    """

    partition: Partition
    epoch_cycles: int
    order: str
    n_epochs: int


def exact_partition(problem: PartitionProblem) -> ExactPartition:
    """Return the best partition into runs of neighbours in one of several orders, blocks and bytes left out of account.

    Example:
        >>> from silicut.accelerators.multi_engine.config import PRECISIONS
        >>> from silicut.accelerators.multi_engine.partition.problem import Limits
        >>> from silicut.accelerators.multi_engine.published_layers import published_layers
        >>> layers = published_layers("alexnet-2012")
        >>> exact_partition(PartitionProblem(layers, PRECISIONS["fp32"], Limits(n_dsps=2880))).epoch_cycles
        1168128
    """
    best: ExactPartition | None = None
    n_epochs = 0
    for name, order in layer_orders(problem.layers):
        runs = Runs(problem, order)
        at_most = None if best is None else best.epoch_cycles - 1
        epoch, n_tested = runs.least_epoch(at_most)
        n_epochs += n_tested
        if epoch is not None:
            best = ExactPartition(runs.partition(epoch), epoch, name, 0)
    assert best is not None  # the first order is searched up to an epoch that one engine keeps
    return ExactPartition(best.partition, best.epoch_cycles, best.order, n_epochs)


class Runs:
    """All runs of neighbours in an order, with the least cycles of each for every number of units."""

    def __init__(self, problem: PartitionProblem, order: Order) -> None:
        self._problem, self._order, self._shapes = problem, order, Shapes(problem)
        cycles, n = self._shapes.cycles[list(order)], len(order)
        self._sums = np.concatenate([np.zeros((1, cycles.shape[1]), np.int64), cycles.cumsum(0)])
        self._row = np.full((n, n + 1), -1)
        fronts: list[NDArray[np.int64]] = []
        for start in range(n):
            for end in range(start + 1, n + 1):
                self._row[start, end] = len(fronts)
                fronts.append(self._shapes.front(self._sums[end] - self._sums[start]))
        self._fronts = np.stack(fronts)

    def least_epoch(self, at_most: int | None = None) -> tuple[int | None, int]:
        """Return the least epoch, None if it is above `at_most`, and how many epochs were tested."""
        whole = int(self._fronts[self._row[0, len(self._order)], -1])  # of one engine
        high = whole if at_most is None else min(whole, at_most)
        return least_that(self.is_kept, self._floor(), high)

    def _floor(self) -> int:
        """Return cycles that no partition goes below: each layer on an engine of all units, all products on all units."""
        n_macs = sum(layer.n_macs for layer in self._problem.layers)
        longest = max(int(self._fronts[self._row[i, i + 1], -1]) for i in range(len(self._order)))
        return max(longest, -(-n_macs // self._problem.max_macs))

    def is_kept(self, epoch: int) -> bool:
        """Tell whether the units suffice for an epoch."""
        costs, _ = cheapest_cut(self.units_for(epoch), self._problem.max_engines)
        return bool(costs <= self._problem.max_macs)

    def units_for(self, epoch: int) -> NDArray[np.int64]:
        """Return the least units that finish each run in time, by start and end; `IMPOSSIBLE` where there are too few."""
        n_slow = (self._fronts > epoch).sum(1)
        units = np.append(self._shapes.units, IMPOSSIBLE)[n_slow]
        return np.where(self._row < 0, IMPOSSIBLE, units[self._row])

    def partition(self, epoch: int) -> Partition:
        """Return the engines that keep an epoch with least units."""
        _, ends = cheapest_cut(self.units_for(epoch), self._problem.max_engines)
        return tuple(self._engine(start, end, epoch) for start, end in zip((0, *ends), ends, strict=False))

    def _engine(self, start: int, end: int, epoch: int) -> Engine:
        return self._shapes.engine(self._sums[end] - self._sums[start], epoch, self._order[start:end])


def cheapest_cut(costs: NDArray[np.int64] | NDArray[np.float64], max_runs: int) -> tuple[float, tuple[int, ...]]:
    """Return the least sum of costs of a cut of a whole order into at most some runs, and where these end.

    Args:
        costs: of the run from each start (axis 0) to each end (axis 1).
        max_runs: at least 1.
    """
    n = costs.shape[0]
    best, starts = costs[0], []  # of a first run, by its end
    totals = [best[n]]
    for _ in range(1, min(max_runs, n)):
        sums = best[:n, None] + costs
        starts.append(sums.argmin(0))
        best = sums.min(0)
        totals.append(best[n])
    n_runs = int(np.argmin(totals))
    ends = [n]
    for step in reversed(starts[:n_runs]):
        ends.append(int(step[ends[-1]]))
    return totals[n_runs], tuple(reversed(ends))
