"""What training needs of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeGuard

from torch import Tensor

Batches = Iterable[tuple[Tensor, Tensor]]
"""Images (n, c, h, w) and their labels (n,)."""


class TrainingData(Protocol):
    """Labelled images in batches, some to train on and some to evaluate on.

    Attributes:
        name: how messages call the data.
        input_shape: channels, height and width of one image.
        n_classes: labels are 0..n_classes - 1.
        n_training: images of one epoch.
        n_evaluation: images evaluated on; none of them is trained on.
    """

    @property
    def name(self) -> str: ...
    @property
    def input_shape(self) -> tuple[int, int, int]: ...
    @property
    def n_classes(self) -> int: ...
    @property
    def n_training(self) -> int: ...
    @property
    def n_evaluation(self) -> int: ...

    def training_batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one epoch, shuffled and augmented.

        Order and augmentation depend on (seed, epoch) alone, so that training resumed at an epoch equals training that
        never stopped.

        Yields:
            Normalised images (n, c, h, w), float32, and labels (n,), int64, with n at most `batch_size`.
        """
        ...

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all evaluation images in one fixed order, as `training_batches` does but not augmented."""
        ...


def is_training_data(data: object) -> TypeGuard[TrainingData]:
    """Return whether something is a data set rather than plain batches, by its two methods of batches."""
    return all(callable(getattr(data, name, None)) for name in ("training_batches", "evaluation_batches"))
