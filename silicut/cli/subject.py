"""The network, its weights and its data, from what was typed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silicut.cli.console import print_note
from silicut.records import BadFile, ConfigError, SilicutError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from silicut.training import Loss, Metric, TrainingData

RANDOM = "random"
_N_TRIED = 8  # images on which network, loss and metric are tried


@dataclass(frozen=True)
class Subject:
    """What a command works on.

    Attributes:
        module: the network with its weights.
        inputs: an example batch.
        data: None where none was named.
    """

    module: nn.Module
    inputs: torch.Tensor
    data: TrainingData | None


def open_subject(
    network: str,
    weights: str | None,
    data: str | None,
    input_shape: str | None,
    batch: int,
    *,
    has_own_loss: bool = False,
) -> Subject:
    """Build a network, give it its weights, open its data and try them once, before anything slow starts.

    Args:
        network: a name of the zoo, "module:function", the path of an ONNX file, or that of a folder of `silicut prune`.
        weights: a file, "random", or None for the weights that come with the package.
        data: as `silicut.zoo.open_data` takes it, or None.
        input_shape: "3x224x224", or None for the zoo's or the data's.
        batch: images of the example.
        has_own_loss: labels mean what the user's loss makes of them, so outputs are not counted against classes.

    Raises:
        ConfigError: anything does not fit together.
    """
    import torch

    opened = None if data is None else _opened(data)
    if network.endswith(".onnx"):
        given = None if input_shape is None and opened is None else _shape(network, input_shape, opened)
        module, shape = _from_file(network, weights, given, batch)
    elif Path(network).is_dir():
        module, shape = _from_folder(network, weights)
    else:
        module = _with_weights(network, weights).eval()
        shape = _shape(network, input_shape, opened)
    inputs = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    output = _output(module, inputs)
    if opened is not None and not has_own_loss and output.shape[-1] != opened.n_classes:
        raise ConfigError(
            f"the network must have as many outputs as {opened.name} has classes ({opened.n_classes}), "
            f"not {output.shape[-1]}"
        )
    return Subject(module, inputs, opened)


def _with_weights(network: str, weights: str | None) -> nn.Module:
    import torch

    from silicut.zoo import assign_weights, bundled_names, bundled_weights, load_weights
    from silicut.zoo import network as build
    from silicut.zoo.packages import is_package_name

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(network)
    if weights == RANDOM or (weights is None and ":" in network and not is_package_name(network)):
        return module
    if weights is None and network not in bundled_names():
        raise ConfigError(
            f"network {network!r} must come with --weights FILE (or --weights {RANDOM} to look at latency alone); "
            f"trained weights come with {', '.join(bundled_names()) or 'no network'}"
        )
    note = assign_weights(module, load_weights(bundled_weights(network) if weights is None else weights))
    if note:
        print_note(note)
    return module


def _from_file(
    path: str, weights: str | None, shape: tuple[int, ...] | None, batch: int
) -> tuple[nn.Module, tuple[int, ...]]:
    """Return the network of an ONNX file, which holds its weights, and the shape of one input."""
    from silicut.graph import capture_onnx, to_module
    from silicut.graph.from_onnx.opened import open_model

    if weights not in (None, RANDOM):
        raise ConfigError(f"weights must be left out with {path}, which holds them, not {weights!r}")
    names = list(open_model(path).input_shapes)
    if len(names) != 1:
        raise ConfigError(
            f"{path} must have one input to be used here, not {', '.join(names)}; use silicut.prune from Python"
        )
    network = capture_onnx(path, {} if shape is None else {names[0]: shape})
    first, *rest = network.tensors[names[0]].shape
    if first not in (-1, batch):
        raise ConfigError(f"batch must be {first}, not {batch}: {path} has it fixed, and its images depend on each other")
    return to_module(network), tuple(rest)


def _from_folder(folder: str, weights: str | None) -> tuple[nn.Module, tuple[int, ...]]:
    """Return the network that `silicut prune` left in a folder, with its weights, and the shape of one input."""
    from silicut.flows.load import load
    from silicut.graph.storage import load_network

    if not (Path(folder) / "network.json").exists():
        raise BadFile(f"{folder} is no folder of silicut prune: it holds no network.json; give such a folder, or a network")
    if weights is not None:
        raise ConfigError(f"weights must be left out with {folder}, which holds them, not {weights!r}")
    network = load_network(Path(folder) / "network.json", Path(folder) / "model.safetensors")
    return load(folder), tuple(network.tensors[network.inputs[0]].shape[1:])


def _opened(spec: str) -> TrainingData:
    """Open data and look at the first images of both kinds."""
    import torch

    from silicut.zoo import open_data

    data = open_data(spec)
    try:
        pairs = [next(data.training_batches(0, _N_TRIED, 0), None), next(data.evaluation_batches(_N_TRIED), None)]
    except SilicutError:
        raise
    except Exception as error:  # the user's loaders may raise anything
        raise ConfigError(f"data {spec!r} cannot be read: {type(error).__name__}: {_reason(error)}") from error
    for kind, pair in zip(("training", "evaluation"), pairs, strict=True):
        if pair is None:
            raise ConfigError(f"data {spec!r} must hold {kind} images, not none")
        if tuple(pair[0].shape[1:]) != tuple(data.input_shape):
            raise ConfigError(f"{kind} images of data {spec!r} must be {data.input_shape}, not {tuple(pair[0].shape[1:])}")
        if not torch.isfinite(pair[0]).all():
            raise ConfigError(f"{kind} images of data {spec!r} must be finite, not NaN or infinity")
    return data


def _shape(network: str, input_shape: str | None, data: TrainingData | None) -> tuple[int, ...]:
    from silicut.zoo import network_entry

    if input_shape is not None:
        shape = parsed_shape(input_shape)
        if data is not None and shape != tuple(data.input_shape):
            raise ConfigError(
                f"input-shape must be that of {data.name} ({'x'.join(map(str, data.input_shape))}), not {input_shape!r}; "
                "leave it out"
            )
        return shape
    if data is not None:
        return data.input_shape
    if ":" in network:
        raise ConfigError(f"network {network!r} must come with --input-shape (such as 3x224x224) or --data, not without")
    return network_entry(network).input_shape


def parsed_shape(input_shape: str) -> tuple[int, ...]:
    """Return the sizes of one input from "3x224x224".

    Raises:
        ConfigError: it is no such text.
    """
    sizes = input_shape.lower().split("x")
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ConfigError(f"input-shape must be like 3x224x224, not {input_shape!r}")
    return tuple(map(int, sizes))


def shape_of_file(input_shape: str | None, network: str) -> tuple[int, ...] | None:
    """Return the sizes of one input of an ONNX file, None where none were given.

    Raises:
        ConfigError: it is no such text, or the network is no ONNX file, so that its sizes are known.
    """
    if input_shape is None:
        return None
    if not network.endswith(".onnx"):
        raise ConfigError(f"input-shape must be left out with {network!r}, whose sizes are known")
    return parsed_shape(input_shape)


def _output(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Run the network on random inputs and return its first output."""
    import torch

    try:
        with torch.no_grad():
            output = module(inputs)
    except Exception as error:
        raise ConfigError(
            f"the network cannot take inputs of shape {tuple(inputs.shape)} ({_reason(error)}); give its --input-shape or "
            "other data"
        ) from error
    outputs = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else [output]
    first = next(iter(outputs), None)
    if not isinstance(first, torch.Tensor) or not first.ndim:
        raise ConfigError(f"the network must return a tensor, or several, of one row an image, not {_kind(first)}")
    if not torch.isfinite(first).all():
        raise ConfigError("the network returns NaN or infinity on a random input; its weights are damaged or diverged")
    return first


def own_loss(name: str | None, subject: Subject) -> Loss | None:
    """Return the user's loss, tried on the first images; None for None.

    Raises:
        ConfigError: there is none of that name or no data to use it on, it fails, or it does not return a finite scalar.
    """
    if name is None:
        return None
    loss, value = _tried(name, "loss", subject)
    if _kind(value) != "a tensor of shape ()" or not value.isfinite():
        raise ConfigError(f"loss {name!r} must return a finite tensor of shape (), not {_kind(value)}")
    return loss


def own_metric(name: str | None, subject: Subject) -> Metric | None:
    """Return the user's metric, tried on the first images; None for None.

    Raises:
        ConfigError: there is none of that name or no data to use it on, it fails, or it does not return one value an image.
    """
    if name is None:
        return None
    metric, value = _tried(name, "metric", subject)
    n = len(next(subject.data.evaluation_batches(_N_TRIED))[1]) if subject.data else 0
    if _kind(value) != f"a tensor of shape ({n},)":
        raise ConfigError(f"metric {name!r} must return a tensor of shape ({n},) for {n} images, not {_kind(value)}")
    return metric


def _tried(name: str, kind: str, subject: Subject) -> tuple[Callable[..., Any], Any]:
    """Return the user's function of (outputs, labels), its failures made into sentences, and what it gives."""
    import torch

    from silicut.zoo import user_function

    if subject.data is None:
        raise ConfigError(f"{kind} {name!r} must come with --data, not without")
    function = _with_sentences(user_function(name, kind), f"{kind} {name!r}")
    x, y = next(subject.data.evaluation_batches(_N_TRIED))
    with torch.no_grad():
        return function, function(subject.module(x), y)


def _with_sentences(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except SilicutError:
            raise
        except Exception as error:
            raise ConfigError(f"{what} failed when called: {type(error).__name__}: {_reason(error)}") from error

    return called


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _kind(value: object) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"a tensor of shape {tuple(shape)}"
