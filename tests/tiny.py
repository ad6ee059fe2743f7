"""A user's own network and data, as small as they get: what the tests of the whole product are made with.

`build`, `loaders`, `loss` and `metric` are what a user names on the command line as "tests/tiny.py:build" and so on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

N_CLASSES, SHAPE, BATCH = 4, (3, 8, 8), 8
NETWORK, DATA, LOSS, METRIC = (f"{Path(__file__).resolve()}:{name}" for name in ("build", "loaders", "loss", "metric"))
PAUSE = "TINY_PAUSE_S"
"""Environment variable: seconds to wait before each epoch, so that a test can kill a training between two."""


def arguments(out: Path, cache: Path, *more: str) -> list[str]:
    """Return what one types to prune the network, for `silicut.cli.app.run`; later options win.

    It runs for some 20 us, so on a machine that runs other tests its latency may be known badly.
    """
    latency = () if "--latency" in more else ("--latency", "60%")
    fixed = ("--network", NETWORK, "--data", DATA, "--batch", str(BATCH), *latency, "--training-batch", "32")
    return ["prune", *fixed, "--noise", "1000", "--epochs", "2", "--out", str(out), "--cache", str(cache), *more]


class Tiny(nn.Module):
    """Three convolutions: a stem, and a residual block of two."""

    def __init__(self, n_channels: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, n_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(n_channels)
        self.block = Residual(n_channels)
        self.head = nn.Linear(4 * n_channels, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(torch.relu(self.norm(self.stem(x))))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


class Residual(nn.Module):
    """relu(x + conv2(relu(conv1(x))))."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_channels, n_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(n_channels, n_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.conv2(torch.relu(self.conv1(x))))


def build() -> nn.Module:
    """Return the network, its random weights the same in every process."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return Tiny().eval()


def example() -> Tensor:
    """Return one batch of inputs."""
    return torch.randn(BATCH, *SHAPE, generator=torch.Generator().manual_seed(3))


class Paused(DataLoader):
    """A loader that waits before each epoch, as slow ones do."""

    def __iter__(self) -> Iterator[list[Tensor]]:
        time.sleep(float(os.environ.get(PAUSE, "0")))
        return super().__iter__()


def loaders() -> tuple[DataLoader, DataLoader]:
    """Return loaders of 256 training and 64 evaluation images."""
    training, evaluation = TensorDataset(*images(256, 0)), TensorDataset(*images(64, 1))
    return Paused(training, batch_size=64, shuffle=True), DataLoader(evaluation, batch_size=64)


def images(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return n noisy images (n, 3, 8, 8) in which one quarter is brighter, and which one (n,)."""
    x, y = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed)), torch.arange(n) % N_CLASSES
    for image, label in zip(x, y.tolist(), strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[:, row : row + 4, column : column + 4] += 1.0
    return x, y


def loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return a loss of the user's own."""
    return nn.functional.multi_margin_loss(outputs, labels)


def metric(outputs: Tensor, labels: Tensor) -> Tensor:
    """Count an image as right where its label is among the two largest outputs."""
    return (outputs.topk(2).indices == labels[:, None]).any(1)
