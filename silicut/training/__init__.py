"""Training: fit with distillation, evaluate, recalibrate batch norm; every piece is usable alone in the user's own loop."""

from silicut.training.averaging import WeightAverages
from silicut.training.checkpoint import Checkpoint, EpochResult, TrainingState
from silicut.training.data import Batches, TrainingData, is_training_data
from silicut.training.divergence import Divergence
from silicut.training.evaluate import Accuracy, Metric, evaluate, top1
from silicut.training.fit import BeforeStep, OnEpoch, fit, optimizer_for
from silicut.training.loss import Loss, batch_loss, distillation_loss, label_loss
from silicut.training.masks import MaskedModule, Masks
from silicut.training.normalisation import Normalisation
from silicut.training.precision import check_precision
from silicut.training.processes import (
    from_first,
    is_first,
    is_first_to_fail,
    n_processes,
    process_group,
    rank,
)
from silicut.training.recalibrate import BatchNormBuffers, batch_norm_buffers, recalibrate_batch_norm
from silicut.training.recipe import RECOVERY, Precision, Recipe
from silicut.training.slicing import KeptParts, sliced_optimizer_state, sliced_state_dict
from silicut.training.synchronised import synchronised_batch_norm

__all__ = [
    "RECOVERY",
    "Accuracy",
    "BatchNormBuffers",
    "Batches",
    "BeforeStep",
    "Checkpoint",
    "Divergence",
    "EpochResult",
    "KeptParts",
    "Loss",
    "MaskedModule",
    "Masks",
    "Metric",
    "Normalisation",
    "OnEpoch",
    "Precision",
    "Recipe",
    "TrainingData",
    "TrainingState",
    "WeightAverages",
    "batch_loss",
    "batch_norm_buffers",
    "check_precision",
    "distillation_loss",
    "evaluate",
    "fit",
    "from_first",
    "is_first",
    "is_first_to_fail",
    "is_training_data",
    "label_loss",
    "n_processes",
    "optimizer_for",
    "process_group",
    "rank",
    "recalibrate_batch_norm",
    "sliced_optimizer_state",
    "sliced_state_dict",
    "synchronised_batch_norm",
    "top1",
]
