"""The layers of a network as sizes alone: what models of cost need to know of it, without weights and without PyTorch.

Functions of single elements and changes of shape are left out: a layer reads the layers *behind* them. A batch normalisation
that only a convolution or a linear layer feeds is folded into it and left out too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from silicut.graph.network import Network, Operator, Ref

POINTWISE = frozenset(
    "relu relu6 hardtanh clamp clamp_min leaky_relu elu sigmoid hardsigmoid hardswish silu gelu tanh mish "
    "requantise lookup".split()
)
"""Kinds of operators that are functions of single elements."""
MOVES = frozenset("dropout flatten view reshape squeeze unsqueeze alias clone contiguous detach identity".split())
"""Kinds of operators that leave every element as it is."""
WEIGHTED = frozenset(("conv2d", "linear"))
"""Kinds of layers that are products with weights."""
POOLS = frozenset(("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "mean", "sum_pool2d"))
"""Kinds of layers that make one element of a window."""


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """One layer.

    Attributes:
        name: of the operator.
        kind: of the operator, "conv2d".
        inputs: names of the layers that make what it reads, or of inputs of the network, in order.
        in_shape: of the first input, one image: (channels, height, width) or (features,).
        out_shape: of the output, one image.
        kernel: taps down and across; that of a pool over the whole map is the map.
        strides: steps of the window down and across.
        padding: elements above the map and left of it.
        dilation: elements between taps down and across.
        n_groups: of a convolution.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    n_groups: int = 1


def layer_shapes(network: Network) -> tuple[LayerShape, ...]:
    """Return the layers of a network, a float or an integer one, in order of execution, for batch size 1."""
    makers = {name: name for name in network.inputs}
    shapes = []
    for operator in network.operators:
        read = [name for name in operator.refs() if name in network.tensors]
        if read and _is_left_out(network, operator, read):
            makers |= dict.fromkeys(operator.outputs, makers[read[0]])
            continue
        makers |= dict.fromkeys(operator.outputs, operator.name)
        shapes.append(_shape(network, operator, read, tuple(makers[name] for name in read)))
    return tuple(shapes)


def _is_left_out(network: Network, operator: Operator, read: list[str]) -> bool:
    if operator.kind in POINTWISE | MOVES:
        return True
    if operator.kind == "batch_norm":
        maker = network.producer.get(read[0])
        return maker is not None and maker.kind in WEIGHTED and len(network.consumers[read[0]]) == 1
    keeps_size = network.tensors[read[0]].sizes(1) == network.tensors[operator.outputs[0]].sizes(1)
    return keeps_size and operator.kind in ("slice", "adaptive_avg_pool2d", "to", "expand")


def _shape(network: Network, operator: Operator, read: list[str], makers: tuple[str, ...]) -> LayerShape:
    in_shape = network.tensors[read[0]].sizes(1)[1:] if read else ()
    out_shape = network.tensors[operator.outputs[0]].sizes(1)[1:]
    geometry: dict[str, Any] = {}
    if operator.kind == "conv2d":
        geometry = _convolution(network, operator)
    elif operator.kind in POOLS and len(in_shape) == 3:
        geometry = _pool(operator, in_shape, out_shape)
    elif operator.kind == "pad" and len(in_shape) == 3:
        geometry = {"padding": _pads(operator.arguments)}
    elif operator.kind == "slice" and len(in_shape) == len(out_shape) == 3:
        geometry = {"strides": tuple(_at_least_one(a, b) for a, b in zip(in_shape[1:], out_shape[1:], strict=True))}
    return LayerShape(
        name=operator.name,
        kind="cat" if operator.kind == "concatenate" else operator.kind,
        inputs=makers,
        in_shape=in_shape,
        out_shape=out_shape,
        **geometry,
    )


def _convolution(network: Network, operator: Operator) -> dict[str, Any]:
    arguments = operator.arguments
    weight = arguments["weight"]
    kernel = tuple(network.parameters[weight.name].shape[2:]) if isinstance(weight, Ref) else (1, 1)
    dilation, padding = _pair(arguments.get("dilation", 1)), arguments.get("padding", 0)
    if isinstance(padding, str):  # "same" puts the odd element of a pair behind the map
        spans = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        padding = (0, 0) if padding == "valid" else tuple(span // 2 for span in spans)
    return {
        "kernel": kernel,
        "strides": _pair(arguments.get("stride", 1)),
        "padding": _pair(padding),
        "dilation": dilation,
        "n_groups": arguments.get("groups", 1),
    }


def _pool(operator: Operator, in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> dict[str, Any]:
    if operator.kind in ("adaptive_avg_pool2d", "mean"):
        out_sizes = out_shape[1:] if len(out_shape) == 3 else (1, 1)
        steps = tuple(-(-a // b) for a, b in zip(in_shape[1:], out_sizes, strict=True))
        return {"kernel": steps, "strides": steps}
    arguments = operator.arguments
    kernel = _pair(arguments.get("kernel_size") or arguments.get("kernel") or in_shape[1:])
    return {
        "kernel": kernel,
        "strides": _pair(arguments.get("stride") or kernel),
        "padding": _pair(arguments.get("padding", 0)),
        "dilation": _pair(arguments.get("dilation", 1)),
    }


def _pads(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Return what a pad puts above a map and left of it: from pairs for each axis, or torch's list, last axis first."""
    if "pads" in arguments:
        return arguments["pads"][2][0], arguments["pads"][3][0]
    starts = [*tuple(arguments["pad"])[::2], 0, 0]
    return starts[1], starts[0]


def _pair(value: Any) -> tuple[int, int]:
    """Return numbers down and across; of pads at four sides, those at the top and left."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return (values[0], values[1] if len(values) > 1 else values[0])


def _at_least_one(before: int, after: int) -> int:
    return max(1, -(-before // after))


def readers(shapes: tuple[LayerShape, ...]) -> dict[str, list[str]]:
    """Return the names of the layers that read each layer or input, by its name."""
    found: dict[str, list[str]] = {}
    for shape, name in _reads(shapes):
        found.setdefault(name, []).append(shape.name)
    return found


def _reads(shapes: tuple[LayerShape, ...]) -> Iterator[tuple[LayerShape, str]]:
    yield from ((shape, name) for shape in shapes for name in shape.inputs)
