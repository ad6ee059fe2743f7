"""Images from where a command line says they are: random ones, a NumPy file, or data by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from silicut.records import BadFile, ConfigError

RANDOM = "random"


def images(spec: str, n: int, shape: tuple[int, ...] | None, seed: int) -> np.ndarray:
    """Return images, array (n, ...): floats, or the integers of a file.

    Args:
        spec: "random", the path of an .npy file, or data as `silicut.zoo.open_data` takes it.
        n: how many at most.
        shape: of a random one, None where it is not known.
        seed: of random ones.

    Raises:
        ConfigError: random images of no known shape, or data without images.
        BadFile: the file is missing or holds no array.
    """
    if spec == RANDOM:
        if shape is None:
            raise ConfigError("inputs must be named, since the shape of one input is not known; give an .npy file or data")
        return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)
    return array_of_file(Path(spec))[:n] if spec.endswith(".npy") else labelled_images(spec, n)[0]


def labelled_images(spec: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first evaluation images of data and their labels.

    Raises:
        ConfigError: the data hold none.
    """
    from silicut.zoo import open_data

    batch = next(iter(open_data(spec).evaluation_batches(n)), None)
    if batch is None:
        raise ConfigError(f"data {spec!r} must hold evaluation images, not none")
    return np.asarray(batch[0][:n]), np.asarray(batch[1][:n])


def array_of_file(path: Path) -> np.ndarray:
    """Return the array of an .npy file, floats as float32.

    Raises:
        BadFile: the file is missing or is none of NumPy's.
        ConfigError: it does not hold finite numbers.
    """
    if not path.is_file():
        raise BadFile(f"{path} does not exist; check the path")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise BadFile(f"{path} is not a file of one NumPy array; write it with numpy.save") from None
    if not array.ndim or array.dtype.kind not in "fiu" or not np.isfinite(array).all() or not len(array):
        raise ConfigError(f"{path} must hold finite numbers with images along its first axis")
    return np.asarray(array, np.float32) if array.dtype.kind == "f" else np.asarray(array)
