"""ONNX nodes that rearrange, cut and join tensors: what ATen operators they are."""

from __future__ import annotations

import numpy as np

from silicut.graph.from_onnx.folding import CannotRead
from silicut.graph.from_onnx.layers import embedding
from silicut.graph.from_onnx.opened import OnnxNode
from silicut.graph.from_onnx.reader import Reader
from silicut.graph.network import DEVICE, Ref

_LAST = 2**63 - 1
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def identity(r: Reader, node: OnnxNode) -> None:
    """Identity."""
    r.emit(node, "aten.alias.default", {"self": r.tensor(node)})


def both_shapes(r: Reader, name: str) -> list[tuple[int, ...]]:
    """Return a tensor's shape at each of the two batch sizes."""
    return [tuple(-s * batch if s < 0 else s for s in r.shape(name)) for batch in r.batches.sizes]


def reshape(r: Reader, node: OnnxNode) -> None:
    """Reshape to a shape that is known but for the batch."""
    shapes = [
        _resolved(_with_free_batch(r, wanted, before), before, bool(node.attributes.get("allowzero")))
        for wanted, before in zip(r.sizes(node, 1), both_shapes(r, node.inputs[0]), strict=True)
    ]
    r.emit(node, "aten.reshape.default", {"self": r.tensor(node), "shape": r.argument(*shapes)})


def _with_free_batch(r: Reader, wanted: list[int], before: tuple[int, ...]) -> list[int]:
    """Return sizes in which a first one that is the file's fixed batch is the batch there is."""
    is_batch = r.freed_batch is not None and wanted[:1] == [r.freed_batch] and before[:1] in [(b,) for b in r.batches.sizes]
    return [before[0], *wanted[1:]] if is_batch else wanted


def _resolved(wanted: list[int], before: tuple[int, ...], allows_zero: bool) -> list[int]:
    """Return the sizes that 0 (as before) and -1 (the rest) stand for."""
    sizes = [before[i] if size == 0 and not allows_zero else size for i, size in enumerate(wanted)]
    if -1 in sizes:
        others = int(np.prod([size for size in sizes if size != -1]))
        if others == 0 or int(np.prod(before)) % others:
            raise CannotRead(f"{before} cannot be reshaped to {tuple(wanted)}")
        sizes[sizes.index(-1)] = int(np.prod(before)) // others
    return sizes


def flatten(r: Reader, node: OnnxNode) -> None:
    """Flatten to two axes."""
    shapes, axis = both_shapes(r, node.inputs[0]), int(node.attributes.get("axis", 1))
    axis = axis % len(shapes[0]) if axis < 0 else axis
    if axis == 1 and len(shapes[0]) > 1:
        r.emit(node, "aten.flatten.using_ints", {"self": r.tensor(node), "start_dim": 1, "end_dim": -1})
        return
    first, second = ([int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))] for shape in shapes)
    r.emit(node, "aten.reshape.default", {"self": r.tensor(node), "shape": r.argument(first, second)})


def transpose(r: Reader, node: OnnxNode) -> None:
    """Transpose; axes are reversed where no order is given."""
    n = len(r.shape(node.inputs[0]))
    order = node.attributes.get("perm") or tuple(reversed(range(n)))
    r.emit(node, "aten.permute.default", {"self": r.tensor(node), "dims": tuple(int(axis) for axis in order)})


def _axes(r: Reader, node: OnnxNode, n: int) -> list[int] | None:
    """Return the axes of Squeeze and Unsqueeze: an attribute, from operator set 13 on an input."""
    given = r.constant(node, 1).ravel() if node.has(1) else node.attributes.get("axes")
    return None if given is None else sorted(int(axis) % n for axis in given)


def squeeze(r: Reader, node: OnnxNode) -> None:
    """Squeeze given axes, or all of size 1."""
    shape = r.shape(node.inputs[0])
    axes = _axes(r, node, len(shape))
    axes = [i for i, size in enumerate(shape) if size == 1] if axes is None else axes
    if any(shape[axis] < 0 for axis in axes):
        raise CannotRead("it takes the batch axis away")
    r.emit(node, "aten.squeeze.dims", {"self": r.tensor(node), "dim": tuple(axes)})


def unsqueeze(r: Reader, node: OnnxNode) -> None:
    """Unsqueeze, axis by axis."""
    given = r.constant(node, 1).size if node.has(1) else len(node.attributes["axes"])
    axes = _axes(r, node, len(r.shape(node.inputs[0])) + given) or []
    made = r.tensor(node)
    for i, axis in enumerate(axes):
        made = r.emit(
            node, "aten.unsqueeze.default", {"self": made, "dim": axis}, part="" if i == len(axes) - 1 else f"axis{axis}"
        )


def expand(r: Reader, node: OnnxNode) -> None:
    """Expand by broadcasting both ways."""
    pairs = zip(both_shapes(r, node.inputs[0]), r.sizes(node, 1), strict=True)
    shapes = [np.broadcast_shapes(before, tuple(_with_free_batch(r, wanted, before))) for before, wanted in pairs]
    first, second = (list(shape) for shape in shapes)
    r.emit(node, "aten.expand.default", {"self": r.tensor(node), "size": r.argument(first, second)})


def tile(r: Reader, node: OnnxNode) -> None:
    """Tile."""
    r.emit(node, "aten.repeat.default", {"self": r.tensor(node), "repeats": r.integers(node, 1)})


def concat(r: Reader, node: OnnxNode) -> None:
    """Concat; a constant for the file's one image is repeated for every image of a batch that was freed."""
    axis = int(node.attributes["axis"]) % len(r.shape(node.inputs[0]))
    is_batch_free = r.freed_batch == 1 and axis > 0 and any(r.shape(name)[0] < 0 for name in node.inputs)
    tensors = []
    for i, name in enumerate(node.inputs):
        tensor, shape = r.tensor(node, i), r.shape(name)
        if is_batch_free and shape[0] == 1:
            size = ("batch", *shape[1:])
            tensor = r.emit(node, "aten.expand.default", {"self": tensor, "size": size}, part=f"images{i}")
        tensors.append(tensor)
    r.emit(node, "aten.cat.default", {"tensors": tuple(tensors), "dim": axis})


def split(r: Reader, node: OnnxNode) -> None:
    """Split into given or equal parts, the last of which may be smaller."""
    shape = r.shape(node.inputs[0])
    axis = int(node.attributes.get("axis", 0)) % len(shape)
    if shape[axis] < 0:
        raise CannotRead("it splits the batch")
    if node.has(1):
        sizes = [int(size) for size in r.constant(node, 1).ravel()]
    elif "split" in node.attributes:
        sizes = [int(size) for size in node.attributes["split"]]
    else:
        part = -(-shape[axis] // len(node.outputs))
        sizes = [min(part, shape[axis] - i * part) for i in range(len(node.outputs))]
    r.emit_many(node, "aten.split_with_sizes.default", {"self": r.tensor(node), "split_sizes": sizes, "dim": axis})


def slices(r: Reader, node: OnnxNode) -> None:
    """Slice, axis by axis."""
    starts, ends = r.integers(node, 1), r.integers(node, 2)
    axes = [int(a) for a in r.integers(node, 3)] if node.has(3) else list(range(len(starts)))
    steps = [int(s) for s in r.integers(node, 4)] if node.has(4) else [1] * len(starts)
    if min(steps) < 1:
        raise CannotRead("it walks backwards")
    made, n = r.tensor(node), len(r.shape(node.inputs[0]))
    for i, (axis, start, end, step) in enumerate(zip(axes, starts, ends, steps, strict=True)):
        last = end if isinstance(end, str) else min(end, _LAST)
        arguments = {"self": made, "dim": axis % n, "start": start, "end": last, "step": step}
        made = r.emit(node, "aten.slice.Tensor", arguments, part=slice_part(i, len(axes)))


def slice_part(index: int, n_axes: int) -> str:
    """Return the name of the step in which one of several axes is cut; the last one makes the result."""
    return "" if index == n_axes - 1 else f"axis{index}"


def gather(r: Reader, node: OnnxNode) -> None:
    """Gather by constant indices, or rows of a constant matrix by computed ones."""
    if embedding(r, node):
        return
    n = len(r.shape(node.inputs[0]))
    axis, index = int(node.attributes.get("axis", 0)) % n, r.constant(node, 1)
    if index.ndim == 0:
        r.emit(node, "aten.select.int", {"self": r.tensor(node), "dim": axis, "index": int(index)})
    elif index.ndim == 1:
        size = r.shape(node.inputs[0])[axis]
        if size < 0:
            raise CannotRead("it takes several images by their numbers")
        numbers = r.own_constant(node, "index", index.astype(np.int64) % size)
        r.emit(node, "aten.index_select.default", {"self": r.tensor(node), "dim": axis, "index": numbers})
    else:
        raise CannotRead(f"its indices must have no axis or one, not {index.ndim}")


def pad(r: Reader, node: OnnxNode) -> None:
    """Pad; other than with a constant, only the last axes."""
    n, mode = len(r.shape(node.inputs[0])), _PAD_MODES[node.attributes.get("mode", "constant")]
    amounts = [int(p) for p in r.constant(node, 1).ravel()]
    axes = [int(a) % n for a in r.constant(node, 3).ravel()] if node.has(3) else list(range(n))
    by_axis = {axis: (amounts[i], amounts[i + len(axes)]) for i, axis in enumerate(axes)}
    first = min((axis for axis, amount in by_axis.items() if any(amount)), default=n)
    pads = [p for axis in range(n - 1, first - 1, -1) for p in by_axis.get(axis, (0, 0))]
    if r.shape(node.inputs[0])[0] < 0 and first == 0:
        raise CannotRead("it pads the batch")
    value = float(r.number(node, 2)) if node.has(2) and mode == "constant" else None
    if mode == "constant" and value is None:
        value = 0.0
    if not pads:
        r.emit(node, "aten.alias.default", {"self": r.tensor(node)})
        return
    if mode != "constant":
        pads += [0, 0] * (max(n - 2, 1) - len(pads) // 2)
    r.emit(node, "aten.pad.default", {"self": r.tensor(node), "pad": pads, "mode": mode, "value": value})


def depth_to_space(r: Reader, node: OnnxNode) -> None:
    """DepthToSpace; "CRD" is PyTorch's pixel shuffle."""
    block = int(node.attributes["blocksize"])
    if node.attributes.get("mode", "DCR") == "CRD":
        r.emit(node, "aten.pixel_shuffle.default", {"self": r.tensor(node), "upscale_factor": block})
        return
    shapes = both_shapes(r, node.inputs[0])
    split_up = [[n, block, block, c // block**2, h, w] for n, c, h, w in shapes]
    joined = [[n, c // block**2, h * block, w * block] for n, c, h, w in shapes]
    _rearranged(r, node, split_up, (0, 3, 4, 1, 5, 2), joined)


def space_to_depth(r: Reader, node: OnnxNode) -> None:
    """SpaceToDepth."""
    block = int(node.attributes["blocksize"])
    shapes = both_shapes(r, node.inputs[0])
    split_up = [[n, c, h // block, block, w // block, block] for n, c, h, w in shapes]
    joined = [[n, c * block**2, h // block, w // block] for n, c, h, w in shapes]
    _rearranged(r, node, split_up, (0, 3, 5, 1, 2, 4), joined)


def _rearranged(
    r: Reader, node: OnnxNode, split_up: list[list[int]], order: tuple[int, ...], joined: list[list[int]]
) -> None:
    made = r.emit(node, "aten.reshape.default", {"self": r.tensor(node), "shape": r.argument(*split_up)}, part="blocks")
    made = r.emit(node, "aten.permute.default", {"self": made, "dims": order}, part="moved")
    r.emit(node, "aten.reshape.default", {"self": made, "shape": r.argument(*joined)})


def constant_of_shape(r: Reader, node: OnnxNode) -> Ref:
    """ConstantOfShape of a size that depends on the batch."""
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32)))
    arguments = {"size": r.integers(node, 0), "fill_value": value.item(), "dtype": f"torch.{value.dtype}", "device": DEVICE}
    return r.emit(node, "aten.full.default", arguments)
