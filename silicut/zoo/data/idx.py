"""MNIST and Fashion-MNIST from their idx files (LeCun et al., 1998; Xiao et al., 2017)."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from silicut.records import BadFile
from silicut.zoo.data.images import Augmentation, ImageData, Labelled

_UINT8 = 8


def mnist(folder: str | Path) -> ImageData:
    """Return the 60,000 training and 10,000 test digits, (1, 28, 28).

    The four idx files, gzipped or not, lie in the folder or in its MNIST/raw.

    Raises:
        BadFile: files are missing or damaged.
    """
    return _data("mnist", _place(Path(folder), "MNIST"), (0.1307, 0.3081), Augmentation(crop_padding=2))


def fashion_mnist(folder: str | Path) -> ImageData:
    """Return the 60,000 training and 10,000 test pictures of clothes, (1, 28, 28).

    The four idx files, gzipped or not, lie in the folder or in its FashionMNIST/raw.

    Raises:
        BadFile: files are missing or damaged.
    """
    augmentation = Augmentation(crop_padding=2, is_flipped=True)
    return _data("fashion-mnist", _place(Path(folder), "FashionMNIST"), (0.2860, 0.3530), augmentation)


def read_idx(path: Path) -> np.ndarray:
    """Return the uint8 array of an idx file, gzipped if its name ends in .gz.

    Raises:
        BadFile: the file is damaged or of another kind.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{path} is not a readable gzip file ({error}); copy it again") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != _UINT8:
        raise BadFile(f"{path} must be an idx file of bytes, and its first four bytes are {data[:4]!r}; copy it again")
    n_axes = data[3]
    header = 4 + 4 * n_axes
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(n_axes))
    n_values = int(np.prod(shape, dtype=np.int64))
    if len(data) != header + n_values:
        raise BadFile(f"{path} must hold {n_values} values, not {max(len(data) - header, 0)}; it is cut off, copy it again")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()


def _data(name: str, place: Path, mean_std: tuple[float, float], augmentation: Augmentation) -> ImageData:
    training, evaluation = (_labelled(place, kind) for kind in ("train", "t10k"))
    mean, std = mean_std
    return ImageData(name, training, evaluation, mean=(mean,), std=(std,), augmentation=augmentation)


def _labelled(place: Path, kind: str) -> Labelled:
    images, labels = read_idx(_file(place, f"{kind}-images", 3)), read_idx(_file(place, f"{kind}-labels", 1))
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise BadFile(f"{place} must hold one label an image, and {kind} has {labels.shape} for {images.shape}")
    return Labelled(images[:, None], labels.astype(np.int64))


def _place(folder: Path, inner: str) -> Path:
    raw = folder / inner / "raw"
    return raw if raw.is_dir() else folder


def _file(place: Path, start: str, n_axes: int) -> Path:
    names = [f"{start}{dash}idx{n_axes}-ubyte{end}" for dash in "-." for end in ("", ".gz")]
    found = next((place / name for name in names if (place / name).is_file()), None)
    if found is None:
        raise BadFile(f"{place / names[0]} does not exist (nor {names[1]}); give the folder of the idx files")
    return found
