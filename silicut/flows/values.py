"""What channels are worth: the value functions by name, how well each ranks plans, and which one to trust."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import nn

from silicut.compress import (
    Scores,
    learned,
    log_energy,
    options,
    random_plans,
    rank_correlation,
    removable_blocks,
    sensitivity,
    sensitivity_plans,
    sp_lamp,
    value_of,
)
from silicut.compress.taylor import taylor
from silicut.flows.planning import Planner
from silicut.graph import Block, to_module
from silicut.records import ConfigError, Journal, Progress, Tracker, content_hash
from silicut.search import Variable
from silicut.training import Divergence, Loss, Metric, TrainingData, evaluate, recalibrate_batch_norm

AUTO = "auto"
WITHOUT_DATA = "log-energy"
QUICK = ("sp-lamp", "log-energy", "taylor")
SENSITIVITY = "sensitivity"
MEASURED = ("learned", SENSITIVITY)
VALUES = (*QUICK, *MEASURED)
"""The value functions by name, the quick ones first; `MEASURED` ones are made from divergences of the network itself."""

NEED_DATA = ("taylor", *MEASURED)
_TAYLOR_BATCHES, _TAYLOR_BATCH_SIZE = 32, 64
_N_IMAGES, _BATCH_SIZE = 2000, 250
_N_DIVERGENCE_IMAGES = 256
_N_PLANS, _N_FOLDS = 32, 4
_LARGEST = 1e30  # stands for infinity, which JSON has not


@dataclass(frozen=True)
class ValueOptions:
    """How values are made.

    Attributes:
        base: the quick value that gives "learned" its shape, and both measured ones the order of channels.
        limit_s: seconds that measuring divergences may take where nobody asked for a measured value by name; what is
            expected to take longer is left out.
    """

    base: str = "taylor"
    limit_s: float = 120.0


def needs_data(name: str) -> str:
    """Return the sentence on a value function that cannot be had without data."""
    return f"value {name!r} must come with training data, not without; give data or choose 'sp-lamp'"


@dataclass
class Values:
    """The value functions of one network; each is made when it is first asked for.

    Attributes:
        planner: makes the networks whose divergence is measured.
        variables: legal widths of every group.
        data: None where there is none; then only values that need none can be had.
        options: how values are made.
        loss: the user's own; None for cross-entropy, and for divergences of class probabilities.
        file: where divergences are kept, so that an interrupted run measures none twice; None keeps them in memory.
        progress: told every step.
    """

    planner: Planner
    variables: Sequence[Variable]
    data: TrainingData | None
    options: ValueOptions
    loss: Loss | None
    file: Path | None
    progress: Progress

    def __post_init__(self) -> None:
        self._made: dict[str, Scores] = {}
        self._journal = None if self.file is None else Journal(self.file)
        self._known = {e["plan"]: float(e["divergence"]) for e in self._journal or () if {"plan", "divergence"} <= e.keys()}
        self._seconds: list[float] = []

    def scores(self, name: str) -> Scores:
        """Return the scores of a value function.

        Raises:
            ConfigError: the name is unknown, or the value needs data and there is none.
        """
        if name not in VALUES:
            raise ConfigError(f"value must be one of {', '.join(VALUES)}, not {name!r}")
        if name in NEED_DATA and self.data is None:
            raise ConfigError(needs_data(name))
        if name not in self._made:
            subject = self.planner.subject
            quick: dict[str, Callable[[], Scores]] = {
                "sp-lamp": lambda: sp_lamp(subject.folded, subject.channels, subject.blocks),
                "log-energy": lambda: log_energy(subject.folded, subject.channels, subject.blocks),
                "taylor": self._taylor,
                "sensitivity": self._sensitivity,
                "learned": lambda: self._learned(self._plans),
            }
            self._made[name] = quick[name]()
        return self._made[name]

    def rank_correlation(self, name: str) -> float:
        """Return how well a value ranks random prunings: Spearman's correlation with minus their divergence.

        Every value is judged with its own order of channels. "learned" is judged on prunings it was not fitted to.
        """
        if name == "learned":
            return rank_correlation(self._values_when_left_out(), self._divergences(self.options.base, self._plans))
        values = [value_of(self.scores(name), plan) for plan in self._plans]
        return rank_correlation(values, self._divergences(self._order_of(name), self._plans))

    def seconds_for(self, name: str) -> float:
        """Return how long a value and its rank correlation are expected to take, by the divergences measured so far."""
        plans = [(self._order_of(name), plan) for plan in self._plans]
        if name == "sensitivity":
            plans += [(self.options.base, plan) for plan in self._sensitivity_plans]
        missing = {key for order, plan in plans if (key := self._key(order, plan)) not in self._known}
        if not missing:
            return 0.0
        if not self._seconds:
            self._divergence(*plans[0])
        return len(missing) * min(self._seconds, default=0.0)

    def accuracy(self, name: str, levels: Mapping[str, int], metric: Metric | None) -> float:
        """Return what fraction of 2,000 training images a plan is right on, recalibrated, untrained.

        The images are those of another epoch than the ones recalibrated on; the evaluation images decide nothing.
        """
        assert self.data is not None
        module = to_module(self.planner.network(levels, self.scores(name)))
        recalibrate_batch_norm(module, self.data, _N_IMAGES, _BATCH_SIZE)
        batches = itertools.islice(self.data.training_batches(1, _BATCH_SIZE, 0), _N_IMAGES // _BATCH_SIZE)
        return evaluate(module, batches, metric).accuracy_frac

    def _taylor(self) -> Scores:
        assert self.data is not None
        subject = self.planner.subject
        few = itertools.islice(self.data.training_batches(0, _TAYLOR_BATCH_SIZE, 0), _TAYLOR_BATCHES)
        return taylor(subject.folded, subject.channels, subject.blocks, few, self.loss or nn.functional.cross_entropy)

    def _sensitivity(self) -> Scores:
        divergences = self._divergences(self.options.base, self._sensitivity_plans, "measure sensitivity")
        return sensitivity(self._levels, self._blocks, self.scores(self.options.base), divergences)

    def _learned(self, plans: Sequence[dict[str, int]]) -> Scores:
        divergences = self._divergences(self.options.base, plans)
        return learned(self.scores(self.options.base), self._blocks, plans, divergences)

    def _values_when_left_out(self) -> list[float]:
        """Return the learned value of each random pruning, fitted without the quarter of them that it is in."""
        values = [0.0] * len(self._plans)
        for fold in range(_N_FOLDS):
            scores = self._learned([plan for i, plan in enumerate(self._plans) if i % _N_FOLDS != fold])
            for i in range(fold, len(self._plans), _N_FOLDS):
                values[i] = value_of(scores, self._plans[i])
        return values

    def _order_of(self, name: str) -> str:
        return self.options.base if name in MEASURED else name

    @cached_property
    def _blocks(self) -> tuple[Block, ...]:
        return removable_blocks(self.planner.subject.blocks, self.planner.restrictions)

    @cached_property
    def _levels(self) -> tuple[Variable, ...]:
        subject = self.planner.subject
        return options(self.variables, subject.channels, subject.blocks, self.planner.restrictions)

    @cached_property
    def _sensitivity_plans(self) -> tuple[dict[str, int], ...]:
        return sensitivity_plans(self._levels, self._blocks)

    @cached_property
    def _plans(self) -> tuple[dict[str, int], ...]:
        return random_plans(self._levels, self._blocks, _N_PLANS)

    @cached_property
    def _divergence_of(self) -> Divergence:
        assert self.data is not None
        return Divergence(to_module(self.planner.subject.network), self.data, _N_DIVERGENCE_IMAGES, self.loss)

    def _divergences(
        self, order: str, plans: Sequence[dict[str, int]], stage: str = "measure random prunings"
    ) -> list[float]:
        missing = sum(self._key(order, plan) not in self._known for plan in plans)
        tracker = Tracker(self.progress, stage, missing) if missing else None
        found = []
        for plan in plans:
            is_new = self._key(order, plan) not in self._known
            found.append(self._divergence(order, plan))
            if tracker is not None and is_new:
                tracker.step(f"divergence {found[-1]:.3f}")
        return found

    def _divergence(self, order: str, plan: Mapping[str, int]) -> float:
        key = self._key(order, plan)
        if key not in self._known:
            module = to_module(self.planner.network(plan, self.scores(order)))
            compare = self._divergence_of  # made before the clock starts
            started = time.monotonic()
            found = min(compare.of(module), _LARGEST)
            self._seconds.append(time.monotonic() - started)
            self._known[key] = found
            if self._journal is not None:
                self._journal.append({"plan": key, "divergence": found})
        return self._known[key]

    @staticmethod
    def _key(order: str, plan: Mapping[str, int]) -> str:
        return content_hash({"order": "energy" if order in ("sp-lamp", "log-energy") else order, "levels": dict(plan)})


def compare_values(
    values: Values, levels_of: Callable[[str], Mapping[str, int]], metric: Metric | None, progress: Progress
) -> dict[str, dict[str, float]]:
    """Return what the plan of each value function is right on untrained, and how well the value ranks random prunings.

    All plans are solved for the same predicted latency. Values that are expected to take longer than the limit are left out,
    and so are rank correlations.

    Args:
        values: with data.
        levels_of: the plan of a value function.
        metric: which outputs count as right; top-1 by default.
        progress: told after each value function.

    Returns:
        "accuracy_frac" and "rank_correlation", each by name.
    """
    tracker = Tracker(progress, "compare value functions", len(VALUES))
    accuracy: dict[str, float] = {}
    correlation: dict[str, float] = {}
    left_s = values.options.limit_s
    for name in VALUES:
        expected_s = values.seconds_for(name)
        is_quick = name in QUICK
        if expected_s > left_s and not is_quick:
            tracker.step(f"{name}: left out, it would take {expected_s:.0f} s")
            continue
        started = time.monotonic()
        accuracy[name] = values.accuracy(name, levels_of(name), metric)
        if expected_s <= left_s:
            correlation[name] = values.rank_correlation(name)
        left_s -= time.monotonic() - started
        ranks = f", rank correlation {correlation[name]:.2f}" if name in correlation else ""
        tracker.step(f"{name}: {100 * accuracy[name]:.1f} %{ranks}")
    return {"accuracy_frac": accuracy, "rank_correlation": correlation}
