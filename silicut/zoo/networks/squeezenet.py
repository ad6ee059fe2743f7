"""SqueezeNet (Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016), version 1.1."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from silicut.zoo.networks.initial import kaiming_

# Channels of the squeezing convolution; each expanding one has four times as many. A pool stands before each inner tuple.
_STAGES = ((16, 16), (32, 32), (48, 48, 64, 64))


class Fire(nn.Module):
    """A 1x1 convolution that narrows, then a 1x1 and a 3x3 that widen, their outputs joined."""

    def __init__(self, n_in: int, n_squeezed: int) -> None:
        super().__init__()
        n_expanded = 4 * n_squeezed
        self.squeeze = nn.Conv2d(n_in, n_squeezed, 1)
        self.expand1x1 = nn.Conv2d(n_squeezed, n_expanded, 1)
        self.expand3x3 = nn.Conv2d(n_squeezed, n_expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, 8 * n_squeezed, h, w)."""
        x = functional.relu(self.squeeze(x))
        return torch.cat((functional.relu(self.expand1x1(x)), functional.relu(self.expand3x3(x))), 1)


class SqueezeNet(nn.Module):
    """Version 1.1; state-dict names as in torchvision (features.0, features.3.squeeze ..., classifier.1).

    Args:
        n_classes: outputs.

    Example:
        >>> SqueezeNet(10).eval()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        n_in = 64
        layers: list[nn.Module] = [nn.Conv2d(3, n_in, 3, 2), nn.ReLU()]
        for stage in _STAGES:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            for n_squeezed in stage:
                layers.append(Fire(n_in, n_squeezed))
                n_in = 8 * n_squeezed
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(n_in, n_classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, h, w) to logits (n, n_classes), which this network's last ReLU keeps at 0 or more."""
        return torch.flatten(self.classifier(self.features(x)), 1)
