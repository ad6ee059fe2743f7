"""The builds that are predicted best, compiled and timed to the cycle, and others near them: predictions are not exact.

This is the only part of the design search that compiles. Times depend on sizes and bits alone, so any weights will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from silicut.accelerators.gemm.compile import CompileOptions, compile_network
from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.cost.exact import exact_time
from silicut.accelerators.gemm.design.problem import DesignProblem
from silicut.graph import Network
from silicut.records import DoesNotFit, Progress, Tracker, silent

Point = dict[str, int]


@dataclass(frozen=True)
class Timed:
    """What a compiled network takes on a build.

    Attributes:
        cycles: to the cycle; None where a buffer refused a layer.
        n_lut: filters of the bit-serial core of each product, by name.
        refusal: why there are no cycles.
    """

    cycles: int | None
    n_lut: Mapping[str, int]
    refusal: str = ""


Timer = Callable[[Point], Timed]
"""From a build to the time of the network on it."""


def compiled_time(network: Network, config: GemmConfig, n_lut: Mapping[str, int]) -> Timed:
    """Return what an integer network takes: with the compiler's splits of filters, or given ones where these are faster.

    Args:
        network: of integers.
        config: the build.
        n_lut: filters of the bit-serial core of each product, as predicted to be best.
    """
    tried = [_timed(network, config, CompileOptions(split=split)) for split in (n_lut, None)]
    good = [timed for timed in tried if timed.cycles is not None]
    return min(good, key=lambda timed: timed.cycles or 0) if good else tried[-1]


def _timed(network: Network, config: GemmConfig, options: CompileOptions) -> Timed:
    from silicut.accelerators.gemm.cost.scheduled import scheduled_work

    try:
        compiled = compile_network(network, config, options)
    except DoesNotFit as refusal:
        return Timed(None, {}, str(refusal))
    time = exact_time(compiled.schedules, compiled.queues, config)
    work, n_lut = scheduled_work(compiled.schedules, compiled.partition)
    return Timed(time.cycles, {layer.name: int(n) for layer, n in zip(work, n_lut, strict=True)})


@dataclass(frozen=True)
class Finalist:
    """A build that was timed.

    Attributes:
        point: of the grid.
        predicted: cycles.
        timed: to the cycle.
    """

    point: Point
    predicted: float
    timed: Timed

    @property
    def rank(self) -> tuple[bool, float]:
        """What finalists are compared by; less is better."""
        return self.timed.cycles is None, float(self.timed.cycles or self.predicted)


def finals(
    problem: DesignProblem, points: Sequence[Point], timer: Timer, n_refined: int = 0, progress: Progress = silent
) -> tuple[Finalist, ...]:
    """Return builds with their times, the best first: the given ones, and neighbours of the best that are predicted near it.

    From the best build the search goes to the neighbour (one parameter by one level) of least predicted time that was not
    timed yet; whenever one is better, it goes on from there.

    Args:
        problem: space and limits.
        points: predicted best.
        timer: gives the time of a build.
        n_refined: how many neighbours are timed besides.
        progress: told of every build.
    """
    tracker = Tracker(progress, "time builds", len(points) + n_refined)
    found: dict[tuple[int, ...], Finalist] = {}

    def take(point: Point) -> None:
        predicted = problem.evaluate(point).cost
        found[_key(point)] = Finalist(point, predicted, timer(point))
        best = min(found.values(), key=lambda finalist: finalist.rank)
        tracker.step("" if best.timed.cycles is None else f"best {best.timed.cycles:,} cycles")

    for point in points:
        take(point)
    for _ in range(n_refined):
        ranked = sorted(found.values(), key=lambda finalist: finalist.rank)
        near = next((n for finalist in ranked[:3] if (n := _nearest(problem, finalist.point, found))), None)
        if near is None:
            break
        take(near)
    return tuple(sorted(found.values(), key=lambda finalist: finalist.rank))


def _nearest(problem: DesignProblem, point: Point, known: Mapping[tuple[int, ...], Finalist]) -> Point | None:
    """Return the neighbour that is predicted fastest of those that fit and were not timed, None where there is none."""
    near = [other for other in _neighbours(problem, point) if _key(other) not in known]
    outcomes = [(problem.evaluate(other), other) for other in near]
    feasible = [(outcome.cost, i) for i, (outcome, _) in enumerate(outcomes) if outcome.is_feasible]
    return outcomes[min(feasible)[1]][1] if feasible else None


def _neighbours(problem: DesignProblem, point: Point) -> Iterator[Point]:
    """Yield the builds that differ in one parameter by one level, and those that trade one parameter for another."""
    moves: list[tuple[str, int]] = []
    for parameter in problem.space.parameters:
        for one, two in pairwise(parameter.levels):
            moves += [(parameter.name, int(two))] if point[parameter.name] == one else []
            moves += [(parameter.name, int(one))] if point[parameter.name] == two else []
    legal = (move for move in moves if _divides({**point, move[0]: move[1]}))
    for name, level in legal:
        yield {**point, name: level}


def _divides(point: Point) -> bool:
    return point["dsp_outputs"] % point["dsp_passes"] == 0


def _key(point: Point) -> tuple[int, ...]:
    return tuple(point[name] for name in sorted(point))
