"""The network, its weights and its data, from what was typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from silicut.records import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from silicut.training import TrainingData

RANDOM = "random"


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


def open_subject(network: str, weights: str | None, data: str | None, input_shape: str | None, batch: int) -> Subject:
    """Build a network, give it its weights and open its data.

    Args:
        network: a name of the zoo or "module:function".
        weights: a file, "random", or None for the weights that come with the package.
        data: as `silicut.zoo.open_data` takes it, or None.
        input_shape: "3x224x224", or None for the zoo's or the data's.
        batch: images of the example.

    Raises:
        ConfigError: anything does not fit together.
    """
    import torch

    from silicut.zoo import open_data

    if batch < 1:
        raise ConfigError(f"batch must be 1 or more, not {batch}")
    opened = None if data is None else open_data(data)
    module = _with_weights(network, weights).eval()
    shape = _shape(network, input_shape, opened)
    inputs = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    _check(module, inputs, opened)
    return Subject(module, inputs, opened)


def _with_weights(network: str, weights: str | None) -> nn.Module:
    import torch

    from silicut.zoo import assign_weights, bundled_names, bundled_weights, load_weights
    from silicut.zoo import network as build

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(network)
    if weights == RANDOM or (weights is None and ":" in network):
        return module
    if weights is None and network not in bundled_names():
        raise ConfigError(
            f"network {network!r} must come with --weights FILE (or --weights {RANDOM} to look at latency alone); "
            f"trained weights come with {', '.join(bundled_names()) or 'no network'}"
        )
    assign_weights(module, load_weights(bundled_weights(network) if weights is None else weights))
    return module


def _shape(network: str, input_shape: str | None, data: TrainingData | None) -> tuple[int, ...]:
    from silicut.zoo import network_entry

    if input_shape is not None:
        sizes = input_shape.lower().split("x")
        if not all(size.isdigit() and int(size) > 0 for size in sizes):
            raise ConfigError(f"input-shape must be like 3x224x224, not {input_shape!r}")
        return tuple(map(int, sizes))
    if data is not None:
        return data.input_shape
    if ":" in network:
        raise ConfigError(f"network {network!r} must come with --input-shape (such as 3x224x224) or --data, not without")
    return network_entry(network).input_shape


def _check(module: nn.Module, inputs: torch.Tensor, data: TrainingData | None) -> None:
    """Run the network once: wrong sizes, wrong classes and NaN are found before anything slow starts."""
    import torch

    try:
        with torch.no_grad():
            output = module(inputs)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"the network cannot take inputs of shape {tuple(inputs.shape)} ({reason}); give its --input-shape or other data"
        ) from error
    first = (
        output if isinstance(output, torch.Tensor) else next(iter(output.values() if isinstance(output, dict) else output))
    )
    if not torch.isfinite(first).all():
        raise ConfigError("the network returns NaN or infinity on a random input; its weights are damaged or diverged")
    if data is not None and first.shape[-1] != data.n_classes:
        raise ConfigError(
            f"the network must have as many outputs as {data.name} has classes ({data.n_classes}), not {first.shape[-1]}"
        )
