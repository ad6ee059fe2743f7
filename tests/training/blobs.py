"""A tiny data set and network that can be trained in a fraction of a second."""

import numpy as np
import torch
from torch import nn

from silicut.zoo.data.images import Augmentation, ImageData, Labelled


def blobs(n_training=96, n_evaluation=64, crop_padding=1):
    """Three classes of 2-channel 6x6 images: the brighter channel, or none, says which."""
    generator = np.random.default_rng(5)

    def images(n):
        labels = generator.integers(0, 3, n)
        pixels = generator.integers(0, 100, (n, 2, 6, 6))
        for channel in range(2):
            pixels[labels == channel, channel] += 100
        return Labelled(pixels.astype(np.uint8), labels.astype(np.int64))

    augmentation = Augmentation(crop_padding=crop_padding, is_flipped=True)
    return ImageData(
        "blobs", images(n_training), images(n_evaluation), mean=(0.3, 0.3), std=(0.2, 0.2), augmentation=augmentation
    )


def small_network(seed=0):
    """Convolution, batch norm, dropout, linear."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout2d(0.2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )
