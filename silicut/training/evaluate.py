"""How often a network is right, image by image."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from silicut.training.data import Batches, TrainingData, is_training_data
from silicut.training.modes import device_of, in_mode
from silicut.training.processes import gathered, own_turns

Metric = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (n, classes) and labels (n,) to whether each image is right, bool (n,)."""


@dataclass(frozen=True, eq=False)
class Accuracy:
    """The outcome of one evaluation.

    Attributes:
        is_correct: whether each image was classified right, bool (n,), in the order of the data; two networks evaluated
            on the same data are compared image by image, which narrows the interval of their difference.
    """

    is_correct: np.ndarray

    @property
    def n(self) -> int:
        """Images evaluated."""
        return len(self.is_correct)

    @property
    def n_correct(self) -> int:
        """Images classified right."""
        return int(self.is_correct.sum())

    @property
    def accuracy_frac(self) -> float:
        """`n_correct / n`."""
        return self.n_correct / self.n


def top1(logits: Tensor, labels: Tensor) -> Tensor:
    """Return whether the largest logit is the label's, bool (n,)."""
    return logits.argmax(1) == labels


def evaluate(
    module: nn.Module,
    data: TrainingData | Batches,
    metric: Metric | None = None,
    batch_size: int = 250,
) -> Accuracy:
    """Return how often a network is right on the evaluation images, in float32 and evaluation mode.

    The module's mode is put back afterwards. In a process group all processes call this with equal modules and data; each
    evaluates its turn of the batches, and all return the outcome of all images.

    Args:
        module: maps images (n, c, h, w) to logits (n, classes).
        data: a data set, or any iterable of (images, labels).
        metric: what counts as right; `top1` by default.
        batch_size: images of one forward pass; only for a data set.

    Raises:
        ValueError: there is nothing to evaluate on, or the metric does not give one value an image.
    """
    batches = data.evaluation_batches(batch_size) if is_training_data(data) else cast(Batches, data)
    metric = metric or top1
    device, hits = device_of(module), []
    with torch.no_grad(), in_mode(module, is_training=False):
        for x, y in own_turns(batches):
            hit = metric(module(x.to(device)), y.to(device))
            if hit.shape != y.shape:
                raise ValueError(f"the metric must return one value an image ({len(y)}), not shape {tuple(hit.shape)}")
            hits.append(hit.cpu().numpy().astype(bool))
    in_order = [hit for turn in itertools.zip_longest(*gathered(hits)) for hit in turn if hit is not None]
    if not in_order:
        raise ValueError("the data must hold at least one evaluation image, not none")
    return Accuracy(np.concatenate(in_order))
