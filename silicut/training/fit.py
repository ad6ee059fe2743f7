"""The training loop: SGD, cosine schedule, distillation, resumable, in one process or in many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from silicut.records import OutcomeError, Progress, Tracker, content_hash, silent
from silicut.training.averaging import WeightAverages
from silicut.training.checkpoint import Checkpoint, EpochResult, TrainingState
from silicut.training.data import TrainingData
from silicut.training.loss import Loss, batch_loss, label_loss
from silicut.training.modes import buffers_kept, device_of, in_mode
from silicut.training.precision import (
    ComputePrecision,
    autocast,
    check_precision,
    chosen_precision,
    gradient_scaler,
    trial_step,
)
from silicut.training.processes import from_first, is_first, n_processes, own_share, rank, summed
from silicut.training.recipe import Recipe
from silicut.training.synchronised import synchronised_batch_norm

OnEpoch = Callable[[EpochResult], None]
BeforeStep = Callable[[int], None]
"""Called with the number of the step that comes, counted from 0 over all epochs."""


def optimizer_for(module: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Return the recipe's SGD over a module's trainable parameters.

    Vectors (biases, batch-norm scales and shifts) are not decayed, everything of more axes is.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
    )


def fit(  # noqa: PLR0913
    module: nn.Module,
    data: TrainingData,
    recipe: Recipe,
    *,
    teacher: nn.Module | None = None,
    loss: Loss | None = None,
    folder: str | Path | None = None,
    before_step: BeforeStep | None = None,
    on_epoch: OnEpoch | None = None,
    progress: Progress = silent,
) -> list[EpochResult]:
    """Train a network in place and return what each epoch gave.

    The module's mode and torch's generators are put back afterwards; with the recipe's `is_channels_last` its
    weights stay in that memory order, which changes no value. With an `ema_decay` its weights are their averages in the end.

    With `folder` the state is kept after every epoch, and a call with the same arguments goes on from there: the result
    equals that of training without a stop, and a kill costs at most the epoch it fell into.

    In a process group (`process_group`) all processes call this with equal modules and data. Each takes its part of every
    batch, gradients are averaged over all images, and batch normalisation takes its statistics over all: but for rounding
    and dropout it is the training of one process. Only the first writes and reports. Every process reads and augments all
    images.

    Args:
        module: maps images (n, c, h, w) to logits (n, classes); trained where its parameters are.
        data: images to train on.
        recipe: how.
        teacher: what to distil from, with the recipe's weight; evaluated, never changed.
        loss: maps logits and labels to a scalar, a mean over images; cross-entropy with the recipe's label smoothing by
            default.
        folder: where to keep checkpoints; one training a folder.
        before_step: called before every step; it may change what the module computes, not its parameters' shapes.
        on_epoch: called after each epoch trained by this call.
        progress: told every step.

    Raises:
        ConfigError: the device does not compute in the recipe's precision.
        OutcomeError: the loss is no longer finite.
        BadFile: `folder` holds another training or damaged files.
    """
    device, loss = device_of(module), loss or label_loss(recipe)
    check_precision(recipe.precision, device)
    if recipe.is_channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averages = WeightAverages(module, recipe.ema_decay) if recipe.ema_decay else None
    state = TrainingState(module, optimizer_for(module, recipe), gradient_scaler(device, recipe.precision), averages)
    checkpoint = None if folder is None else Checkpoint(folder, training_key(recipe, data))
    results = checkpoint.load(state) if checkpoint else []
    if len(results) < recipe.epochs:
        with in_mode(module, is_training=True), nullcontext() if teacher is None else in_mode(teacher, is_training=False):
            trainer = _Trainer(state, data, recipe, loss, teacher, before_step)
            for _ in trainer.epochs(results, progress if is_first() else silent):
                if checkpoint:
                    checkpoint.save(state, results)
                if on_epoch:
                    on_epoch(results[-1])
    if averages:
        averages.give_to(module)
    return results


def training_key(recipe: Recipe, data: TrainingData) -> str:
    """Return the hash that tells one training from another in a checkpoint folder."""
    return content_hash({"recipe": recipe.to_json(), "data": data.name, "n_training": data.n_training})


@contextmanager
def _seeded(device: torch.device, seed: int, epoch: int) -> Iterator[None]:
    """Seed torch's generators (of dropout) by epoch and process, so that resuming is exact, and put them back afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(content_hash([seed, epoch, rank()] if rank() else [seed, epoch]), 16) % 2**63)
        yield


class _Trainer:
    """Everything one epoch needs."""

    def __init__(
        self,
        state: TrainingState,
        data: TrainingData,
        recipe: Recipe,
        loss: Loss,
        teacher: nn.Module | None,
        before_step: BeforeStep | None,
    ) -> None:
        self._state, self._data, self._recipe, self._loss, self._teacher = state, data, recipe, loss, teacher
        self._before_step = before_step or (lambda _: None)
        self._device = device_of(state.module)
        self._n_steps = math.ceil(data.n_training / recipe.batch_size)
        self._parallel = state.module if n_processes() == 1 else self._distributed()

    def _distributed(self) -> nn.Module:
        """Return the module with gradients averaged over all processes, weights and buffers as the first has them."""
        module = self._state.module
        return DistributedDataParallel(module, find_unused_parameters=from_first(self._has_unused_parameters))

    def _has_unused_parameters(self) -> bool:
        module, (x, y) = self._state.module, self._first_batch()
        with _seeded(self._device, self._recipe.seed, 0), buffers_kept(module):
            trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
            gradients = torch.autograd.grad(self._batch_loss(module, x, y), trainable, allow_unused=True)
        return any(gradient is None for gradient in gradients)

    def epochs(self, results: list[EpochResult], progress: Progress) -> Iterator[None]:
        """Train the epochs that are missing; add each one's result when it is done."""
        precision = results[-1].precision if results else from_first(self._chosen_precision)
        for epoch in range(len(results), self._recipe.epochs):
            results.append(self.epoch(epoch, precision, progress))
            yield

    def _chosen_precision(self) -> ComputePrecision:
        """Return the precision to compute in, by the recipe or by timing the first batch."""
        device, precision = self._device, self._recipe.precision
        if precision != "auto" or device.type != "cpu":
            return chosen_precision(precision, device, lambda _: None)
        x, y = self._first_batch()
        with _seeded(device, self._recipe.seed, 0):
            step = trial_step(self._state.module, lambda: self._batch_loss(self._state.module, x, y), device)
            return chosen_precision("auto", device, step)

    def epoch(self, epoch: int, precision: ComputePrecision, progress: Progress) -> EpochResult:
        """Train one epoch, counted from 0."""
        start, recipe = time.perf_counter(), self._recipe
        tracker = Tracker(progress, f"epoch {epoch + 1}/{recipe.epochs}", self._n_steps)
        total, n, learning_rate = 0.0, 0, 0.0
        with _seeded(self._device, recipe.seed, epoch):
            for step, (x, y) in enumerate(self._data.training_batches(epoch, recipe.batch_size, recipe.seed)):
                self._before_step(epoch * self._n_steps + step)
                learning_rate = recipe.learning_rate_at(epoch + (step + 1) / (self._n_steps + 1))
                loss = self._step(x, y, learning_rate, precision)
                if not math.isfinite(loss):
                    raise OutcomeError(
                        f"the loss became {loss} in step {step + 1} of epoch {epoch + 1} at learning rate "
                        f"{learning_rate:.3g}; use a smaller learning_rate, more warmup_epochs, or precision fp32"
                    )
                total, n = total + loss * len(y), n + len(y)
                tracker.step(f"loss {total / n:.3f}")
        return EpochResult(epoch + 1, total / max(n, 1), learning_rate, time.perf_counter() - start, precision)

    def _step(self, x: Tensor, y: Tensor, learning_rate: float, precision: ComputePrecision) -> float:
        """Take one step and return the mean loss of the batch, of all processes' parts together."""
        state, share = self._state, own_share(x, y)
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate
        own_x, own_y = self._placed(share.x, share.y)
        with autocast(self._device, precision), synchronised_batch_norm() if share.is_part else nullcontext():
            loss = share.weight * self._batch_loss(self._parallel, own_x, own_y)
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.averages:
            state.averages.update()
        return float(summed(loss.detach())) / n_processes()

    def _batch_loss(self, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return batch_loss(module, x, y, recipe=self._recipe, loss=self._loss, teacher=self._teacher)

    def _first_batch(self) -> tuple[Tensor, Tensor]:
        return self._placed(*next(self._data.training_batches(0, self._recipe.batch_size, self._recipe.seed)))

    def _placed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if self._recipe.is_channels_last:
            x = x.to(memory_format=torch.channels_last)
        return x.to(self._device), y.to(self._device)
