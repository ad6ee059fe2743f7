"""Networks by name: one explicit table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from silicut.records import ConfigError
from silicut.zoo.names import unknown_name
from silicut.zoo.networks.plain import LeNet5, Vgg16Bn
from silicut.zoo.networks.resnet import BasicBlock, Bottleneck, CifarResNet, ResNet
from silicut.zoo.user import is_user_name, user_network

_CIFAR, _IMAGENET = (3, 32, 32), (3, 224, 224)


@dataclass(frozen=True, kw_only=True)
class NetworkEntry:
    """One network of the zoo.

    Attributes:
        name: how it is asked for.
        builder: maps the number of classes to a module with fresh weights.
        input_shape: channels, height and width of its images.
        n_classes: outputs unless asked otherwise.
        data: the data set it is usually trained on, as `open_data` takes it (folder left out), or "" for none here.
        summary: what it is, in one line.
    """

    name: str
    builder: Callable[[int], nn.Module]
    input_shape: tuple[int, int, int]
    n_classes: int
    data: str
    summary: str


def _cifar(name: str, builder: Callable[[int], nn.Module], summary: str) -> NetworkEntry:
    return NetworkEntry(name=name, builder=builder, input_shape=_CIFAR, n_classes=10, data="cifar10", summary=summary)


def _imagenet(name: str, builder: Callable[[int], nn.Module], summary: str) -> NetworkEntry:
    return NetworkEntry(name=name, builder=builder, input_shape=_IMAGENET, n_classes=1000, data="", summary=summary)


def _cifar_resnet(depth: int) -> NetworkEntry:
    n_blocks = (depth - 2) // 6
    summary = f"CIFAR ResNet of {depth} layers, shortcuts padded with zeros (option A)"
    return _cifar(f"resnet{depth}", lambda n: CifarResNet(n_blocks, n), summary)


def _cifar_resnet_projection(depth: int) -> NetworkEntry:
    n_blocks = (depth - 2) // 6
    summary = f"CIFAR ResNet of {depth} layers, projection shortcuts (option B)"
    return _cifar(f"resnet{depth}-projection", lambda n: CifarResNet(n_blocks, n, "projection"), summary)


def _small(name: str, builder: Callable[[int], nn.Module], size: int, data: str, summary: str) -> NetworkEntry:
    return NetworkEntry(name=name, builder=builder, input_shape=(1, size, size), n_classes=10, data=data, summary=summary)


_TWO, _DEEP = (2, 2, 2, 2), (3, 4, 6, 3)

ENTRIES: tuple[NetworkEntry, ...] = (
    *(_cifar_resnet(depth) for depth in (20, 32, 44, 56, 110)),
    *(_cifar_resnet_projection(depth) for depth in (20, 32, 44, 56, 110)),
    _cifar("resnet18-cifar", lambda n: ResNet(BasicBlock, _TWO, n, "cifar"), "ResNet-18 with a 3x3 stem"),
    _cifar("resnet18-half", lambda n: ResNet(BasicBlock, _TWO, n, "cifar", 32), "ResNet-18, 3x3 stem, half as wide"),
    _cifar("vgg16-bn-cifar", Vgg16Bn, "VGG-16 with batch norm for 32x32 images"),
    _imagenet("resnet18", lambda n: ResNet(BasicBlock, _TWO, n), "ResNet-18, torchvision's state-dict names"),
    _imagenet("resnet34", lambda n: ResNet(BasicBlock, _DEEP, n), "ResNet-34, torchvision's state-dict names"),
    _imagenet("resnet50", lambda n: ResNet(Bottleneck, _DEEP, n), "ResNet-50, torchvision's state-dict names"),
    _small("lenet5", lambda n: LeNet5(n, 28), 28, "mnist", "LeNet-5 with ReLU for 28x28 images"),
    _small("lenet5-32", lambda n: LeNet5(n, 32), 32, "digits", "LeNet-5 with ReLU for 32x32 images"),
    _small(
        "digits-resnet",
        lambda n: CifarResNet(2, n, "projection", (32, 64, 128), 1),
        32,
        "digits",
        "small residual network for the bundled digits",
    ),
)
"""Every network, in the order in which it is listed to people."""


def network_entry(name: str) -> NetworkEntry:
    """Return the entry of a network.

    Raises:
        ConfigError: no such network; the nearest names are given.
    """
    entries = {entry.name: entry for entry in ENTRIES}
    if name not in entries:
        raise ConfigError(unknown_name("network", name, entries))
    return entries[name]


def network(name: str, n_classes: int | None = None) -> nn.Module:
    """Return a network with fresh weights, drawn from torch's generator.

    Args:
        name: a name of `ENTRIES`, or the user's own as "module:function" or "file.py:function".
        n_classes: outputs; the usual number by default. Only for names of `ENTRIES`.

    Raises:
        ConfigError: the name is not known (the nearest ones are given), the user's function fails, or `n_classes` is less
            than 1 or given with a user's network.

    Example:
        >>> network("resnet20", n_classes=100).linear.out_features
        100
    """
    if is_user_name(name):
        if n_classes is not None:
            raise ConfigError(f"n_classes must be left out with the user's own network {name!r}, not {n_classes}")
        return user_network(name)
    if n_classes is not None and n_classes < 1:
        raise ConfigError(f"n_classes must be 1 or more, not {n_classes}")
    entry = network_entry(name)
    return entry.builder(n_classes or entry.n_classes)
