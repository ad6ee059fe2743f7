"""Solve, build, measure, correct the budget by what was measured, and solve again: until the plan *measures* within it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from silicut.compress import Restrictions, Scores, kept_channels, pruned, removed_by
from silicut.flows.budget import Budget
from silicut.flows.pruning_problem import LATENCY, Subject, pruning_problem
from silicut.graph import Network
from silicut.records import DoesNotFit, NotFaster, Progress, Record, silent
from silicut.search import Problem, Solution, cheapest, cheapest_better, solve
from silicut.targets import Engine, Measurement, MeasureOptions, measure
from silicut.targets.profile import Profile

DENSE, PRUNED = "dense", "pruned"
MAX_ROUNDS = 4
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
    """

    solver: str = "coupled"
    time_limit_s: float = 10.0
    measuring: MeasureOptions = MeasureOptions()  # noqa: RUF009 - frozen


@dataclass(frozen=True, kw_only=True)
class Round(Record):
    """One plan that was built and measured.

    Attributes:
        target_frac: budget the solver was given, as a fraction of the dense latency, after correction.
        predicted_frac: the profile's prediction.
        ratio: measured, over the dense network.
        value: the plan's value.
        levels: width of every group, 0 where its block is removed.
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
        levels: width of every group, 0 where its block is removed.
        limit_frac: the budget as a fraction of the dense latency.
        is_met: measured within the budget, and either at least 98 % of it or nothing better fits.
        sentence: the same in words.
        next_better_frac: predicted latency of the cheapest better plan, corrected by what was measured; None when the
            chosen plan is the best there is.
        rounds: all plans that were measured.
        solution: what the solver said of the chosen plan.
        measurement: of the chosen plan.
    """

    schema: ClassVar[str] = "outcome/1"
    levels: dict[str, int]
    limit_frac: float
    is_met: bool
    sentence: str
    next_better_frac: float | None
    rounds: tuple[Round, ...]
    solution: Solution
    measurement: Measurement


Trial = tuple[Round, Solution, Measurement]


@dataclass
class Verifier:
    """Finds the plan of one network that measures within a budget."""

    subject: Subject
    profile: Profile
    scores: Scores
    restrictions: Restrictions
    engine: Engine
    options: SolveOptions
    progress: Progress = silent

    def run(self, budget: Budget) -> Outcome:
        """Return the best plan found that measures within the budget, or the fastest where none of those tried does.

        Raises:
            DoesNotFit: even the smallest plan does not; it is named.
            NotFaster: no plan can be much faster than the dense network, or the plan measures no faster.
        """
        dense_ms = self.profile.dense_ms if budget.is_relative else self._dense_ms()
        limit = budget.limit_frac(dense_ms)
        if limit >= 1:
            raise NotFaster(f"the dense network takes {dense_ms:.3g} ms, which is within {budget}; ask for less")
        least = self._least_frac(budget, limit, dense_ms)
        tried: list[Trial] = []
        target = max(_AIM_FRAC * limit, least)
        for _ in range(MAX_ROUNDS):
            solution = self._next_plan(target, limit, tried)
            if solution is None:
                break
            measurement = self._measure(solution)
            ratio, predicted = measurement.timings[PRUNED].ratio, solution.costs[LATENCY] / self.profile.dense_ms
            tried.append((Round(target_frac=target, predicted_frac=predicted, ratio=ratio, value=solution.value,
                                levels=solution.levels), solution, measurement))  # fmt: skip
            if LEAST_FRAC * limit <= ratio <= limit:
                break
            too_slow = [seen.predicted_frac * (1 - 1e-6) for seen, _, _ in tried if seen.ratio > limit]
            target = max(min(_AIM_FRAC * limit * predicted / ratio, *too_slow, 1.0), least)
        return self._outcome(budget, limit, least, tried)

    def _next_plan(self, target_frac: float, limit: float, tried: list[Trial]) -> Solution | None:
        """Return the best plan for a target; where that was measured before, the next better plan that seems to fit."""
        known = [seen.levels for seen, _, _ in tried]
        solution = self._solve(target_frac)
        within = [seen for seen, _, _ in tried if seen.ratio <= limit]
        if solution.levels in known and within:
            best = max(within, key=lambda seen: seen.value)
            better = self._cheapest_better(best)
            step = None if better is None else better.costs[LATENCY] / self.profile.dense_ms
            if step is not None and step * best.ratio / best.predicted_frac <= limit:
                solution = self._solve(step)
        return None if solution.levels in known else solution

    def _problem(self, target_frac: float) -> Problem:
        target_ms = target_frac * self.profile.dense_ms
        return pruning_problem(self.subject, self.profile, self.scores, self.restrictions, target_ms)

    def _solve(self, target_frac: float) -> Solution:
        return solve(self._problem(target_frac), self.options.solver, self.options.time_limit_s)

    def _dense_ms(self) -> float:
        model = {DENSE: self.model(None)}
        return measure(self.engine, model, DENSE, self.options.measuring, self.progress).timings[DENSE].latency_ms

    def network(self, levels: Mapping[str, int]) -> Network:
        """Return the pruned network, batch normalisation folded, at these levels."""
        return pruned(self.subject.folded, kept_channels(levels, self.scores), removed_by(levels, self.subject.blocks))

    def model(self, levels: Mapping[str, int] | None) -> Network:
        """Return what is measured at these levels (None: dense)."""
        return self.subject.folded if levels is None else self.network(levels)

    def _measure(self, solution: Solution) -> Measurement:
        models = {DENSE: self.model(None), PRUNED: self.model(solution.levels)}
        return measure(self.engine, models, DENSE, self.options.measuring, self.progress)

    def _least_frac(self, budget: Budget, limit: float, dense_ms: float) -> float:
        """Return the predicted latency of the smallest plan as a fraction of the dense one.

        Raises:
            NotFaster, DoesNotFit: it says that trying is no use, its errors on other networks considered.
        """
        least = cheapest(self._problem(1.0), LATENCY, self.options.time_limit_s).costs[LATENCY] / self.profile.dense_ms
        if least > _LAUNCH_BOUND_FRAC:
            is_restricted = self.restrictions.freeze or self.restrictions.keep or not self.restrictions.may_remove_blocks
            advice = "leave more layers and blocks free" if is_restricted else "try a larger batch or larger inputs"
            raise NotFaster(
                f"pruning cannot make this network faster here: with the least channels it is predicted to take "
                f"{100 * least:.0f} % of the dense latency ({self.profile.dense_ms:.3g} ms), so most of its time does not "
                f"depend on what may be removed; {advice}"
            )
        if least > limit * (1 + self.profile.validation.max_error_frac):
            raise DoesNotFit(_unreachable(budget, "is predicted to take", least, dense_ms))
        return least

    def _outcome(self, budget: Budget, limit: float, least: float, tried: list[Trial]) -> Outcome:
        within = [entry for entry in tried if entry[0].ratio <= limit]
        chosen, solution, measurement = (
            max(within, key=lambda e: e[0].value) if within else min(tried, key=lambda e: e[0].ratio)
        )
        if chosen.ratio >= 1:
            raise NotFaster(
                f"the plan measures {chosen.ratio:.2f} times the dense latency, so it is no faster; give more time to "
                "profiling or ask for a smaller budget"
            )
        if not within and chosen.predicted_frac <= least * (1 + _SAME_FRAC):
            raise DoesNotFit(_unreachable(budget, "measures", chosen.ratio, measurement.timings[DENSE].latency_ms))
        next_better = self._next_better_frac(chosen, [entry[0] for entry in tried])
        uses_budget = chosen.ratio >= LEAST_FRAC * limit
        is_met = bool(within) and (uses_budget or next_better is None or next_better > limit)
        return Outcome(
            levels=chosen.levels,
            limit_frac=limit,
            is_met=is_met,
            sentence=_sentence(chosen.ratio, limit, next_better, uses_budget).replace("measured", self._how, 1),
            next_better_frac=next_better,
            rounds=tuple(entry[0] for entry in tried),
            solution=solution,
            measurement=measurement,
        )

    @property
    def _how(self) -> str:
        """How latencies came about: "measured", or "predicted" for a device elsewhere."""
        return "predicted" if self.engine.settings.is_predicted else "measured"

    def _cheapest_better(self, chosen: Round) -> Solution | None:
        return cheapest_better(self._problem(1.0), chosen.value, LATENCY, self.options.time_limit_s)

    def _next_better_frac(self, chosen: Round, tried: list[Round]) -> float | None:
        """Return what the cheapest better plan takes: measured where it was, else predicted and corrected by the chosen."""
        better = self._cheapest_better(chosen)
        measured = [seen for seen in tried if seen.value > chosen.value]
        fracs = [seen.ratio for seen in measured]
        if better is not None:
            predicted = better.bound / self.profile.dense_ms
            if not any(seen.predicted_frac <= predicted * (1 + _SAME_FRAC) for seen in measured):
                fracs.append(predicted * chosen.ratio / chosen.predicted_frac)
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
