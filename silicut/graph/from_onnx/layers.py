"""ONNX nodes with weights and norms: what ATen operators they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from silicut.graph.from_onnx.folding import CannotRead
from silicut.graph.from_onnx.opened import OnnxNode
from silicut.graph.from_onnx.reader import FLAT, TRANSPOSED, Reader
from silicut.graph.network import Ref


def n_spatial(r: Reader, node: OnnxNode, index: int = 0) -> int:
    """Return the number of axes of an image, 1 to 3."""
    n = len(r.shape(node.inputs[index])) - 2
    if n not in (1, 2, 3):
        raise CannotRead(f"its input must have 3 to 5 axes, not {n + 2}")
    return n


def repeated(node: OnnxNode, name: str, n: int, default: int = 1) -> tuple[int, ...]:
    """Return an attribute of one number an axis."""
    values = tuple(int(v) for v in node.attributes.get(name) or (default,) * n)
    if len(values) != n:
        raise CannotRead(f"its {name} must be {n} numbers, not {len(values)}")
    return values


def window_pads(r: Reader, node: OnnxNode, kernel: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what a window operator pads before and after each axis, from `pads` or `auto_pad`."""
    n, how = len(kernel), node.attributes.get("auto_pad", "NOTSET")
    if how == "NOTSET":
        pads = repeated(node, "pads", 2 * n, 0)
        return pads[:n], pads[n:]
    if how == "VALID":
        return (0,) * n, (0,) * n
    strides, dilations = repeated(node, "strides", n), repeated(node, "dilations", n)
    before, after = [], []
    for size, k, stride, dilation in zip(r.shape(node.inputs[0])[2:], kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        small, large = total // 2, total - total // 2
        before.append(small if how == "SAME_UPPER" else large)
        after.append(large if how == "SAME_UPPER" else small)
    return tuple(before), tuple(after)


def padded(r: Reader, node: OnnxNode, before: Sequence[int], after: Sequence[int], value: float) -> Ref:
    """Return the node's first input with its spatial axes padded."""
    pads = [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]
    arguments = {"self": r.tensor(node), "pad": pads, "mode": "constant", "value": value}
    return r.emit(node, "aten.pad.default", arguments, part="padded")


def convolution(r: Reader, node: OnnxNode) -> None:
    """Conv; padding that differs between the sides becomes an operator of its own."""
    n = n_spatial(r, node)
    weight = r.weight(node, 1)
    kernel = r.shape(node.inputs[1])[2:]
    before, after = window_pads(r, node, kernel)
    is_even = before == after
    arguments = {
        "input": r.tensor(node) if is_even else padded(r, node, before, after, 0.0),
        "weight": weight,
        "bias": r.weight(node, 2),
        "stride": repeated(node, "strides", n),
        "padding": before if is_even else (0,) * n,
        "dilation": repeated(node, "dilations", n),
        "groups": int(node.attributes.get("group", 1)),
    }
    r.emit(node, f"aten.conv{n}d.default", arguments)


def transposed_convolution(r: Reader, node: OnnxNode) -> None:
    """ConvTranspose; where its sides are cut unequally, the whole result is made and cut."""
    n = n_spatial(r, node)
    before, after, extra = _cuts(r, node, n)
    is_even = before == after
    arguments: dict[str, Any] = {
        "input": r.tensor(node),
        "weight": r.weight(node, 1),
        "bias": r.weight(node, 2),
        "stride": repeated(node, "strides", n),
        "padding": before if is_even else (0,) * n,
        "output_padding": extra,
        "groups": int(node.attributes.get("group", 1)),
        "dilation": repeated(node, "dilations", n),
    }
    kind = f"aten.conv_transpose{n}d.{'default' if n == 1 else 'input'}"
    if is_even:
        r.emit(node, kind, arguments)
        return
    made = r.emit(node, kind, arguments, part="whole")
    sizes = r.shape(made.name)[2:]
    for i, (first, last, size) in enumerate(zip(before, after, sizes, strict=True)):
        cut = {"self": made, "dim": 2 + i, "start": first, "end": size - last}
        made = r.emit(node, "aten.slice.Tensor", cut, part="" if i == n - 1 else f"cut{i}")


def _cuts(r: Reader, node: OnnxNode, n: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return what is cut off before and after each axis of a transposed convolution, and what is added behind."""
    extra = repeated(node, "output_padding", n, 0)
    strides, dilations = repeated(node, "strides", n), repeated(node, "dilations", n)
    how, wanted = node.attributes.get("auto_pad", "NOTSET"), node.attributes.get("output_shape")
    sizes, kernel = r.shape(node.inputs[0])[2:], r.shape(node.inputs[1])[2:]
    if wanted is None and how in ("NOTSET", "VALID"):
        pads = repeated(node, "pads", 2 * n, 0) if how == "NOTSET" else (0,) * (2 * n)
        return pads[:n], pads[n:], extra
    wanted = (
        [int(s) for s in wanted[-n:]] if wanted else [size * stride for size, stride in zip(sizes, strides, strict=True)]
    )
    whole = [(s - 1) * t + (k - 1) * d + 1 for s, t, k, d in zip(sizes, strides, kernel, dilations, strict=True)]
    totals = [w + e - size for w, e, size in zip(whole, extra, wanted, strict=True)]
    if min(totals) < 0:
        raise CannotRead("its output_shape is larger than what it makes")
    small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    return (small, large, extra) if how == "SAME_UPPER" else (large, small, extra)


def gemm(r: Reader, node: OnnxNode) -> None:
    """Gemm: a linear layer where its second factor is a constant and nothing is scaled."""
    alpha, beta = float(node.attributes.get("alpha", 1.0)), float(node.attributes.get("beta", 1.0))
    layout = "" if node.attributes.get("transB") else TRANSPOSED
    n_out = r.shape(node.inputs[1])[0 if not layout else 1]
    has_bias = node.has(2) and beta != 0
    is_plain = alpha == 1 and (
        not has_bias or (beta == 1 and r.is_constant(node, 2) and r.shape(node.inputs[2]) == (n_out,))
    )
    source = r.tensor(node)
    if node.attributes.get("transA"):
        source = r.emit(node, "aten.transpose.int", {"self": source, "dim0": 0, "dim1": 1}, part="first")
    is_linear = r.is_constant(node, 1) and r.has_layout(node, 1, layout)
    if is_linear and is_plain:
        bias = r.weight(node, 2) if has_bias else None
        r.emit(node, "aten.linear.default", {"input": source, "weight": r.weight(node, 1, layout), "bias": bias})
        return
    if is_linear:
        arguments = {"input": source, "weight": r.weight(node, 1, layout)}
        product = r.emit(node, "aten.linear.default", arguments, part="product")
    else:
        second = r.tensor(node, 1)
        if not layout:
            second = r.emit(node, "aten.transpose.int", {"self": second, "dim0": 0, "dim1": 1}, part="second")
        product = r.emit(node, "aten.matmul.default", {"self": source, "other": second}, part="product")
    product = r.emit(node, "aten.mul.Tensor", {"self": product, "other": alpha}, part="scaled" if has_bias else "")
    if has_bias:
        r.emit(node, "aten.add.Tensor", {"self": product, "other": r.tensor(node, 2), "alpha": beta})


def matrix_product(r: Reader, node: OnnxNode) -> None:
    """MatMul: a linear layer without bias where its second factor is a constant matrix."""
    is_matrix = r.is_constant(node, 1) and len(r.shape(node.inputs[1])) == 2 and r.has_layout(node, 1, TRANSPOSED)
    if is_matrix and r.dtype(node.inputs[1]).kind == "f":
        r.emit(node, "aten.linear.default", {"input": r.tensor(node), "weight": r.weight(node, 1, TRANSPOSED)})
    else:
        r.emit(node, "aten.matmul.default", {"self": r.tensor(node), "other": r.tensor(node, 1)})


def batch_normalisation(r: Reader, node: OnnxNode) -> None:
    """BatchNormalization with running statistics; each node has its own in training, even where the file shares them."""
    if node.attributes.get("training_mode"):
        raise CannotRead("it uses the statistics of the batch")
    r.needs(node, 1)
    arguments = {
        "input": r.tensor(node),
        "weight": r.weight(node, 1),
        "bias": r.weight(node, 2),
        "running_mean": r.parameter(node, 3, name=_statistic(r, node, 3, "running_mean")),
        "running_var": r.parameter(node, 4, name=_statistic(r, node, 4, "running_var")),
        "training": False,
        "momentum": 1 - float(node.attributes.get("momentum", 0.9)),
        "eps": float(node.attributes.get("epsilon", 1e-5)),
        "cudnn_enabled": False,
    }
    r.emit(node, "aten.batch_norm.default", arguments)


def _statistic(r: Reader, node: OnnxNode, index: int, usual: str) -> str:
    """Return the name of a running statistic, by which recalibration finds it."""
    prefixes = [node.inputs[i].rpartition(".") for i in (3, 4)]
    has_usual_names = prefixes[0][::2] == (prefixes[1][0], "running_mean") and prefixes[1][2] == "running_var"
    name = node.inputs[index]
    return name if has_usual_names and name not in r.parameters else f"{node.name}.{usual}"


def layer_normalisation(r: Reader, node: OnnxNode) -> None:
    """LayerNormalization over the last axes."""
    r.needs(node, 1)
    arguments = {
        "input": r.tensor(node),
        "normalized_shape": _normalised(r, node),
        "weight": r.weight(node, 1),
        "bias": r.weight(node, 2),
        "eps": float(node.attributes.get("epsilon", 1e-5)),
    }
    r.emit(node, "aten.layer_norm.default", arguments)


def rms_normalisation(r: Reader, node: OnnxNode) -> None:
    """RMSNormalization over the last axes."""
    arguments = {
        "input": r.tensor(node),
        "normalized_shape": _normalised(r, node),
        "weight": r.weight(node, 1),
        "eps": float(node.attributes.get("epsilon", 1e-5)),
    }
    r.emit(node, "aten.rms_norm.default", arguments)


def _normalised(r: Reader, node: OnnxNode) -> tuple[int, ...]:
    shape = r.shape(node.inputs[0])
    sizes = (
        shape[int(node.attributes.get("axis", -1)) :]
        if node.attributes.get("axis", -1) < 0
        else shape[node.attributes["axis"] :]
    )
    if min(sizes) < 0:
        raise CannotRead("it normalises over images")
    if any(node.has(i) and r.shape(node.inputs[i]) != sizes for i in (1, 2)):
        raise CannotRead(f"its scale and shift must have the shape that is normalised ({', '.join(map(str, sizes))})")
    return sizes


def instance_normalisation(r: Reader, node: OnnxNode) -> None:
    """InstanceNormalization."""
    arguments = {
        "input": r.tensor(node),
        "weight": r.weight(node, 1),
        "bias": r.weight(node, 2),
        "use_input_stats": True,
        "momentum": 0.1,
        "eps": float(node.attributes.get("epsilon", 1e-5)),
        "cudnn_enabled": False,
    }
    r.emit(node, "aten.instance_norm.default", arguments)


def group_normalisation(r: Reader, node: OnnxNode) -> None:
    """GroupNormalization with one scale a channel (from operator set 21 on)."""
    if node.opset < 21:
        raise CannotRead("before operator set 21 its scales are one a group; convert the model to 21")
    arguments = {
        "input": r.tensor(node),
        "num_groups": int(node.attributes["num_groups"]),
        "weight": r.weight(node, 1),
        "bias": r.weight(node, 2),
        "eps": float(node.attributes.get("epsilon", 1e-5)),
        "cudnn_enabled": False,
    }
    r.emit(node, "aten.group_norm.default", arguments)


def local_response_normalisation(r: Reader, node: OnnxNode) -> None:
    """LRN: x / (bias + alpha * mean of squares over neighbouring channels) ** beta."""
    n, size = n_spatial(r, node), int(node.attributes["size"])
    if n != 2:
        raise CannotRead(f"its input must have 4 axes, not {n + 2}")
    x = r.tensor(node)
    squares = r.emit(node, "aten.mul.Tensor", {"self": x, "other": x}, part="squares")
    line = r.emit(node, "aten.unsqueeze.default", {"self": squares, "dim": 1}, part="line")
    pads = (0, 0, 0, 0, (size - 1) // 2, size // 2)
    line = r.emit(node, "aten.pad.default", {"self": line, "pad": pads, "mode": "constant", "value": 0.0}, part="padded")
    pool = {"self": line, "kernel_size": (size, 1, 1), "stride": (1, 1, 1)}
    mean = r.emit(node, "aten.avg_pool3d.default", pool, part="mean")
    mean = r.emit(node, "aten.squeeze.dims", {"self": mean, "dim": (1,)}, part="means")
    alpha, beta, bias = (float(node.attributes.get(k, d)) for k, d in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    scaled = r.emit(node, "aten.mul.Tensor", {"self": mean, "other": alpha}, part="scaled")
    shifted = r.emit(node, "aten.add.Tensor", {"self": scaled, "other": bias}, part="shifted")
    power = r.emit(node, "aten.pow.Tensor_Scalar", {"self": shifted, "exponent": beta}, part="power")
    r.emit(node, "aten.div.Tensor", {"self": x, "other": power})


def prelu(r: Reader, node: OnnxNode) -> None:
    """PRelu: one slope, one a channel, or of any shape."""
    source = r.tensor(node)
    shape, slope = r.shape(node.inputs[0]), r.shape(node.inputs[1])
    aligned = (1,) * (len(shape) - len(slope)) + tuple(slope)
    is_by_channel = len(shape) > 1 and aligned[1] == shape[1] and all(s == 1 for i, s in enumerate(aligned) if i != 1)
    is_single = int(np.prod(slope)) == 1
    if r.is_constant(node, 1) and (is_by_channel or is_single) and r.has_layout(node, 1, FLAT):
        r.emit(node, "aten.prelu.default", {"self": source, "weight": r.weight(node, 1, FLAT)})
        return
    high = r.emit(node, "aten.relu.default", {"self": source}, part="high")
    low = r.emit(node, "aten.clamp_max.default", {"self": source, "max": 0}, part="low")
    low = r.emit(node, "aten.mul.Tensor", {"self": low, "other": r.tensor(node, 1)}, part="sloped")
    r.emit(node, "aten.add.Tensor", {"self": high, "other": low})


def embedding(r: Reader, node: OnnxNode) -> bool:
    """Read a Gather of rows of a constant matrix by computed indices; return whether it is one."""
    if not r.is_constant(node, 0) or r.is_constant(node, 1):
        return False
    if len(r.shape(node.inputs[0])) != 2 or node.attributes.get("axis", 0) != 0:
        return False
    r.emit(node, "aten.embedding.default", {"weight": r.tensor(node, 0), "indices": r.tensor(node, 1)})
    return True
