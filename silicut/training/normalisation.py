"""Between images of 0..255, as cameras and files have them, and the numbers that a network reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from silicut.records import ConfigError, Record


@dataclass(frozen=True, kw_only=True)
class Normalisation(Record):
    """What a network reads of a pixel of 0..255: (pixel / 255 - mean) / std, by channel.

    Attributes:
        mean, std: on the scale 0..1, one number a channel; std positive.

    Raises:
        ConfigError: the numbers are not as above.

    Example:
        >>> grey = Normalisation(mean=(0.5,), std=(0.25,))
        >>> images = grey.images(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
        >>> images.tolist(), grey.pixels(images).tolist()
        ([[[[-2.0, 2.0]]]], [[[[0, 255]]]])
    """

    schema: ClassVar[str] = "normalisation/1"
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        problems = []
        if not self.mean or len(self.mean) != len(self.std):
            problems.append(f"mean and std must have one number a channel, not {len(self.mean)} and {len(self.std)}")
        if not all(map(math.isfinite, self.mean)):
            problems.append(f"mean must be finite numbers, not {self.mean}")
        if not all(math.isfinite(each) and each > 0 for each in self.std):
            problems.append(f"std must be positive numbers, not {self.std}")
        if problems:
            raise ConfigError(*problems)

    @classmethod
    def parse(cls, text: str) -> Normalisation:
        """Return the normalisation of a text: means, a slash, standard deviations.

        Raises:
            ConfigError: it is no such text.

        Example:
            >>> Normalisation.parse("0.5,0.4/0.25,0.2").std
            (0.25, 0.2)
        """
        try:
            mean, std = (tuple(map(float, part.split(","))) for part in text.split("/"))
        except ValueError:
            raise ConfigError(
                f"a normalisation must be mean/std like 0.485,0.456,0.406/0.229,0.224,0.225, not {text!r}"
            ) from None
        return cls(mean=mean, std=std)

    def images(self, pixels: Tensor) -> Tensor:
        """Return what the network reads, float32.

        Args:
            pixels: (n, channels, ...), of 0..255.
        """
        mean, std = _whole(self.mean, pixels), _whole(self.std, pixels)
        return (pixels.to(torch.float32) - mean).mul_(1 / std)

    def pixels(self, images: Tensor) -> Tensor:
        """Return the nearest pixels of what the network reads, uint8.

        Args:
            images: (n, channels, ...).
        """
        mean, std = _whole(self.mean, images), _whole(self.std, images)
        return (images * std + mean).round_().clamp_(0, 255).to(torch.uint8)


def _whole(numbers: tuple[float, ...], images: Tensor) -> Tensor:
    """Return one number a channel on the scale 0..255, in a shape that broadcasts over images."""
    return 255 * torch.tensor(numbers, dtype=torch.float32, device=images.device).reshape(1, -1, 1, 1)
