"""What a run hands over: weights, structure and an ONNX model that was compared with PyTorch on real inputs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from silicut.graph import Network, fold_batch_norm, write_back
from silicut.graph.onnx_writer import to_onnx
from silicut.graph.storage import save_network
from silicut.records import BadFile, Record, UnsupportedModel, write_atomically
from silicut.targets import Engine
from silicut.training import TrainingData

TOLERANCE_FRAC = 1e-3  # of the largest output: folding and another order of float32 sums
_N_COMPARED, _N_RANDOM = 64, 4


@dataclass(frozen=True, kw_only=True)
class Agreement(Record):
    """How well an exported model agrees with PyTorch.

    Attributes:
        n: inputs compared.
        max_abs_difference: over all outputs.
        max_abs_output: of PyTorch, for scale.
        n_same_top1: inputs whose largest output is the same.
    """

    schema: ClassVar[str] = "agreement/1"
    n: int
    max_abs_difference: float
    max_abs_output: float
    n_same_top1: int

    @property
    def is_close(self) -> bool:
        """Whether the difference is within rounding."""
        return self.max_abs_difference <= TOLERANCE_FRAC * max(self.max_abs_output, 1e-6)


def inputs_to_compare(network: Network, data: TrainingData | None) -> list[np.ndarray]:
    """Return inputs for `agreement`: evaluation images where there is data, random numbers elsewhere."""
    if data is not None and len(network.inputs) == 1:
        x, _ = next(iter(data.evaluation_batches(_N_COMPARED)))
        return [x.numpy()]
    rng = np.random.default_rng(0)
    return [rng.standard_normal(network.tensors[name].sizes(_N_RANDOM)).astype(np.float32) for name in network.inputs]


def agreement(module: nn.Module, network: Network, inputs: Sequence[np.ndarray], engine: Engine) -> Agreement:
    """Compare a module with its network's ONNX model on an engine.

    Args:
        module: evaluated in evaluation mode, in float32.
        network: the same network, with the same weights.
        inputs: one array per argument, n inputs each.
        engine: that the network is for; `engine.exact()` runs the model, `engine.settings.batch` inputs at a time; a rest
            is left out.
    """
    batch = engine.settings.batch
    n = max(len(inputs[0]) // batch, 1) * batch
    inputs = [np.resize(array, (n, *array.shape[1:])) for array in inputs]
    was_training = module.training
    module.eval()
    with torch.no_grad():
        expected = _first(module(*(torch.from_numpy(array) for array in inputs))).numpy()
    module.train(was_training)
    with engine.exact().load(to_onnx(fold_batch_norm(network), batch=batch)) as session:
        parts = [
            next(iter(session.run(dict(zip(session.input_names, (a[i : i + batch] for a in inputs), strict=True))).values()))
            for i in range(0, n, batch)
        ]
    found = np.concatenate(parts)
    same = found.reshape(n, -1).argmax(1) == expected.reshape(n, -1).argmax(1)
    return Agreement(
        n=n,
        max_abs_difference=float(np.abs(found - expected).max()),
        max_abs_output=float(np.abs(expected).max()),
        n_same_top1=int(same.sum()),
    )


def _first(output: object) -> torch.Tensor:
    if isinstance(output, torch.Tensor):
        return output
    first: torch.Tensor = next(iter(output.values() if isinstance(output, dict) else output))  # type: ignore[call-overload]
    return first


def save_model(network: Network, folder: Path, batch: int) -> None:
    """Write network.json, model.safetensors (state-dict names) and model.onnx (`onnx_file`)."""
    save_network(network, folder / "network.json", folder / "model.safetensors")
    write_atomically(folder / "model.onnx", onnx_file(network, batch))


def onnx_file(network: Network, batch: int) -> bytes:
    """Return a network as an ONNX file.

    It is the user's own graph where the network was captured from an ONNX file, else ours with batch normalisation folded.
    Where the user's graph cannot hold the network it is ours too, with a warning that says why.
    """
    return _own_graph(network) or to_onnx(fold_batch_norm(network), batch=batch)


def _own_graph(network: Network) -> bytes | None:
    if not network.file:
        return None
    try:
        return write_back(network.file, network)
    except (UnsupportedModel, BadFile) as error:
        warnings.warn(f"model.onnx has a graph of silicut's own: {error}", stacklevel=3)
        return None
