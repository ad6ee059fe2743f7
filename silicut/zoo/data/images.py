"""Labelled images held in memory, augmented a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from silicut.training import Normalisation

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Labelled:
    """Images (n, c, h, w), uint8, and their labels (n,), int64."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, n: int) -> Labelled:
        """Return the first n."""
        return Labelled(self.images[:n], self.labels[:n])


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of training images.

    Attributes:
        crop_padding: pixels of black border on each side before a crop of the original size; 0 for no crop.
        is_flipped: mirror half of the images left to right.
    """

    crop_padding: int = 0
    is_flipped: bool = False

    def apply(self, images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return augmented uint8 images of the same shape (n, c, h, w).

        All crops of a batch are one gather of windows. The border is black as in the usual recipe, where images are
        padded before they are normalised.
        """
        n, _, h, w = images.shape
        pad = self.crop_padding
        if pad:
            padded = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(2, 3))
            top, left = generator.integers(0, 2 * pad + 1, (2, n))
            images = windows[np.arange(n), :, top, left]
        if self.is_flipped:
            is_chosen: np.ndarray = np.less(generator.random(n), 0.5)
            images = np.where(is_chosen[:, None, None, None], images[..., ::-1], images)
        return images


class ImageData:
    """In-memory images as `silicut.training.TrainingData`.

    Args:
        name: how messages call the data.
        training: images to train on.
        evaluation: images to evaluate on.
        mean: mean of each channel on the scale 0..1, subtracted.
        std: standard deviation of each channel on the scale 0..1, divided by.
        augmentation: changes of training images.

    Example:
        >>> images = Labelled(np.zeros((5, 1, 8, 8), np.uint8), np.arange(5))
        >>> data = ImageData("blank", images, images, mean=(0.5,), std=(0.5,))
        >>> [tuple(x.shape) for x, _ in data.evaluation_batches(3)]
        [(3, 1, 8, 8), (2, 1, 8, 8)]
    """

    def __init__(
        self,
        name: str,
        training: Labelled,
        evaluation: Labelled,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augmentation: Augmentation | None = None,
    ) -> None:
        self._name, self._training, self._evaluation = name, training, evaluation
        self._normalisation = Normalisation(mean=mean, std=std)
        self._augmentation = augmentation
        self._n_classes = 1 + int(max(training.labels.max(), evaluation.labels.max()))

    @property
    def name(self) -> str:
        """How messages call the data."""
        return self._name

    @property
    def normalisation(self) -> Normalisation:
        """What becomes of pixels before a network reads them."""
        return self._normalisation

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        _, c, h, w = self._training.images.shape
        return c, h, w

    @property
    def n_classes(self) -> int:
        """One more than the largest label."""
        return self._n_classes

    @property
    def n_training(self) -> int:
        """Images of one epoch."""
        return len(self._training)

    @property
    def n_evaluation(self) -> int:
        """Images evaluated on."""
        return len(self._evaluation)

    def subset(self, n_training: int, n_evaluation: int) -> ImageData:
        """Return the first images of each kind as data of their own, for quick trials.

        Raises:
            ValueError: there are fewer images than asked for, or none is asked for.
        """
        for kind, n, n_all in (
            ("n_training", n_training, self.n_training),
            ("n_evaluation", n_evaluation, self.n_evaluation),
        ):
            if not 1 <= n <= n_all:
                raise ValueError(f"{kind} must be from 1 to {n_all}, not {n}")
        return ImageData(
            self._name,
            self._training.first(n_training),
            self._evaluation.first(n_evaluation),
            mean=self.normalisation.mean,
            std=self.normalisation.std,
            augmentation=self._augmentation,
        )

    def training_batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield shuffled, augmented batches; order and augmentation depend on (seed, epoch) alone.

        A last batch of a single image is left out, because batch norm cannot be trained on it.
        """
        generator = np.random.default_rng((seed, epoch))
        order = generator.permutation(self.n_training)
        for start in range(0, self.n_training, batch_size):
            chosen = order[start : start + batch_size]
            if len(chosen) == 1 < self.n_training:
                return
            images = self._training.images[chosen]
            if self._augmentation is not None:
                images = self._augmentation.apply(images, generator)
            yield self.normalisation.images(torch.from_numpy(images)), torch.from_numpy(self._training.labels[chosen])

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all evaluation images in their order, not augmented."""
        for start in range(0, self.n_evaluation, batch_size):
            chosen = slice(start, start + batch_size)
            images, labels = (torch.from_numpy(part[chosen]) for part in (self._evaluation.images, self._evaluation.labels))
            yield self.normalisation.images(images), labels
