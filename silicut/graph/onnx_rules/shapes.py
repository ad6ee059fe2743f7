"""Operators that move positions about, in ONNX."""

from __future__ import annotations

import numpy as np

from silicut.graph.network import Operator
from silicut.graph.onnx_nodes import CannotWrite, OnnxNodes
from silicut.graph.onnx_rules.rule import Rule

_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _reshape(w: OnnxNodes, o: Operator) -> None:
    before, after = w.shape(w.main(o)), w.shape(o.outputs[0])
    if len(after) == 2 and len(before) > 2 and before[0] == after[0]:
        w.add("Flatten", o, [w.main(o)])
        return
    sizes = [size if size >= 0 else (-1 if w.batch is None else -size * w.batch) for size in after]
    if sizes.count(-1) > 1:
        raise CannotWrite("it needs the batch size; write the model for one batch size")
    w.add("Reshape", o, [w.main(o), w.constant(o, "shape", np.array(sizes, np.int64))])


def _permute(w: OnnxNodes, o: Operator) -> None:
    order = list(range(w.n_axes(o)))
    if o.kind == "transpose":
        a, b = int(o.arguments["dim0"]), int(o.arguments["dim1"])
        order[a], order[b] = order[b], order[a]
    else:
        order = [int(d) % len(order) for d in o.arguments["dims"]]
    w.add("Transpose", o, [w.main(o)], perm=order)


def _concatenate(w: OnnxNodes, o: Operator) -> None:
    names = [w.read(reference.name) for reference in o.arguments["tensors"]]
    w.add("Concat", o, names, axis=int(o.arguments["dim"]))


def _expand(w: OnnxNodes, o: Operator) -> None:
    before, after = w.shape(w.main(o)), w.shape(o.outputs[0])
    before = (1,) * (len(after) - len(before)) + tuple(before)
    # ONNX leaves an axis as it is where the wanted size is 1, which spares it the batch size.
    sizes = [1 if a == b else argument for a, b, argument in zip(before, after, o.arguments["size"], strict=True)]
    if w.batch is None and any(isinstance(size, str) for size in sizes):
        parts = [w.batch_size(o, n) if isinstance(n, str) else w.constant(o, f"size{i}", np.array([n], np.int64))
                 for i, n in enumerate(sizes)]  # fmt: skip
        shape = w.add("Concat", o, parts, part="shape", axis=0)
    else:
        shape = w.constant(o, "shape", np.array([w.size(size) for size in sizes], np.int64))
    w.add("Expand", o, [w.main(o), shape])


def _repeat(w: OnnxNodes, o: Operator) -> None:
    if len(o.arguments["repeats"]) != w.n_axes(o):
        raise CannotWrite("it repeats along new axes")
    times = np.array([w.size(n) for n in o.arguments["repeats"]], np.int64)
    w.add("Tile", o, [w.main(o), w.constant(o, "times", times)])


def _split(w: OnnxNodes, o: Operator) -> None:
    sizes = w.constant(o, "sizes", np.array([w.size(size) for size in o.arguments["split_sizes"]], np.int64))
    w.add_many("Split", o, [w.main(o), sizes], axis=int(o.arguments["dim"]))


def _slice(w: OnnxNodes, o: Operator) -> None:
    start, end = o.arguments["start"], o.arguments["end"]
    last = 2**31 - 1
    numbers = {
        "start": 0 if start is None else w.size(start),
        "end": last if end is None else min(w.size(end), last),
        "axis": int(o.arguments["dim"]),
        "step": w.size(o.arguments["step"]),
    }
    if (numbers["start"], numbers["end"], numbers["step"]) == (0, last, 1):
        w.add("Identity", o, [w.main(o)])
        return
    w.add("Slice", o, [w.main(o), *(w.constant(o, name, np.array([n], np.int64)) for name, n in numbers.items())])


def _select(w: OnnxNodes, o: Operator) -> None:
    index = w.constant(o, "index", np.int64(w.size(o.arguments["index"])))
    w.add("Gather", o, [w.main(o), index], axis=int(o.arguments["dim"]))


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pad(w: OnnxNodes, o: Operator) -> None:
    n, pads = w.n_axes(o), o.arguments["pad"]
    before, after = [0] * n, [0] * n
    for i in range(len(pads) // 2):
        before[n - 1 - i], after[n - 1 - i] = int(pads[2 * i]), int(pads[2 * i + 1])
    value = w.number(o, "value", o.arguments.get("value") or 0.0)
    mode = _PAD_MODES[o.arguments.get("mode", "constant")]
    w.add("Pad", o, [w.main(o), w.constant(o, "pads", np.array(before + after, np.int64)), value], mode=mode)


def _stack(w: OnnxNodes, o: Operator) -> None:
    axis = int(o.arguments["dim"]) % len(w.shape(o.outputs[0]))
    axes = w.constant(o, "axes", np.array([axis], np.int64))
    names = [w.read(reference.name) for reference in o.arguments["tensors"]]
    parts = [w.add("Unsqueeze", o, [name, axes], part=f"part{i}") for i, name in enumerate(names)]
    w.add("Concat", o, parts, axis=axis)


def _unbind(w: OnnxNodes, o: Operator) -> None:
    for i, output in enumerate(o.outputs):
        index = w.constant(o, f"index{i}", np.int64(i))
        w.add_output("Gather", output, [w.main(o), index], axis=int(o.arguments["dim"]))


def _index(w: OnnxNodes, o: Operator) -> None:
    given = [(axis, index) for axis, index in enumerate(o.arguments["indices"]) if index is not None]
    if len(given) != 1:
        raise CannotWrite("it looks up by several indices")
    ((axis, index),) = given
    if w.dtype(index.name).startswith("bool"):
        raise CannotWrite("it takes positions by a mask")
    w.add("Gather", o, [w.main(o), w.read(index.name)], axis=axis)


def _roll(w: OnnxNodes, o: Operator) -> None:
    source, shape = w.main(o), w.shape(w.main(o))
    moves = list(zip(o.arguments["shifts"], o.arguments["dims"], strict=True))
    for i, (shift, dim) in enumerate(moves):
        axis = int(dim) % len(shape)
        if shape[axis] < 0:
            raise CannotWrite("it turns images round")
        at = (shape[axis] - int(shift)) % shape[axis]
        sizes = w.constant(o, f"sizes{i}", np.array([at, shape[axis] - at], np.int64))
        first, last = w.add_parts("Split", o, [source, sizes], (f"first{i}", f"last{i}"), axis=axis)
        source = w.add("Concat", o, [last, first], part="" if i == len(moves) - 1 else f"turned{i}", axis=axis)


def _reshaped(w: OnnxNodes, o: Operator, source: str, sizes: list[int], part: str = "") -> str:
    """Append a reshape that leaves the first axis as it is."""
    shape = w.constant(o, f"shape{part}", np.array([0, *sizes], np.int64))
    return w.add("Reshape", o, [source, shape], part=part)


def _pixel_shuffle(w: OnnxNodes, o: Operator) -> None:
    w.four_axes(o)
    w.add("DepthToSpace", o, [w.main(o)], blocksize=int(o.arguments["upscale_factor"]), mode="CRD")


def _pixel_unshuffle(w: OnnxNodes, o: Operator) -> None:
    w.four_axes(o)
    k = int(o.arguments["downscale_factor"])
    n, height, width = w.shape(o.outputs[0])[1:]
    apart = _reshaped(w, o, w.main(o), [n // k**2, height, k, width, k], "apart")
    moved = w.add("Transpose", o, [apart], part="moved", perm=[0, 1, 3, 5, 2, 4])
    _reshaped(w, o, moved, [n, height, width])


def _channel_shuffle(w: OnnxNodes, o: Operator) -> None:
    w.four_axes(o)
    n_groups, shape = int(o.arguments["groups"]), list(w.shape(o.outputs[0])[1:])
    apart = _reshaped(w, o, w.main(o), [n_groups, shape[0] // n_groups, *shape[1:]], "apart")
    _reshaped(w, o, w.add("Transpose", o, [apart], part="moved", perm=[0, 2, 1, 3, 4]), shape)


def _range(w: OnnxNodes, o: Operator) -> None:
    """Whole numbers from start to end, which may be the batch size."""
    start, end, step = o.arguments.get("start", 0), o.arguments["end"], o.arguments.get("step", 1)
    if isinstance(end, str) and w.batch is None:
        end_name = w.add("Squeeze", o, [w.batch_size(o, end)], part="end")
    else:
        end_name = w.constant(o, "end", np.int64(w.size(end)))
    if w.dtype(o.outputs[0]) != "int64":
        raise CannotWrite("it counts in other than whole numbers")
    names = [w.constant(o, name, np.int64(w.size(n))) for name, n in (("start", start), ("step", step))]
    w.add("Range", o, [names[0], end_name, names[1]])


RULES: dict[str, Rule] = {
    **dict.fromkeys(("reshape", "flatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("permute", "transpose"), _permute),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "expand": _expand,
    "repeat": _repeat,
    "cat": _concatenate,
    "stack": _stack,
    "split_with_sizes": _split,
    "unbind": _unbind,
    "slice": _slice,
    "select": _select,
    "index": _index,
    "roll": _roll,
    "arange": _range,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "channel_shuffle": _channel_shuffle,
}
