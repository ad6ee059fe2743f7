"""The best build of a grid by branch and bound: the smallest predicted time, with the proof that no other point has less.

Decisions are taken in steps: lanes, the bit-serial core, the DSP core, the depths of their banks, buffers. What is not
decided yet is taken at its best in time (unlimited memories, of the cores left the fastest of each layer) and at its
cheapest in look-up tables, flip-flops, slices and blocks of memory, so a node's bound is never above what it leads to. The
node of lowest bound is opened first; when that bound is no less than the best build known, it is proven best.
"""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from silicut.accelerators.gemm.cost.predicted import Options, memory_columns
from silicut.accelerators.gemm.cost.walks import CoreWalk, Floats, shared_columns
from silicut.accelerators.gemm.design.grid import Amounts, Grid
from silicut.accelerators.gemm.design.problem import DesignProblem
from silicut.accelerators.gemm.design.space import (
    DSP_CORE,
    DSP_DEPTHS,
    LUT_CORE,
    LUT_DEPTHS,
    ROW_BUFFERS,
    TABLE,
)
from silicut.records import DoesNotFit, Progress, Tracker, silent

STEPS = ("lanes", "bit-serial core", "DSP core", "depths of banks", "tables and fills", "buffers")
_LANES = ("n_lanes", "n_vector_lanes", "adds_in_luts")
_FILLS = (TABLE, "fill_bits")
_N_MORE_NODES = 200
"""That are opened behind the proof of the best build, for others that are nearly as good."""
_MAX_TABLE_ELEMENTS = 10**8  # of what all cores do at some lanes, which is kept
_UNLIMITED = 2**40
_MAX_ELEMENTS = 2**19
_LEAVES_AT_ONCE = 32
_CHILDREN_TRIED = 24
"""Of each node, on the way down to a first build."""


@dataclass
class Counts:
    """How many decisions of one step were looked at.

    Attributes:
        n_visited: that were opened; of the last step, builds whose time was predicted.
        n_pruned: whose bound shows that they cannot be better than what is known.
        n_infeasible: that exceed the part whatever is decided later, or whose buffers are too small.
    """

    n_visited: int = 0
    n_pruned: int = 0
    n_infeasible: int = 0


@dataclass(frozen=True)
class Candidate:
    """A build.

    Attributes:
        cost: its predicted cycles, and penalties where options have some.
        point: of the grid.
    """

    cost: float
    point: dict[str, int]


@dataclass(frozen=True)
class ExactSearch:
    """The outcome.

    Attributes:
        best: of each pair of cores the best build, the best first, as many as were asked for.
        bound: no point of the grid costs less.
        counts: by step.
        seconds: that it took.
        n_points: of the grid.
    """

    best: tuple[Candidate, ...]
    bound: float
    counts: dict[str, Counts]
    seconds: float
    n_points: int

    @property
    def is_proven(self) -> bool:
        """Whether no point of the grid is better than the best."""
        return self.bound >= self.best[0].cost


def branch_and_bound(
    problem: DesignProblem,
    n_best: int = 1,
    time_limit_s: float = 600.0,
    progress: Progress = silent,
    options: Options | None = None,
) -> ExactSearch:
    """Return the builds of the problem's grid with the smallest predicted time.

    Args:
        problem: network, part, limits, grid.
        n_best: pairs of cores whose best builds are wanted; the proof covers all of them.
        time_limit_s: wall-clock seconds; then the bound tells how much better another build may be.
        progress: told whenever a better build is found.
        options: instead of those of the problem, with alternatives and penalties.

    Raises:
        DoesNotFit: no point of the grid fits the part.
    """
    search = _Search(problem, n_best, options or problem.options, progress)
    bound = search.run(search.started + time_limit_s)
    if not search.best:
        raise DoesNotFit(
            f"no build of the grid fits {problem.part.name} and holds every layer of {problem.network}; "
            "take a larger part or more of it"
        )
    best = tuple(sorted(search.best.values(), key=lambda candidate: candidate.cost))[:n_best]
    seconds = time.monotonic() - search.started
    return ExactSearch(best, min(bound, best[0].cost), search.counts, seconds, problem.space.size)


_Decisions = tuple[tuple[str, ...], Amounts, int, Floats]
"""Parameters, their levels together (n, parameters), how many more are infeasible, and bounds (n,)."""


@dataclass(frozen=True, eq=False)
class _Family:
    """What one step can decide, the lowest bound first; `point` makes the whole partial design."""

    step: int
    bounds: Floats
    parent: dict[str, int]
    names: tuple[str, ...]
    levels: Amounts

    def child(self, i: int) -> dict[str, int]:
        return {**self.parent, **dict(zip(self.names, map(int, self.levels[i]), strict=True))}


class _Search:
    """Opens nodes; every method named after a step returns the family of its decisions."""

    def __init__(self, problem: DesignProblem, n_best: int, options: Options, progress: Progress) -> None:
        self.problem, self.n_best, self.options = problem, n_best, options
        self.started = time.monotonic()
        self.tracker = Tracker(progress, "search builds", 0)
        self.counts = {step: Counts() for step in STEPS}
        self.best: dict[tuple[int, ...], Candidate] = {}
        self.limit = self.least = np.inf
        self.grid = Grid(problem)
        self.memory = memory_columns([problem.config(self.grid.cheapest)])
        self.steps = (self._lanes, self._lut_cores, self._dsp_cores, self._depths, self._fills)
        self.walks: dict[int, tuple[CoreWalk, _DspTable]] = {}

    def run(self, deadline: float) -> float:
        """Open nodes until the best are proven or time is up; return the bound."""
        self._descend(self._family(0, {}))
        self.counts = {step: Counts() for step in STEPS}
        root = self._family(0, {})
        heap, numbers = [(root.bounds[0], 0, 0, 0, root)] if len(root.bounds) else [], itertools.count(1)
        n_more = 0
        while heap and heap[0][0] < self.limit:
            n_more += heap[0][0] >= self.least
            if n_more > _N_MORE_NODES:
                break
            if time.monotonic() > deadline:
                return float(heap[0][0])
            _, _, _, i, family = heapq.heappop(heap)
            if i + 1 < len(family.bounds):
                heapq.heappush(heap, (family.bounds[i + 1], -family.step, next(numbers), i + 1, family))
            opened = self._open(family, i)
            if opened is not None and len(opened.bounds):
                heapq.heappush(heap, (opened.bounds[0], -opened.step, next(numbers), 0, opened))
        return float("inf")

    def _descend(self, family: _Family) -> bool:
        """Go down to a first build, so that most nodes are pruned when they are met; this is not counted."""
        for i in range(min(len(family.bounds), _CHILDREN_TRIED)):
            opened = self._open(family, i)
            if self._descend(opened) if opened is not None else self.best:
                return True
        return False

    def _open(self, family: _Family, i: int) -> _Family | None:
        """Return the next step's decisions below a node; the last step has none, its builds are compared at once."""
        counts = self.counts[STEPS[family.step]]
        counts.n_visited += 1
        counts.n_pruned -= 1
        point = family.child(i)
        if family.step + 1 < len(self.steps):
            return self._family(family.step + 1, point)
        self._buffers(point, float(family.bounds[i]))
        return None

    def _family(self, step: int, point: dict[str, int]) -> _Family:
        names, levels, n_infeasible, bounds = self.steps[step](point)
        counts = self.counts[STEPS[step]]
        counts.n_infeasible += n_infeasible + int(np.isinf(bounds).sum())
        counts.n_pruned += int(np.isfinite(bounds).sum())
        kept = np.flatnonzero(bounds < self.limit)
        kept = kept[np.argsort(bounds[kept], kind="stable")]
        return _Family(step, bounds[kept], point, names, levels[kept])

    def _lanes(self, _: dict[str, int]) -> _Decisions:
        levels, added = self.grid.of(_LANES)
        fits = (added <= self.grid.room(self.grid.least(DSP_CORE))).all(1)
        return _LANES, levels[fits], int((~fits).sum()), np.zeros(int(fits.sum()))

    def _lut_cores(self, point: dict[str, int]) -> _Decisions:
        """Bound bit-serial cores by the fastest of the DSP cores for which they leave room, layer by layer."""
        levels, added = self.grid.of(LUT_CORE)
        room = self.grid.room(self.grid.added(point)) - added
        fits = np.flatnonzero((room >= self.grid.least(DSP_CORE)).all(1))
        walk, table = self._walks(point)
        bounds = np.full(len(fits), np.inf)
        for part in _parts(len(fits), self.options.n):
            rows = fits[part]
            bounds[part] = self._bounds(walk.at(rows), table.fastest(room[rows, 0]), point)
        return LUT_CORE, levels[fits], len(levels) - len(fits), bounds

    def _dsp_cores(self, point: dict[str, int]) -> _Decisions:
        walk, table = self._walks(point)
        of_lut = {name: point[name] for name in LUT_CORE}
        room = self.grid.room(self.grid.added(_lanes_of(point)), self.grid.added(of_lut))
        fits = np.flatnonzero((table.added <= room).all(1))
        bounds = np.full(len(fits), np.inf)
        row = np.flatnonzero((self.grid.of(LUT_CORE)[0] == _levels(point, LUT_CORE)).all(1))
        for part in _parts(len(fits), self.options.n):
            bounds[part] = self._bounds(walk.at(row), table.walk(fits[part]), point)
        return DSP_CORE, table.levels[fits], len(table.levels) - len(fits), bounds

    def _depths(self, point: dict[str, int]) -> _Decisions:
        """Bound the depths of all banks together; buffers are unlimited."""
        sides, rooms = [], []
        for name, core, depths, on in (
            ("lut", LUT_CORE, LUT_DEPTHS, self.options.on_lut),
            ("dsp", DSP_CORE, DSP_DEPTHS, self.options.on_dsp),
        ):
            levels, _ = self.grid.of(depths)
            whole = np.hstack([np.tile(_levels(point, core), (len(levels), 1)), levels])
            sides.append(on(self._cores(name, (*core, *depths), whole), self._shared(point)))
            own = [self.grid.added(dict(zip((*core, *depths), row, strict=True))) for row in whole]
            rooms.append((levels, np.array(own)))
        (lut_levels, lut_added), (dsp_levels, dsp_added) = rooms
        i, j = (index.ravel() for index in np.indices((len(lut_levels), len(dsp_levels))))
        room = self.grid.room(self.grid.added(_lanes_of(point)))
        fits = (lut_added[i] + dsp_added[j] <= room).all(1)
        i, j = i[fits], j[fits]
        bounds = np.full(len(i), np.inf)
        for part in _parts(len(i), self.options.n):
            bounds[part] = self._bounds(sides[0].at(i[part]), sides[1].at(j[part]), point)
        return (*LUT_DEPTHS, *DSP_DEPTHS), np.hstack([lut_levels[i], dsp_levels[j]]), int((~fits).sum()), bounds

    def _fills(self, point: dict[str, int]) -> _Decisions:
        """Bound tables of channels and fills of banks; buffers of rows are unlimited."""
        levels, added = self.grid.of(_FILLS)
        fits = (added <= self._room(point)).all(1)
        unlimited = {**self.grid.cheapest, **point, **dict.fromkeys(ROW_BUFFERS, _UNLIMITED)}
        bounds = self._predicted(unlimited, _FILLS, levels[fits]) if fits.any() else np.zeros(0)
        return _FILLS, levels[fits], int((~fits).sum()), bounds

    def _room(self, point: dict[str, int]) -> Amounts:
        """Return what is left of the part, array (4,)."""
        parts = (_LANES, (*LUT_CORE, *LUT_DEPTHS), (*DSP_CORE, *DSP_DEPTHS), _FILLS)
        chosen = ({name: point[name] for name in names if name in point} for names in parts)
        return self.grid.room(*(self.grid.added(part) for part in chosen))

    def _buffers(self, point: dict[str, int], bound: float) -> None:
        """Predict the builds below a node, those with most memory first, until one is as good as the bound."""
        levels, added = self.grid.of(ROW_BUFFERS)
        fits = np.flatnonzero((added <= self._room(point)).all(1))
        counts = self.counts[STEPS[-1]]
        counts.n_infeasible += len(added) - len(fits)
        levels = levels[fits][np.argsort(-added[fits, 3], kind="stable")]
        names = ROW_BUFFERS
        start, size = 0, 1
        while start < len(levels):
            some = levels[start : start + size]
            costs = self._predicted(point, names, some)
            counts.n_visited += len(some)
            counts.n_infeasible += int(np.isinf(costs).sum())
            best = int(np.argmin(costs))
            self._note(float(costs[best]), {**point, **dict(zip(names, map(int, some[best]), strict=True))})
            if costs[best] <= bound or bound >= self.limit:
                counts.n_pruned += len(levels) - start - len(some)
                return
            start, size = start + size, min(4 * size, _LEAVES_AT_ONCE)

    def _predicted(self, point: dict[str, int], names: tuple[str, ...], levels: Amounts) -> Floats:
        configs = [self.problem.config({**point, **dict(zip(names, row, strict=True))}) for row in levels]
        shared = shared_columns(configs)
        lut, dsp = self.options.on_lut([configs[0].lut], shared), self.options.on_dsp([configs[0].dsp], shared)
        vector = self.options.vector(shared)
        return self.options.network(self.options.times(lut, dsp, vector, self.memory))

    def _note(self, cost: float, point: dict[str, int]) -> None:
        """Keep a build if it is among the best, one for each pair of cores."""
        key = _levels(point, (*LUT_CORE, *DSP_CORE))
        if not cost < min(self.limit, self.best[key].cost if key in self.best else np.inf):
            return
        self.best[key] = Candidate(cost, point)
        if cost < self.least:
            self.least = cost
            self.tracker.step(f"{cost:,.0f} cycles")
        if len(self.best) > self.n_best:
            del self.best[max(self.best, key=lambda key: self.best[key].cost)]
        if len(self.best) == self.n_best:
            self.limit = max(candidate.cost for candidate in self.best.values())

    def _bounds(self, lut: CoreWalk, dsp: CoreWalk, point: dict[str, int]) -> Floats:
        vector = self.options.vector(self._shared(point))
        return self.options.network(self.options.times(lut, dsp, vector, self.memory))

    def _shared(self, point: dict[str, int]) -> Any:
        """Return what all units share as columns: the lanes that are decided, all else without limit."""
        grown = {"fill_bits": self.grid.level("fill_bits"), **_lanes_of(point)}
        unlimited = dict.fromkeys((*ROW_BUFFERS, TABLE), _UNLIMITED)
        return shared_columns([self.problem.config(self.grid.cheapest | grown | unlimited)])

    def _cores(self, name: str, names: tuple[str, ...], levels: Any) -> list[Any]:
        """Return cores of the bit-serial or of the DSP kind; depths that are not given have no limit."""
        unlimited = {**self.grid.cheapest, **dict.fromkeys((*LUT_DEPTHS, *DSP_DEPTHS), _UNLIMITED)}
        points = ({**unlimited, **dict(zip(names, map(int, row), strict=True))} for row in levels)
        return [getattr(self.problem.config(point), name) for point in points]

    def _walks(self, point: dict[str, int]) -> tuple[CoreWalk, _DspTable]:
        """Return what all cores of either kind do at some lanes, with unlimited memories; the latest ones are kept."""
        n_lanes = point["n_lanes"]
        if n_lanes not in self.walks:
            luts, dsps, levels, added = self._all_cores
            n_kept = _MAX_TABLE_ELEMENTS // (self.options.n * (3 * len(luts) + 5 * len(dsps)))
            while len(self.walks) > n_kept:
                del self.walks[next(iter(self.walks))]
            shared = self._shared(point)
            table = _DspTable(levels, added, self.options.on_dsp(dsps, shared))
            self.walks[n_lanes] = self.options.on_lut(luts, shared), table
        return self.walks[n_lanes]

    @cached_property
    def _all_cores(self) -> tuple[list[Any], list[Any], Amounts, Amounts]:
        """Return all bit-serial cores, the DSP cores that fit, and of these the levels and what they add."""
        levels, added = self.grid.of(DSP_CORE)
        order = np.argsort(added[:, 0], kind="stable")
        room = np.max([self.grid.room(lanes) for lanes in self.grid.of(_LANES)[1]], axis=0)  # none is cheapest in all
        order = order[(added[order] <= room).all(1)]
        levels, added = levels[order], added[order]
        luts = self._cores("lut", LUT_CORE, self.grid.of(LUT_CORE)[0])
        return luts, self._cores("dsp", DSP_CORE, levels), levels, added


class _DspTable:
    """What all DSP cores do with unlimited memories, by increasing look-up tables.

    Attributes:
        levels, added: of each, and what it adds.
    """

    def __init__(self, levels: Amounts, added: Amounts, walk: CoreWalk) -> None:
        self.levels, self.added, self._walk = levels, added, walk
        self._cycles = np.minimum.accumulate(walk.cycles, axis=0)
        self._words = np.minimum.accumulate(walk.words, axis=0)

    def walk(self, rows: Any) -> CoreWalk:
        """Return what some of them do."""
        return self._walk.at(rows)

    def fastest(self, n_luts: Any) -> CoreWalk:
        """Return the least that any core of so many look-up tables does, option by option."""
        last = np.searchsorted(self.added[:, 0], n_luts, side="right") - 1
        return CoreWalk(self._cycles[last], self._words[last], self._walk.walks[:1], self._walk.shares[:1])


def _lanes_of(point: dict[str, int]) -> dict[str, int]:
    return {name: point[name] for name in _LANES}


def _levels(point: dict[str, int], names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(point[name] for name in names)


def _parts(n: int, n_options: int) -> list[slice]:
    size = max(1, _MAX_ELEMENTS // n_options)
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
