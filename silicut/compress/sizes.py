"""What follows from shapes alone: parameters, multiply-accumulates and bytes, as exact costs over the widths of groups.

Every axis of a parameter has as many positions as the widths of the groups on it make; a parameter's size is the product
of its axes. So these costs need no measurement, and what they say of a plan is what the built network has.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from silicut.graph import Channels, Network, Operator, Ref
from silicut.search import Cost, SumVariable, Table, Variable

PARAMETERS, MACS, FILE_BYTES = "parameters", "multiply-accumulates", "file_bytes"
"""The names of these resources in a problem."""

_COUNTED = ("conv1d", "conv2d", "conv3d", "linear")


@dataclass(frozen=True)
class _Axis:
    """An axis of a parameter: constant + factor x (the sum of some groups' widths)."""

    constant: int
    factor: int = 0
    parts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The variable it depends on, named as profiles name it."""
        counts = {part: self.parts.count(part) for part in self.parts}
        return " + ".join(part if n == 1 else f"{n}*{part}" for part, n in counts.items())


@dataclass(frozen=True)
class _Array:
    """A parameter, or what else has its shape: how much it counts, and who must be gone for it to be gone."""

    axes: tuple[_Axis, ...]
    weight: float
    readers: tuple[str, ...]


@dataclass(frozen=True)
class ShapeCost:
    """A `silicut.search.CostSource` of one size that follows from shapes."""

    arrays: tuple[_Array, ...]
    fixed: float = 0.0
    variables: tuple[Variable, ...] = ()

    def cost(self, variables: Sequence[Variable], gates: Mapping[str, str]) -> Cost:
        """Return the cost over some levels of the groups; see `CostSource`."""
        levels = {variable.name: variable.levels for variable in variables}
        sums = {axis.name: SumVariable(axis.name, axis.parts) for a in self.arrays for axis in a.axes if len(axis.parts) > 1}
        levels |= {name: derived.levels(variables) for name, derived in sums.items()}
        tables: dict[tuple[str, ...], np.ndarray] = {}
        for array in self.arrays:
            names, entries = _entries(array, levels, gates)
            tables[names] = tables.get(names, 0.0) + entries
        fixed = self.fixed + float(tables.pop((), 0.0))
        return Cost(tuple(Table.of(names, entries) for names, entries in tables.items()), tuple(sums.values()), fixed)


def parameter_cost(network: Network, channels: Channels) -> ShapeCost:
    """Return the number of trained parameters of a network, as captured, over the widths of its groups.

    Args:
        network: as captured.
        channels: found on it.
    """
    axes = _axes_by_parameter(network, channels)
    return ShapeCost(tuple(_array(network, axes, name, 1.0) for name in sorted(network.trainable)))


def mac_cost(network: Network, channels: Channels) -> ShapeCost:
    """Return the multiply-accumulates of convolutions and linear layers for one input, as `silicut.graph.counting` does."""
    axes = _axes_by_parameter(network, channels)
    return ShapeCost(tuple(_mac_arrays(network, axes)))


def file_cost(network: Network, channels: Channels, file_bytes: int) -> ShapeCost:
    """Return the bytes of the ONNX file; what the nodes of removed blocks take is not subtracted, some hundred bytes each.

    Args:
        network: as written, with folded batch normalisation.
        channels: found on it.
        file_bytes: of its file.
    """
    axes = _axes_by_parameter(network, channels)
    held = [name for name in network.parameters if name in network.consumers]
    arrays = tuple(_array(network, axes, name, float(network.parameters[name].itemsize)) for name in held)
    return ShapeCost(arrays, float(file_bytes - sum(network.parameters[name].nbytes for name in held)))


def _mac_arrays(network: Network, axes: Mapping[str, tuple[_Axis, ...]]) -> Iterator[_Array]:
    shapes = [network.tensors[name].shape for name in network.inputs]
    n_images = next((abs(shape[0]) for shape in shapes if shape), 1)
    for operator in network.operators:
        weight = operator.arguments.get("weight")
        if operator.kind in _COUNTED and isinstance(weight, Ref) and weight.name in network.parameters:
            n_outputs = math.prod(network.tensors[operator.outputs[0]].sizes(1))
            places = n_outputs / network.parameters[weight.name].shape[0] / n_images
            yield _Array(axes[weight.name], places, (operator.name,))


def _array(network: Network, axes: Mapping[str, tuple[_Axis, ...]], name: str, weight: float) -> _Array:
    readers: tuple[Operator, ...] = network.consumers.get(name, ())
    return _Array(axes[name], weight, tuple(operator.name for operator in readers))


def _axes_by_parameter(network: Network, channels: Channels) -> dict[str, tuple[_Axis, ...]]:
    positions: dict[tuple[str, int], dict[str, int]] = {}
    sizes = {group.name: group.n_channels for group in channels.groups}
    for group in channels.groups:
        for member in group.members:
            positions.setdefault((member.parameter, member.axis), {})[group.name] = member.positions.shape[1]
    return {
        name: tuple(_axis(length, positions.get((name, axis), {}), sizes) for axis, length in enumerate(array.shape))
        for name, array in network.parameters.items()
    }


def _axis(length: int, each: Mapping[str, int], sizes: Mapping[str, int]) -> _Axis:
    if not each:
        return _Axis(length)
    factor = reduce(math.gcd, each.values())
    parts = tuple(itertools.chain.from_iterable([name] * (n // factor) for name, n in each.items()))
    return _Axis(length - sum(n * sizes[name] for name, n in each.items()), factor, parts)


def _entries(
    array: _Array, levels: Mapping[str, tuple[int, ...]], gates: Mapping[str, str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the variables a parameter depends on and its size at their levels; 0 where all that read it are gone."""
    names = tuple(dict.fromkeys(axis.name for axis in array.axes if axis.parts))
    sizes = np.full([len(levels[name]) for name in names], array.weight)
    for axis in array.axes:
        if axis.parts:
            numbers = axis.constant + axis.factor * np.array(levels[axis.name], dtype=np.float64)
            sizes = sizes * numbers.reshape([-1 if name == axis.name else 1 for name in names])
        else:
            sizes = sizes * axis.constant
    gate = {gates.get(reader) for reader in array.readers}
    if len(gate) == 1 and (only := gate.pop()) is not None:
        stays = np.array([level > 0 for level in levels[only]], float)
        if only in names:
            sizes = sizes * stays.reshape([-1 if name == only else 1 for name in names])
        else:
            names, sizes = (*names, only), sizes[..., None] * stays
    return names, sizes
