"""Orders of layers of which an engine executes neighbours: layers that suit the same engine should stand side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from silicut.accelerators.multi_engine.layers import ConvLayer

Order = tuple[int, ...]


def layer_orders(layers: Sequence[ConvLayer]) -> Iterator[tuple[str, Order]]:
    """Yield orders, each as indices of layers and with its name; orders that were there are left out."""
    seen: set[Order] = set()
    for name, key in _KEYS.items():
        order = tuple(sorted(range(len(layers)), key=lambda i: (key(layers[i]), i)))
        if order not in seen:
            seen.add(order)
            yield name, order
    order = _by_distance(layers)
    if order not in seen:
        yield "distance of channels", order


_KEYS: dict[str, Callable[[ConvLayer], tuple[float, ...]]] = {
    "network": lambda layer: (),
    "channels": lambda layer: (layer.in_channels, layer.out_channels),
    "ratio of channels": lambda layer: (layer.in_channels / layer.out_channels, layer.in_channels),
    "pixels": lambda layer: (-layer.n_pixels, layer.in_channels),
    "kernel": lambda layer: (layer.n_taps, layer.in_channels, layer.out_channels),
    "output channels": lambda layer: (layer.out_channels, layer.in_channels),
    "MACs by byte": lambda layer: (-_macs_by_word(layer),),
}


def _macs_by_word(layer: ConvLayer) -> float:
    read = layer.in_channels * layer.n_pixels * layer.strides[0] * layer.strides[1]
    return layer.n_macs / (read + layer.n_weights + layer.out_channels * layer.n_pixels)


def _by_distance(layers: Sequence[ConvLayer]) -> Order:
    """Return the order in which each layer is the nearest one left, by its channels, beginning with the fewest inputs."""

    def distance(a: int, b: int) -> float:
        return (layers[a].in_channels - layers[b].in_channels) ** 2 + (layers[a].out_channels - layers[b].out_channels) ** 2

    left = set(range(len(layers)))
    order = [min(left, key=lambda i: (layers[i].in_channels, layers[i].out_channels, i))]
    left.remove(order[0])
    while left:
        order.append(min(left, key=lambda i: (distance(order[-1], i), i)))
        left.remove(order[-1])
    return tuple(order)
