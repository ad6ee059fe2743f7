"""GoogLeNet (Szegedy et al., "Going Deeper with Convolutions", 2015) with batch norm, without its auxiliary classifiers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from silicut.zoo.networks.initial import kaiming_

Widths = tuple[int, int, int, int, int, int]


class ConvNormRelu(nn.Module):
    """A convolution that keeps the image's size at stride 1, batch norm and ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(n_out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, n_out, h / stride, w / stride)."""
        return functional.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Four branches whose outputs are joined: 1x1; 1x1 and 3x3; 1x1 and 3x3; pool and 1x1.

    The paper's third branch has a 5x5 convolution; the published weights have 3x3 there.

    Args:
        n_in: channels of the input.
        widths: of the six convolutions, in the order of the branches.
    """

    def __init__(self, n_in: int, widths: Widths) -> None:
        super().__init__()
        one, narrow_a, three_a, narrow_b, three_b, pooled = widths
        self.branch1 = ConvNormRelu(n_in, one, 1)
        self.branch2 = nn.Sequential(ConvNormRelu(n_in, narrow_a, 1), ConvNormRelu(narrow_a, three_a, 3))
        self.branch3 = nn.Sequential(ConvNormRelu(n_in, narrow_b, 1), ConvNormRelu(narrow_b, three_b, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), ConvNormRelu(n_in, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, sum of the branches' widths, h, w)."""
        return torch.cat((self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)), 1)


class GoogLeNet(nn.Module):
    """Nine inception modules; state-dict names as in torchvision (conv1.conv, inception3a.branch1.conv ..., fc).

    torchvision's published weights were trained on images of mean 0.5 and deviation 0.5.

    Args:
        n_classes: outputs.

    Example:
        >>> GoogLeNet(10).eval()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.conv1 = ConvNormRelu(3, 64, 7, 2)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = ConvNormRelu(64, 64, 1)
        self.conv3 = ConvNormRelu(64, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = Inception(192, (64, 96, 128, 16, 32, 32))
        self.inception3b = Inception(256, (128, 128, 192, 32, 96, 64))
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = Inception(480, (192, 96, 208, 16, 48, 64))
        self.inception4b = Inception(512, (160, 112, 224, 24, 64, 64))
        self.inception4c = Inception(512, (128, 128, 256, 24, 64, 64))
        self.inception4d = Inception(512, (112, 144, 288, 32, 64, 64))
        self.inception4e = Inception(528, (256, 160, 320, 32, 128, 128))
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.inception5a = Inception(832, (256, 160, 320, 32, 128, 128))
        self.inception5b = Inception(832, (384, 192, 384, 48, 128, 128))
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1024, n_classes)
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, h, w) to logits (n, n_classes)."""
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        x = self.maxpool4(self.inception4e(self.inception4d(x)))
        x = functional.adaptive_avg_pool2d(self.inception5b(self.inception5a(x)), 1)
        return self.fc(self.dropout(torch.flatten(x, 1)))  # type: ignore[no-any-return]
