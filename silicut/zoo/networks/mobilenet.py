"""MobileNetV2 (Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from silicut.zoo.networks.initial import kaiming_

# Table 2 of the paper: expansion, channels, blocks, stride of the first block.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_STEM_WIDTH, _LAST_WIDTH = 32, 1280


class InvertedResidual(nn.Module):
    """A 1x1 convolution that widens, a depthwise 3x3, and a 1x1 that narrows without an activation.

    The input is added where the shape stays. With an expansion of 1 the first convolution is absent.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        n_inner = n_in * expansion
        widen = [_conv_norm_relu6(n_in, n_inner, 1)] if expansion > 1 else []
        depthwise = _conv_norm_relu6(n_inner, n_inner, 3, stride, n_groups=n_inner)
        self.conv = nn.Sequential(*widen, depthwise, nn.Conv2d(n_inner, n_out, 1, bias=False), nn.BatchNorm2d(n_out))
        self._has_shortcut = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, n_out, h / stride, w / stride)."""
        y = self.conv(x)
        return x + y if self._has_shortcut else y  # type: ignore[no-any-return]


class MobileNetV2(nn.Module):
    """The paper's network at width 1.0; state-dict names as in torchvision (features.0.0 ... features.18.1, classifier.1).

    Args:
        n_classes: outputs.

    Example:
        >>> MobileNetV2(10).eval()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_norm_relu6(3, _STEM_WIDTH, 3, 2)]
        n_in = _STEM_WIDTH
        for expansion, width, n_blocks, stride in _STAGES:
            for i in range(n_blocks):
                layers.append(InvertedResidual(n_in, width, stride if i == 0 else 1, expansion))
                n_in = width
        self.features = nn.Sequential(*layers, _conv_norm_relu6(n_in, _LAST_WIDTH, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(_LAST_WIDTH, n_classes))
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, h, w) to logits (n, n_classes)."""
        x = functional.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))  # type: ignore[no-any-return]


def _conv_norm_relu6(n_in: int, n_out: int, kernel: int, stride: int = 1, n_groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=n_groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU6())
