"""What of a network takes time: its operators as *layers*, each with a shape that is shared and widths that vary.

Two layers of equal `LayerShape` and equal widths cost the same, whichever network they are in; so costs are kept, fitted
and reused by shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from silicut.graph import Channels, Network, Operator, Ref
from silicut.records import content_hash


@dataclass(frozen=True)
class Width:
    """How many channels a tensor has, as a function of the widths of groups.

    Attributes:
        constant: channels that stay whatever is pruned.
        parts: group names, one for each time that the group's width counts.
    """

    constant: int
    parts: tuple[str, ...]

    def at(self, widths: Mapping[str, int]) -> int:
        """Return the channels at given group widths.

        Example:
            >>> Width(3, ("a", "a", "b")).at({"a": 2, "b": 5})
            12
        """
        return self.constant + sum(widths[part] for part in self.parts)


@dataclass(frozen=True)
class LayerShape:
    """Everything but the widths that decides what a layer costs.

    Attributes:
        kind: operator kind, "conv2d".
        settings: kernel, stride, padding, dilation and the like, as text.
        grouping: "dense", "depthwise" or "g<number of groups>".
        in_map, out_map: sizes besides batch and channels, in and out: (h, w) of images, (n,) of tokens.
        followers: kinds of the element-wise operators that follow and may be fused into it.
        makers: kinds of the operators that make its inputs.
    """

    kind: str
    settings: str
    grouping: str
    in_map: tuple[int, ...]
    out_map: tuple[int, ...]
    followers: tuple[str, ...]
    makers: tuple[str, ...]

    @cached_property
    def key(self) -> str:
        """A short name that is equal for equal shapes on every machine."""
        return content_hash(asdict(self))

    def describe(self) -> str:
        """Return the shape as people write it: "conv2d 3x3/2 on 32x32 + add + relu"."""
        text = f"{self.kind} {self.settings}".strip()
        size = f" on {'x'.join(map(str, self.in_map))}" if self.in_map else ""
        grouping = "" if self.grouping == "dense" else f" {self.grouping}"
        return text + grouping + size + "".join(f" + {kind}" for kind in self.followers)


@dataclass(frozen=True)
class Layer:
    """One operator of the network an engine runs.

    Attributes:
        name: the operator's name.
        shape: what it shares with layers of equal cost.
        inputs, outputs: its widths.
    """

    name: str
    shape: LayerShape
    inputs: Width
    outputs: Width

    def cell(self, widths: Mapping[str, int]) -> tuple[str, int, int]:
        """Return what its cost is filed under at given group widths: shape key, channels in, channels out."""
        return self.shape.key, self.inputs.at(widths), self.outputs.at(widths)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups on which its cost depends."""
        return tuple(dict.fromkeys((*self.inputs.parts, *self.outputs.parts)))


_FOLLOWERS = ("add", "relu", "hardtanh", "relu6", "sigmoid", "silu", "hardswish", "clamp", "leaky_relu", "gelu")


def layers_of(network: Network, channels: Channels, batch: int) -> tuple[Layer, ...]:
    """Return one layer for each operator of a network with folded batch normalisation, in order of execution.

    Args:
        network: what the engine runs.
        channels: found on the same network.
        batch: batch size of the measurement, part of every shape.
    """
    return tuple(_layer(network, channels, operator, batch) for operator in network.operators)


def _layer(network: Network, channels: Channels, operator: Operator, batch: int) -> Layer:
    source = _source(network, operator)
    return Layer(
        operator.name,
        LayerShape(
            kind=operator.kind,
            settings=_settings(network, operator),
            grouping=_grouping(network, operator, source),
            in_map=_map(channels, network, source, batch),
            out_map=_map(channels, network, operator.outputs[0], batch),
            followers=_followers(network, operator),
            makers=tuple(
                network.producer[n].kind if n in network.producer else "input" for n in _activations(network, operator)
            ),
        ),
        _width(channels, network, source),
        _width(channels, network, operator.outputs[0]),
    )


def channels_of(network: Network, operator: Operator) -> tuple[int, int]:
    """Return how many channels an operator reads and writes."""
    n_in, n_out = (
        shape[1] if len(shape := network.tensors[name].shape) > 1 else 1
        for name in (_source(network, operator), operator.outputs[0])
    )
    return n_in, n_out


def _source(network: Network, operator: Operator) -> str:
    return next((name for name in operator.refs() if name in network.tensors), operator.outputs[0])


def _map(channels: Channels, network: Network, tensor: str, batch: int) -> tuple[int, ...]:
    """Return the sizes of a tensor but those of the batch and the channels: (h, w) of images, the number of tokens."""
    sizes = network.tensors[tensor].sizes(batch)
    axis = _channel_axis(channels, network, tensor)
    return tuple(size for i, size in enumerate(sizes) if i not in (0, axis))


def _channel_axis(channels: Channels, network: Network, tensor: str) -> int:
    """Return the axis on which groups lie; where none does, the last of tokens and the second of everything else."""
    axes = (axis for axis, atoms in channels.axes.get(tensor, {}).items() if (atoms >= 0).any())
    return next(axes, 2 if len(network.tensors[tensor].shape) == 3 else 1)


def _activations(network: Network, operator: Operator) -> list[str]:
    return [name for name in operator.refs() if name in network.tensors]


def _width(channels: Channels, network: Network, tensor: str) -> Width:
    constant, multiplicity = channels.composition(tensor)
    if not multiplicity:
        shape = network.tensors[tensor].shape
        constant = shape[_channel_axis(channels, network, tensor)] if len(shape) > 1 else 1
    return Width(constant, tuple(name for name, n in multiplicity.items() for _ in range(n)))


def _settings(network: Network, operator: Operator) -> str:
    arguments: Mapping[str, Any] = operator.arguments
    weight = arguments.get("weight")
    kernel: Any = arguments.get("kernel_size", ())
    if isinstance(weight, Ref) and weight.name in network.parameters:
        kernel = network.parameters[weight.name].shape[2:]
    text = "x".join(map(str, kernel)) if kernel else ""
    stride = arguments.get("stride") or ()
    if any(s != 1 for s in stride):
        text += f"/{'x'.join(map(str, dict.fromkeys(stride)))}"
    if any(d != 1 for d in arguments.get("dilation") or ()):
        text += f" dilated {'x'.join(map(str, dict.fromkeys(arguments['dilation'])))}"
    return text


def _grouping(network: Network, operator: Operator, source: str) -> str:
    n_groups = operator.arguments.get("groups", 1)
    if n_groups == 1:
        return "dense"
    return "depthwise" if n_groups == network.tensors[source].shape[1] else f"g{n_groups}"


def _followers(network: Network, operator: Operator) -> tuple[str, ...]:
    kinds: list[str] = []
    output = operator.outputs[0]
    while len(readers := network.consumers.get(output, ())) == 1 and readers[0].kind in _FOLLOWERS:
        kinds.append(readers[0].kind)
        output = readers[0].outputs[0]
    return tuple(kinds)
