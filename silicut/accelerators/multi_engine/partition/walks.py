"""Annealing and tabu search over partitions (moves of Sait et al., arXiv 2209.11272; details are ours).

A state is a whole partition: which engine has which layers, and how large each is. Moves give a layer to another engine,
exchange two layers, split an engine, or join two; all engines are then fitted to the slices anew, exactly. Further moves
make one side of an engine larger or smaller by one, or take it to the next size at which some layer needs fewer or more
steps; these matter where blocks or bytes are short.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.multi_engine.partition.memory import least_traffic
from silicut.accelerators.multi_engine.partition.problem import Partition, PartitionProblem
from silicut.accelerators.multi_engine.partition.shapes import Shapes
from silicut.records import Progress, Tracker, silent
from silicut.search import Annealing, Evaluation, Outcome, Tabu, annealing, explore, tabu

_N_TRIES = 200  # random moves, some of which lead nowhere
Groups = list[tuple[int, ...]]
WALKS: dict[str, Annealing | Tabu] = {
    "annealing": Annealing(cooling=0.997),
    "tabu": Tabu(n_candidates=40, tenure=9, patience=40),
}
"""Solver name -> its options for partitions."""


@dataclass(frozen=True)
class WalkResult:
    """What a walk found.

    Attributes:
        partition: the best one; where none keeps every limit, the one that breaks them least.
        outcome: of it.
        n_evaluations: distinct partitions that were evaluated.
        n_infeasible: how many of these break a limit.
        curve: after how many evaluations the least epoch within all limits fell, and to what.
    """

    partition: Partition
    outcome: Outcome
    n_evaluations: int
    n_infeasible: int
    curve: tuple[tuple[int, float], ...]


def walk(
    problem: PartitionProblem, solver: str, n_evaluations: int, seed: int = 0, progress: Progress = silent
) -> WalkResult:
    """Return what a walk of `WALKS` finds within some evaluations; equal arguments give equal results."""
    moves, options, rng = PartitionMoves(problem), WALKS[solver], np.random.default_rng(seed)
    search = annealing(moves, options, rng) if isinstance(options, Annealing) else tabu(moves, options, rng)
    tracker = Tracker(progress, solver, n_evaluations)
    found = explore(search, lambda state: Evaluation(state, outcome_of(problem, state)), moves.key, n_evaluations, tracker)
    best = min(found, key=lambda evaluation: evaluation.outcome.rank)
    curve: list[tuple[int, float]] = []
    for number, evaluation in enumerate(found, 1):
        if evaluation.outcome.is_feasible and (not curve or evaluation.outcome.cost < curve[-1][1]):
            curve.append((number, evaluation.outcome.cost))
    n_infeasible = sum(not evaluation.outcome.is_feasible for evaluation in found)
    return WalkResult(moves.shrunk(best.point), best.outcome, len(found), n_infeasible, tuple(curve))


def outcome_of(problem: PartitionProblem, partition: Partition) -> Outcome:
    """Return the epoch of a partition in cycles, of products or of bytes, and by how much it exceeds slices and blocks."""
    limits, epoch = problem.limits, problem.epoch_cycles(partition)
    n_dsps = problem.n_macs_per_cycle(partition) * problem.precision.n_dsps_per_mac
    needs = [("DSP slices", n_dsps, limits.n_dsps)]
    if limits.bounds_memory:
        use = least_traffic(problem, partition, limits.n_bram18)
        epoch = max(epoch, use.least_cycles(limits.bytes_per_cycle))
        if limits.n_bram18 is not None:
            needs.append(("BRAM18", use.n_bram18, limits.n_bram18))
    broken = [(what, needed, there) for what, needed, there in needs if needed > there]
    return Outcome(
        epoch,
        sum(needed / there - 1 for _, needed, there in broken),
        tuple(f"{what}: {needed:,} needed, {there:,} allowed" for what, needed, there in broken),
    )


class PartitionMoves:
    """Partitions and their moves: a `Neighbourhood`."""

    def __init__(self, problem: PartitionProblem) -> None:
        self._problem, self._shapes = problem, Shapes(problem)

    @cached_property
    def _kinds(self) -> tuple[Callable[[Partition, np.random.Generator], tuple[Hashable, Partition] | None], ...]:
        return self._moved, self._moved, self._exchanged, self._split, self._joined, self._resized

    def key(self, state: Partition) -> Hashable:
        """Return the partition itself, which is equal for equal ones."""
        return state

    def start(self, rng: np.random.Generator) -> Partition:
        """Return engines for a random cut of the layers' order."""
        n = len(self._problem.layers)
        while True:
            n_engines = int(rng.integers(1, min(self._problem.max_engines, n, self._problem.max_macs) + 1))
            ends = sorted(rng.choice(n - 1, n_engines - 1, replace=False) + 1)
            groups = [tuple(range(a, b)) for a, b in zip((0, *ends), (*ends, n), strict=True)]
            fitted = self._fitted(groups)
            if fitted is not None:
                return fitted

    def neighbours(self, state: Partition, rng: np.random.Generator, n: int) -> list[tuple[Hashable, Partition]]:
        """Return at most n partitions, each one random move away, with what was moved."""
        found: dict[Partition, Hashable] = {}
        for _ in range(_N_TRIES + 4 * n):
            move = self._kinds[int(rng.integers(len(self._kinds)))](state, rng)
            if move is not None and move[1] != state:
                found.setdefault(move[1], move[0])
            if len(found) == n:
                break
        return [(attribute, partition) for partition, attribute in found.items()]

    def shrunk(self, partition: Partition) -> Partition:
        """Return a partition with no engine larger than its epoch asks for, where that takes no slice more."""
        epoch = self._problem.epoch_cycles(partition)
        fitted = self._shapes.fitted([engine.layers for engine in partition], epoch)
        pairs = zip(partition, fitted, strict=True)
        return tuple(new if new.n_macs_per_cycle < old.n_macs_per_cycle else old for old, new in pairs)

    def _fitted(self, groups: Groups) -> Partition | None:
        return self._shapes.best_of_groups(sorted(tuple(sorted(group)) for group in groups if group))

    def _moved(self, state: Partition, rng: np.random.Generator) -> tuple[Hashable, Partition] | None:
        groups = _groups(state)
        if len(groups) < 2:
            return None
        source, target = rng.choice(len(groups), 2, replace=False)
        layer = int(rng.choice(groups[source]))
        groups[source] = _without(groups[source], layer)
        groups[target] += (layer,)
        return _named(("layer", layer), self._fitted(groups))

    def _exchanged(self, state: Partition, rng: np.random.Generator) -> tuple[Hashable, Partition] | None:
        groups = _groups(state)
        if len(groups) < 2:
            return None
        first, second = rng.choice(len(groups), 2, replace=False)
        a, b = int(rng.choice(groups[first])), int(rng.choice(groups[second]))
        groups[first], groups[second] = (*_without(groups[first], a), b), (*_without(groups[second], b), a)
        return _named(("layers", min(a, b), max(a, b)), self._fitted(groups))

    def _split(self, state: Partition, rng: np.random.Generator) -> tuple[Hashable, Partition] | None:
        groups = _groups(state)
        longer = [i for i, group in enumerate(groups) if len(group) > 1]
        if len(groups) >= self._problem.max_engines or not longer:
            return None
        group = groups.pop(int(rng.choice(longer)))
        layers = self._problem.layers
        by_channels = sorted(group, key=lambda i: (layers[i].in_channels, layers[i].out_channels, i))
        ordered = by_channels if rng.random() < 0.5 else list(group)
        cut = int(rng.integers(1, len(group)))
        return _named("number of engines", self._fitted([*groups, tuple(ordered[:cut]), tuple(ordered[cut:])]))

    def _joined(self, state: Partition, rng: np.random.Generator) -> tuple[Hashable, Partition] | None:
        groups = _groups(state)
        if len(groups) < 2:
            return None
        first, second = sorted(rng.choice(len(groups), 2, replace=False), reverse=True)
        joined = groups.pop(first) + groups.pop(second)
        return _named("number of engines", self._fitted([*groups, joined]))

    def _resized(self, state: Partition, rng: np.random.Generator) -> tuple[Hashable, Partition] | None:
        number = int(rng.integers(len(state)))
        engine = state[number]
        tables, is_of_inputs = self._problem.tables, bool(rng.random() < 0.5)
        if is_of_inputs:
            changed = replace(engine, n_inputs=_next_size(engine.n_inputs, tables.inputs, rng))
        else:
            changed = replace(engine, n_outputs=_next_size(engine.n_outputs, tables.outputs, rng))
        return ("size", is_of_inputs, engine.layers[0]), (*state[:number], changed, *state[number + 1 :])


def _next_size(size: int, useful: NDArray[np.int64], rng: np.random.Generator) -> int:
    """Return a size one above or below, or the next useful one in that direction; the same where there is none."""
    is_up, is_jump = rng.random(2) < 0.5
    if is_jump:
        beyond = useful[useful > size] if is_up else useful[useful < size][::-1]
        return int(beyond[0]) if len(beyond) else size
    return min(max(size + (1 if is_up else -1), 1), int(useful[-1]))


def _groups(state: Partition) -> Groups:
    return [engine.layers for engine in state]


def _without(group: tuple[int, ...], layer: int) -> tuple[int, ...]:
    return tuple(other for other in group if other != layer)


def _named(attribute: Hashable, state: Partition | None) -> tuple[Hashable, Partition] | None:
    return None if state is None else (attribute, state)
