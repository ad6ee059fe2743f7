"""The training loop: SGD, cosine schedule, distillation, resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from silicut.records import OutcomeError, Progress, Tracker, content_hash, silent
from silicut.training.checkpoint import Checkpoint, EpochResult
from silicut.training.data import TrainingData
from silicut.training.loss import Loss, batch_loss, label_loss
from silicut.training.modes import device_of, in_mode
from silicut.training.precision import autocast, chosen_bf16, trial_step
from silicut.training.recipe import Recipe

OnEpoch = Callable[[EpochResult], None]


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
    on_epoch: OnEpoch | None = None,
    progress: Progress = silent,
) -> list[EpochResult]:
    """Train a network in place and return what each epoch gave.

    The module's mode and torch's generators are put back afterwards; with the recipe's `is_channels_last` its
    weights stay in that memory order, which changes no value.

    With `folder` the state is kept after every epoch, and a call with the same arguments goes on from there: the result
    equals that of training without a stop, and a kill costs at most the epoch it fell into.

    Args:
        module: maps images (n, c, h, w) to logits (n, classes); trained where its parameters are.
        data: images to train on.
        recipe: how.
        teacher: what to distil from, with the recipe's weight; evaluated, never changed.
        loss: maps logits and labels to a scalar; cross-entropy with the recipe's label smoothing by default.
        folder: where to keep checkpoints; one training a folder.
        on_epoch: called after each epoch trained by this call.
        progress: told every step.

    Raises:
        OutcomeError: the loss is no longer finite.
        BadFile: `folder` holds another training or damaged files.
    """
    loss = loss or label_loss(recipe)
    if recipe.is_channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optimizer_for(module, recipe)
    checkpoint = None if folder is None else Checkpoint(folder, training_key(recipe, data))
    results = checkpoint.load(module, optimizer) if checkpoint else []
    if len(results) == recipe.epochs:
        return results
    with in_mode(module, is_training=True), nullcontext() if teacher is None else in_mode(teacher, is_training=False):
        trainer = _Trainer(module, data, recipe, optimizer, loss, teacher)
        with _seeded(trainer.device, recipe.seed, 0):
            is_bf16 = results[-1].is_bf16 if results else trainer.chosen_bf16()
        for epoch in range(len(results), recipe.epochs):
            with _seeded(trainer.device, recipe.seed, epoch):
                results.append(trainer.epoch(epoch, is_bf16, progress))
            if checkpoint:
                checkpoint.save(module, optimizer, results)
            if on_epoch:
                on_epoch(results[-1])
    return results


def training_key(recipe: Recipe, data: TrainingData) -> str:
    """Return the hash that tells one training from another in a checkpoint folder."""
    return content_hash({"recipe": recipe.to_json(), "data": data.name, "n_training": data.n_training})


@contextmanager
def _seeded(device: torch.device, seed: int, epoch: int) -> Iterator[None]:
    """Seed torch's generators (of dropout) by epoch, so that resuming is exact, and put them back afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(content_hash([seed, epoch]), 16) % 2**63)
        yield


class _Trainer:
    """Everything one epoch needs."""

    def __init__(
        self,
        module: nn.Module,
        data: TrainingData,
        recipe: Recipe,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        teacher: nn.Module | None,
    ) -> None:
        self._module, self._data, self._recipe, self._optimizer = module, data, recipe, optimizer
        self._loss, self._teacher, self.device = loss, teacher, device_of(module)
        self._n_steps = math.ceil(data.n_training / recipe.batch_size)

    def chosen_bf16(self) -> bool:
        """Return whether bfloat16 is to be used, by the recipe or by timing the first batch."""
        device = self.device
        if self._recipe.precision != "auto" or device.type != "cpu":
            return chosen_bf16(self._recipe.precision, device, lambda _: None)
        x, y = next(self._data.training_batches(0, self._recipe.batch_size, self._recipe.seed))
        x, y = self._placed(x, y)
        return chosen_bf16("auto", device, trial_step(self._module, lambda: self._batch_loss(x, y), device))

    def epoch(self, epoch: int, is_bf16: bool, progress: Progress) -> EpochResult:
        """Train one epoch, counted from 0."""
        start, recipe = time.perf_counter(), self._recipe
        tracker = Tracker(progress, f"epoch {epoch + 1}/{recipe.epochs}", self._n_steps)
        total, n, learning_rate = 0.0, 0, 0.0
        for step, (x, y) in enumerate(self._data.training_batches(epoch, recipe.batch_size, recipe.seed)):
            learning_rate = recipe.learning_rate_at(epoch + (step + 1) / (self._n_steps + 1))
            loss = self._step(x, y, learning_rate, is_bf16)
            if not math.isfinite(loss):
                raise OutcomeError(
                    f"the loss became {loss} in step {step + 1} of epoch {epoch + 1} at learning rate "
                    f"{learning_rate:.3g}; use a smaller learning_rate, more warmup_epochs, or precision fp32"
                )
            total, n = total + loss * len(y), n + len(y)
            tracker.step(f"loss {total / n:.3f}")
        seconds = time.perf_counter() - start
        return EpochResult(epoch + 1, total / max(n, 1), learning_rate, seconds, is_bf16)

    def _step(self, x: Tensor, y: Tensor, learning_rate: float, is_bf16: bool) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        x, y = self._placed(x, y)
        with autocast(self.device, is_bf16):
            loss = self._batch_loss(x, y)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach())

    def _batch_loss(self, x: Tensor, y: Tensor) -> Tensor:
        return batch_loss(self._module, x, y, recipe=self._recipe, loss=self._loss, teacher=self._teacher)

    def _placed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if self._recipe.is_channels_last:
            x = x.to(memory_format=torch.channels_last)
        return x.to(self.device), y.to(self.device)
