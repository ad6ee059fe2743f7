"""DenseNet (Huang et al., "Densely Connected Convolutional Networks", 2017)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from silicut.zoo.networks.initial import kaiming_


class DenseLayer(nn.Module):
    """A 1x1 and a 3x3 convolution, each after batch norm and ReLU, whose `growth` new channels are joined to the input."""

    def __init__(self, n_in: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, n_in + growth, h, w)."""
        y = self.conv1(functional.relu(self.norm1(x)))
        y = self.conv2(functional.relu(self.norm2(y)))
        return torch.cat((x, y), 1)


class DenseNet(nn.Module):
    """Four dense blocks (the paper's "BC" form); state-dict names as in torchvision.

    The names are features.conv0, features.denseblock1.denselayer1.norm1 ..., features.transition1.conv, classifier.

    Args:
        n_layers: dense layers of each block; (6, 12, 24, 16) for DenseNet-121.
        n_classes: outputs.
        growth: channels that each dense layer adds.

    Example:
        >>> DenseNet((2, 2, 2, 2), 10, growth=8).eval()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """

    def __init__(self, n_layers: Sequence[int], n_classes: int, growth: int = 32) -> None:
        super().__init__()
        width = 2 * growth
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, width, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(width),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        for i, n in enumerate(n_layers, 1):
            if i > 1:
                layers[f"transition{i - 1}"] = _transition(width)
                width //= 2
            layers[f"denseblock{i}"] = _dense_block(width, n, growth)
            width += n * growth
        layers["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(width, n_classes)
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, h, w) to logits (n, n_classes)."""
        x = functional.relu(self.features(x))
        return self.classifier(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))  # type: ignore[no-any-return]


def _dense_block(n_in: int, n_layers: int, growth: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict((f"denselayer{i + 1}", DenseLayer(n_in + i * growth, growth)) for i in range(n_layers)))


def _transition(n_in: int) -> nn.Sequential:
    """Halve channels and image."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(n_in),
            relu=nn.ReLU(),
            conv=nn.Conv2d(n_in, n_in // 2, 1, bias=False),
            pool=nn.AvgPool2d(2, 2),
        )
    )
