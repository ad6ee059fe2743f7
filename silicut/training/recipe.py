"""How a network is trained: one frozen record, so that results can say exactly what made them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from silicut.records import ConfigError, Record

Precision = Literal["auto", "bf16", "fp16", "fp32"]


@dataclass(frozen=True, kw_only=True)
class Recipe(Record):
    """SGD with Nesterov momentum and a cosine schedule.

    Attributes:
        epochs: passes over the training images, 1 or more.
        batch_size: images of one step, 2 or more (batch norm needs two); of all processes together where several train.
        learning_rate: its peak, above 0.
        warmup_epochs: epochs of linear rise to the peak, 0 or more and less than `epochs`; fractions are legal.
        momentum: of SGD, 0 to less than 1; 0 means plain SGD.
        weight_decay: L2 factor, 0 or more; batch norms and biases are never decayed.
        label_smoothing: share of the label spread over all classes, 0 to less than 1.
        distil_weight: share of the distillation term in the loss, 0 to 1; used when a teacher is given.
        distil_temperature: softens both distributions in that term, above 0.
        ema_decay: of the exponential moving average of the weights, which training ends with; 0 to less than 1, 0 for none.
        precision: "bf16" computes under bfloat16 autocast, "fp16" under float16 with scaled gradients (CUDA only), "fp32"
            under neither, "auto" takes bf16 where it is measured faster (CPU) or supported (CUDA).
        is_channels_last: keep images and weights in channels-last memory order; changes speed, not meaning.
        seed: decides data order and augmentation, 0 or more.

    Raises:
        ConfigError: one or more fields are out of range; all are named.

    Example:
        >>> Recipe(epochs=2, batch_size=1, seed=-1)
        Traceback (most recent call last):
        ...
        silicut.records.errors.ConfigError: batch_size must be 2 or more, not 1; seed must be 0 or more, not -1
    """

    schema: ClassVar[str] = "recipe/1"

    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.1
    warmup_epochs: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    distil_weight: float = 0.0
    distil_temperature: float = 4.0
    ema_decay: float = 0.0
    precision: Precision = "auto"
    is_channels_last: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch_size": (self.batch_size >= 2, "2 or more"),
            "learning_rate": (0 < self.learning_rate < math.inf, "above 0 and finite"),
            "warmup_epochs": (0 <= self.warmup_epochs < max(self.epochs, 1), "0 or more and less than epochs"),
            "momentum": (0 <= self.momentum < 1, "from 0 to less than 1"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more and finite"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "from 0 to less than 1"),
            "distil_weight": (0 <= self.distil_weight <= 1, "from 0 to 1"),
            "distil_temperature": (0 < self.distil_temperature < math.inf, "above 0 and finite"),
            "ema_decay": (0 <= self.ema_decay < 1, "from 0 to less than 1"),
            "precision": (self.precision in get_args(Precision), "auto, bf16, fp16 or fp32"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        problems = [f"{field} must be {rule}, not {getattr(self, field)!r}" for field, (ok, rule) in rules.items() if not ok]
        if problems:
            raise ConfigError(*problems)

    def learning_rate_at(self, epoch: float) -> float:
        """Return the learning rate at a fractional epoch, 0..epochs: linear rise, then half a cosine down to 0.

        Source: Loshchilov and Hutter, "SGDR", 2017, without restarts.

        Example:
            >>> recipe = Recipe(epochs=10, learning_rate=0.1, warmup_epochs=2)
            >>> [round(recipe.learning_rate_at(epoch), 4) for epoch in (0, 1, 2, 6, 10)]
            [0.0, 0.05, 0.1, 0.05, 0.0]
        """
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        done_frac = min((epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs), 1.0)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done_frac))


RECOVERY = Recipe(
    epochs=8,
    learning_rate=0.03,
    warmup_epochs=0.5,
    distil_weight=0.7,
    distil_temperature=4.0,
)
"""Fine-tuning after pruning: a smaller peak and distillation from the network that was pruned."""
