"""What part each kind of operator plays in an integer network, and which calls of it have an integer form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from silicut.graph import Network, Operator, Ref


class Role(Enum):
    """What an operator does to the numbers."""

    LAYER = "layer"
    """It multiplies by weights; a plan names its widths."""
    SUM = "sum"
    """It adds, averages or multiplies tensors; its result is rounded."""
    CLAMP = "clamp"
    """It limits numbers (ReLU, ReLU6); part of the rounding before it where nothing else reads what it limits."""
    FUNCTION = "function"
    """A function of one number, looked up in a table."""
    JOIN = "join"
    """It puts tensors behind each other, which must have one quantisation."""
    MOVEMENT = "movement"
    """It moves numbers and makes none; its result has the quantisation of its input."""


Refusal = Callable[[Network, Operator], str]
"""Tells why a call has no integer form, or ""."""


@dataclass(frozen=True)
class Kind:
    """One kind of operator.

    Attributes:
        role: what it does to the numbers.
        refusal: why a call of it has no integer form, "" where it has one.
    """

    role: Role
    refusal: Refusal = lambda _network, _operator: ""


def activations_read(network: Network, operator: Operator) -> tuple[str, ...]:
    """Return the names of the activations that an operator reads, in order, each as often as it stands there."""
    return tuple(name for name in operator.refs() if name in network.tensors)


def limits(operator: Operator) -> tuple[float, float]:
    """Return what a clamp limits its input to.

    Example:
        >>> limits(Operator("act", "aten.hardtanh.default", {"min_val": 0.0, "max_val": 6.0}, ("y",)))
        (0.0, 6.0)
    """
    if operator.kind in ("relu", "relu_"):
        return 0.0, float("inf")
    if operator.kind in ("relu6", "relu6_"):
        return 0.0, 6.0
    low, high = (operator.arguments.get(f"{end}_val", operator.arguments.get(end)) for end in ("min", "max"))
    return -float("inf") if low is None else float(low), float("inf") if high is None else float(high)


def padding_of(operator: Operator, network: Network) -> tuple[int, int, int, int]:
    """Return the rows and columns that a convolution or pool adds at the top, left, bottom and right.

    "same" adds the odd one at the bottom and at the right, and ceil_mode whatever its last window needs.
    """
    a = operator.arguments
    kernel = network.parameters[a["weight"].name].shape[2:] if "weight" in a else pair(a["kernel_size"])
    extents = [d * (k - 1) for d, k in zip(pair(a.get("dilation", 1)), kernel, strict=True)]
    if a["padding"] == "valid":
        return 0, 0, 0, 0
    if a["padding"] == "same":
        return extents[0] // 2, extents[1] // 2, extents[0] - extents[0] // 2, extents[1] - extents[1] // 2
    top, left = pair(a["padding"])
    if not a.get("ceil_mode"):
        return top, left, top, left
    source, result = (
        network.tensors[name].shape[2:] for name in (activations_read(network, operator)[0], *operator.outputs)
    )
    steps = pair(a["stride"] or kernel)
    more = [
        max(0, (n - 1) * step + extent + 1 - size - 2 * pad)
        for n, step, extent, size, pad in zip(result, steps, extents, source, (top, left), strict=True)
    ]
    return top, left, top + more[0], left + more[1]


def pair(value: Any) -> tuple[int, int]:
    """Return a size that ATen takes as one number or as two (down, to the right) as two."""
    numbers = value if isinstance(value, tuple) else (value,)
    return (int(numbers[0]), int(numbers[-1]))


def pooled(operator: Operator, network: Network) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return kernel and stride of a pool; those of an adaptive one follow from its maps."""
    a = operator.arguments
    if "kernel_size" in a:
        kernel = pair(a["kernel_size"])
        return kernel, pair(a["stride"] or kernel)
    source, result = _maps(network, operator)
    size = (source[0] // result[0], source[1] // result[1])
    return size, size


def _maps(network: Network, operator: Operator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    source = activations_read(network, operator)[0]
    return network.tensors[source].shape[2:], network.tensors[operator.outputs[0]].shape[2:]


def _layer(n_axes: int | None) -> Refusal:
    def refuse(network: Network, operator: Operator) -> str:
        for name in ("weight", "bias"):
            value = operator.arguments[name]
            if value is not None and value.name not in network.parameters:
                return f"its {name} is computed; make it a parameter"
        source = operator.arguments["input"]
        if n_axes is not None and len(network.tensors[source.name].shape) != n_axes:
            return "it reads images without a batch; give it a batch axis"
        return ""

    return refuse


def _two_tensors(network: Network, operator: Operator) -> str:
    if len(activations_read(network, operator)) != 2:
        return "one of its operands is a constant; take a layer with a bias, or a batch norm"
    if not operator.arguments.get("alpha", 1) > 0:
        return "it subtracts; negate the weights of the layer before it and add"
    return ""


def _clamp(_network: Network, operator: Operator) -> str:
    if any(isinstance(value, Ref) for key, value in operator.arguments.items() if key != "self"):
        return "its limits are tensors; take numbers"
    low, high = limits(operator)
    return "" if low <= 0 <= high else f"its limits {low:g}..{high:g} leave out 0; take limits around 0"


def _average(network: Network, operator: Operator) -> str:
    a, padding = operator.arguments, padding_of(operator, network)
    if padding[:2] != padding[2:]:
        return "its ceil_mode cuts windows off; leave it out"
    is_mixed = any(padding) and not a["count_include_pad"] and a["divisor_override"] is None
    return "its windows at the edge have other sizes (count_include_pad=False); include the padding" if is_mixed else ""


def _adaptive_average(network: Network, operator: Operator) -> str:
    source, result = _maps(network, operator)
    if len(network.tensors[operator.outputs[0]].shape) == 4 and not any(a % b for a, b in zip(source, result, strict=True)):
        return ""
    return f"its windows have several sizes ({source} to {result}); take output sizes that divide the map"


def _batch_norm(network: Network, operator: Operator) -> str:
    a = operator.arguments
    if len(network.tensors[a["input"].name].shape) != 4:
        return "it normalises no images; put it behind a linear layer"
    is_fixed = not a["training"] and all(isinstance(a[key], Ref) for key in ("running_mean", "running_var"))
    return "" if is_fixed else "it takes the statistics of each batch; let it track running statistics"


def _images_max(network: Network, operator: Operator) -> str:
    is_image = len(network.tensors[operator.outputs[0]].shape) == 4
    return "" if is_image else "it reads images without a batch; give it a batch axis"


def _join(network: Network, operator: Operator) -> str:
    n_axes = len(network.tensors[operator.outputs[0]].shape)
    if len(activations_read(network, operator)) != len(operator.arguments["tensors"]):
        return "it joins a constant; leave it out"
    return "it joins images; join channels" if int(operator.arguments["dim"]) % n_axes == 0 else ""


def _keeps_batch(network: Network, operator: Operator) -> str:
    source, result = (network.tensors[n].shape for n in (activations_read(network, operator)[0], operator.outputs[0]))
    is_kept = source and result and source[0] == result[0] and all(size > 0 for size in result[1:])
    return "" if is_kept else "it mixes images; keep the batch the first axis"


def _axis_of_one_image(network: Network, operator: Operator) -> str:
    n_axes = len(network.tensors[activations_read(network, operator)[0]].shape)
    return "it takes some of the images; take channels" if int(operator.arguments["dim"]) % n_axes == 0 else ""


def _permute(_network: Network, operator: Operator) -> str:
    a = operator.arguments
    is_kept = int(a["dims"][0]) == 0 if "dims" in a else 0 not in (int(a["dim0"]), int(a["dim1"]))
    return "" if is_kept else "it moves the batch; keep the batch the first axis"


def _pad(network: Network, operator: Operator) -> str:
    a = operator.arguments
    n_axes = len(network.tensors[operator.outputs[0]].shape)
    if a.get("mode", "constant") != "constant" or a.get("value") not in (None, 0, 0.0):
        return "it pads with other numbers than 0; pad with 0"
    return "it pads with negative sizes; slice" if min(a["pad"]) < 0 or len(a["pad"]) > 2 * n_axes else ""


_FUNCTIONS = "sigmoid hardsigmoid tanh silu hardswish gelu mish elu selu celu leaky_relu softplus softsign".split()
_LIMITS = "relu relu6 hardtanh clamp clamp_min clamp_max".split()
_SHAPES = "flatten reshape view unsqueeze squeeze".split()

KINDS: dict[str, Kind] = {
    "conv2d": Kind(Role.LAYER, _layer(4)),
    "linear": Kind(Role.LAYER, _layer(None)),
    "add": Kind(Role.SUM, _two_tensors),
    "mul": Kind(Role.SUM, _two_tensors),
    "batch_norm": Kind(Role.SUM, _batch_norm),
    "avg_pool2d": Kind(Role.SUM, _average),
    "adaptive_avg_pool2d": Kind(Role.SUM, _adaptive_average),
    **{name + tail: Kind(Role.CLAMP, _clamp) for name in _LIMITS for tail in ("", "_")},
    **{name + tail: Kind(Role.FUNCTION) for name in _FUNCTIONS for tail in ("", "_")},
    "cat": Kind(Role.JOIN, _join),
    "max_pool2d": Kind(Role.MOVEMENT, _images_max),
    **{name: Kind(Role.MOVEMENT, _keeps_batch) for name in _SHAPES},
    "permute": Kind(Role.MOVEMENT, _permute),
    "transpose": Kind(Role.MOVEMENT, _permute),
    "slice": Kind(Role.MOVEMENT, _axis_of_one_image),
    "split_with_sizes": Kind(Role.MOVEMENT, _axis_of_one_image),
    "pad": Kind(Role.MOVEMENT, _pad),
}
"""All kinds that have an integer form."""

ADVICE = {
    "softmax": "leave it out, the largest logit decides",
    "log_softmax": "leave it out, the largest logit decides",
    "mean": "take an average pool, or a mean over the axes of maps",
    "layer_norm": "take a batch norm",
    "group_norm": "take a batch norm",
    "instance_norm": "take a batch norm",
    "prelu": "take a ReLU or a leaky ReLU",
    "conv1d": "take a two-dimensional convolution of height 1",
    "conv_transpose2d": "keep it in float, outside of the network that is quantised",
    "scaled_dot_product_attention": "networks with attention stay in float",
    "sub": "negate the weights of the layer before it and add",
}
"""What would be accepted instead of some kinds that have none."""
OTHERWISE = "convolutions, linear layers, additions, products, concatenations, pools and elementwise functions are accepted"
"""The same for all other kinds."""
