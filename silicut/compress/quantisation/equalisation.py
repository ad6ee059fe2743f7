"""Cross-layer equalisation: channels of very different ranges are brought to equal ones without changing the function.

A channel may be divided by s > 0 where it is made and multiplied by s where it is read, as long as everything between
commutes with positive factors: relu(s x) = s relu(x), while min(s x, 6) is not s min(x, 6). One scale for a tensor then
wastes less of its integers on the widest channel (Nagel et al. 2019, arXiv 1906.04721, section 4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from silicut.graph import Network, Operator, Ref
from silicut.records import ConfigError

_LAYERS = ("conv1d", "conv2d", "conv3d", "linear")
_HOMOGENEOUS = frozenset(
    "relu relu_ leaky_relu leaky_relu_ dropout dropout_ feature_dropout alias clone contiguous detach "
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d "
    "upsample_nearest2d upsample_bilinear2d constant_pad_nd".split()
)
"""Operators with f(s x) = s f(x) for s > 0, channel by channel."""

_CLAMPS = frozenset("relu6 hardtanh clamp clamp_max clamp_min hardtanh_ relu6_ clamp_".split())
_FLATTENING = ("reshape", "flatten")
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Pair:
    """A layer whose channels are read by other layers only, with nothing between but what commutes with factors.

    Attributes:
        maker: operator name of the layer that makes the channels.
        readers: operator names of the layers that read them, in order of execution.
    """

    maker: str
    readers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Equalisation:
    """What equalisation did.

    Attributes:
        network: the equalised network; it computes what the network before did, up to rounding of floats.
        factors: by layer that makes channels, what each of its channels was divided by, array (n_channels,).
        refused: by layer that makes channels, why they stay as they are.
    """

    network: Network
    factors: Mapping[str, np.ndarray]
    refused: Mapping[str, str]


def find_pairs(network: Network) -> tuple[tuple[Pair, ...], dict[str, str]]:
    """Return what can be equalised, in order of execution, and for all other layers why their channels cannot.

    Args:
        network: with batch normalisation folded.
    """
    pairs, refused = [], {}
    for operator in network.operators:
        if operator.kind in _LAYERS:
            try:
                pairs.append(_pair(network, operator))
            except _Refused as reason:
                refused[operator.name] = str(reason)
    return tuple(pairs), refused


class _Refused(Exception):
    """Why a layer's channels cannot be scaled."""


def _pair(network: Network, layer: Operator) -> Pair:
    _check_own(network, layer)
    if len(network.tensors[layer.outputs[0]].shape) != max(2, network.parameters[_weight(layer)].ndim):
        raise _Refused(f"the channels of {layer.name} do not lie on axis 1")
    readers = set(_readers(network, layer.outputs[0], len(network.parameters[_weight(layer)])))
    if not readers:
        raise _Refused(f"no layer reads {layer.outputs[0]}")
    return Pair(layer.name, tuple(operator.name for operator in network.operators if operator.name in readers))


def _check_own(network: Network, layer: Operator) -> None:
    """Refuse a layer whose weights are computed, or read by others too."""
    for argument in ("weight", "bias"):
        reference = layer.arguments.get(argument)
        if isinstance(reference, Ref):
            if reference.name not in network.parameters:
                raise _Refused(f"the {argument} of {layer.name} is computed")
            if len(network.consumers[reference.name]) > 1:
                raise _Refused(f"the {argument} of {layer.name} is read by several operators")


def _readers(network: Network, tensor: str, n_channels: int) -> list[str]:
    """Return the layers that read a tensor with the maker's channels on axis 1, through what commutes with factors."""
    if tensor in network.outputs:
        raise _Refused(f"{tensor} is an output of the network")
    found = []
    for operator in network.consumers.get(tensor, ()):
        if operator.kind in _LAYERS:
            _check_own(network, operator)
            _check_reads(network, operator, tensor)
            found.append(operator.name)
        elif _is_transparent(network, operator, n_channels):
            found += _readers(network, operator.outputs[0], n_channels)
        elif operator.kind in _CLAMPS:
            raise _Refused(f"{operator.name} ({operator.kind}) clamps at a number, which does not scale with its channels")
        else:
            raise _Refused(f"{operator.name} ({operator.kind}) does not treat the channels one by one up to a factor")
    return found


def _check_reads(network: Network, layer: Operator, tensor: str) -> None:
    n_axes = len(network.tensors[tensor].shape)
    if n_axes != max(2, network.parameters[_weight(layer)].ndim):
        raise _Refused(f"{layer.name} does not read its channels on axis 1 of {n_axes}")


def _is_transparent(network: Network, operator: Operator, n_channels: int) -> bool:
    output = network.tensors[operator.outputs[0]].shape
    keeps_channels = len(output) > 1 and output[1] == n_channels
    if operator.kind in _FLATTENING:  # each channel becomes neighbours on axis 1
        source = network.tensors[operator.arguments["self"].name].shape
        return len(output) == 2 and output[0] == source[0] and source[1] == n_channels
    if operator.kind == "mean":
        n_axes = len(network.tensors[operator.arguments["self"].name].shape)
        axes = operator.arguments.get("dim") or ()
        return keeps_channels and bool(axes) and min(axis % n_axes for axis in axes) > 1
    if operator.kind == "constant_pad_nd":
        return keeps_channels and operator.arguments.get("value", 0) == 0
    return operator.kind in _HOMOGENEOUS and keeps_channels and len(operator.outputs) == 1


def equalise(network: Network, n_sweeps: int = 40) -> Equalisation:
    """Return the network with every pair's channels scaled until makers and readers have equal ranges of weights.

    One step gives channel c the factor s = sqrt(r1 / r2) with r1 = max|filter c| of the maker and r2 = max|weights that
    read c|, so that both become sqrt(r1 r2); the maker's filter and bias are divided by s. Sweeps over all pairs go on
    until no factor moves, since a depthwise layer belongs to two pairs. Channels without any weight on one side stay.

    Args:
        network: with batch normalisation folded.
        n_sweeps: at most; 1 or more.

    Raises:
        ConfigError: `n_sweeps` is less than 1.
    """
    if n_sweeps < 1:
        raise ConfigError(f"n_sweeps must be 1 or more, not {n_sweeps}")
    pairs, refused = find_pairs(network)
    layers = {operator.name: operator for operator in network.operators if operator.kind in _LAYERS}
    parameters = dict(network.parameters)
    for name in {argument for layer in layers.values() for argument in layer.refs() if argument in parameters}:
        parameters[name] = parameters[name].astype(np.float64)
    factors = {pair.maker: np.ones(len(parameters[_weight(layers[pair.maker])])) for pair in pairs}
    for _ in range(n_sweeps):
        moved = 0.0
        for pair in pairs:
            steps = _steps(pair, layers, parameters)
            _scale(pair, layers, parameters, steps)
            factors[pair.maker] *= steps
            moved = max(moved, float(np.abs(np.log(steps)).max()))
        if moved < _TOLERANCE:
            break
    scaled = {name: array.astype(network.parameters[name].dtype) for name, array in parameters.items()}
    return Equalisation(network.with_parameters(scaled), factors, refused)


def _weight(layer: Operator) -> str:
    return str(layer.arguments["weight"].name)


def _steps(pair: Pair, layers: Mapping[str, Operator], parameters: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the factor of each channel, sqrt(r1 / r2)."""
    made = parameters[_weight(layers[pair.maker])]
    own = np.abs(made.reshape(len(made), -1)).max(axis=1)
    read = np.max([_input_ranges(layers[name], parameters, len(made)) for name in pair.readers], axis=0)
    is_used = (own > 0.0) & (read > 0.0)
    return np.sqrt(np.where(is_used, own, 1.0) / np.where(is_used, read, 1.0))


def _by_channel(layer: Operator, weight: np.ndarray, n_channels: int) -> np.ndarray:
    """Return a weight as a view (groups, filters of a group, channels of a group, positions of a channel)."""
    groups = int(layer.arguments.get("groups", 1))
    return weight.reshape(groups, len(weight) // groups, n_channels // groups, -1)


def _input_ranges(layer: Operator, parameters: Mapping[str, np.ndarray], n_channels: int) -> np.ndarray:
    weight = _by_channel(layer, parameters[_weight(layer)], n_channels)
    ranges: np.ndarray = np.abs(weight).max(axis=(1, 3)).reshape(-1)
    return ranges


def _scale(pair: Pair, layers: Mapping[str, Operator], parameters: dict[str, np.ndarray], steps: np.ndarray) -> None:
    """Divide what the maker makes by the factors and multiply what the readers read."""
    maker = layers[pair.maker]
    for argument in ("weight", "bias"):
        reference = maker.arguments.get(argument)
        if isinstance(reference, Ref):
            array = parameters[reference.name]
            parameters[reference.name] = array / steps.reshape(-1, *[1] * (array.ndim - 1))
    for name in pair.readers:
        array = parameters[_weight(layers[name])]
        by_channel = _by_channel(layers[name], array, len(steps))
        scaled = by_channel * steps.reshape(len(by_channel), 1, -1, 1)
        parameters[_weight(layers[name])] = scaled.reshape(array.shape)
