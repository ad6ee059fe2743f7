"""Integer networks on pixels, compared with float networks on normalised images: who converts, and where it is noted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from silicut.graph.from_onnx.opened import open_model
from silicut.numerics import Quantisation
from silicut.numerics.onnx.steps import read_notes, write_notes
from silicut.records import BadFile, ConfigError
from silicut.training import Normalisation

if TYPE_CHECKING:
    from silicut.flows.executors import Arrays, Executor

NORMALISATION_FILE, _NOTE = "normalisation.json", "silicut.normalisation"
"""Beside an integer network that takes pixels, and in the metadata of its ONNX file: what it has folded in."""


def note_normalisation(model: Any, normalisation: Normalisation) -> None:
    """Put what an integer network has folded in into the metadata of its ONNX model."""
    numbers = {"mean": normalisation.mean, "std": normalisation.std}
    write_notes(model, _NOTE, {key: ",".join(map(repr, each)) for key, each in numbers.items()})


def noted_normalisation(path: str | Path) -> Normalisation | None:
    """Return what the integer network of a folder or ONNX file has folded in, None where that is not noted.

    Raises:
        BadFile: the note is damaged, or the file cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        path /= NORMALISATION_FILE
        return Normalisation.load(path) if path.exists() else None
    notes = read_notes(open_model(path).proto, _NOTE)
    try:
        return None if notes is None else Normalisation.parse(f"{notes['mean']}/{notes['std']}")
    except (KeyError, ConfigError):
        raise BadFile(f"{path} must note mean and std as numbers in its metadata {_NOTE!r}; export it again") from None


class OnNormalised(nn.Module):
    """A module that takes pixels, for those who have normalised images."""

    def __init__(self, module: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.module, self._normalisation = module, normalisation

    def forward(self, images: Tensor) -> Any:
        """Return what the module makes of the images' pixels."""
        return self.module(self._normalisation.pixels(images))


class OnNormalisedExecutor:
    """An executor of a network that takes pixels, for those who have normalised images; integers are taken for pixels."""

    def __init__(self, executor: Executor, normalisation: Normalisation) -> None:
        self._executor, self._normalisation = executor, normalisation
        self.name = executor.name
        self.quantisations: Mapping[str, Quantisation] = executor.quantisations
        self.origins, self.makers = executor.origins, executor.makers
        self.roundings = executor.roundings
        self.input_shape, self.batch = executor.input_shape, executor.batch

    def tensors(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return what the executor makes of the images' pixels."""
        return self._executor.tensors([self._pixels(x) if x.dtype.kind == "f" else x for x in inputs])

    def _pixels(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = self._normalisation.pixels(torch.from_numpy(images)).numpy()
        return pixels
