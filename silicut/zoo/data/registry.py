"""Data sets by name: one explicit table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from silicut.records import ConfigError
from silicut.training import TrainingData
from silicut.zoo.data.cifar10 import cifar10, cifar10_raw, cifar10_test
from silicut.zoo.data.digits import digits
from silicut.zoo.data.folders import image_folder
from silicut.zoo.data.idx import fashion_mnist, mnist
from silicut.zoo.names import unknown_name
from silicut.zoo.user import is_user_name, may_be_imported, user_data


@dataclass(frozen=True, kw_only=True)
class DataEntry:
    """One kind of data.

    Attributes:
        name: how it is asked for, before the colon.
        opener: maps the text after the colon (the folder) to the data.
        needs_folder: whether a folder must follow.
        summary: what it is, in one line.
    """

    name: str
    opener: Callable[[str], TrainingData]
    needs_folder: bool = True
    summary: str


def _image_folder(text: str) -> TrainingData:
    folder, at, size = text.rpartition("@")
    return image_folder(folder, int(size)) if at and size.isdigit() else image_folder(text)


_CIFAR10 = "CIFAR-10, binary version"

DATA_ENTRIES: tuple[DataEntry, ...] = (
    DataEntry(
        name="digits",
        opener=lambda _: digits(),
        needs_folder=False,
        summary="scikit-learn's 1,797 handwritten digits as 1x32x32 images; nothing to download",
    ),
    DataEntry(
        name="cifar10",
        opener=cifar10,
        summary=f"{_CIFAR10}: trains on the first 45,000 images, evaluates on 5,000 held out + the test images",
    ),
    DataEntry(
        name="cifar10-test",
        opener=cifar10_test,
        summary=f"{_CIFAR10}: trains on all 50,000 images, evaluates on the test images only",
    ),
    DataEntry(
        name="cifar10-raw",
        opener=cifar10_raw,
        summary=f"{_CIFAR10}: as cifar10-test, with numbers of 0..255 as ResNet-8 of MLPerf Tiny reads them",
    ),
    DataEntry(name="mnist", opener=mnist, summary="MNIST's 28x28 digits from idx files"),
    DataEntry(name="fashion-mnist", opener=fashion_mnist, summary="Fashion-MNIST's 28x28 clothes from idx files"),
    DataEntry(
        name="images",
        opener=_image_folder,
        summary="your own images, one folder a class under train/ and test/; DIR@64 scales and cuts them to 64x64",
    ),
)
"""Every kind of data, in the order in which it is listed to people."""


def open_data(spec: str) -> TrainingData:
    """Return the data that "name", "name:DIR", "module:function" or "file.py:function" stands for.

    Raises:
        ConfigError: the name is not known (the nearest ones are given), a folder is missing or too many, or the user's
            function fails.
        BadFile: files are missing or damaged.
        ToolMissing: an optional package is not installed.

    Example:
        >>> open_data("cifar10")
        Traceback (most recent call last):
        ...
        silicut.records.errors.ConfigError: data must name its folder as cifar10:DIR, not 'cifar10'
    """
    name, _, folder = spec.partition(":")
    entries = {entry.name: entry for entry in DATA_ENTRIES}
    if name not in entries:
        if is_user_name(spec) and may_be_imported(spec):
            return user_data(spec)
        raise ConfigError(f"{unknown_name('data', spec, entries)}; your own is named module:function")
    entry = entries[name]
    if entry.needs_folder and not folder:
        raise ConfigError(f"data must name its folder as {name}:DIR, not {spec!r}")
    if not entry.needs_folder and folder:
        raise ConfigError(f"data must be plain {name!r}, which needs no folder, not {spec!r}")
    return entry.opener(folder)
