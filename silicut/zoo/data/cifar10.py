"""CIFAR-10 from its binary version (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from silicut.records import BadFile
from silicut.zoo.data.images import IMAGENET_MEAN, IMAGENET_STD, Augmentation, ImageData, Labelled

_IMAGE_BYTES = 3 * 32 * 32
_N_HELD_OUT = 5000
_AUGMENTATION = Augmentation(crop_padding=4, is_flipped=True)


def cifar10(folder: str | Path) -> ImageData:
    """Return CIFAR-10 for choosing between networks: no test image decides alone, none is trained on.

    Training images are the first 45,000 of the training set; evaluated on are its last 5,000 and all test images found.

    Raises:
        BadFile: the binary batches are missing, damaged, or are Python pickles.
    """
    training, test = _read(Path(folder))
    n = len(training) - _N_HELD_OUT
    held_out = Labelled(
        np.concatenate([training.images[n:], test.images]), np.concatenate([training.labels[n:], test.labels])
    )
    return _data("cifar10", Labelled(training.images[:n], training.labels[:n]), held_out)


def cifar10_test(folder: str | Path) -> ImageData:
    """Return CIFAR-10 as published: trained on all 50,000 training images, evaluated on the test images only.

    Raises:
        BadFile: the binary batches are missing, damaged, or are Python pickles.
    """
    return _data("cifar10-test", *_read(Path(folder)))


def cifar10_raw(folder: str | Path) -> ImageData:
    """Return CIFAR-10 as `cifar10_test` does, its numbers 0..255 as they are in the files, which some networks read.

    Raises:
        BadFile: the binary batches are missing, damaged, or are Python pickles.
    """
    training, test = _read(Path(folder))
    as_it_is, whole = (0.0,) * 3, (1 / 255,) * 3
    return ImageData("cifar10-raw", training, test, mean=as_it_is, std=whole, augmentation=_AUGMENTATION)


def _data(name: str, training: Labelled, evaluation: Labelled) -> ImageData:
    return ImageData(name, training, evaluation, mean=IMAGENET_MEAN, std=IMAGENET_STD, augmentation=_AUGMENTATION)


def _read(folder: Path) -> tuple[Labelled, Labelled]:
    inner = folder / "cifar-10-batches-bin"
    place = inner if inner.is_dir() else folder
    batches = [_batch(place, f"data_batch_{i}.bin") for i in range(1, 6)]
    for i, batch in enumerate(batches, 1):
        if len(batch) != 10_000:
            raise BadFile(f"{place / f'data_batch_{i}.bin'} must hold 10000 images, not {len(batch)}; copy it again")
    images = np.concatenate([batch.images for batch in batches])
    return Labelled(images, np.concatenate([batch.labels for batch in batches])), _batch(place, "test_batch.bin")


def _batch(place: Path, name: str) -> Labelled:
    path = place / name
    if not path.is_file():
        raise BadFile(_missing(place, name))
    data = np.fromfile(path, np.uint8)
    if data.size == 0 or data.size % (1 + _IMAGE_BYTES):
        raise BadFile(
            f"{path} must hold a whole number of records of {1 + _IMAGE_BYTES} bytes, not {data.size} bytes; copy it again"
        )
    rows = data.reshape(-1, 1 + _IMAGE_BYTES)
    labels = rows[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise BadFile(f"{path} must hold labels 0 to 9, not {labels.max()}; it is not a CIFAR-10 batch")
    return Labelled(np.ascontiguousarray(rows[:, 1:]).reshape(-1, 3, 32, 32), labels)


def _missing(place: Path, name: str) -> str:
    pickled = [folder / Path(name).stem for folder in (place, place / "cifar-10-batches-py")]
    found = next((path for path in pickled if path.is_file()), None)
    if found is None:
        return f"{place / name} does not exist; give the folder of the binary version of CIFAR-10 (cifar-10-batches-bin)"
    return (
        f"{found} is a Python pickle, which would execute code when read; download the binary version of CIFAR-10 "
        "(cifar-10-binary.tar.gz) or use a folder of images with images:DIR"
    )
