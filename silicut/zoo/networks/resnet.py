"""Residual networks (He et al., "Deep Residual Learning for Image Recognition", 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from silicut.zoo.networks.initial import kaiming_

Shortcut = Literal["pad", "projection"]
Stem = Literal["imagenet", "cifar"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    Where the shape changes, the shortcut is a strided slice with zero channels padded equally on both sides ("pad",
    option A of the paper, no parameters) or a strided 1x1 convolution with batch norm ("projection", option B).
    """

    expansion = 1

    def __init__(self, n_in: int, width: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        is_same = stride == 1 and n_in == width
        self.downsample = None if is_same or shortcut == "pad" else _projection(n_in, width, stride)
        self._stride, self._n_padded = stride, width - n_in

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, width, h / stride, w / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.downsample is not None:
            return self.downsample(x)  # type: ignore[no-any-return]
        if self._stride == 1 and self._n_padded == 0:
            return x
        before = self._n_padded // 2
        sliced = x[:, :, :: self._stride, :: self._stride]
        return functional.pad(sliced, (0, 0, 0, 0, before, self._n_padded - before))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide, and a projection shortcut where the shape changes."""

    expansion = 4

    def __init__(self, n_in: int, width: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        if shortcut != "projection":
            raise ValueError(f"the shortcut of a bottleneck must be 'projection', not {shortcut!r}")
        n_out = width * self.expansion
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.downsample = None if stride == 1 and n_in == n_out else _projection(n_in, n_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, 4 * width, h / stride, w / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class CifarResNet(nn.Module):
    """The paper's network for small images: a 3x3 stem and three stages, each halving the image.

    State-dict names: conv1, bn1, layer1.0.conv1 ... layer3.N.bn2, linear (and layerS.0.downsample.0/1 with projections).

    Args:
        n_blocks: blocks of each stage; the depth is 6 * n_blocks + 2.
        n_classes: outputs.
        shortcut: "pad" (the paper's choice for CIFAR-10) or "projection".
        widths: channels of the three stages.
        n_channels: channels of the image.

    Example:
        >>> CifarResNet(3, 10)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """

    def __init__(
        self,
        n_blocks: int,
        n_classes: int,
        shortcut: Shortcut = "pad",
        widths: Sequence[int] = (16, 32, 64),
        n_channels: int = 3,
    ) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = nn.Conv2d(n_channels, first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(BasicBlock, first, first, (n_blocks, 1), shortcut)
        self.layer2 = _stage(BasicBlock, first, second, (n_blocks, 2), shortcut)
        self.layer3 = _stage(BasicBlock, second, third, (n_blocks, 2), shortcut)
        self.linear = nn.Linear(third, n_classes)
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, n_channels, h, w) to logits (n, n_classes)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """The paper's four-stage network; state-dict names as in torchvision (conv1, bn1, layer1.0.conv1 ..., fc).

    Args:
        block: `BasicBlock` (depths 18, 34) or `Bottleneck` (50 and more).
        depths: blocks of each of the four stages.
        n_classes: outputs.
        stem: "imagenet" (7x7 of stride 2 and a max pool) or "cifar" (3x3 of stride 1, no pool).
        base_width: channels of the first stage; each next stage has twice as many.

    Example:
        >>> ResNet(BasicBlock, (2, 2, 2, 2), 10, "cifar", 32)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        n_classes: int,
        stem: Stem = "imagenet",
        base_width: int = 64,
    ) -> None:
        super().__init__()
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = nn.Conv2d(3, base_width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(base_width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        widths = [base_width * 2**i for i in range(4)]
        n_in = [base_width] + [width * block.expansion for width in widths]
        self.layer1 = _stage(block, n_in[0], widths[0], (depths[0], 1))
        self.layer2 = _stage(block, n_in[1], widths[1], (depths[1], 2))
        self.layer3 = _stage(block, n_in[2], widths[2], (depths[2], 2))
        self.layer4 = _stage(block, n_in[3], widths[3], (depths[3], 2))
        self.fc = nn.Linear(n_in[4], n_classes)
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, h, w) to logits (n, n_classes)."""
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))  # type: ignore[no-any-return]


def _projection(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    n_in: int,
    width: int,
    depth_stride: tuple[int, int],
    shortcut: Shortcut = "projection",
) -> nn.Sequential:
    n_blocks, stride = depth_stride
    n_inner = width * block.expansion
    rest = [block(n_inner, width, 1, shortcut) for _ in range(n_blocks - 1)]
    return nn.Sequential(block(n_in, width, stride, shortcut), *rest)
