"""How each kind of operator is written in ONNX: one rule a kind, one table at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from silicut.graph.network import Operator, Ref
from silicut.graph.onnx_nodes import CannotWrite, OnnxNodes

Rule = Callable[[OnnxNodes, Operator], Any]


def _simple(kind: str, **attributes: Any) -> Rule:
    return lambda w, o: w.add(kind, o, [w.main(o)], **attributes)


def _binary(kind: str) -> Rule:
    def write(w: OnnxNodes, o: Operator) -> None:
        if o.arguments.get("rounding_mode") is not None:
            raise CannotWrite("it rounds")
        other = w.input(o, "exponent" if kind == "Pow" else "other")
        if o.arguments.get("alpha", 1) != 1:
            other = w.add("Mul", o, [other, w.number(o, "alpha", o.arguments["alpha"])], part="scaled")
        w.add(kind, o, [w.input(o, "self"), other])

    return write


def _pair(value: Any, n: int = 2) -> list[int]:
    values = list(value) if isinstance(value, tuple) else [value]
    return [int(v) for v in (values * n if len(values) == 1 else values)]


def _convolution(w: OnnxNodes, o: Operator) -> None:
    inputs = [w.input(o, "input"), w.input(o, "weight")]
    if o.arguments["bias"] is not None:
        inputs.append(w.input(o, "bias"))
    n, kernel = w.n_axes(o) - 2, w.shape(inputs[1])[2:]
    if n != len(kernel):
        raise CannotWrite("its input has no batch axis")
    dilation, padding = _pair(o.arguments["dilation"], n), o.arguments["padding"]
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = [t // 2 for t in totals] + [t - t // 2 for t in totals]
    else:
        pads = [0] * (2 * n) if padding == "valid" else _pair(padding, n) * 2
    w.add("Conv", o, inputs, kernel_shape=list(kernel), strides=_pair(o.arguments["stride"], n), pads=pads,
          dilations=dilation, group=int(o.arguments["groups"]))  # fmt: skip


def _batch_norm(w: OnnxNodes, o: Operator) -> None:
    if o.arguments["training"]:
        raise CannotWrite("it uses the statistics of the batch")
    dtype = w.network.tensors[o.outputs[0]].dtype
    n = w.shape(w.main(o))[1]
    scale = w.constant(o, "ones", np.ones(n, dtype)) if o.arguments["weight"] is None else w.input(o, "weight")
    shift = w.constant(o, "zeros", np.zeros(n, dtype)) if o.arguments["bias"] is None else w.input(o, "bias")
    inputs = [w.input(o, "input"), scale, shift, w.input(o, "running_mean"), w.input(o, "running_var")]
    w.add("BatchNormalization", o, inputs, epsilon=float(o.arguments["eps"]))


def _linear(w: OnnxNodes, o: Operator) -> None:
    weight, has_bias = o.arguments["weight"].name, o.arguments["bias"] is not None
    if w.n_axes(o) == 2:
        w.add("Gemm", o, [w.input(o, "input"), w.read(weight), *([w.input(o, "bias")] if has_bias else [])], transB=1)
        return
    if weight in w.network.parameters:
        transposed = w.constant(o, "weight_t", np.ascontiguousarray(w.network.parameters[weight].T))
    else:
        transposed = w.add("Transpose", o, [weight], part="weight_t", perm=[1, 0])
    product = w.add("MatMul", o, [w.input(o, "input"), transposed], part="product" if has_bias else "")
    if has_bias:
        w.add("Add", o, [product, w.input(o, "bias")])


def _clip(w: OnnxNodes, o: Operator) -> None:
    low, high = {
        "hardtanh": ("min_val", "max_val"),
        "clamp": ("min", "max"),
        "clamp_min": ("min", ""),
        "clamp_max": ("", "max"),
    }.get(o.kind, ("", ""))
    bounds = (0.0, 6.0) if o.kind == "relu6" else (o.arguments.get(low), o.arguments.get(high))
    if any(isinstance(bound, Ref) for bound in bounds):
        raise CannotWrite("its bounds are tensors")
    names = ["" if b is None else w.number(o, n, b) for n, b in zip(("low", "high"), bounds, strict=True)]
    w.add("Clip", o, [w.main(o), *names])


def _silu(w: OnnxNodes, o: Operator) -> None:
    source = w.main(o)
    w.add("Mul", o, [source, w.add("Sigmoid", o, [source], part="sigmoid")])


def _leaky_relu(w: OnnxNodes, o: Operator) -> None:
    w.add("LeakyRelu", o, [w.main(o)], alpha=float(o.arguments["negative_slope"]))


def _elu(w: OnnxNodes, o: Operator) -> None:
    if o.arguments["scale"] != 1 or o.arguments["input_scale"] != 1:
        raise CannotWrite("it is scaled")
    w.add("Elu", o, [w.main(o)], alpha=float(o.arguments["alpha"]))


def _gelu(w: OnnxNodes, o: Operator) -> None:
    w.add("Gelu", o, [w.main(o)], approximate=str(o.arguments["approximate"]))


def _softplus(w: OnnxNodes, o: Operator) -> None:
    if o.arguments["beta"] != 1:
        raise CannotWrite("its beta is not 1")
    w.add("Softplus", o, [w.main(o)])


def _dropout(w: OnnxNodes, o: Operator) -> None:
    if o.arguments["train"]:
        raise CannotWrite("it is always on")
    w.add("Identity", o, [w.main(o)])


def _prelu(w: OnnxNodes, o: Operator) -> None:
    if o.arguments["weight"].name not in w.network.parameters:
        raise CannotWrite("its weight is computed, not a parameter")
    slope = w.network.parameters[o.arguments["weight"].name]
    shaped = slope.reshape(-1, *[1] * (w.n_axes(o) - 2)) if w.n_axes(o) > 2 else slope
    w.add("PRelu", o, [w.main(o), w.constant(o, "slope", shaped)])


def _pool(w: OnnxNodes, o: Operator) -> None:
    if w.n_axes(o) != 4:
        raise CannotWrite("its input has no batch axis")
    if o.arguments.get("divisor_override") is not None:
        raise CannotWrite("its divisor is given")
    kernel = _pair(o.arguments["kernel_size"])
    stride = _pair(o.arguments["stride"]) if o.arguments["stride"] else kernel
    shared: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": _pair(o.arguments["padding"]) * 2,
              "ceil_mode": int(o.arguments["ceil_mode"])}  # fmt: skip
    if o.kind == "max_pool2d":
        w.add("MaxPool", o, [w.main(o)], dilations=_pair(o.arguments["dilation"]), **shared)
        return
    size = w.shape(w.main(o))[2:]
    if tuple(kernel) == tuple(size) and not any(shared["pads"]):
        w.add("GlobalAveragePool", o, [w.main(o)])
        return
    w.add("AveragePool", o, [w.main(o)], count_include_pad=int(o.arguments["count_include_pad"]), **shared)


def _adaptive_pool(w: OnnxNodes, o: Operator) -> None:
    if w.n_axes(o) != 4:
        raise CannotWrite("its input has no batch axis")
    size, wanted = w.shape(w.main(o))[2:], _pair(o.arguments["output_size"])
    kind = "Average" if "avg" in o.kind else "Max"
    if wanted == [1, 1]:
        w.add(f"Global{kind}Pool", o, [w.main(o)])
        return
    if any(s % n for s, n in zip(size, wanted, strict=True)):
        raise CannotWrite(f"it pools {size[0]}x{size[1]} to {wanted[0]}x{wanted[1]}, which is no divisor")
    kernel = [s // n for s, n in zip(size, wanted, strict=True)]
    w.add(f"{kind}Pool", o, [w.main(o)], kernel_shape=kernel, strides=kernel)


def _reduce(kind: str) -> Rule:
    def write(w: OnnxNodes, o: Operator) -> None:
        if o.arguments.get("dtype") is not None:
            raise CannotWrite("it changes the number type")
        dims, keeps = o.arguments.get("dim"), bool(o.arguments.get("keepdim", False))
        if dims is None or dims == ():
            dims = tuple(range(w.n_axes(o)))
        axes = [int(d) % w.n_axes(o) for d in (dims if isinstance(dims, tuple) else (dims,))]
        if kind == "ReduceMean" and axes == [2, 3] and w.n_axes(o) == 4:
            pooled = w.add("GlobalAveragePool", o, [w.main(o)], part="" if keeps else "pooled")
            if not keeps:
                w.add("Flatten", o, [pooled])
            return
        w.add(kind, o, [w.main(o), w.constant(o, "axes", np.array(axes, np.int64))], keepdims=int(keeps))

    return write


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
    sizes = [1 if a == b else w.size(argument) for a, b, argument in zip(before, after, o.arguments["size"], strict=True)]
    w.add("Expand", o, [w.main(o), w.constant(o, "shape", np.array(sizes, np.int64))])


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


def _softmax(kind: str) -> Rule:
    return lambda w, o: w.add(kind, o, [w.main(o)], axis=int(o.arguments["dim"]))


def _matmul(w: OnnxNodes, o: Operator) -> None:
    w.add("MatMul", o, [w.input(o, "self"), w.input(o, "mat2" if "mat2" in o.arguments else "other")])


RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("hardtanh", "relu6", "clamp", "clamp_min", "clamp_max"), _clip),
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), _pool),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive_pool),
    **dict.fromkeys(("reshape", "flatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("permute", "transpose"), _permute),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("dropout", "feature_dropout"), _dropout),
    **dict.fromkeys(("clone", "contiguous", "alias", "detach", "lift_fresh_copy"), _simple("Identity")),
    **dict.fromkeys(("matmul", "bmm", "mm"), _matmul),
    "relu": _simple("Relu"),
    "sigmoid": _simple("Sigmoid"),
    "tanh": _simple("Tanh"),
    "hardswish": _simple("HardSwish"),
    "hardsigmoid": _simple("HardSigmoid", alpha=1 / 6, beta=0.5),
    "softplus": _softplus,
    "mish": _simple("Mish"),
    "abs": _simple("Abs"),
    "neg": _simple("Neg"),
    "exp": _simple("Exp"),
    "sqrt": _simple("Sqrt"),
    "reciprocal": _simple("Reciprocal"),
    "log": _simple("Log"),
    "silu": _silu,
    "gelu": _gelu,
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "add": _binary("Add"),
    "sub": _binary("Sub"),
    "mul": _binary("Mul"),
    "div": _binary("Div"),
    "maximum": _binary("Max"),
    "minimum": _binary("Min"),
    "pow": _binary("Pow"),
    "expand": _expand,
    "batch_norm": _batch_norm,
    "linear": _linear,
    "mean": _reduce("ReduceMean"),
    "sum": _reduce("ReduceSum"),
    "amax": _reduce("ReduceMax"),
    "amin": _reduce("ReduceMin"),
    "softmax": _softmax("Softmax"),
    "log_softmax": _softmax("LogSoftmax"),
    "cat": _concatenate,
    "split_with_sizes": _split,
    "slice": _slice,
    "select": _select,
}
