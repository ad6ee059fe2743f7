"""The residual network of MLPerf Tiny's image classification."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from silicut.zoo.networks.initial import kaiming_

_EPSILON = 1e-3  # of batch norm, as its published weights were trained


class ResNet8(nn.Module):
    """Three stages of one residual block each; all convolutions have biases, shortcuts that change shape no batch norm.

    State-dict names: conv1, bn1, layer1.conv1 ... layer3.bn2, layer2.downsample, layer3.downsample, fc. Images are numbers
    of 0..255 as they are. Source: Banbury et al., "MLPerf Tiny Benchmark", 2021.

    Args:
        n_classes: outputs.

    Example:
        >>> ResNet8(10).eval()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16, _EPSILON)
        self.layer1 = _Block(16, 16, 1)
        self.layer2 = _Block(16, 32, 2)
        self.layer3 = _Block(32, 64, 2)
        self.fc = nn.Linear(64, n_classes)
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, h, w) of 0..255 to logits (n, n_classes)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, a strided 1x1 convolution where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1 if stride == 1 else 0)
        self.bn1 = nn.BatchNorm2d(n_out, _EPSILON)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(n_out, _EPSILON)
        self.downsample = nn.Conv2d(n_in, n_out, 1, stride) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, n_out, h / stride, w / stride)."""
        # Where TensorFlow halves an even size, it pads at the bottom and at the right only.
        padded = x if self.downsample is None else functional.pad(x, (0, 1, 0, 1))
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(padded)))))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))
