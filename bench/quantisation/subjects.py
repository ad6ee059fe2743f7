"""The networks of the study, with their weights and images."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from study import Table, load
from torch import Tensor, nn

from silicut.compress.quantisation import Sites, find_sites, quantisable
from silicut.graph import capture
from silicut.records import load_tensors, save_tensors
from silicut.training import Recipe, TrainingData, fit
from silicut.zoo import assign_weights, load_weights, network, open_data

HERE = Path(__file__).parent
CALIBRATION_BATCH = 128
LENET_RECIPE = Recipe(epochs=3, batch_size=128, learning_rate=0.05, warmup_epochs=0.5, precision="fp32")


@dataclass(frozen=True, kw_only=True)
class Study:
    """What was asked, and where things are.

    Attributes:
        data: folder of cifar-10-batches-bin and MNIST.
        weights: folder of published weights.
        work: folder for what is trained.
        pruning: the folder of work of bench/pruning, with the networks that it has trained; None where there is none.
        networks: names of `NETWORKS`.
        is_quick: few images and networks; results stay in `work`.
    """

    data: Path
    weights: Path
    work: Path
    networks: tuple[str, ...]
    is_quick: bool
    pruning: Path | None = None

    def table(self, name: str, keys: tuple[str, ...]) -> Table:
        """Return a table of results."""
        return Table((self.work if self.is_quick else HERE) / "results" / f"{name}.csv", keys)

    def subject(self, name: str) -> Subject:
        """Return a network of the study."""
        return Subject(name, self)


@dataclass(frozen=True)
class Subject:
    """One network with its weights and images.

    Attributes:
        name: one of `NETWORKS`.
        study: which asks.
    """

    name: str
    study: Study

    @cached_property
    def data(self) -> TrainingData:
        """Images to train on and images that the network has never seen."""
        return open_data(f"{NETWORKS[self.name][0]}:{self.study.data}")

    @cached_property
    def module(self) -> nn.Module:
        """The trained network."""
        return NETWORKS[self.name][1](self).eval()

    @cached_property
    def sites(self) -> Sites:
        """Where the network is rounded."""
        example = torch.zeros(1, *self.data.input_shape)
        return find_sites(quantisable(capture(self.module, example)))

    def calibration(self, n_images: int, seed: int = 0) -> list[Tensor]:
        """Return the first batches of training images in the order of a seed."""
        batches = self.data.training_batches(0, CALIBRATION_BATCH, seed)
        return [x for x, _ in itertools.islice(batches, -(-n_images // CALIBRATION_BATCH))]

    def unseen(self, n_images: int, batch_size: int = 100) -> list[Tensor]:
        """Return the first evaluation images, in batches."""
        batches = self.data.evaluation_batches(batch_size)
        return [x for x, _ in itertools.islice(batches, -(-n_images // batch_size))]


def _lenet5(subject: Subject) -> nn.Module:
    """Return LeNet-5, trained when it is first asked for."""
    torch.manual_seed(0)
    module, path = network("lenet5"), subject.study.work / "lenet5.safetensors"
    if path.exists():
        assign_weights(module, load_tensors(path))
    else:
        fit(module, subject.data, LENET_RECIPE)
        save_tensors(path, {name: tensor.numpy() for name, tensor in module.state_dict().items()})
    return module


def _bundled(subject: Subject) -> nn.Module:
    return load(subject.name)


def _published(file: str) -> Callable[[Subject], nn.Module]:
    def build(subject: Subject) -> nn.Module:
        module = network(subject.name)
        (path,) = subject.study.weights.glob(file)
        assign_weights(module, load_weights(path))
        return module

    return build


NETWORKS: dict[str, tuple[str, Callable[[Subject], nn.Module]]] = {
    "lenet5": ("mnist", _lenet5),
    "resnet8": ("cifar10-raw", _published("mlperftiny_resnet8*.npz")),
    "resnet20": ("cifar10", _bundled),
    "resnet56-projection": ("cifar10", _bundled),
    "resnet18-half": ("cifar10", _bundled),
    "resnet56": ("cifar10-test", _published("resnet56-*.th")),
}
"""Each network, its data and what makes it. Published weights have seen all
training images, so they are judged on test images alone; those that come with the package have not seen the last 5,000."""
