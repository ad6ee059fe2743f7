"""The steps of a design search; each is done once for a folder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.cost.predicted import predicted
from silicut.accelerators.gemm.cost.resources import resources
from silicut.accelerators.gemm.design.bits import CYCLES, LOSS, BitSpace
from silicut.accelerators.gemm.design.exact import STEPS, ExactSearch, branch_and_bound
from silicut.accelerators.gemm.design.finalists import Finalist, Timed, compiled_time, finals
from silicut.accelerators.gemm.design.joint import Goal, search_jointly
from silicut.accelerators.gemm.design.problem import DesignProblem
from silicut.flows.design_folder import DesignFolder
from silicut.flows.random_weights import float_network, integer_network
from silicut.records import DoesNotFit, Progress
from silicut.report.design import BitsPoint, Contender, Help, SearchedStep, SolverCurve
from silicut.search import minimise

if TYPE_CHECKING:
    from silicut.flows.design import DesignOptions

_MORE = 1.1
_HELPS = {"look-up tables": "n_luts", "DSP slices": "n_dsps", "BRAM36": "n_bram36"}
_N_FRONT = 7
_FRONT_TIME_S = 5.0
_MAX_TRIED = 400  # points of a search that are drawn

Point = dict[str, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class Chosen:
    """What was chosen.

    Attributes:
        point: of the grid.
        levels: the widths, by variable.
        predicted: cycles.
        timed: to the cycle.
        least_cycles: of the build that is predicted best.
        bound: of what is minimised.
        steps: of the branch and bound.
        seconds: that it took.
        contenders: all builds that were timed, the best first.
    """

    point: Point
    levels: dict[str, int]
    predicted: float
    timed: Timed
    least_cycles: float
    bound: float
    steps: tuple[SearchedStep, ...]
    seconds: float
    contenders: tuple[Contender, ...]


class DesignSteps:
    """Searches, times and asks again, as the options say.

    Attributes:
        problem: of the chosen widths, once they are.
        space: of widths.
        options: goal, bits, solvers.
    """

    def __init__(
        self, problem: DesignProblem, space: BitSpace, options: DesignOptions, kept: DesignFolder, progress: Progress
    ) -> None:
        self.problem, self.space, self.options = problem, space, options
        self._kept, self._progress = kept, progress

    @cached_property
    def goal(self) -> Goal | None:
        """What is minimised within which budget; None where there are no widths to choose."""
        options = self.options
        if not options.chooses_bits:
            return None
        if options.goal == "accuracy":
            return Goal(minimised=LOSS, budget=(options.max_ms or 0.0) * options.clock_hz / 1e3)
        if options.max_loss is not None:
            return Goal(minimised=CYCLES, budget=options.max_loss)
        return Goal(minimised=CYCLES, budget=self.space.loss_like(options.like_weight_bits or 0.0))

    def chosen(self, network: str, input_shape: tuple[int, ...] | None) -> Chosen:
        """Return the build and the bits, after a search and the timing of its finalists."""
        asked = [self.problem.name, repr(self.goal), repr(self.space.levels), self.options.n_finalists]
        found = self._kept.once("search", asked, self._searched)
        levels = found["levels"]
        self.problem = dataclasses.replace(self.problem, layers=self.space.work(levels).layers)
        timer = _Timer(self, levels, network, input_shape)
        best, *_ = rows = finals(self.problem, found["points"], timer.of, self.options.n_refined, self._progress)
        if best.timed.cycles is None:
            raise DoesNotFit(f"no build that was compiled has room for every layer: {best.timed.refusal}")
        return Chosen(
            point=best.point,
            levels=levels,
            predicted=best.predicted,
            timed=best.timed,
            least_cycles=found["least_cycles"],
            bound=found["bound"],
            steps=tuple(SearchedStep(name=name, **counts) for name, counts in found["steps"].items()),
            seconds=found["seconds"],
            contenders=tuple(map(self._contender, rows)),
        )

    def _searched(self) -> dict[str, Any]:
        options = self.options
        if self.goal is None:
            found = branch_and_bound(self.problem, options.n_finalists, options.time_limit_s, self._progress)
            points, levels = [candidate.point for candidate in found.best], self.space.widest
            least, bound, counts, seconds = found.best[0].cost, found.bound, found.counts, found.seconds
        else:
            joint = search_jointly(
                self.problem, self.space, self.goal, options.n_finalists, options.time_limit_s, self._progress
            )
            points, levels = [each.point for each in joint.designs[: options.n_finalists]], joint.designs[0].levels
            least, bound, counts, seconds = joint.designs[0].cycles, joint.bound, joint.counts, joint.seconds
        return {
            "points": points,
            "levels": levels,
            "least_cycles": least,
            "bound": bound,
            "seconds": seconds,
            "steps": {step: dataclasses.asdict(counts[step]) for step in STEPS},
        }

    def timed(self, point: Point, levels: dict[str, int], find: Any) -> Timed:
        """Return the time of a build, from the folder where it is known."""
        config = self.problem.config(point)
        value = self._kept.once(
            "time", [config.hash, levels, self.problem.network], lambda: dataclasses.asdict(find(config))
        )
        return Timed(**value)

    def _contender(self, row: Finalist) -> Contender:
        use = resources(self.problem.config(row.point)).total
        return Contender(
            point=row.point,
            predicted=row.predicted,
            simulated=row.timed.cycles,
            refusal=row.timed.refusal,
            n_luts=use.n_luts,
            n_dsps=use.n_dsps,
            n_bram36=use.n_bram36,
        )

    def curves(self) -> tuple[SolverCurve, ...]:
        """Return what black-box searches find on the same grid, at the chosen widths."""
        return tuple(self._curve(solver) for solver in self.options.solvers if solver != "exact")

    def _curve(self, solver: str) -> SolverCurve:
        options = self.options
        asked = [self.problem.name, solver, options.n_evaluations, options.seed]

        def find() -> dict[str, Any]:
            store = options.storage or self._kept.trials
            found = minimise(self.problem, solver, options.n_evaluations, options.seed, store, self._progress)
            fitting = [each.outcome for each in found.evaluations if each.outcome.is_feasible]
            tried = [
                (outcome.cost, outcome.details["n_luts"]) for outcome in fitting[:: -(-len(fitting) // _MAX_TRIED) or 1]
            ]
            return {
                "n_evaluations": found.n_evaluations,
                "n_infeasible": found.n_infeasible,
                "seconds": found.seconds,
                "steps": found.curve,
                "tried": tried,
            }

        value = self._kept.once("solver", asked, find)
        steps, tried = (tuple(map(tuple, value.pop(name))) for name in ("steps", "tried"))
        return SolverCurve(solver=solver, seed=options.seed, steps=steps, tried=tried, **value)

    def helps(self, chosen: Chosen) -> tuple[Help, ...]:
        """Return what the best build would take with a tenth more of each limit, and with twice the bandwidth."""
        limits = self.problem.limits
        more = {
            f"10 % more {words}": dataclasses.replace(
                self.problem, limits=dataclasses.replace(limits, **{name: _MORE * getattr(limits, name)})
            )
            for words, name in _HELPS.items()
        }
        memory = dataclasses.replace(self.problem.memory, n_ports=2 * self.problem.memory.n_ports)
        more["twice the bandwidth"] = dataclasses.replace(self.problem, memory=memory)
        base = self._least(self.problem, chosen)
        return (Help(what="as it is", **base), *(Help(what=what, **self._least(p, chosen)) for what, p in more.items()))

    def _least(self, problem: DesignProblem, chosen: Chosen) -> dict[str, Any]:
        def find() -> dict[str, Any]:
            found: ExactSearch = branch_and_bound(problem, 1, self.options.time_limit_s / 5, self._progress)
            n_luts = resources(problem.config(found.best[0].point)).total.n_luts
            return {"cycles": found.best[0].cost if found.is_proven else None, "n_luts": n_luts}

        asked = [problem.name, self.options.time_limit_s]
        value: dict[str, Any] = self._kept.once("search again", asked, find)
        return value

    def front(self, config: GemmConfig) -> tuple[BitsPoint, ...]:
        """Return the best widths of a build within losses between those of the narrowest and of the widest plan."""
        value = self._kept.once("front", [config.hash, repr(self.space.levels)], lambda: list(self._front(config)))
        return tuple(BitsPoint(**point) for point in value)

    def _front(self, config: GemmConfig) -> list[dict[str, float]]:
        low, high = self.space.loss(self.space.widest), self.space.loss(self.space.narrowest)
        points = []
        for i in range(_N_FRONT):
            budget = low * (high / low) ** (i / (_N_FRONT - 1)) if low > 0 else high * (i + 1) / _N_FRONT
            solution = self.space.solved(config, {LOSS: budget * (1 + 1e-9)}, _FRONT_TIME_S)
            points.append(
                {
                    "loss": solution.costs[LOSS],
                    "cycles": -solution.value,
                    "mean_weight_bits": self.space.mean_weight_bits(solution.levels),
                }
            )
        return points


class _Timer:
    """Compiles the network for builds; it is made when the first time is not known yet."""

    def __init__(
        self, steps: DesignSteps, levels: dict[str, int], network: str, input_shape: tuple[int, ...] | None
    ) -> None:
        self._steps, self._levels, self._network, self._input_shape = steps, levels, network, input_shape

    @cached_property
    def _integer(self) -> Any:
        return integer_network(float_network(self._network, self._input_shape), self._steps.space.plan(self._levels))

    def of(self, point: Point) -> Timed:
        """Return the time of a build."""
        return self._steps.timed(point, self._levels, self._find)

    def _find(self, config: GemmConfig) -> Timed:
        layers = self._steps.problem.layers
        found = predicted(layers, [config])
        products = [i for i, layer in enumerate(layers) if layer.kind.value == "product"]
        return compiled_time(self._integer, config, {layers[i].name: int(found.n_lut[0, i]) for i in products})
