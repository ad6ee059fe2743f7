"""Convolutions as sizes alone: what engines share among themselves.

A convolution of several groups becomes as many layers, since no engine multiplies channels of different groups with each
other. Whatever is no convolution is left out and named: published partitions count convolutions alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from silicut.graph.layer_shapes import LayerShape
from silicut.records import ConfigError

MAX_GROUPS = 8
"""Of a convolution; a depthwise one would leave all but one input and one output of an engine idle."""


@dataclass(frozen=True, kw_only=True)
class ConvLayer:
    """One convolution of one group.

    Attributes:
        name: of the operator; of a convolution of several groups with the number of the group behind it.
        inputs: names of the convolutions that make what it reads, directly or through other operators.
        in_channels, out_channels: N and M.
        height, width: of the output map, R and C.
        kernel: taps down and across.
        strides: steps of the window down and across.

    Example:
        >>> ConvLayer(name="conv1a", in_channels=3, out_channels=48, height=55, width=55, kernel=(11, 11)).n_macs
        52707600
    """

    name: str
    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        sizes = (self.in_channels, self.out_channels, self.height, self.width, *self.kernel, *self.strides)
        if min(sizes) < 1:
            raise ConfigError(f"{self.name} must have sizes of at least 1, not {min(sizes)}")

    @property
    def n_taps(self) -> int:
        """Taps of the kernel, K x K of a square one."""
        return self.kernel[0] * self.kernel[1]

    @property
    def n_pixels(self) -> int:
        """Pixels of the output map."""
        return self.height * self.width

    @property
    def n_weights(self) -> int:
        """Weights of all filters."""
        return self.in_channels * self.out_channels * self.n_taps

    @property
    def n_macs(self) -> int:
        """Multiply-accumulates of one image."""
        return self.n_pixels * self.n_weights


def conv_layers(shapes: Sequence[LayerShape]) -> tuple[tuple[ConvLayer, ...], tuple[str, ...]]:
    """Return the convolutions of a network, in order of execution, and the names of the layers that are left out.

    Raises:
        ConfigError: there is no convolution, or one has too many groups.
    """
    grouped = [shape for shape in shapes if shape.kind == "conv2d" and shape.n_groups > MAX_GROUPS]
    if grouped:
        raise ConfigError(
            f"network must have convolutions of at most {MAX_GROUPS} groups, not of {grouped[0].n_groups} as "
            f"{grouped[0].name} has: engines multiply channels of one group with each other"
        )
    makers: dict[str, tuple[str, ...]] = {}
    layers: list[ConvLayer] = []
    left_out: list[str] = []
    for shape in shapes:
        read = tuple(dict.fromkeys(maker for name in shape.inputs for maker in makers.get(name, ())))
        if shape.kind == "conv2d":
            groups = tuple(_groups(shape, read))
            layers += groups
            makers[shape.name] = tuple(layer.name for layer in groups)
        else:
            left_out.append(shape.name)
            makers[shape.name] = read
    if not layers:
        raise ConfigError("network must have a convolution, not none: engines share convolutions among themselves")
    return tuple(layers), tuple(left_out)


def _groups(shape: LayerShape, inputs: tuple[str, ...]) -> Iterator[ConvLayer]:
    n = shape.n_groups
    for group in range(n):
        yield ConvLayer(
            name=shape.name if n == 1 else f"{shape.name}.{group}",
            inputs=inputs,
            in_channels=shape.in_shape[0] // n,
            out_channels=shape.out_shape[0] // n,
            height=shape.out_shape[1],
            width=shape.out_shape[2],
            kernel=shape.kernel,
            strides=shape.strides,
        )


def by_name(layers: Sequence[ConvLayer]) -> Mapping[str, ConvLayer]:
    """Return layers by their names."""
    return {layer.name: layer for layer in layers}
