"""Handwritten digits that need no download: those that come with scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from silicut.records import ToolMissing
from silicut.zoo.data.images import Augmentation, ImageData, Labelled

_SIZE = 32
_SPLIT_SEED = 0
_TRAINING_FRAC = 0.8


def digits() -> ImageData:
    """Return 1,437 training and 360 evaluation digits, (1, 32, 32).

    They are the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), 8x8 pixels
    of 0..16, enlarged bilinearly and split by a fixed shuffle.

    Raises:
        ToolMissing: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ToolMissing("scikit-learn", "demo") from None
    small, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(small).to(torch.float32).reshape(-1, 1, 8, 8) * (255 / 16)
    large = functional.interpolate(pixels, size=(_SIZE, _SIZE), mode="bilinear", align_corners=False)
    images = large.round().to(torch.uint8).numpy()
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
    n = int(_TRAINING_FRAC * len(labels))
    training, evaluation = (Labelled(images[part], labels[part].astype(np.int64)) for part in (order[:n], order[n:]))
    return ImageData("digits", training, evaluation, mean=(0.3,), std=(0.35,), augmentation=Augmentation(crop_padding=2))
