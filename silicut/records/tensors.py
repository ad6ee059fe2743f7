"""Named arrays in safetensors files: reading one never executes code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from silicut.records.errors import BadFile
from silicut.records.record import write_atomically


def save_tensors(path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> Path:
    """Write named arrays (any shapes, NumPy dtypes) and string metadata, atomically; return the path."""
    from safetensors.numpy import save

    path = Path(path)
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    write_atomically(path, save(arrays, metadata=dict(metadata or {})))
    return path


def load_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Return the named arrays of a safetensors file.

    Raises:
        BadFile: the file is missing, truncated or of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(path)
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        raise BadFile(f"{path} does not exist; check the path") from None
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise BadFile(f"{path} is not a readable safetensors file ({error}); it may be cut off: copy it again") from None
