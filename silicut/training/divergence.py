"""How far a changed network's outputs are from the dense one's, on a few training images: a loss that needs no training."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from silicut.training.data import TrainingData
from silicut.training.loss import Loss
from silicut.training.modes import device_of
from silicut.training.recalibrate import statistics_mode

_MOST_NUMBERS = 2**22  # of the images of one forward pass


class Divergence:
    """Compares networks with a dense one on a fixed set of training images.

    Batch norms use the statistics of these images, which is what recalibrating on them gives, in the dense network too; so
    the dense network's own divergence is 0. The divergence is the mean of KL(dense || changed) over the images; with a
    loss of the user's own it is how much that loss grows.

    Args:
        dense: the network before; its running statistics change.
        data: images of its training set are taken.
        n_images: how many; fewer where there are fewer.
        loss: of (outputs, labels); None for the divergence of class probabilities.
        seed: decides which images.
    """

    def __init__(self, dense: nn.Module, data: TrainingData, n_images: int, loss: Loss | None = None, seed: int = 0) -> None:
        self._loss = loss
        batch_size = max(2, min(n_images, _MOST_NUMBERS // math.prod(data.input_shape)))
        n_batches = max(1, n_images // batch_size)
        batches = itertools.islice(data.training_batches(2, batch_size, seed), n_batches)
        self._batches = [(x, y) for x, y in batches if len(x) > 1]
        self._before = [self._seen(outputs, y) for outputs, (_, y) in zip(self._outputs(dense), self._batches, strict=True)]

    @property
    def n_images(self) -> int:
        """Images compared on."""
        return sum(len(x) for x, _ in self._batches)

    def of(self, module: nn.Module) -> float:
        """Return the divergence of a module, whose running statistics change; at least 0, infinite where it returns NaN."""
        total = 0.0
        for before, outputs, (_, y) in zip(self._before, self._outputs(module), self._batches, strict=True):
            after = self._seen(outputs, y)
            if self._loss is None:
                total += len(y) * float(functional.kl_div(after, before, reduction="batchmean", log_target=True))
            else:
                total += len(y) * float(after - before)
        mean = total / self.n_images
        return max(0.0, mean) if math.isfinite(mean) else math.inf

    def _outputs(self, module: nn.Module) -> list[Tensor]:
        device = device_of(module)
        with torch.no_grad(), statistics_mode(module):
            return [module(x.to(device)).float().cpu() for x, _ in self._batches]

    def _seen(self, outputs: Tensor, y: Tensor) -> Tensor:
        return functional.log_softmax(outputs, 1) if self._loss is None else self._loss(outputs, y)
