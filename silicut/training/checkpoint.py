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
from silicut.training.averaging import WeightAverages
from silicut.training.precision import ComputePrecision
from silicut.training.processes import from_first, is_first

_WEIGHT, _MOMENTUM, _AVERAGE = "weight/", "momentum/", "average/"
_POINTER = "training.json"


@dataclass(frozen=True)
class EpochResult:
    """What one epoch gave.

    Attributes:
        epoch: counted from 1.
        loss: mean training loss over the epoch's images.
        learning_rate: of the last step.
        seconds: wall-clock time of the epoch.
        precision: "fp32", "bf16" or "fp16", as it was computed.
    """

    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    precision: ComputePrecision


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What changes in training, as live objects.

    Attributes:
        module: its weights and buffers.
        optimizer: its momentum.
        scaler: of gradients; without state but in float16.
        averages: of the weights, None where none are kept.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    averages: WeightAverages | None


class Checkpoint:
    """The newest finished epoch of one training in a folder.

    The tensors of an epoch are written first, then the JSON file that names them replaces its predecessor: a kill at any
    moment leaves the old state or the new one. Where several processes train, the first writes and reads, and all get what
    it reads; their number may have changed in between.

    Args:
        folder: where to keep it; made when needed.
        key: hash of the recipe and data; a folder that holds another training is refused.
    """

    def __init__(self, folder: str | Path, key: str) -> None:
        self.folder, self.key = Path(folder), key

    def save(self, state: TrainingState, results: list[EpochResult]) -> None:
        """Write weights, momentum, averages and the results so far, then remove the state before."""
        if not is_first():
            return
        path = self.folder / f"epoch-{results[-1].epoch:04d}.safetensors"
        save_tensors(path, _tensors(state))
        pointer = {
            "key": self.key,
            "tensors": path.name,
            "results": [dataclasses.asdict(result) for result in results],
            "scaler": state.scaler.state_dict(),
            "n_averaged": state.averages.n_updates if state.averages else 0,
        }
        write_atomically(self.folder / _POINTER, json.dumps(pointer, indent=1, allow_nan=False).encode())
        for old in self.folder.glob("epoch-*.safetensors"):
            if old != path:
                old.unlink()

    def load(self, state: TrainingState) -> list[EpochResult]:
        """Put the newest state into the live objects; return its results, or [] when there is none.

        Raises:
            BadFile: the folder holds another training, or its files are damaged.
        """
        found = from_first(self._read)
        if found is None:
            return []
        pointer, results, tensors = found
        _load_weights(state.module, _named(tensors, _WEIGHT), self.folder)
        momentum = _named(tensors, _MOMENTUM)
        for name, parameter in state.module.named_parameters():
            if (value := momentum.get(name)) is not None:
                state.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter.detach()).copy_(value)
        state.scaler.load_state_dict(pointer["scaler"])
        if state.averages:
            state.averages.restore(_named(tensors, _AVERAGE), pointer["n_averaged"])
        return results

    def _read(self) -> tuple[dict[str, Any], list[EpochResult], dict[str, np.ndarray]] | None:
        path = self.folder / _POINTER
        if not path.exists():
            return None
        pointer = read_json(path)
        if not isinstance(pointer, dict) or pointer.get("key") != self.key:
            raise BadFile(
                f"{self.folder} holds a training with another recipe, network or data set; choose another folder or "
                "delete it to start again"
            )
        try:
            results = [EpochResult(**result) for result in pointer["results"]]
            name, _, _ = str(pointer["tensors"]), pointer["scaler"], pointer["n_averaged"]
        except (KeyError, TypeError):
            raise BadFile(f"{path} is not a training checkpoint; delete {self.folder} to start again") from None
        return pointer, results, load_tensors(self.folder / name)


def _tensors(state: TrainingState) -> dict[str, np.ndarray]:
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in state.module.named_parameters()}
    tensors = {_WEIGHT + name: _array(tensor) for name, tensor in state.module.state_dict().items()}
    for parameter, kept in state.optimizer.state.items():
        if kept.get("momentum_buffer") is not None:
            tensors[_MOMENTUM + names[parameter]] = _array(kept["momentum_buffer"])
    averages = state.averages.state() if state.averages else {}
    return tensors | {_AVERAGE + name: _array(tensor) for name, tensor in averages.items()}


def _named(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): torch.from_numpy(array) for n, array in tensors.items() if n.startswith(prefix)}


def _load_weights(module: nn.Module, weights: dict[str, torch.Tensor], folder: Path) -> None:
    try:
        module.load_state_dict(weights)
    except RuntimeError:
        raise BadFile(f"{folder} holds the training of another network; choose another folder") from None


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()
