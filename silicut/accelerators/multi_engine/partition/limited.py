"""The dynamic programme where blocks of memory or bytes are limited too.

An epoch T is tested with *prices*: slices, blocks and bytes cost so much of their limits each, and the dynamic programme
over runs of neighbours finds the cheapest engines that finish in time. If even these cost more than the limits are worth,
nothing in this order keeps T: a proof. If what was found keeps every limit, T is kept. Otherwise the prices are changed to
those that all engines found so far find hardest (Kelley's cutting planes), until nothing new is found. Between the greatest
epoch with a proof and the least one that is kept lies what remains open; both are reported.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.multi_engine.partition.contiguous import Runs, cheapest_cut, exact_partition
from silicut.accelerators.multi_engine.partition.memory import least_traffic
from silicut.accelerators.multi_engine.partition.orders import Order, layer_orders
from silicut.accelerators.multi_engine.partition.problem import Engine, Partition, PartitionProblem

_N_ROUNDS = 25  # of prices for one epoch
_TOLERANCE = 1e-9
_NEAR = 1.25  # runs whose cheapest engines exceed limits by less are filled otherwise
_N_LABELS = 200  # of the most promising sums while runs are filled
_N_BOUNDS = 32  # parts into which epochs are cut where a proof is looked for
_NEVER = 2**62


@dataclass(frozen=True)
class LimitedPartition:
    """What was found under limits of memory.

    Attributes:
        partition: engines that keep every limit; None if none were found.
        epoch_cycles: of it; None without.
        bound_cycles: no partition into runs of any of the orders, with banks of the depth levels, is below.
        order: name of the order of layers; "" without.
        n_epochs: how many epochs were tested, for all orders together.
    """

    partition: Partition | None
    epoch_cycles: int | None
    bound_cycles: int
    order: str
    n_epochs: int

    @property
    def gap_frac(self) -> float | None:
        """How far the epoch may be above the least one, relative to the bound."""
        return None if self.epoch_cycles is None else self.epoch_cycles / self.bound_cycles - 1


@dataclass(frozen=True)
class Tested:
    """What a test of an epoch showed: a partition that keeps it, or that there is none, or neither."""

    partition: Partition | None
    is_refuted: bool


def limited_partition(problem: PartitionProblem) -> LimitedPartition:
    """Return the best partition found under all limits, and a bound for all partitions into runs."""
    free = exact_partition(problem)
    if not problem.limits.bounds_memory or keeps_memory(problem, free.partition, free.epoch_cycles):
        return LimitedPartition(free.partition, free.epoch_cycles, free.epoch_cycles, free.order, free.n_epochs)
    found: list[LimitedPartition] = []
    for name, order in layer_orders(problem.layers):
        known = min((each.epoch_cycles for each in found if each.epoch_cycles is not None), default=None)
        found.append(_of_order(LimitedRuns(problem, order), name, known))
    best = min(found, key=lambda each: each.epoch_cycles or _NEVER)
    bound = min(each.bound_cycles for each in found)
    n_epochs = free.n_epochs + sum(each.n_epochs for each in found)
    return LimitedPartition(best.partition, best.epoch_cycles, bound, best.order, n_epochs)


def keeps_memory(problem: PartitionProblem, partition: Partition, epoch: int) -> bool:
    """Tell whether a partition keeps the limits of blocks and bytes at an epoch, in the best tiles."""
    limits = problem.limits
    use = least_traffic(problem, partition, limits.n_bram18)
    moves_in_time = use.least_cycles(limits.bytes_per_cycle) <= epoch
    return moves_in_time and (limits.n_bram18 is None or use.n_bram18 <= limits.n_bram18)


def _of_order(runs: LimitedRuns, name: str, known: int | None) -> LimitedPartition:
    """Return what an order gives that is better, by more than a thousandth, than a known epoch."""
    test = functools.cache(runs.test)
    lowest, slowest = runs.range
    if known is None and test(slowest).is_refuted:
        return LimitedPartition(None, None, slowest + 1, "", 1)
    step = max(1, lowest // 1000)
    last = slowest if known is None else known - step
    low, high = lowest - 1, min(lowest, last) if known is None else last
    while test(high).partition is None and high < last:
        low, high = high, min(last, high + high // 4 + 1)
    refuted = high
    if not test(high).is_refuted:
        coarse = max(step, (high - lowest) // _N_BOUNDS)
        refuted, _ = _narrowed(lambda epoch: test(epoch).is_refuted, lowest - 1, high, coarse)
    _, high = _narrowed(lambda epoch: test(epoch).partition is None, max(low, refuted), high, step)
    partition, n_epochs = test(high).partition, test.cache_info().misses
    if partition is None:
        return LimitedPartition(None, None, refuted + 1, "", n_epochs)
    return LimitedPartition(partition, runs.epoch_of(partition), refuted + 1, name, n_epochs)


def _narrowed(holds: Callable[[int], bool], low: int, high: int, step: int) -> tuple[int, int]:
    """Return two numbers, at most `step` apart, of the first of which something holds that does not hold of the second.

    Args:
        holds: taken to hold of `low`, and not to hold of `high`; neither is asked.
        low, high: where to look.
        step: at least 1.
    """
    while high - low > step:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high


@dataclass(frozen=True)
class _Options:
    """Engines for every run that finish in time, those of one run side by side.

    Attributes:
        uses: shares of the limits that each takes (rows): of slices, blocks, bytes; 0 where there is no limit.
        shapes: n_inputs and n_outputs of each.
        starts: where the options of each run that has some begin.
        runs: start and end of these runs.
    """

    uses: NDArray[np.float64]
    shapes: NDArray[np.int64]
    starts: NDArray[np.intp]
    runs: NDArray[np.int64]

    def of(self, number: int) -> slice:
        """Return where the options of a run lie."""
        end = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.uses)
        return slice(int(self.starts[number]), int(end))


class LimitedRuns:
    """All runs of neighbours in an order, tested with prices."""

    def __init__(self, problem: PartitionProblem, order: Order) -> None:
        self._problem, self._order = problem, order
        tables = problem.tables
        index = list(order)
        self._cycles = _sums(tables.cycles[index])
        self._n_impossible = _sums(np.isinf(tables.traffic[index, 0]).astype(np.int64))
        self._bytes = _sums(np.where(np.isinf(tables.traffic[index]), 0.0, tables.traffic[index]))
        self._units = np.multiply.outer(tables.inputs, tables.outputs)
        limits = problem.limits
        self._is_limited = np.array([True, limits.n_bram18 is not None, limits.bytes_per_cycle is not None])

    @property
    def range(self) -> tuple[int, int]:
        """Epochs that the search lies between: the least with slices alone limited, and one in which anything is done."""
        least, _ = Runs(self._problem, self._order).least_epoch()
        assert least is not None  # some engine is always possible
        slowest, per_cycle = int(self._cycles[-1, 0, 0]), self._problem.limits.bytes_per_cycle
        return least, slowest if per_cycle is None else max(slowest, math.ceil(self._bytes[-1].max() / per_cycle))

    def epoch_of(self, partition: Partition) -> int:
        """Return the least epoch for which a partition keeps the limits: bytes may need more cycles than products do."""
        limits = self._problem.limits
        use = least_traffic(self._problem, partition, limits.n_bram18)
        return max(self._problem.epoch_cycles(partition), use.least_cycles(limits.bytes_per_cycle))

    def test(self, epoch: int) -> Tested:
        """Return whether an epoch is kept, refuted, or neither could be shown."""
        options = self._options(epoch)
        prices = self._is_limited / self._is_limited.sum()
        cuts: list[NDArray[np.float64]] = []
        tried: set[tuple[int, ...]] = set()
        for _ in range(_N_ROUNDS):
            worth, runs, picks = self._cheapest(options, prices)
            if worth > 1 + _TOLERANCE:
                return Tested(None, True)
            uses = options.uses[picks].sum(0)
            if (uses <= 1 + _TOLERANCE).all():
                return Tested(self._partition(options, runs, picks), False)
            if runs not in tried and uses.max() <= _NEAR:
                tried.add(runs)
                filled = self._filled(options, runs)
                if filled is not None:
                    return Tested(filled, False)
            cuts.append(uses)
            prices, most = _hardest(np.array(cuts), self._is_limited)
            if most <= worth + _TOLERANCE:
                break
        return Tested(None, False)

    def _options(self, epoch: int) -> _Options:
        n, uses, shapes, runs = len(self._order), [], [], []
        for start in range(n):
            for end in range(start + 1, n + 1):
                found = self._options_of(start, end, epoch)
                if found is not None:
                    uses.append(found[0])
                    shapes.append(found[1])
                    runs.append((start, end))
        starts = np.cumsum([0, *map(len, uses)])[:-1]
        if not runs:
            return _Options(np.zeros((0, 3)), np.zeros((0, 2), np.int64), starts, np.zeros((0, 2), np.int64))
        return _Options(np.concatenate(uses), np.concatenate(shapes), starts, np.array(runs))

    def _options_of(self, start: int, end: int, epoch: int) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
        """Return shares of the limits and shapes of the engines for a run: for every output size the smallest in time."""
        tables, limits = self._problem.tables, self._problem.limits
        is_in_time = (self._cycles[end] - self._cycles[start] <= epoch) & (self._units <= self._problem.max_macs)
        outputs = np.flatnonzero(is_in_time.any(0))
        if not len(outputs):
            return None
        n_in, n_out = tables.inputs[is_in_time[:, outputs].argmax(0)], tables.outputs[outputs]
        layers = list(self._order[start:end])
        deep = tuple(slice(1 + int(levels[layers].max())) for levels in tables.whole_map_levels)
        n_blocks = tables.blocks(n_in, n_out, int(tables.taps[layers].max()))[:, *deep].reshape(len(outputs), -1)
        n_bytes = (self._bytes[end] - self._bytes[start])[outputs]
        n_bytes = np.where(self._n_impossible[end] > self._n_impossible[start], np.inf, n_bytes)
        n_bytes = n_bytes[:, *deep].reshape(len(outputs), -1)
        may_move = np.inf if limits.bytes_per_cycle is None else limits.bytes_per_cycle * epoch
        uses = np.stack(
            (
                np.broadcast_to((n_in * n_out / self._problem.max_macs)[:, None], n_blocks.shape),
                n_blocks / (limits.n_bram18 or np.inf),
                n_bytes / may_move if may_move < np.inf else _zero_or_inf(n_bytes),
            ),
            2,
        )
        rows, columns = np.nonzero(_undominated(uses[:, :, 1], uses[:, :, 2]) & (uses <= 1).all(2))
        return (uses[rows, columns], np.stack((n_in[rows], n_out[rows]), 1)) if len(rows) else None

    def _cheapest(self, options: _Options, prices: NDArray[np.float64]) -> tuple[float, tuple[int, ...], NDArray[np.intp]]:
        """Return the least sum of prices, the runs (by number) and the options (by index) that have it."""
        n = len(self._order)
        priced = options.uses @ prices
        costs = np.full((n, n + 1), np.inf)
        if len(priced):
            costs[tuple(options.runs.T)] = np.minimum.reduceat(priced, options.starts)
        worth, ends = cheapest_cut(costs, self._problem.max_engines)
        if not np.isfinite(worth):
            return np.inf, (), np.array([], np.intp)
        numbers = {(int(start), int(end)): i for i, (start, end) in enumerate(options.runs)}
        runs = tuple(numbers[run] for run in zip((0, *ends), ends, strict=False))
        picks = [options.of(run).start + int(priced[options.of(run)].argmin()) for run in runs]
        return float(worth), runs, np.array(picks, np.intp)

    def _filled(self, options: _Options, runs: Sequence[int]) -> Partition | None:
        """Return engines for some runs that keep all limits, found among the most promising sums; None if there are none."""
        each = [options.uses[options.of(run)] for run in runs]
        left = np.cumsum([uses.min(0) for uses in reversed(each)], 0)[::-1]
        left = np.concatenate((left[1:], np.zeros((1, 3))))
        sums, picks = np.zeros((1, 3)), np.zeros((1, 0), np.intp)
        for run, uses, rest in zip(runs, each, left, strict=True):
            total = (sums[:, None] + uses).reshape(-1, 3)
            needed = (total + rest).max(1)
            kept = np.flatnonzero(needed <= 1 + _TOLERANCE)
            kept = kept[np.argsort(needed[kept], kind="stable")[:_N_LABELS]]
            if not len(kept):
                return None
            before, new = np.divmod(kept, len(uses))
            sums, picks = total[kept], np.concatenate((picks[before], options.of(run).start + new[:, None]), 1)
        return self._partition(options, runs, picks[0])

    def _partition(self, options: _Options, runs: Sequence[int], picks: NDArray[np.intp]) -> Partition:
        return tuple(
            Engine(int(n_in), int(n_out), tuple(sorted(self._order[slice(*options.runs[run])])))
            for run, (n_in, n_out) in zip(runs, options.shapes[picks], strict=True)
        )


def _sums(values: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.int64] | NDArray[np.float64]:
    """Return sums of the first 0, 1, 2 ... values along axis 0."""
    return np.concatenate((np.zeros((1, *values.shape[1:]), values.dtype), values.cumsum(0)))


def _zero_or_inf(n_bytes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 0 for any number of bytes, and infinity for what cannot be done at all."""
    return np.where(np.isinf(n_bytes), np.inf, 0.0)


def _undominated(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which entries of each row have less of the second use than all with less of the first; ties may stay."""
    order = np.argsort(first, axis=1, kind="stable")
    ordered = np.take_along_axis(second, order, 1)
    least = np.minimum.accumulate(ordered, 1)
    is_better = np.concatenate((np.isfinite(ordered[:, :1]), least[:, 1:] < least[:, :-1]), 1)
    found = np.zeros(first.shape, bool)
    np.put_along_axis(found, order, is_better, 1)
    return found


def _hardest(cuts: NDArray[np.float64], is_limited: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Return the prices, none negative and 1 in sum, for which the cheapest of some uses is dearest, and what it costs."""
    from scipy.optimize import linprog

    columns = np.flatnonzero(is_limited)
    n = len(columns)
    rows = np.column_stack((-cuts[:, columns], np.ones(len(cuts))))
    found = linprog(
        [*[0.0] * n, -1.0], A_ub=rows, b_ub=np.zeros(len(cuts)), A_eq=[[*[1.0] * n, 0.0]], b_eq=[1.0],
        bounds=[*[(0, None)] * n, (None, None)],
    )  # fmt: skip
    prices = np.zeros(len(is_limited))
    prices[columns] = np.maximum(found.x[:n], 0)
    return prices / prices.sum(), float(found.x[n])
