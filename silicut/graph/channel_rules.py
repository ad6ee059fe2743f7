"""How channels flow through each kind of operator: one rule a kind, one table at the end.

A kind that is missing here is not pruned through; it is executed exactly and freezes the channels it touches.
"""

from __future__ import annotations

import numpy as np

from silicut.graph.channels import ChannelTracker, Rule, Unfollowed
from silicut.graph.network import Operator, Ref


def _input(operator: Operator, *names: str) -> str:
    for name in names or ("input", "self"):
        value = operator.arguments.get(name)
        if isinstance(value, Ref):
            return value.name
    raise Unfollowed("it reads no tensor where one was expected")


def _compress(labels: np.ndarray) -> np.ndarray:
    """Shorten to length 1 every axis on which the labels do not vary."""
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1 and (labels == labels.take([0], axis)).all():
            labels = labels.take([0], axis)
    return labels


def _convolution(t: ChannelTracker, o: Operator) -> None:
    """New channels, one a filter; grouped ones lose the same position in every group; depthwise ones follow the input."""
    source, weight, n_groups = _input(o), _weight(t, o), int(o.arguments["groups"])
    if len(t.sizes(source)) != len(t.sizes(weight)):
        raise Unfollowed("its input has no batch axis")
    n_filters = t.sizes(weight)[0]
    channels = t.along(source, 1)
    if n_groups == len(channels) > 1:
        made, role = np.repeat(channels, n_filters // n_groups), "along"
    else:
        made, role = t.fresh(n_filters), "out"
        read = channels.reshape(n_groups, -1)
        t.tie(read[0], read)
        if n_groups > 1:
            filters = made.reshape(n_groups, -1)
            t.tie(filters[0], filters)
        t.place(o, "weight", 1, read[0], "in")
    t.place(o, "weight", 0, made, role)
    t.place(o, "bias", 0, made, "along")
    t.set_axis(o.outputs[0], 1, made)


def _weight(t: ChannelTracker, o: Operator) -> str:
    name: str = o.arguments["weight"].name
    if name not in t.network.parameters:
        raise Unfollowed("its weight is computed, not a parameter")
    return name


def _linear(t: ChannelTracker, o: Operator) -> None:
    source = _input(o)
    if len(t.sizes(_weight(t, o))) != 2:
        raise Unfollowed("its weight is no matrix")
    read = t.along(source, len(t.sizes(source)) - 1)
    made = t.fresh(t.sizes(_weight(t, o))[0])
    t.place(o, "weight", 1, read, "in")
    t.place(o, "weight", 0, made, "out")
    t.place(o, "bias", 0, made, "along")
    t.set_axis(o.outputs[0], len(t.sizes(o.outputs[0])) - 1, made)


def _batch_norm(t: ChannelTracker, o: Operator) -> None:
    channels = t.along(_input(o), 1)
    for argument in ("weight", "bias", "running_mean", "running_var"):
        t.place(o, argument, 0, channels, "along")
    t.labels[o.outputs[0]] = t.of(_input(o))


def _prelu(t: ChannelTracker, o: Operator) -> None:
    if t.sizes(o.arguments["weight"].name)[0] > 1:
        t.place(o, "weight", 0, t.along(_input(o), 1), "along")
    t.labels[o.outputs[0]] = t.of(_input(o))


def _same(t: ChannelTracker, o: Operator) -> None:
    """Element by element, one input."""
    t.labels[o.outputs[0]] = t.of(_input(o))


def _spatial(t: ChannelTracker, o: Operator) -> None:
    """Works within each channel of an image."""
    source = _input(o)
    if t.of(source).ndim != 2 + int(o.kind[-2]):
        raise Unfollowed("its input has no batch axis")
    for output in o.outputs:  # some return indices too
        t.set_axis(output, 1, t.along(source, 1))


def _elementwise(t: ChannelTracker, o: Operator) -> None:
    """Equal positions of the operands are one channel; an operand of size 1 on the channel axis must stay."""
    output = o.outputs[0]
    n_axes = len(t.sizes(output))
    names = [v.name for v in o.arguments.values() if isinstance(v, Ref)]
    aligned = {n: t.of(n).reshape((1,) * (n_axes - t.of(n).ndim) + t.of(n).shape) for n in names}
    varying = {a for labels in aligned.values() for a in range(n_axes) if labels.shape[a] > 1}
    full: list[np.ndarray] = []
    for name, labels in aligned.items():
        size = (1,) * (n_axes - len(t.sizes(name))) + tuple(t.sizes(name))
        if any(size[a] == 1 < t.sizes(output)[a] for a in varying):
            t.freeze(labels, f"{o.name} spreads it over other channels")
        else:
            full.append(labels)
    if not full:
        raise Unfollowed("its operands are spread over each other")
    for labels in full[1:]:
        t.tie(full[0], labels)
    shortest = full[0]
    for axis in range(n_axes):
        if any(labels.shape[axis] == 1 for labels in full):  # one of them makes all positions one channel
            shortest = shortest.take([0], axis)
    t.labels[output] = shortest


def _reshape(t: ChannelTracker, o: Operator) -> None:
    source, output = _input(o), o.outputs[0]
    before, after = t.sizes(source), t.sizes(output)
    if before[:1] == after[:1] != () and t.of(source).shape[0] == 1:  # the batch, or an axis that stays as well
        before, after = (1, *before[1:]), (1, *after[1:])
    t.labels[output] = _compress(np.broadcast_to(t.of(source), before).reshape(after))


def _permute(t: ChannelTracker, o: Operator) -> None:
    labels = t.of(_input(o))
    if o.kind == "transpose":
        t.labels[o.outputs[0]] = np.swapaxes(labels, int(o.arguments["dim0"]), int(o.arguments["dim1"]))
    else:
        t.labels[o.outputs[0]] = np.transpose(labels, o.arguments["dims"])


def _expand(t: ChannelTracker, o: Operator) -> None:
    """One map repeated gives channels of their own, since any number of repeats can be made."""
    labels, output = t.of(_input(o)), o.outputs[0]
    size, wide = t.sizes(_input(o)), t.sizes(output)
    labels = labels.reshape((1,) * (len(wide) - len(size)) + labels.shape)
    size = (1,) * (len(wide) - len(size)) + tuple(size)
    t.labels[output] = labels
    if len(wide) > 1 and size[1] == 1 < wide[1] and labels.size == 1:
        t.freeze(labels, f"{o.name} repeats it")
        t.set_axis(output, 1, t.fresh(wide[1]))


def _slice(t: ChannelTracker, o: Operator) -> None:
    labels, axis = t.of(_input(o)), int(o.arguments["dim"]) % t.of(_input(o)).ndim
    if labels.shape[axis] == 1:
        t.labels[o.outputs[0]] = labels
        return
    if o.arguments["step"] != 1:
        raise Unfollowed("it takes every n-th channel")
    window = slice(o.arguments["start"], o.arguments["end"])
    t.labels[o.outputs[0]] = labels[(slice(None),) * axis + (window,)]


def _select(t: ChannelTracker, o: Operator) -> None:
    labels, axis = t.of(_input(o)), int(o.arguments["dim"]) % t.of(_input(o)).ndim
    if labels.shape[axis] > 1:
        raise Unfollowed("it takes one channel by its number")
    t.labels[o.outputs[0]] = labels.squeeze(axis)


def _split(t: ChannelTracker, o: Operator) -> None:
    labels, axis = t.of(_input(o)), int(o.arguments["dim"]) % t.of(_input(o)).ndim
    sizes = [t.sizes(output)[axis] for output in o.outputs]
    for output, end, size in zip(o.outputs, np.cumsum(sizes), sizes, strict=True):
        t.labels[output] = labels if labels.shape[axis] == 1 else labels.take(np.arange(end - size, end), axis)


def _concatenate(t: ChannelTracker, o: Operator) -> None:
    names = [reference.name for reference in o.arguments["tensors"]]
    axis = int(o.arguments["dim"]) % len(t.sizes(o.outputs[0]))
    parts = [t.of(name) for name in names]
    other = [n for part in parts for a, n in enumerate(part.shape) if a != axis]
    if max(other, default=1) == 1:
        lines = [t.along(name, axis) for name in names]
        is_channel_axis = any(part.shape[axis] > 1 for part in parts) or axis == 1
        if is_channel_axis:
            t.set_axis(o.outputs[0], axis, np.concatenate(lines))
            return
    if any(part.shape[axis] > 1 for part in parts):
        raise Unfollowed("it joins tensors whose channels lie on another axis")
    for part in parts[1:]:
        t.tie(parts[0], part)
    t.labels[o.outputs[0]] = np.broadcast_to(parts[0], np.broadcast_shapes(*(p.shape for p in parts)))


def _pad(t: ChannelTracker, o: Operator) -> None:
    """Padded channels are channels of their own, zero where nothing is added to them."""
    labels = t.of(_input(o))
    pads, axes = o.arguments["pad"], range(labels.ndim - 1, -1, -1)
    for axis, before, after in zip(axes, pads[::2], pads[1::2], strict=False):
        if (before, after) == (0, 0) or (labels.shape[axis] == 1 and axis != 1):
            continue
        if before < 0 or after < 0 or o.arguments.get("mode", "constant") != "constant":
            raise Unfollowed("it pads channels with other than a constant")
        line = t.along(_input(o), axis)
        t.set_axis(o.outputs[0], axis, np.concatenate([t.fresh(before), line, t.fresh(after)]))
        return
    t.labels[o.outputs[0]] = labels


def _reduce(t: ChannelTracker, o: Operator) -> None:
    labels = t.of(_input(o))
    dims = o.arguments.get("dim")
    if dims is None or dims == ():
        raise Unfollowed("it reduces over all axes")
    axes = {int(d) % labels.ndim for d in (dims if isinstance(dims, tuple) else (dims,))}
    if any(labels.shape[a] > 1 for a in axes):
        raise Unfollowed("it reduces over channels")
    keeps = bool(o.arguments.get("keepdim", False))
    t.labels[o.outputs[0]] = labels if keeps else labels.reshape([n for a, n in enumerate(labels.shape) if a not in axes])


def _softmax(t: ChannelTracker, o: Operator) -> None:
    labels = t.of(_input(o))
    if labels.shape[int(o.arguments["dim"])] > 1:
        raise Unfollowed("it normalises over channels")
    t.labels[o.outputs[0]] = labels


_SAME = """
relu relu6 hardtanh leaky_relu elu celu selu gelu silu mish sigmoid tanh hardswish hardsigmoid softplus abs
neg exp sqrt rsqrt square log round floor dropout feature_dropout clone contiguous alias detach to _to_copy
lift_fresh_copy logical_not reciprocal type_as
""".split()
_ELEMENTWISE = "add sub mul div rsub maximum minimum pow clamp clamp_min clamp_max".split()
_SPATIAL = """
max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d max_pool1d avg_pool1d adaptive_avg_pool1d
upsample_nearest2d upsample_bilinear2d upsample_bicubic2d
""".split()

RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_SPATIAL, _spatial),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("reshape", "flatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("permute", "transpose"), _permute),
    **dict.fromkeys(("mean", "sum", "amax", "amin"), _reduce),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("softmax", "log_softmax"), _softmax),
    "linear": _linear,
    "batch_norm": _batch_norm,
    "prelu": _prelu,
    "expand": _expand,
    "slice": _slice,
    "select": _select,
    "split_with_sizes": _split,
    "cat": _concatenate,
}
