"""Networks to profile and prune in tests: small, with fixed weights, each captured once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from silicut.graph import Network, capture
from silicut.zoo.networks.plain import LeNet5
from silicut.zoo.networks.resnet import Bottleneck, CifarResNet, ResNet


class Chain(nn.Module):
    """Three 3x3 convolutions in a row, 64 channels each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1)
        self.head = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x))))))
        return self.head(x.mean((2, 3)))


class Joined(nn.Module):
    """Two branches whose channels are joined before the next convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 8, 3, padding=1)
        self.right = nn.Conv2d(3, 16, 1)
        self.both = nn.Conv2d(24, 32, 3, padding=1)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([torch.relu(self.left(x)), torch.relu(self.right(x))], 1)
        return self.head(torch.relu(self.both(x)).mean((2, 3)))


class Separable(nn.Module):
    """A depthwise convolution between two others."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.pointwise = nn.Conv2d(16, 32, 1)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.depthwise(torch.relu(self.stem(x))))
        return self.head(torch.relu(self.pointwise(x)).mean((2, 3)))


@cache
def module(build: Callable[[], nn.Module]) -> nn.Module:
    """Return the module with its fixed weights and batch-norm statistics that are not trivial; do not change it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = build().eval()
        for part in made.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias, std=0.1)
                nn.init.normal_(part.running_mean, std=0.1)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
        return made


@cache
def network(build: Callable[[], nn.Module]) -> Network:
    """Return the captured module."""
    size = (1, 28, 28) if build is lenet else (3, 16, 16)
    return capture(module(build), torch.zeros(1, *size))


def lenet() -> nn.Module:
    """Convolution, flattening, linear layers; image 1x28x28."""
    return LeNet5(10, 28)


def padded() -> nn.Module:
    """Residual network with shortcuts padded by zeros, one block a stage."""
    return CifarResNet(1, 10)


def projected() -> nn.Module:
    """Residual network with projection shortcuts; the second block of each stage has an identity shortcut."""
    return CifarResNet(2, 10, "projection")


def bottlenecks() -> nn.Module:
    """Depth 20, an eighth of the usual width; two stages have a block with an identity shortcut."""
    return ResNet(Bottleneck, (2, 2, 1, 1), 10, "cifar", 8)
