"""Solve, build, measure, correct the budget by what was measured, and solve again: until the plan *measures* within it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from silicut.compress import Restrictions, Scores, kept_channels, pruned, removed_by
from silicut.flows.budget import Budget
from silicut.flows.pruning_problem import LATENCY, Subject, pruning_problem
from silicut.graph import Network
from silicut.graph.onnx_writer import to_onnx
from silicut.records import DoesNotFit, NotFaster, Progress, Record, silent
from silicut.search import Problem, Solution, cheapest, cheapest_better, solve
from silicut.targets import Engine, Measurement, MeasureOptions, measure
from silicut.targets.profile import Profile

DENSE, PRUNED = "dense", "pruned"
MAX_ROUNDS = 4
LEAST_FRAC = 0.98  # of the budget: a plan this close uses it
_AIM_FRAC = 0.99  # the middle of the window
_LAUNCH_BOUND_FRAC = 0.9


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
        """Return the best plan found that measures within the budget.

        Raises:
            DoesNotFit: even the smallest plan does not; it is named.
            NotFaster: no plan can be much faster than the dense network, or the plan measures no faster.
        """
        dense_ms = self.profile.dense_ms if budget.is_relative else self._dense_ms()
        limit = budget.limit_frac(dense_ms)
        if limit >= 1:
            raise NotFaster(f"the dense network takes {dense_ms:.3g} ms, which is within {budget}; ask for less")
        self._check_reachable(budget, limit, dense_ms)
        tried: list[tuple[Round, Solution, Measurement]] = []
        target = _AIM_FRAC * limit
        for _ in range(MAX_ROUNDS):
            solution = self._solve(target)
            if any(solution.levels == seen.levels for seen, _, _ in tried):
                break
            measurement = self._measure(solution)
            ratio, predicted = measurement.timings[PRUNED].ratio, solution.costs[LATENCY] / self.profile.dense_ms
            tried.append((Round(target_frac=target, predicted_frac=predicted, ratio=ratio, value=solution.value,
                                levels=solution.levels), solution, measurement))  # fmt: skip
            if LEAST_FRAC * limit <= ratio <= limit:
                break
            too_slow = [seen.predicted_frac * (1 - 1e-6) for seen, _, _ in tried if seen.ratio > limit]
            target = min(_AIM_FRAC * limit * predicted / ratio, *too_slow, 1.0)
        return self._outcome(limit, tried)

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

    def model(self, levels: Mapping[str, int] | None) -> bytes:
        """Return the ONNX model at these levels (None: dense)."""
        network = self.subject.folded if levels is None else self.network(levels)
        return to_onnx(network, batch=self.engine.settings.batch)

    def _measure(self, solution: Solution) -> Measurement:
        models = {DENSE: self.model(None), PRUNED: self.model(solution.levels)}
        return measure(self.engine, models, DENSE, self.options.measuring, self.progress)

    def _check_reachable(self, budget: Budget, limit: float, dense_ms: float) -> None:
        least = cheapest(self._problem(1.0), LATENCY, self.options.time_limit_s).costs[LATENCY] / self.profile.dense_ms
        if least > _LAUNCH_BOUND_FRAC:
            is_restricted = self.restrictions.freeze or self.restrictions.keep or not self.restrictions.may_remove_blocks
            advice = "leave more layers and blocks free" if is_restricted else "try a larger batch or larger inputs"
            raise NotFaster(
                f"pruning cannot make this network faster here: with the least channels it is predicted to take "
                f"{100 * least:.0f} % of the dense latency ({self.profile.dense_ms:.3g} ms), so most of its time does not "
                f"depend on what may be removed; {advice}"
            )
        if least > limit:
            raise DoesNotFit(
                f"a latency of {budget} cannot be reached: the smallest plan is predicted to take "
                f"{least * dense_ms:.3g} ms ({100 * least:.1f} % of dense); ask for at least that, or freeze less"
            )

    def _outcome(self, limit: float, tried: list[tuple[Round, Solution, Measurement]]) -> Outcome:
        within = [entry for entry in tried if entry[0].ratio <= limit]
        chosen, solution, measurement = (
            max(within, key=lambda e: e[0].value) if within else min(tried, key=lambda e: e[0].ratio)
        )
        if chosen.ratio >= 1:
            raise NotFaster(
                f"the plan measures {chosen.ratio:.2f} times the dense latency, so it is no faster; give more time to "
                "profiling or ask for a smaller budget"
            )
        above = [entry[0].ratio for entry in tried if entry[0].value > chosen.value]
        next_better = min([f for f in (self._next_better(chosen), *above) if f is not None], default=None)
        uses_budget = chosen.ratio >= LEAST_FRAC * limit
        is_met = bool(within) and (uses_budget or next_better is None or next_better > limit)
        return Outcome(
            levels=chosen.levels,
            limit_frac=limit,
            is_met=is_met,
            sentence=_sentence(chosen.ratio, limit, next_better, uses_budget),
            next_better_frac=next_better,
            rounds=tuple(entry[0] for entry in tried),
            solution=solution,
            measurement=measurement,
        )

    def _next_better(self, chosen: Round) -> float | None:
        """Return the predicted latency of the cheapest better plan, times what this plan measured over its prediction."""
        better = cheapest_better(self._problem(1.0), chosen.value, LATENCY, self.options.time_limit_s)
        if better is None:
            return None
        return better.bound / self.profile.dense_ms * chosen.ratio / chosen.predicted_frac


def _sentence(ratio: float, limit: float, next_better: float | None, uses_budget: bool) -> str:
    here = f"measured {100 * ratio:.1f} % of the dense latency with {100 * limit:.1f} % allowed"
    following = "no better plan exists" if next_better is None else f"the next better plan takes {100 * next_better:.1f} %"
    if ratio > limit:
        return f"Budget not met: {here}."
    if uses_budget or next_better is None or next_better > limit:
        return f"Budget met: {here}; {following}."
    return f"Within the budget but not proven best: {here}; {following}."
