"""Build and bits together: branch and bound over builds at a price on what bits lose, with bits proven for each good build.

A build's best time within a loss L is never below the least of (cycles + price x loss) over bits, less price x L, for any
price. With slots free of each other that least is quick, so branch and bound over builds proves it for the whole grid. The
price is the one at which the best build known would just keep the budget; the gap between the best pair found and the bound
is stated.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.cost.predicted import Options, memory_columns
from silicut.accelerators.gemm.cost.walks import shared_columns
from silicut.accelerators.gemm.design.bits import CYCLES, LOSS, BitSpace
from silicut.accelerators.gemm.design.exact import Candidate, Counts, branch_and_bound
from silicut.accelerators.gemm.design.problem import DesignProblem
from silicut.records import DoesNotFit, Progress, silent

_MAX_ROUNDS = 3
_GOOD_GAP_FRAC = 2e-3
_N_HALVINGS = 40


@dataclass(frozen=True)
class JointDesign:
    """A build with its bits.

    Attributes:
        cycles, loss: predicted, and by the losses of the space.
        point: of the grid.
        levels: of the space of bits.
    """

    cycles: float
    loss: float
    point: dict[str, int]
    levels: dict[str, int]


@dataclass(frozen=True)
class JointSearch:
    """The outcome.

    Attributes:
        designs: the best first.
        bound: no build and bits within the budget have less of what is minimised.
        counts: of the branch and bound that proved it.
        seconds: of all rounds.
        n_points: of the grid.
    """

    designs: tuple[JointDesign, ...]
    bound: float
    counts: dict[str, Counts]
    seconds: float
    n_points: int


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is minimised within which budget.

    Attributes:
        minimised: "cycles" or "loss".
        budget: of the other one.
    """

    minimised: str
    budget: float

    @property
    def budgets(self) -> dict[str, float]:
        """The budget by what it is of."""
        return {LOSS if self.minimised == CYCLES else CYCLES: self.budget}

    def of(self, design: JointDesign) -> float:
        """Return what is minimised of a design."""
        return design.cycles if self.minimised == CYCLES else design.loss

    def bound(self, penalised: float, price: float) -> float:
        """Return the bound that follows from the least of cycles + price x loss."""
        if self.minimised == CYCLES:
            return penalised - price * self.budget
        return (penalised - self.budget) / price


def search_jointly(
    problem: DesignProblem,
    space: BitSpace,
    goal: Goal,
    n_best: int = 8,
    time_limit_s: float = 600.0,
    progress: Progress = silent,
) -> JointSearch:
    """Return the best builds with their bits, and a bound on any other.

    Args:
        problem: part, limits and grid; its layers are a first choice of bits.
        space: the widths.
        goal: what is minimised, and the budget of the other.
        n_best: builds that are looked at with all their bits.
        time_limit_s: wall-clock seconds of all rounds.
        progress: told whenever a better build is found.

    Raises:
        DoesNotFit: no build fits the part, or none keeps the budget with any bits.
    """
    started = time.monotonic()
    start = branch_and_bound(problem, n_best, time_limit_s / 2, progress)
    found, counts, bound = _with_bits(problem, space, goal, start.best), start.counts, -np.inf
    for _ in range(_MAX_ROUNDS):
        left = started + time_limit_s - time.monotonic()
        if (found and goal.of(found[0]) <= (1 + _GOOD_GAP_FRAC) * bound) or left <= 0:
            break
        point = found[0].point if found else start.best[0].point
        price = _price(space, problem.config(point), goal)
        priced = branch_and_bound(problem, n_best, left, progress, space.options(price))
        counts, bound = priced.counts, max(bound, goal.bound(priced.bound, price))
        found = _merged(goal, found, _with_bits(problem, space, goal, priced.best))
    if not found:
        raise DoesNotFit(
            f"no build of the grid keeps {next(iter(goal.budgets))} within {goal.budget:.6g} with any bits; raise the budget"
        )
    bound = min(bound, goal.of(found[0]))
    return JointSearch(found, bound, counts, time.monotonic() - started, problem.space.size)


def _with_bits(
    problem: DesignProblem, space: BitSpace, goal: Goal, candidates: tuple[Candidate, ...]
) -> tuple[JointDesign, ...]:
    """Return builds with their best bits, the best first; those that cannot keep the budget are left out."""
    designs = []
    for candidate in candidates:
        try:
            solution = space.solved(problem.config(candidate.point), goal.budgets)
        except DoesNotFit:
            continue
        least, other = -solution.value, next(iter(solution.costs.values()))
        cycles, loss = (least, other) if goal.minimised == CYCLES else (other, least)
        designs.append(JointDesign(cycles, loss, candidate.point, solution.levels))
    return tuple(sorted(designs, key=goal.of))


def _merged(goal: Goal, *found: tuple[JointDesign, ...]) -> tuple[JointDesign, ...]:
    by_point = {tuple(design.point.values()): design for designs in found for design in designs}
    return tuple(sorted(by_point.values(), key=goal.of))


def _price(space: BitSpace, config: GemmConfig, goal: Goal) -> float:
    """Return the price at which a build, its slots free of each other, would just keep the budget."""
    low, high = 0.0, 1.0
    while not _keeps(space, config, goal, high) and high < 1e30:
        low, high = high, 8 * high
    for _ in range(_N_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _keeps(space, config, goal, middle) else (middle, high)
    return high


def _keeps(space: BitSpace, config: GemmConfig, goal: Goal, price: float) -> bool:
    """Tell whether a price is high enough: where loss is the budget it is kept, where cycles are it is just no longer."""
    loss = _relaxed_loss(space, config, price)
    if goal.minimised == CYCLES:
        return loss <= goal.budget
    cycles = _penalised(space.options(price), config) - price * loss
    return cycles > goal.budget


def _penalised(options: Options, config: GemmConfig) -> float:
    shared = shared_columns([config])
    lut, dsp = options.on_lut([config.lut], shared), options.on_dsp([config.dsp], shared)
    return float(options.network(options.times(lut, dsp, options.vector(shared), memory_columns([config])))[0])


def _relaxed_loss(space: BitSpace, config: GemmConfig, price: float) -> float:
    """Return what the best widths at a price lose: how the least of cycles + price x loss grows with the price."""
    step = 1e-6 * price + 1e-12
    return (_penalised(space.options(price + step), config) - _penalised(space.options(price), config)) / step
