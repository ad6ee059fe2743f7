"""Solve, build, measure, correct the budget by what was measured, and solve again: until the plan *measures* within it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from silicut.compress import Scores
from silicut.flows.budget import Budget
from silicut.flows.latency import WORST, Latencies, Target
from silicut.flows.planning import Planner
from silicut.flows.platform import Candidate
from silicut.flows.stages import DENSE, PRUNED
from silicut.graph import Network
from silicut.records import DoesNotFit, NotFaster, Progress, Record, silent
from silicut.search import Problem, Solution, cheapest, cheapest_better, evaluate, solve
from silicut.targets import Measurement, MeasureOptions

MAX_ROUNDS = 4  # where nobody says otherwise
LEAST_FRAC = 0.98  # of the budget: a plan this close uses it
_AIM_FRAC = 0.99  # the middle of the window
_LAUNCH_BOUND_FRAC = 0.9
_SAME_FRAC = 2e-4  # predictions this close are one plan's: solvers stop at a gap of half of it


@dataclass(frozen=True, kw_only=True)
class SolveOptions:
    """How to solve and measure.

    Attributes:
        solver: name of the solver.
        time_limit_s: of each solve.
        measuring: how each plan is measured.
        mode: what a budget means on several engines; see `Latencies`.
        max_rounds: plans that are built and measured at most.
    """

    solver: str = "coupled"
    time_limit_s: float = 10.0
    measuring: MeasureOptions = MeasureOptions()  # noqa: RUF009 - frozen
    mode: str = WORST
    max_rounds: int = MAX_ROUNDS


@dataclass(frozen=True, kw_only=True)
class Round(Record):
    """One plan that was built and measured.

    Attributes:
        target_frac: budget the solver was given, as a fraction of the dense latency, after correction.
        predicted_frac: the profile's prediction.
        ratio: measured, over the dense network (on several engines as `Latencies` combines them).
        value: the plan's value.
        levels: width of every group, 0 where its block is removed; and of what is chosen besides, such as bits.
    """

    schema: ClassVar[str] = "round/1"
    target_frac: float
    predicted_frac: float
    ratio: float
    value: float
    levels: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Outcome(Record):
    """The plan that was chosen and how it came about.

    Attributes:
        levels: as those of a round.
        limit_frac: the budget as a fraction of the dense latency.
        is_met: measured within the budget, and either at least 98 % of it or nothing better fits.
        sentence: the same in words.
        next_better_frac: predicted latency of the cheapest better plan, corrected by what was measured; None when the
            chosen plan is the best there is.
        rounds: all plans that were measured.
        solution: what the solver said of the chosen plan.
        measurements: of the chosen plan, one for each engine.
        shares: of each engine's latency in `ratio`; see `Latencies`.
    """

    schema: ClassVar[str] = "outcome/2"
    levels: dict[str, int]
    limit_frac: float
    is_met: bool
    sentence: str
    next_better_frac: float | None
    rounds: tuple[Round, ...]
    solution: Solution
    measurements: tuple[Measurement, ...]
    shares: tuple[float, ...]

    @property
    def chosen(self) -> Round:
        """The round of the chosen plan."""
        return next(seen for seen in reversed(self.rounds) if seen.levels == self.levels)

    @property
    def is_within(self) -> bool:
        """Whether the chosen plan measured within the budget."""
        return self.chosen.ratio <= self.limit_frac

    @property
    def measurement(self) -> Measurement:
        """The measurement on the first engine."""
        return self.measurements[0]


@dataclass(frozen=True)
class _Trial:
    """A plan that was measured."""

    round: Round
    solution: Solution
    measurements: tuple[Measurement, ...]


@dataclass
class Verifier:
    """Finds the plan of one network that measures within a budget.

    Attributes:
        planner: makes problems and networks.
        targets: the engines, each with its profile.
        scores: what channels are worth.
        options: how to solve and measure.
        progress: told every step.
    """

    planner: Planner
    targets: tuple[Target, ...]
    scores: Scores
    options: SolveOptions
    progress: Progress = silent

    def latencies(self, budget: Budget) -> Latencies:
        """Return what a budget means: milliseconds are those of the dense network now, so it is measured for them."""
        profiled = [target.profile.dense_ms for target in self.targets]
        dense_ms = profiled if budget.is_relative else [self._dense_ms(target) for target in self.targets]
        return Latencies.within(self.targets, self.options.mode, budget, dense_ms)

    def run(self, budget: Budget) -> Outcome:
        """Return the best plan found that measures within the budget, or the fastest where none of those tried does.

        Raises:
            DoesNotFit: even the smallest plan does not; it is named.
            NotFaster: no plan can be much faster than the dense network, or the plan measures no faster.
        """
        latencies = self.latencies(budget)
        if latencies.limit >= 1:  # only milliseconds can be
            dense_ms = budget.amount / latencies.limit
            raise NotFaster(f"the dense network takes {dense_ms:.3g} ms, which is within {budget}; ask for less")
        return _Rounds(self, budget, latencies).run()

    def problem(self, latencies: Latencies, target_frac: float) -> Problem:
        """Return the problem at a latency as a fraction of the dense one."""
        return self.planner.problem(self.scores, latencies, target_frac)

    def solve(self, latencies: Latencies, target_frac: float) -> Solution:
        """Return the best plan for a predicted latency as a fraction of the dense one."""
        return solve(self.problem(latencies, target_frac), self.options.solver, self.options.time_limit_s)

    def model(self, levels: Mapping[str, int] | None) -> Network:
        """Return what is measured at these levels (None: dense)."""
        planner = self.planner
        return planner.subject.folded if levels is None else planner.network(levels, self.scores, is_folded=True)

    def _dense_ms(self, target: Target) -> float:
        dense = {DENSE: Candidate(self.model(None))}
        return target.platform.measure(dense, self.options.measuring, self.progress).timings[DENSE].latency_ms


class _Rounds:
    """The rounds of solve, measure and correct for one budget."""

    def __init__(self, verifier: Verifier, budget: Budget, latencies: Latencies) -> None:
        self._verifier, self._budget, self._latencies = verifier, budget, latencies
        self._limit = latencies.limit
        self._time_limit_s = verifier.options.time_limit_s
        self._tried: list[_Trial] = []
        self._has_learned = False

    def run(self) -> Outcome:
        limit, least = self._limit, self._least_frac()
        target = max(_AIM_FRAC * limit, least)
        for _ in range(self._verifier.options.max_rounds):
            solution = self._next_plan(target)
            if solution is None:
                break
            seen = self._measured(solution, target)
            if LEAST_FRAC * limit <= seen.ratio <= limit:
                break
            self._learn(solution)
            least = self._least() if self._has_learned else least
            too_slow = [self._predicted(r) * (1 - 1e-6) for r in self._rounds if r.ratio > limit]
            target = max(min(_AIM_FRAC * limit * self._predicted(seen) / seen.ratio, *too_slow, 1.0), least)
        return self._outcome(least)

    @property
    def _rounds(self) -> list[Round]:
        return [trial.round for trial in self._tried]

    def _candidates(self, solution: Solution) -> dict[str, Candidate]:
        pruned = Candidate(self._verifier.model(solution.levels), solution.levels)
        return {DENSE: Candidate(self._verifier.model(None)), PRUNED: pruned}

    def _learn(self, solution: Solution) -> None:
        """Let profiles learn from the plan that was just measured, where they can."""
        candidates, targets = self._candidates(solution), []
        for target in self._latencies.targets:
            predicted_ms = self._latencies.predicted_frac(solution.costs) * target.profile.dense_ms
            targets.append(replace(target, profile=target.platform.learned(target.profile, candidates, predicted_ms)))
        before, self._latencies = self._latencies.targets, replace(self._latencies, targets=tuple(targets))
        self._has_learned = any(new.profile is not old.profile for new, old in zip(targets, before, strict=True))

    def _predicted(self, seen: Round) -> float:
        """Return what is predicted of a plan with all that was learned since."""
        if not self._has_learned:
            return seen.predicted_frac
        _, costs = evaluate(self._verifier.problem(self._latencies, 1.0), seen.levels)
        return self._latencies.predicted_frac(costs)

    def _measured(self, solution: Solution, target: float) -> Round:
        verifier, candidates = self._verifier, self._candidates(solution)
        measurements = self._latencies.measure(candidates, verifier.options.measuring, verifier.progress)
        seen = Round(
            target_frac=target,
            predicted_frac=self._latencies.predicted_frac(solution.costs),
            ratio=self._latencies.ratio(measurements),
            value=solution.value,
            levels=solution.levels,
        )
        self._tried.append(_Trial(seen, solution, measurements))
        return seen

    def _next_plan(self, target_frac: float) -> Solution | None:
        """Return the best plan for a target; where that was measured before, the next better plan that seems to fit."""
        known = [seen.levels for seen in self._rounds]
        solution = self._verifier.solve(self._latencies, target_frac)
        within = [trial for trial in self._tried if trial.round.ratio <= self._limit]
        if solution.levels in known and within:
            best = max(within, key=lambda trial: trial.round.value)
            better = self._cheapest_better(best)
            step = None if better is None else self._latencies.predicted_frac(better.costs)
            if step is not None and step * best.round.ratio / self._predicted(best.round) <= self._limit:
                solution = self._verifier.solve(self._latencies, step)
        return None if solution.levels in known else solution

    def _least(self) -> float:
        """Return the predicted latency of the cheapest plan, as a fraction of the dense one."""
        problem = self._verifier.problem(self._latencies, 1.0)
        costs = [cheapest(problem, key, self._time_limit_s).costs[key] for key in self._latencies.resources]
        return max(costs) / self._latencies.unit_ms

    def _least_frac(self) -> float:
        """Return a predicted latency that no plan is below, as a fraction of the dense one.

        Raises:
            NotFaster, DoesNotFit: it says that trying is no use, its errors on other networks considered.
        """
        latencies, restrictions, least = self._latencies, self._verifier.planner.restrictions, self._least()
        if least > _LAUNCH_BOUND_FRAC:
            is_restricted = restrictions.freeze or restrictions.keep or not restrictions.may_remove_blocks
            advice = "leave more layers and blocks free" if is_restricted else "try a larger batch or larger inputs"
            raise NotFaster(
                f"pruning cannot make this network faster here: with the least channels it is predicted to take "
                f"{100 * least:.0f} % of the dense latency ({latencies.unit_ms:.3g} ms), so most of its time does not "
                f"depend on what may be removed; {advice}"
            )
        error_frac = max(target.profile.validation.max_error_frac for target in latencies.targets)
        if least > self._limit * (1 + error_frac):
            dense_ms = latencies.unit_ms if self._budget.is_relative else self._budget.amount / self._limit
            raise DoesNotFit(_unreachable(self._budget, "is predicted to take", least, dense_ms))
        return least

    def _outcome(self, least: float) -> Outcome:
        within = [trial for trial in self._tried if trial.round.ratio <= self._limit]
        trial = max(within, key=lambda t: t.round.value) if within else min(self._tried, key=lambda t: t.round.ratio)
        chosen = trial.round
        if chosen.ratio >= 1:
            raise NotFaster(
                f"the plan measures {chosen.ratio:.2f} times the dense latency, so it is no faster; give more time to "
                "profiling or ask for a smaller budget"
            )
        if not within and chosen.predicted_frac <= least * (1 + _SAME_FRAC):
            dense_ms = trial.measurements[0].timings[DENSE].latency_ms
            raise DoesNotFit(_unreachable(self._budget, "measures", chosen.ratio, dense_ms))
        next_better = self._next_better_frac(trial)
        uses_budget = chosen.ratio >= LEAST_FRAC * self._limit
        is_met = bool(within) and (uses_budget or next_better is None or next_better > self._limit)
        return Outcome(
            levels=chosen.levels,
            limit_frac=self._limit,
            is_met=is_met,
            sentence=_sentence(chosen.ratio, self._limit, next_better, uses_budget).replace("measured", self._how, 1),
            next_better_frac=next_better,
            rounds=tuple(self._rounds),
            solution=trial.solution,
            measurements=trial.measurements,
            shares=self._latencies.shares,
        )

    @property
    def _how(self) -> str:
        """How latencies came about; "predicted" where any of them was."""
        found = {target.platform.settings.how for target in self._verifier.targets}
        return "predicted" if "predicted" in found else min(found)

    def _cheapest_better(self, trial: _Trial) -> Solution | None:
        """Return the next better plan on the engine that binds; on the others it is within the budget as predicted."""
        correction = trial.round.ratio / self._predicted(trial.round)
        problem = self._verifier.problem(self._latencies, self._limit / correction)
        resource = self._latencies.binding_resource(trial.solution.costs)
        return cheapest_better(problem, trial.round.value, resource, self._time_limit_s)

    def _next_better_frac(self, trial: _Trial) -> float | None:
        """Return what the cheapest better plan takes: measured where it was, else predicted and corrected by the chosen."""
        chosen, better = trial.round, self._cheapest_better(trial)
        measured = [seen for seen in self._rounds if seen.value > chosen.value]
        fracs = [seen.ratio for seen in measured]
        if better is not None:
            predicted = better.bound / self._latencies.unit_ms
            if not any(self._predicted(seen) <= predicted * (1 + _SAME_FRAC) for seen in measured):
                fracs.append(predicted * chosen.ratio / self._predicted(chosen))
        return min(fracs, default=None)


def _unreachable(budget: Budget, verb: str, least_frac: float, dense_ms: float) -> str:
    return (
        f"a latency of {budget} cannot be reached: the smallest plan {verb} {least_frac * dense_ms:.3g} ms "
        f"({100 * least_frac:.1f} % of dense); ask for at least that, or freeze less"
    )


def _sentence(ratio: float, limit: float, next_better: float | None, uses_budget: bool) -> str:
    here = f"measured {100 * ratio:.1f} % of the dense latency with {100 * limit:.1f} % allowed"
    following = "no better plan exists" if next_better is None else f"the next better plan takes {100 * next_better:.1f} %"
    if ratio > limit:
        return f"Budget not met: {here}."
    if uses_budget or next_better is None or next_better > limit:
        return f"Budget met: {here}; {following}."
    return f"Within the budget but not proven best: {here}; {following}."
