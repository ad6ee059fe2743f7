"""Training before channels are removed: the plan is a mask, made anew from the weights as they become."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from silicut.compress import pruned, reader_masks, whole_masks
from silicut.flows.pruning_problem import Subject
from silicut.graph import Network, find_blocks, find_channels, fold_batch_norm, to_module
from silicut.records import ConfigError, Progress, silent
from silicut.training import EpochResult, Loss, MaskedModule, OnEpoch, Recipe, TrainingData, fit, from_first
from silicut.training.modes import in_mode

Removal = tuple[Mapping[str, Sequence[int]], Sequence[str]]
"""Kept channels of the groups that lose some, and names of the removed blocks."""
Planner = Callable[[Subject, float], Removal]
"""Maps a network with its present weights and a latency (fraction of the dense one) to what is to go."""
_TOLERANCE_FRAC = 1e-2  # of the greatest output; float32, and layers whose statistics change are off by far more


@dataclass(frozen=True, kw_only=True)
class MaskSchedule:
    """When to plan before channels are removed, and for which latency.

    First come the milestones: of T, T - 1 are trained with masks, for latencies that fall geometrically from the dense one
    to the budget B, B_t = B^(t/T); the last is the removal. Then come the soft epochs, planned for B every few steps.
    Nothing is removed in between, so plans need not be nested: widths may grow again and channels come back.
    Source of the latencies: HALP (arXiv 2110.10811), whose masked channels stay masked.

    Attributes:
        epochs: of the recipe, milestones included.
        milestones: T, 1 for none, at most `epochs`.
        soft_epochs: epochs besides those of the recipe, 0 for none.
        soft_steps: steps between two plans in the soft epochs, 1 or more.

    Example:
        >>> schedule = MaskSchedule(epochs=6, milestones=3, soft_epochs=1, soft_steps=5)
        >>> schedule.n_masked, schedule.n_final
        (5, 2)
        >>> {step: round(frac, 3) for step, frac in schedule.plans(10, 0.512).items()}
        {0: 0.8, 20: 0.64, 40: 0.512, 45: 0.512}
    """

    epochs: int
    milestones: int = 1
    soft_epochs: int = 0
    soft_steps: int = 100

    def __post_init__(self) -> None:
        rules = {
            "milestones": (1 <= self.milestones <= self.epochs, f"from 1 to the number of epochs ({self.epochs})"),
            "soft_epochs": (self.soft_epochs >= 0, "0 or more"),
            "soft_steps": (self.soft_steps >= 1, "1 or more"),
        }
        problems = [f"{field} must be {rule}, not {getattr(self, field)}" for field, (ok, rule) in rules.items() if not ok]
        if problems:
            raise ConfigError(*problems)

    @property
    def n_masked(self) -> int:
        """Epochs before channels are removed."""
        return self._n_milestone_epochs + self.soft_epochs

    @property
    def n_final(self) -> int:
        """Epochs after channels are removed."""
        return self.epochs - self._n_milestone_epochs

    @property
    def _n_milestone_epochs(self) -> int:
        return self.epochs * (self.milestones - 1) // self.milestones

    def plans(self, n_steps: int, limit_frac: float) -> dict[int, float]:
        """Return before which steps to plan, and for which latency (fraction of the dense one).

        Args:
            n_steps: steps of an epoch.
            limit_frac: the budget.
        """
        n_before = self.milestones - 1
        soft_start, end = self._n_milestone_epochs * n_steps, self.n_masked * n_steps
        plans = {soft_start * t // n_before: limit_frac ** ((t + 1) / self.milestones) for t in range(n_before)}
        return plans | dict.fromkeys(range(soft_start, end, self.soft_steps), limit_frac)


@dataclass(frozen=True, kw_only=True)
class MaskedTraining:
    """What to train with, apart from the network.

    Attributes:
        schedule: when to plan.
        limit_frac: the budget as a fraction of the dense latency.
        plan: makes each plan; called in one process.
        recipe: of the epochs before removal.
        data, teacher, loss: as in `fit`.
        folder: where to keep checkpoints, or None.
        on_epoch, progress: told of every epoch and step.
    """

    schedule: MaskSchedule
    limit_frac: float
    plan: Planner
    recipe: Recipe
    data: TrainingData
    teacher: nn.Module | None = None
    loss: Loss | None = None
    folder: Path | None = None
    on_epoch: OnEpoch | None = None
    progress: Progress = silent


def train_masked(model: nn.Module, subject: Subject, how: MaskedTraining) -> tuple[Subject, MaskedModule, list[EpochResult]]:
    """Train a copy of a network under masks that follow the plan; return it unmasked, as it was masked last, and its epochs.

    A step costs what one of the dense network costs: masked channels are computed, so that they can come back.

    Args:
        model: the dense network; it is not changed.
        subject: the same, captured, with its groups and blocks.
        how: everything else.

    Raises:
        ConfigError: masks do not act as removal would, as where layers take statistics over the channels.
        DoesNotFit: a plan for some latency cannot be had.
        OutcomeError: the loss is no longer finite.
    """
    network, channels = subject.network, find_channels(subject.network)
    blocks = find_blocks(network, channels)
    masked = MaskedModule(copy.deepcopy(model), whole_masks(network, channels, blocks))
    plans = how.schedule.plans(math.ceil(how.data.n_training / how.recipe.batch_size), how.limit_frac)

    def plan(step: int) -> None:
        if step not in plans:
            return
        now = _with_weights(subject, masked.module)
        kept, removed = from_first(lambda: how.plan(now, plans[step]))
        masked.set_masks(reader_masks(network, channels, blocks, kept, removed))
        if step == 0:
            _check(masked, now.network, (kept, removed))

    results = fit(
        masked,
        how.data,
        how.recipe,
        teacher=how.teacher,
        loss=how.loss,
        folder=how.folder,
        before_step=plan,
        on_epoch=how.on_epoch,
        progress=how.progress,
    )
    return _with_weights(subject, masked.module), masked, results


def _with_weights(subject: Subject, module: nn.Module) -> Subject:
    network = subject.network.with_parameters(weights_of(module, subject.network))
    return replace(subject, network=network, folded=fold_batch_norm(network))


def weights_of(module: nn.Module, network: Network) -> Mapping[str, np.ndarray]:
    """Return a module's weights by the network's names; constants, which no state dict holds, are the network's."""
    state = module.state_dict()
    trained = {n: state[n].detach().cpu().contiguous().numpy().copy() for n in network.parameters if n in state}
    return {**network.parameters, **trained}


def _check(masked: MaskedModule, network: Network, removal: Removal) -> None:
    """Refuse a network of which the masked form does not compute what the pruned one will."""
    kept, removed = removal
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(network.tensors[name].sizes(2), generator=generator) for name in network.inputs]
    with torch.no_grad(), in_mode(masked, is_training=False):
        found, expected = masked(*inputs), to_module(pruned(network, kept, removed))(*inputs)
    if float((found - expected).abs().max()) > _TOLERANCE_FRAC * float(expected.abs().max()):
        raise ConfigError(
            "milestones and soft_epochs must be left out for this network, whose layers take statistics over channels: they "
            "would change when channels are removed"
        )


def shortened(recipe: Recipe, epochs: int) -> Recipe:
    """Return a recipe for fewer epochs, of which at most a quarter is warm-up."""
    return replace(recipe, epochs=epochs, warmup_epochs=min(recipe.warmup_epochs, epochs / 4))
