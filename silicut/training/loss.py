"""What training makes small."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from silicut.training.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (n, classes) and labels (n,) to a scalar."""


def label_loss(recipe: Recipe) -> Loss:
    """Return the mean cross-entropy with the recipe's label smoothing."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)

    return loss


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher at T || student at T), the mean over images.

    T^2 keeps the size of its gradient the same at every temperature.
    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Example:
        >>> logits = torch.tensor([[1.0, 2.0]])
        >>> float(distillation_loss(logits, logits, 4.0))
        0.0
    """
    student = functional.log_softmax(logits / temperature, 1)
    target = functional.log_softmax(teacher_logits / temperature, 1)
    return temperature**2 * functional.kl_div(student, target, reduction="batchmean", log_target=True)


def batch_loss(module: nn.Module, x: Tensor, y: Tensor, *, recipe: Recipe, loss: Loss, teacher: nn.Module | None) -> Tensor:
    """Return the loss of one batch: `(1 - w) loss + w distillation` with the recipe's weight w when a teacher is given.

    The teacher sees the very same augmented images; it must be in evaluation mode and gets no gradient.
    """
    logits = module(x).float()
    if teacher is None or recipe.distil_weight == 0:
        return loss(logits, y)
    with torch.no_grad():
        teacher_logits = teacher(x).float()
    soft = distillation_loss(logits, teacher_logits, recipe.distil_temperature)
    if recipe.distil_weight == 1:
        return soft
    return (1 - recipe.distil_weight) * loss(logits, y) + recipe.distil_weight * soft
