"""Networks by name: one explicit table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from silicut.records import ConfigError
from silicut.zoo.names import unknown_name
from silicut.zoo.networks.densenet import DenseNet
from silicut.zoo.networks.googlenet import GoogLeNet
from silicut.zoo.networks.mobilenet import MobileNetV2
from silicut.zoo.networks.plain import AlexNet, LeNet5, Vgg16Bn
from silicut.zoo.networks.resnet import BasicBlock, Bottleneck, CifarResNet, ResNet
from silicut.zoo.networks.resnet8 import ResNet8
from silicut.zoo.networks.squeezenet import SqueezeNet
from silicut.zoo.networks.vit import VisionTransformer
from silicut.zoo.packages import is_package_name, package_network
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


def _imagenet_resnet(depth: int, block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, ...]) -> NetworkEntry:
    summary = f"ResNet-{depth}, torchvision's state-dict names"
    return _imagenet(f"resnet{depth}", lambda n: ResNet(block, depths, n), summary)


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
    _cifar("resnet8", ResNet8, "ResNet-8 of MLPerf Tiny, for images of 0..255 (data cifar10-raw)"),
    _cifar("resnet18-cifar", lambda n: ResNet(BasicBlock, _TWO, n, "cifar"), "ResNet-18 with a 3x3 stem"),
    _cifar("resnet18-half", lambda n: ResNet(BasicBlock, _TWO, n, "cifar", 32), "ResNet-18, 3x3 stem, half as wide"),
    _cifar("vgg16-bn-cifar", Vgg16Bn, "VGG-16 with batch norm for 32x32 images"),
    _imagenet_resnet(18, BasicBlock, _TWO),
    _imagenet_resnet(34, BasicBlock, _DEEP),
    _imagenet_resnet(50, Bottleneck, _DEEP),
    _imagenet_resnet(101, Bottleneck, (3, 4, 23, 3)),
    _imagenet_resnet(152, Bottleneck, (3, 8, 36, 3)),
    _imagenet("mobilenet-v2", MobileNetV2, "MobileNetV2 of width 1.0, torchvision's state-dict names"),
    _imagenet("densenet121", lambda n: DenseNet((6, 12, 24, 16), n), "DenseNet-121, torchvision's state-dict names"),
    _imagenet("squeezenet-1.1", SqueezeNet, "SqueezeNet 1.1, torchvision's state-dict names"),
    _imagenet("googlenet", GoogLeNet, "GoogLeNet without auxiliary classifiers, torchvision's state-dict names"),
    _imagenet("alexnet", AlexNet, "AlexNet, torchvision's state-dict names"),
    _imagenet("vit-ti", lambda n: VisionTransformer(192, n), "ViT-Ti/16, timm's state-dict names"),
    _imagenet("vit-s", lambda n: VisionTransformer(384, n), "ViT-S/16, timm's state-dict names"),
    _imagenet("vit-b", lambda n: VisionTransformer(768, n), "ViT-B/16, timm's state-dict names"),
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
        name: a name of `ENTRIES`; one of another package, such as "timm:resnet18" (`package_network` lists the forms); or
            the user's own as "module:function" or "file.py:function".
        n_classes: outputs; the usual number by default. Not for the user's own.

    Raises:
        ConfigError: the name is not known (the nearest ones are given), the user's function fails, or `n_classes` is less
            than 1 or given with a user's network.
        ToolMissing: the other package is not installed.

    Example:
        >>> network("resnet20", n_classes=100).linear.out_features
        100
    """
    if n_classes is not None and n_classes < 1:
        raise ConfigError(f"n_classes must be 1 or more, not {n_classes}")
    if is_package_name(name):
        return package_network(name, n_classes)
    if is_user_name(name):
        if n_classes is not None:
            raise ConfigError(f"n_classes must be left out with the user's own network {name!r}, not {n_classes}")
        return user_network(name)
    entry = network_entry(name)
    return entry.builder(n_classes or entry.n_classes)
