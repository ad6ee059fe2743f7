"""The user's own images: one folder a class under train/ and test/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from silicut.records import BadFile, ConfigError, ToolMissing
from silicut.zoo.data.images import IMAGENET_MEAN, IMAGENET_STD, Augmentation, ImageData, Labelled

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm"}


def image_folder(folder: str | Path, size: int | None = None) -> ImageData:
    """Return the images of a folder, colour, with labels by the alphabetical order of the classes.

    Under train/ and test/ (or val/) lies one folder a class. All images are kept in memory, 3 * height * width bytes
    each; training images are cropped (by an eighth of the smaller side) and flipped at random.

    Args:
        folder: holds train/ and test/ or val/.
        size: shorter sides are scaled to this many pixels and the centre square cut out; None keeps the images as they
            are, and then all must have one size.

    Raises:
        BadFile: folders or images are missing, unreadable or of different sizes.
        ConfigError: `size` is less than 1.
        ToolMissing: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ToolMissing("Pillow", "images") from None
    if size is not None and size < 1:
        raise ConfigError(f"size must be 1 or more, not {size}")
    folder = Path(folder)
    held_out = folder / "test" if (folder / "test").is_dir() else folder / "val"
    classes = _classes(folder / "train")
    if (others := _classes(held_out)) != classes:
        odd = sorted(set(classes) ^ set(others))
        raise BadFile(f"{folder} must have the same classes in train/ and {held_out.name}/, and {', '.join(odd[:3])} is not")
    training, evaluation = (_read(part, classes, size, Image) for part in (folder / "train", held_out))
    if training.images.shape[1:] != evaluation.images.shape[1:]:
        raise BadFile(_sizes_differ(folder, training.images.shape[:1:-1], evaluation.images.shape[:1:-1]))
    augmentation = Augmentation(crop_padding=min(training.images.shape[2:]) // 8, is_flipped=True)
    return ImageData(
        f"images:{folder.name}", training, evaluation, mean=IMAGENET_MEAN, std=IMAGENET_STD, augmentation=augmentation
    )


def _classes(part: Path) -> list[str]:
    if not part.is_dir():
        raise BadFile(f"{part} does not exist; it must hold one folder a class")
    classes = sorted(path.name for path in part.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        raise BadFile(f"{part} must hold one folder a class and at least two of them, not {len(classes)}")
    return classes


def _read(part: Path, classes: list[str], size: int | None, pillow: Any) -> Labelled:
    images: list[np.ndarray] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(path for path in (part / name).iterdir() if path.suffix.lower() in _SUFFIXES)
        if not files:
            raise BadFile(f"{part / name} holds no images ({', '.join(sorted(_SUFFIXES))})")
        for path in files:
            images.append(_image(path, size, pillow))
            labels.append(label)
            if images[-1].shape != images[0].shape:
                raise BadFile(_sizes_differ(path, images[0].shape[:0:-1], images[-1].shape[:0:-1]))
    return Labelled(np.stack(images), np.array(labels, np.int64))


def _image(path: Path, size: int | None, pillow: Any) -> np.ndarray:
    try:
        with pillow.open(path) as file:
            image = file.convert("RGB")
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise BadFile(f"{path} is not a readable image ({error}); copy it again or remove it") from None
    if size is not None:
        scale = size / min(image.size)
        image = image.resize(tuple(max(size, round(side * scale)) for side in image.size))
        left, top = (image.width - size) // 2, (image.height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return np.ascontiguousarray(np.asarray(image, np.uint8).transpose(2, 0, 1))


def _sizes_differ(place: Path, one: tuple[int, ...], other: tuple[int, ...]) -> str:
    return (
        f"{place}: images must have one size, not {'x'.join(map(str, one))} and {'x'.join(map(str, other))}; give the "
        "size to scale them to, such as images:DIR@64"
    )
