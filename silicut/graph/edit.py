"""Edits that make a new `Network` from an old one and change nothing else: remove channels, remove a residual branch,
fold batch normalisation, drop what nothing reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from silicut.graph.channels import Channels
from silicut.graph.network import Network, Operator, Ref, Tensor
from silicut.graph.resize import resized


def keep_channels(network: Network, channels: Channels, kept: Mapping[str, np.ndarray]) -> Network:
    """Return the network with only some channels of some groups, smaller in every tensor they lie on.

    Args:
        network: the network on which `channels` was found.
        channels: its channel groups.
        kept: for some groups by name, the indices 0..n_channels-1 that stay, at least one each; other groups stay whole.
    """
    masks = channels.masks(kept)
    tensors = {name: _shrunk(tensor, masks.get(name, {})) for name, tensor in network.tensors.items()}
    return replace(
        network,
        tensors=tensors,
        operators=tuple(resized(o, tensors, masks) for o in network.operators),
        parameters={name: _taken(array, masks.get(name, {})) for name, array in network.parameters.items()},
    )


def _shrunk(tensor: Tensor, masks: Mapping[int, np.ndarray]) -> Tensor:
    shape = list(tensor.shape)
    for axis, mask in masks.items():
        if not mask.all():
            n = int(mask.sum())
            shape[axis] = n if shape[axis] >= 0 else -n
    return replace(tensor, shape=tuple(shape))


def _taken(array: np.ndarray, masks: Mapping[int, np.ndarray]) -> np.ndarray:
    for axis, mask in masks.items():
        if not mask.all():
            array = np.compress(mask, array, axis)
    return array


def bypass(network: Network, tensor: str, by: str) -> Network:
    """Return the network in which every reader of one tensor reads another of the same shape, and what is then dead is gone.

    A rectifier that would follow another rectifier is bypassed too, since max(max(x, 0), 0) = max(x, 0).
    """
    assert network.tensors[tensor].shape == network.tensors[by].shape
    readers = {operator.name for operator in network.consumers.get(tensor, ())}
    operators = tuple(_renamed(o, {tensor: by}) if o.name in readers else o for o in network.operators)
    outputs = tuple(by if name == tensor else name for name in network.outputs)
    edited = drop_dead(replace(network, operators=operators, outputs=outputs))
    if by in network.producer and network.producer[by].kind == "relu":
        for operator in edited.operators:
            if operator.kind == "relu" and operator.name in readers:
                return bypass(edited, operator.outputs[0], by)
    return edited


def _renamed(operator: Operator, names: Mapping[str, str]) -> Operator:
    def rename(value: Any) -> Any:
        if isinstance(value, Ref):
            return Ref(names.get(value.name, value.name))
        return tuple(rename(item) for item in value) if isinstance(value, tuple) else value

    return replace(operator, arguments={key: rename(value) for key, value in operator.arguments.items()})


def drop_dead(network: Network) -> Network:
    """Return the network without operators, tensors and parameters that no output depends on."""
    return _without_dead(network, network)


def _without_dead(network: Network, before: Network) -> Network:
    """Return the network without what no output depends on; `before` still has the operators that read its parameters."""
    live = set(network.outputs)
    operators: list[Operator] = []
    for operator in reversed(network.operators):
        if live.intersection(operator.outputs):
            live.update(operator.refs())
            operators.append(operator)
    made = {output for operator in operators for output in operator.outputs} | set(network.inputs)
    kept = _live_parameters(before, live) | (network.parameters.keys() & live)
    return replace(
        network,
        tensors={name: tensor for name, tensor in network.tensors.items() if name in made},
        operators=tuple(reversed(operators)),
        parameters={name: array for name, array in network.parameters.items() if name in kept},
        trainable=network.trainable & kept,
        aliases={name: original for name, original in network.aliases.items() if original in kept},
        constants=network.constants & kept,
    )


def _live_parameters(network: Network, live: set[str]) -> set[str]:
    """Return the parameters that stay; one that no operator ever read (a counter of batches) stays as long as its layer."""
    read = network.consumers.keys() & network.parameters.keys()
    layers = {name.rpartition(".")[0] for name in read}
    live_layers = {name.rpartition(".")[0] for name in read & live}
    dead_layers = layers - live_layers
    return {
        name
        for name in network.parameters
        if name in live or (name not in read and name.rpartition(".")[0] not in dead_layers)
    }


def fold_batch_norm(network: Network) -> Network:
    """Return the network in which batch normalisation after a convolution or linear layer is part of its weights.

    Only where it uses its running statistics, nothing else reads the layer's output and the layer's parameters are used
    once. With scale g = gamma / sqrt(var + eps): weight' = g * weight, bias' = g * (bias - mean) + beta.
    """
    for norm in [o for o in network.operators if o.kind == "batch_norm"]:
        layer = network.producer.get(norm.arguments["input"].name)
        if layer is not None and _is_foldable(network, layer, norm):
            network = _fold(network, layer, norm)
    return network


_FOLDABLE = ("linear", *(f"conv{transposed}{n}d" for transposed in ("", "_transpose") for n in (1, 2, 3)))


def _is_foldable(network: Network, layer: Operator, norm: Operator) -> bool:
    if layer.kind not in _FOLDABLE:
        return False
    output = layer.outputs[0]
    own, statistics = list(layer.refs())[1:], list(norm.refs())[1:]
    n_axes = len(network.tensors[output].shape)
    return (
        len(network.consumers[output]) == 1
        and output not in network.outputs
        and network.parameters.keys() >= {*own, *statistics}
        and all(len(network.consumers[name]) == 1 for name in own)
        and n_axes == (2 if layer.kind == "linear" else network.parameters[own[0]].ndim)
        and not norm.arguments["training"]
    )


def _fold(network: Network, layer: Operator, norm: Operator) -> Network:
    parameters = dict(network.parameters)

    def value(reference: Ref | None, default: float) -> np.ndarray:
        return np.float64(default) if reference is None else parameters[reference.name].astype(np.float64)  # type: ignore[return-value]

    weight_name, bias_name = layer.arguments["weight"].name, _bias_name(network, layer)
    weight = _turned(layer, parameters[weight_name])
    scale = value(norm.arguments["weight"], 1) / np.sqrt(value(norm.arguments["running_var"], 1) + norm.arguments["eps"])
    bias = (value(layer.arguments["bias"], 0) - value(norm.arguments["running_mean"], 0)) * scale
    bias = np.broadcast_to(bias, weight.shape[:1]) + value(norm.arguments["bias"], 0)
    scale = np.broadcast_to(scale, weight.shape[:1]).reshape(-1, *[1] * (weight.ndim - 1))
    parameters[weight_name] = _turned(layer, scale * weight.astype(np.float64)).astype(weight.dtype)
    parameters[bias_name] = bias.astype(weight.dtype)
    merged = replace(layer.with_arguments(bias=Ref(bias_name)), outputs=norm.outputs)
    operators = tuple(merged if o is layer else o for o in network.operators if o is not norm)
    trainable = network.trainable | ({bias_name} if weight_name in network.trainable else set())
    return _without_dead(replace(network, operators=operators, parameters=parameters, trainable=trainable), network)


def _turned(layer: Operator, weight: np.ndarray) -> np.ndarray:
    """Return a weight with all filters on axis 0; for that of a transposed convolution this is its own inverse."""
    if "transpose" not in layer.kind:
        return weight
    n_groups = int(layer.arguments["groups"])
    first, second, *kernel = weight.shape
    apart = weight.reshape(n_groups, first // n_groups, second, *kernel).swapaxes(1, 2)
    return apart.reshape(n_groups * second, first // n_groups, *kernel)


def _bias_name(network: Network, layer: Operator) -> str:
    """Return the name of a layer's bias: its own, or a free one beside its weight."""
    if layer.arguments["bias"] is not None:
        return str(layer.arguments["bias"].name)
    path = layer.arguments["weight"].name.rpartition(".")[0]
    name = candidate = f"{path}.bias" if path else "bias"
    n = 0
    while candidate in network.parameters or candidate in network.aliases or candidate in network.tensors:
        n += 1
        candidate = f"{name}_{n}"
    return candidate
