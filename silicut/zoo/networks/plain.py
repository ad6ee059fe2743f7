"""Networks without shortcuts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from silicut.zoo.networks.initial import kaiming_

_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class LeNet5(nn.Module):
    """Two 5x5 convolutions with max pools and three linear layers, with ReLU in place of the original's squashing.

    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.

    Args:
        n_classes: outputs.
        image_size: height and width, 28 (padded to 32 by the first convolution) or 32.

    Example:
        >>> LeNet5(10, 28)(torch.zeros(1, 1, 28, 28)).shape
        torch.Size([1, 10])
    """

    def __init__(self, n_classes: int, image_size: int = 32) -> None:
        super().__init__()
        if image_size not in (28, 32):
            raise ValueError(f"image_size must be 28 or 32, not {image_size}")
        self.conv1 = nn.Conv2d(1, 6, 5, padding=(32 - image_size) // 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, n_classes)
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 1, image_size, image_size) to logits (n, n_classes)."""
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(functional.relu(self.fc2(x)))  # type: ignore[no-any-return]


class Vgg16Bn(nn.Module):
    """Thirteen 3x3 convolutions with batch norm and one linear layer, the usual form for 32x32 images.

    State-dict names: features.0 (convolution), features.1 (batch norm) ..., classifier.
    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks", 2015, configuration D.

    Args:
        n_classes: outputs.

    Example:
        >>> Vgg16Bn(10).eval()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = 3
        for stage in _VGG16:
            for width in stage:
                layers += [nn.Conv2d(n_in, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                n_in = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(n_in, n_classes)
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, 32, 32) to logits (n, n_classes)."""
        return self.classifier(torch.flatten(self.features(x), 1))  # type: ignore[no-any-return]


class AlexNet(nn.Module):
    """Five convolutions and three linear layers; state-dict names as in torchvision (features.0 ..., classifier.6).

    Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.

    Args:
        n_classes: outputs.

    Example:
        >>> AlexNet(10).eval()(torch.zeros(1, 3, 224, 224)).shape
        torch.Size([1, 10])
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
        )
        self.classifier = nn.Sequential(
            *(nn.Dropout(0.5), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
            *(nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU()),
            nn.Linear(4096, n_classes),
        )
        kaiming_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, h, w) to logits (n, n_classes); sizes other than 224 are averaged to the same 6x6 map."""
        x = functional.adaptive_avg_pool2d(self.features(x), 6)
        return self.classifier(torch.flatten(x, 1))  # type: ignore[no-any-return]
