"""What can be asked of a pruning run besides network, data and budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from silicut.compress import FILE_BYTES, MACS, PARAMETERS, Restrictions
from silicut.flows.budget import SizeLimit
from silicut.flows.latency import WEIGHTED, WORST
from silicut.flows.masked_training import MaskSchedule
from silicut.flows.planning import SIZES
from silicut.flows.values import AUTO, QUICK, VALUES
from silicut.records import ConfigError
from silicut.search import SOLVERS
from silicut.targets import MeasureOptions
from silicut.targets.profile import ProfileOptions
from silicut.training import RECOVERY, Recipe

ONE_BUDGET = ("knapsack",)
"""The solvers that can keep one budget only."""


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """What to ask of a pruning run besides network, data and budget.

    Attributes:
        value: "sp-lamp", "log-energy", "taylor", "learned", "sensitivity", or "auto": the one whose plan keeps most accuracy
            before training, on training images; "log-energy" without data.
        base_value: the quick value that "learned" scales, and whose order of channels both measured values take.
        value_limit_s: seconds that "auto" and rank correlations may spend on measuring divergences; values expected to take
            longer are left out.
        solver: "coupled", "lagrangian", "knapsack" or "descent".
        restrictions: layers and blocks to leave alone.
        max_parameters, max_macs, max_size: further budgets: "1M", "60%"; the size of the ONNX file "2MB".
        engine_mode: with several engines "worst" (each within its budget) or "weighted" (the weighted mean is).
        drop_epochs: epochs of recovery after which the accuracy of a tried budget is judged, where a drop is asked for.
        accepts_nearest: go on with the nearest plan where none was found that measures within the budget.
        recipe: of the fine-tuning; None leaves it out.
        milestones: steps in which the latency falls from the dense one to the budget while the recipe's epochs go by; the
            plan of every step but the last is a mask on the whole network, made from the weights trained so far. 1 for none.
        soft_epochs: epochs before channels are removed, besides the recipe's, in which they are masked and may come back.
        soft_steps: steps between two plans in the soft epochs.
        profiling: how thoroughly to profile.
        measuring: how latency is measured; twice as surely as by default, because choosing among measured plans favours
            those that happened to measure fast.
        time_limit_s: of each solve.
        is_dry_run: stop after the plan has been measured.

    Raises:
        ConfigError: everything that is wrong, at construction.
    """

    value: str = AUTO
    base_value: str = "taylor"
    value_limit_s: float = 120.0
    solver: str = "coupled"
    restrictions: Restrictions = field(default_factory=Restrictions)
    max_parameters: str | None = None
    max_macs: str | None = None
    max_size: str | None = None
    engine_mode: str = WORST
    drop_epochs: int = 1
    accepts_nearest: bool = False
    recipe: Recipe | None = RECOVERY
    milestones: int = 1
    soft_epochs: int = 0
    soft_steps: int = 100
    profiling: ProfileOptions = field(default_factory=ProfileOptions)
    measuring: MeasureOptions = field(default_factory=lambda: MeasureOptions(n_rounds=40, ci_frac=0.005))
    time_limit_s: float = 10.0
    is_dry_run: bool = False

    def __post_init__(self) -> None:
        problems = [*self._wrong_choices(), *self._wrong_numbers(), *self._wrong_limits(), *self._wrong_schedule()]
        if problems:
            raise ConfigError(*problems)

    @property
    def schedule(self) -> MaskSchedule:
        """When to plan before channels are removed."""
        return MaskSchedule(
            epochs=1 if self.recipe is None else self.recipe.epochs,
            milestones=self.milestones,
            soft_epochs=self.soft_epochs,
            soft_steps=self.soft_steps,
        )

    @property
    def limits(self) -> dict[str, SizeLimit]:
        """The limits of sizes by resource, as far as they were asked for."""
        return {name: SizeLimit.parse(text, SIZES[name]) for name, text in self._limit_texts().items()}

    def _limit_texts(self) -> dict[str, str]:
        texts = {PARAMETERS: self.max_parameters, MACS: self.max_macs, FILE_BYTES: self.max_size}
        return {name: text for name, text in texts.items() if text is not None}

    def _wrong_choices(self) -> Iterator[str]:
        choices = {
            "value": (self.value, (AUTO, *VALUES)),
            "base_value": (self.base_value, QUICK),
            "solver": (self.solver, tuple(SOLVERS)),
            "engine_mode": (self.engine_mode, (WORST, WEIGHTED)),
        }
        for name, (value, legal) in choices.items():
            if value not in legal:
                yield f"{name} must be one of {', '.join(legal)}, not {value!r}"

    def _wrong_numbers(self) -> Iterator[str]:
        if not self.value_limit_s >= 0:
            yield f"value_limit_s must be 0 or more, not {self.value_limit_s}"
        if not self.drop_epochs >= 0:
            yield f"drop_epochs must be 0 or more, not {self.drop_epochs}"
        if not self.time_limit_s > 0:
            yield f"time_limit_s must be above 0, not {self.time_limit_s}"

    def _wrong_schedule(self) -> Iterator[str]:
        if self.recipe is None and (self.milestones, self.soft_epochs) != (1, 0):
            yield "milestones and soft_epochs must come with a recipe and its epochs, not without"
            return
        try:
            _ = self.schedule
        except ConfigError as error:
            yield from error.problems

    def _wrong_limits(self) -> Iterator[str]:
        texts = self._limit_texts()
        for name, text in texts.items():
            try:
                SizeLimit.parse(text, SIZES[name])
            except ConfigError as error:
                yield from error.problems
        if texts and self.solver in ONE_BUDGET:
            yield f"solver {self.solver!r} must have no budget besides latency, not {', '.join(SIZES[n] for n in texts)} too"


PAPER = PruneOptions(
    value="sp-lamp",
    solver="knapsack",
    restrictions=Restrictions(may_remove_blocks=False),
    profiling=ProfileOptions(least_width=1),
)
"""SP-LAMP as published (arXiv 2305.14403), literally: one filter of score 1 kept, the rest grouped by the latency step,
group knapsack over independent costs, no blocks removed."""
