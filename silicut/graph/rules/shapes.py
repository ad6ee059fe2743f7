"""Operators that move positions about: reshapes, slices, joins, shuffles, pads."""

from __future__ import annotations

import numpy as np

from silicut.graph.network import Operator, Ref
from silicut.graph.rules.arguments import axes_of, compress, main_input, varying_axes
from silicut.graph.tracker import ChannelTracker, Rule, Unfollowed


def _reshape(t: ChannelTracker, o: Operator) -> None:
    source, output = main_input(o), o.outputs[0]
    labels, before, after = t.of(source), t.sizes(source), t.sizes(output)
    shown, shape = list(labels.shape), []
    for ins, outs in _equal_parts(before, after):
        varies = any(labels.shape[axis] > 1 for axis in ins)
        for axis in ins:
            shown[axis] = before[axis] if varies else 1
        shape += [after[axis] if varies else 1 for axis in outs]
    t.labels[output] = compress(np.broadcast_to(labels, shown).reshape(shape))


def _equal_parts(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Return the shortest runs of axes that hold the same number of elements before and after a reshape.

    Example:
        >>> _equal_parts((7, 8, 5, 5), (7, 2, 4, 25))
        [([0], [0]), ([1], [1, 2]), ([2, 3], [3])]
    """
    parts: list[tuple[list[int], list[int]]] = []
    ins: list[int] = []
    outs: list[int] = []
    n_in = n_out = 1
    i = j = 0
    while i < len(before) or j < len(after):
        if j == len(after) or (i < len(before) and n_in <= n_out and (not ins or n_in < n_out or before[i] == 1)):
            ins.append(i)
            n_in *= before[i]
            i += 1
        else:
            outs.append(j)
            n_out *= after[j]
            j += 1
        if n_in == n_out and ins and outs:
            parts.append((ins, outs))
            ins, outs, n_in, n_out = [], [], 1, 1
    return [*parts, (ins, outs)] if ins or outs else parts


def _permute(t: ChannelTracker, o: Operator) -> None:
    labels = t.of(main_input(o))
    if o.kind == "transpose":
        t.labels[o.outputs[0]] = np.swapaxes(labels, int(o.arguments["dim0"]), int(o.arguments["dim1"]))
    else:
        t.labels[o.outputs[0]] = np.transpose(labels, o.arguments["dims"])


def _expand(t: ChannelTracker, o: Operator) -> None:
    """One map repeated gives channels of their own, since any number of repeats can be made."""
    labels, output = t.of(main_input(o)), o.outputs[0]
    size, wide = t.sizes(main_input(o)), t.sizes(output)
    labels = labels.reshape((1,) * (len(wide) - len(size)) + labels.shape)
    size = (1,) * (len(wide) - len(size)) + tuple(size)
    t.labels[output] = labels
    shape = t.network.tensors[output].shape
    repeated = [axis for axis, n in enumerate(size) if n == 1 < shape[axis]]
    if labels.size == 1 and (1 in repeated or len(repeated) == 1):
        axis = 1 if 1 in repeated else repeated[0]
        t.freeze(labels, f"{o.name} repeats it")
        t.set_axis(output, axis, t.fresh(wide[axis]))


def _repeat(t: ChannelTracker, o: Operator) -> None:
    labels, output = t.of(main_input(o)), o.outputs[0]
    size, wide = t.sizes(main_input(o)), t.sizes(output)
    labels = labels.reshape((1,) * (len(wide) - len(size)) + labels.shape)
    times = [
        n if labels.shape[a] > 1 else 1 for a, n in enumerate(np.array(wide) // ((1,) * (len(wide) - len(size)) + size))
    ]
    t.labels[output] = np.tile(labels, times)


def _repeat_interleave(t: ChannelTracker, o: Operator) -> None:
    if isinstance(o.arguments["repeats"], Ref) or o.arguments.get("dim") is None:
        raise Unfollowed("it repeats channels unequally")
    labels = t.of(main_input(o))
    axis = int(o.arguments["dim"]) % labels.ndim
    t.labels[o.outputs[0]] = np.repeat(labels, o.arguments["repeats"], axis) if labels.shape[axis] > 1 else labels


def _slice(t: ChannelTracker, o: Operator) -> None:
    labels = t.of(main_input(o))
    axis = int(o.arguments["dim"]) % labels.ndim
    if labels.shape[axis] > 1:
        start, end = o.arguments["start"], o.arguments["end"]
        if o.arguments["step"] != 1:
            raise Unfollowed("it takes every n-th channel")
        if isinstance(start, str) or isinstance(end, str):
            raise Unfollowed("it mixes channels with images")
        labels = labels[(slice(None),) * axis + (slice(start, end),)]
    t.labels[o.outputs[0]] = labels


def _select(t: ChannelTracker, o: Operator) -> None:
    t.labels[o.outputs[0]] = _parts(t, o, [o.arguments["index"]])[0]


def _unbind(t: ChannelTracker, o: Operator) -> None:
    for output, labels in zip(o.outputs, _parts(t, o, range(len(o.outputs))), strict=True):
        t.labels[output] = labels


def _parts(t: ChannelTracker, o: Operator, numbers: object) -> list[np.ndarray]:
    """Return the labels at some numbers of an axis, all of whose positions stay while channels go from the other axes."""
    labels = t.of(main_input(o))
    axis = int(o.arguments["dim"]) % labels.ndim
    if varying_axes(labels) == [axis]:
        raise Unfollowed("it takes one channel by its number")
    whole = t.whole(labels, axis).squeeze(axis)
    return [whole for _ in numbers]  # type: ignore[attr-defined]


def _split(t: ChannelTracker, o: Operator) -> None:
    labels = t.of(main_input(o))
    axis = int(o.arguments["dim"]) % labels.ndim
    sizes = [t.sizes(output)[axis] for output in o.outputs]
    for output, end, size in zip(o.outputs, np.cumsum(sizes), sizes, strict=True):
        t.labels[output] = labels if labels.shape[axis] == 1 else labels.take(np.arange(end - size, end), axis)


def _concatenate(t: ChannelTracker, o: Operator) -> None:
    names = [reference.name for reference in o.arguments["tensors"]]
    n_axes = len(t.sizes(o.outputs[0]))
    axis = int(o.arguments["dim"]) % n_axes
    parts = [t.of(name) for name in names]
    other = [n for part in parts for a, n in enumerate(part.shape) if a != axis]
    if max(other, default=1) == 1:
        is_image = axis == 1 and n_axes != 3  # with three axes, axis 1 may be that of positions
        if is_image or any(part.shape[axis] > 1 for part in parts):
            t.set_axis(o.outputs[0], axis, np.concatenate([t.along(name, axis) for name in names]))
            return
    t.labels[o.outputs[0]] = _side_by_side(t, [t.whole(part, axis) for part in parts])


def _stack(t: ChannelTracker, o: Operator) -> None:
    n_axes = len(t.sizes(o.outputs[0]))
    axis = int(o.arguments["dim"]) % n_axes
    parts = [np.expand_dims(t.of(reference.name), axis) for reference in o.arguments["tensors"]]
    if all(part.size == 1 for part in parts) and axis == 1:
        t.labels[o.outputs[0]] = np.concatenate(parts, axis)
        return
    t.labels[o.outputs[0]] = _side_by_side(t, parts)


def _side_by_side(t: ChannelTracker, parts: list[np.ndarray]) -> np.ndarray:
    """Tie parts that are joined along an axis other than their channels'; return the labels of the whole."""
    for part in parts[1:]:
        t.tie(parts[0], part)
    shortest = parts[0]
    for axis in range(shortest.ndim):
        if any(part.shape[axis] == 1 for part in parts):
            shortest = shortest.take([0], axis)
    return shortest


def _pad(t: ChannelTracker, o: Operator) -> None:
    """Padded channels are channels of their own, zero where nothing is added to them."""
    labels = t.of(main_input(o))
    pads, axes = o.arguments["pad"], range(labels.ndim - 1, -1, -1)
    for axis, before, after in zip(axes, pads[::2], pads[1::2], strict=False):
        if (before, after) == (0, 0) or (labels.shape[axis] == 1 and (axis != 1 or labels.size > 1)):
            continue
        if before < 0 or after < 0 or o.arguments.get("mode", "constant") != "constant":
            raise Unfollowed("it pads channels with other than a constant")
        line = t.along(main_input(o), axis)
        t.set_axis(o.outputs[0], axis, np.concatenate([t.fresh(before), line, t.fresh(after)]))
        return
    t.labels[o.outputs[0]] = labels


def _pixel_shuffle(t: ChannelTracker, o: Operator) -> None:
    """k * k channels that lie side by side become one."""
    parts = t.along(main_input(o), -3).reshape(-1, int(o.arguments["upscale_factor"]) ** 2)
    t.set_axis(o.outputs[0], len(t.sizes(o.outputs[0])) - 3, t.whole(parts, 1)[:, 0])


def _pixel_unshuffle(t: ChannelTracker, o: Operator) -> None:
    """Every channel becomes k * k of them, side by side."""
    labels = np.repeat(t.along(main_input(o), -3), int(o.arguments["downscale_factor"]) ** 2)
    t.set_axis(o.outputs[0], len(t.sizes(o.outputs[0])) - 3, labels)


def _windows(t: ChannelTracker, o: Operator) -> None:
    """Every channel becomes the positions of its windows (im2col)."""
    if len(t.sizes(main_input(o))) != 4:
        raise Unfollowed("its input has no batch axis")
    t.set_axis(o.outputs[0], 1, np.repeat(t.along(main_input(o), 1), int(np.prod(o.arguments["kernel_size"]))))


def _joined_windows(t: ChannelTracker, o: Operator) -> None:
    """The positions of a channel's windows are one channel again (col2im)."""
    if len(t.sizes(main_input(o))) != 3:
        raise Unfollowed("its input has no batch axis")
    parts = t.along(main_input(o), 1).reshape(-1, int(np.prod(o.arguments["kernel_size"])))
    t.set_axis(o.outputs[0], 1, t.whole(parts, 1)[:, 0])


def _channel_shuffle(t: ChannelTracker, o: Operator) -> None:
    """Every group of channels loses the same positions."""
    by_group = t.along(main_input(o), 1).reshape(int(o.arguments["groups"]), -1)
    t.tie(by_group[0], by_group)
    t.set_axis(o.outputs[0], 1, by_group.T.ravel())


def _roll(t: ChannelTracker, o: Operator) -> None:
    labels = t.of(main_input(o))
    axes = axes_of(o.arguments["dims"], labels.ndim)
    if not axes or any(labels.shape[axis] > 1 for axis in axes):
        raise Unfollowed("it turns channels round")
    t.labels[o.outputs[0]] = labels


def _flip(t: ChannelTracker, o: Operator) -> None:
    labels = t.of(main_input(o))
    t.labels[o.outputs[0]] = np.flip(labels, axes_of(o.arguments["dims"], labels.ndim))


def _index(t: ChannelTracker, o: Operator) -> None:
    """Positions taken by number from axes on which channels do not vary, or whose positions all stay."""
    labels = t.of(main_input(o))
    indices = o.arguments["indices"]
    indexed = [axis for axis, index in enumerate(indices) if index is not None]
    if any(labels.shape[axis] > 1 for axis in indexed) and set(varying_axes(labels)) <= set(indexed):
        raise Unfollowed("it takes channels by number")
    for axis in indexed:
        labels = t.whole(labels, axis)
        if indices[axis].name in t.network.tensors:
            t.freeze(t.of(indices[axis].name), f"{o.name} looks up by its values")
    n_new = max(len(t.sizes(indices[axis].name)) for axis in indexed)
    rest = [n for axis, n in enumerate(labels.shape) if axis not in indexed]
    is_run = indexed == list(range(indexed[0], indexed[-1] + 1))
    at = indexed[0] if is_run else 0
    if len(rest) + n_new != len(t.sizes(o.outputs[0])):
        raise Unfollowed("it takes positions by a mask")
    t.labels[o.outputs[0]] = labels.reshape([*rest[:at], *[1] * n_new, *rest[at:]])


def _index_select(t: ChannelTracker, o: Operator) -> None:
    labels = t.of(main_input(o))
    axis = int(o.arguments["dim"]) % labels.ndim
    if varying_axes(labels) == [axis]:
        raise Unfollowed("it takes channels by number")
    t.labels[o.outputs[0]] = t.whole(labels, axis)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("reshape", "flatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("permute", "transpose"), _permute),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), _channel_shuffle),
    "expand": _expand,
    "repeat": _repeat,
    "repeat_interleave": _repeat_interleave,
    "slice": _slice,
    "select": _select,
    "unbind": _unbind,
    "split_with_sizes": _split,
    "cat": _concatenate,
    "stack": _stack,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "im2col": _windows,
    "col2im": _joined_windows,
    "roll": _roll,
    "flip": _flip,
    "index": _index,
    "index_select": _index_select,
}
