"""What people call a model, as a module (their own, a network as data, or an ONNX file), and their loaders as data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from silicut.graph import Network, capture_onnx, to_module
from silicut.graph.from_onnx.opened import open_model
from silicut.records import ConfigError
from silicut.training import Batches, TrainingData, is_training_data
from silicut.zoo.data.loaders import LoaderData


def as_module(model: nn.Module | Network | str | Path, inputs: torch.Tensor | Sequence[torch.Tensor]) -> nn.Module:
    """Return the module of a model; a module is returned as it is.

    Args:
        model: a module, a network, or the path of an ONNX file.
        inputs: one example tensor per input; what a file leaves free behind the batch axis is of their sizes.

    Raises:
        ConfigError: `inputs` are not those of the file.
        BadFile, UnsupportedModel: the file cannot be read or captured.
    """
    if isinstance(model, nn.Module):
        return model
    examples = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    network = model if isinstance(model, Network) else _captured(model, examples)
    _check_inputs(network, examples)
    return to_module(network)


def _captured(path: str | Path, examples: Sequence[torch.Tensor]) -> Network:
    names = open_model(path).input_shapes
    return capture_onnx(path, {name: x.shape[1:] for name, x in zip(names, examples, strict=False)})


def _check_inputs(network: Network, examples: Sequence[torch.Tensor]) -> None:
    shapes = [network.tensors[name].shape for name in network.inputs]
    if len(shapes) != len(examples):
        raise ConfigError(f"inputs must be {len(shapes)} tensors ({', '.join(network.inputs)}), not {len(examples)}")
    for name, shape, x in zip(network.inputs, shapes, examples, strict=True):
        sizes = tuple(len(x) if size == -1 else size for size in shape)
        if sizes != tuple(x.shape):
            raise ConfigError(f"input {name!r} must be of shape {sizes}, not {tuple(x.shape)}; the batch may be fixed")


def as_training_data(data: TrainingData | tuple[Batches, Batches] | None) -> TrainingData | None:
    """Return data sets as they are, and two loaders as one.

    Raises:
        ConfigError: it is neither.
    """
    if data is None or is_training_data(data):
        return data
    if isinstance(data, tuple | list) and len(data) == 2:
        return LoaderData("data", *data)
    raise ConfigError(f"data must be a TrainingData or (training loader, evaluation loader), not {type(data).__name__}")
