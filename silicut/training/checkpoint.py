"""The state of training after an epoch, on disk: safetensors and JSON, whole or absent, no pickle."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from silicut.records import BadFile, load_tensors, read_json, save_tensors, write_atomically

_MOMENTUM = "momentum/"
_WEIGHT = "weight/"
_POINTER = "training.json"


@dataclass(frozen=True)
class EpochResult:
    """What one epoch gave.

    Attributes:
        epoch: counted from 1.
        loss: mean training loss over the epoch's images.
        learning_rate: of the last step.
        seconds: wall-clock time of the epoch.
        is_bf16: whether it was computed under bfloat16 autocast.
    """

    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    is_bf16: bool


class Checkpoint:
    """The newest finished epoch of one training in a folder.

    The tensors of an epoch are written first, then the JSON file that names them replaces its predecessor: a kill at any
    moment leaves the old state or the new one.

    Args:
        folder: where to keep it; made when needed.
        key: hash of the recipe and data; a folder that holds another training is refused.
    """

    def __init__(self, folder: str | Path, key: str) -> None:
        self.folder, self.key = Path(folder), key

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, results: list[EpochResult]) -> None:
        """Write weights, momentum and the results so far, then remove the state before."""
        path = self.folder / f"epoch-{results[-1].epoch:04d}.safetensors"
        names: dict[torch.Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
        tensors = {_WEIGHT + name: _array(tensor) for name, tensor in module.state_dict().items()}
        for parameter, state in optimizer.state.items():
            if state.get("momentum_buffer") is not None:
                tensors[_MOMENTUM + names[parameter]] = _array(state["momentum_buffer"])
        save_tensors(path, tensors)
        state = {"key": self.key, "tensors": path.name, "results": [dataclasses.asdict(r) for r in results]}
        write_atomically(self.folder / _POINTER, json.dumps(state, indent=1, allow_nan=False).encode())
        for old in self.folder.glob("epoch-*.safetensors"):
            if old != path:
                old.unlink()

    def load(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> list[EpochResult]:
        """Put the newest state into module and optimizer; return its results, or [] when there is none.

        Raises:
            BadFile: the folder holds another training, or its files are damaged.
        """
        pointer = self.folder / _POINTER
        if not pointer.exists():
            return []
        state = read_json(pointer)
        results = self._results(state, pointer)
        tensors = load_tensors(self.folder / str(state["tensors"]))
        weights = {name.removeprefix(_WEIGHT): t for name, t in tensors.items() if name.startswith(_WEIGHT)}
        try:
            module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        except RuntimeError:
            raise BadFile(f"{self.folder} holds the training of another network; choose another folder") from None
        for name, parameter in module.named_parameters():
            if (array := tensors.get(_MOMENTUM + name)) is not None:
                momentum = torch.empty_like(parameter, requires_grad=False).copy_(torch.from_numpy(array))
                optimizer.state[parameter]["momentum_buffer"] = momentum
        return results

    def _results(self, state: Any, pointer: Path) -> list[EpochResult]:
        if not isinstance(state, dict) or state.get("key") != self.key:
            raise BadFile(
                f"{self.folder} holds a training with another recipe, network or data set; choose another folder or "
                "delete it to start again"
            )
        try:
            return [EpochResult(**result) for result in state["results"]]
        except (KeyError, TypeError):
            raise BadFile(f"{pointer} is not a training checkpoint; delete {self.folder} to start again") from None


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()
