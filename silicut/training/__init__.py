"""Training: fit with distillation, evaluate, recalibrate batch norm; every piece is usable alone in the user's own loop."""

from silicut.training.checkpoint import Checkpoint, EpochResult
from silicut.training.data import Batches, TrainingData, is_training_data
from silicut.training.divergence import Divergence
from silicut.training.evaluate import Accuracy, Metric, evaluate, top1
from silicut.training.fit import OnEpoch, fit, optimizer_for
from silicut.training.loss import Loss, batch_loss, distillation_loss, label_loss
from silicut.training.recalibrate import BatchNormBuffers, batch_norm_buffers, recalibrate_batch_norm
from silicut.training.recipe import RECOVERY, Precision, Recipe

__all__ = [
    "RECOVERY",
    "Accuracy",
    "BatchNormBuffers",
    "Batches",
    "Checkpoint",
    "Divergence",
    "EpochResult",
    "Loss",
    "Metric",
    "OnEpoch",
    "Precision",
    "Recipe",
    "TrainingData",
    "batch_loss",
    "batch_norm_buffers",
    "distillation_loss",
    "evaluate",
    "fit",
    "is_training_data",
    "label_loss",
    "optimizer_for",
    "recalibrate_batch_norm",
    "top1",
]
