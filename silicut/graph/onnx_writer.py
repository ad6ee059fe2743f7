"""A `Network` as an ONNX model: nodes carry the operators' names, initialisers the parameters' names.

Written with the `onnx` package from the network itself, so that models of any widths can be made in milliseconds and
what an engine reports can be traced back. An operator without a rule here is an `UnsupportedModel` that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from silicut.graph.network import Network, Operator, Ref
from silicut.records import UnsupportedModel
from silicut.version import __version__

OPSET = 20
_IR_VERSION = 9


def to_onnx(network: Network, *, batch: int | None = None) -> bytes:
    """Return the network as a serialised ONNX model (opset 20).

    Args:
        network: weights of any float type; fold batch normalisation first for what an engine should run.
        batch: the batch size written into the model; None leaves it free (symbolic "batch").

    Raises:
        UnsupportedModel: some operators have no ONNX rule; all are listed with their source lines.
    """
    from onnx import helper, numpy_helper

    writer = _Writer(network, batch)
    graph = helper.make_graph(
        writer.nodes(),
        "silicut",
        [writer.value_info(name) for name in network.inputs],
        [writer.value_info(name, f"{name}:out" if name in network.inputs else name) for name in network.outputs],
        [numpy_helper.from_array(array, name) for name, array in writer.initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = _IR_VERSION
    model.producer_name, model.producer_version = "silicut", __version__
    return bytes(model.SerializeToString())


def unsupported_operators(network: Network) -> tuple[str, ...]:
    """Return one sentence for each operator that the writer cannot express."""
    missing = [o for o in network.operators if o.kind not in _RULES]
    return tuple(f"operator {o.kind} of {o.name}{f' ({o.source})' if o.source else ''}" for o in missing)


class _Writer:
    """Collects the nodes and initialisers of one model."""

    def __init__(self, network: Network, batch: int | None) -> None:
        self.network, self.batch = network, batch
        self.initializers: dict[str, np.ndarray] = {}
        self._nodes: list[Any] = []

    def nodes(self) -> list[Any]:
        missing = unsupported_operators(self.network)
        if missing:
            raise UnsupportedModel(missing, "The ONNX writer has no rule for it; replace it by operators that have one")
        for operator in self.network.operators:
            _RULES[operator.kind](self, operator)
        return self._nodes

    def value_info(self, name: str, written: str | None = None) -> Any:
        from onnx import TensorProto, helper

        tensor = self.network.tensors[name]
        free: list[Any] = [("batch" if size == -1 else f"batch*{-size}") if size < 0 else size for size in tensor.shape]
        shape = free if self.batch is None else list(tensor.sizes(self.batch))
        types = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64}
        return helper.make_tensor_value_info(written or name, types.get(tensor.dtype, TensorProto.FLOAT), shape)

    def add(self, kind: str, operator: Operator, inputs: Sequence[str], *, part: str = "", **attributes: Any) -> str:
        """Append a node; `part` names an intermediate step of an operator written as several nodes."""
        from onnx import helper

        name = f"{operator.name}/{part}" if part else operator.name
        output = name if part else operator.outputs[0]
        self._nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def add_many(self, kind: str, operator: Operator, inputs: Sequence[str], **attributes: Any) -> None:
        """Append a node that makes all outputs of an operator."""
        from onnx import helper

        self._nodes.append(helper.make_node(kind, list(inputs), list(operator.outputs), name=operator.name, **attributes))

    def input(self, operator: Operator, argument: str) -> str:
        """Return the ONNX name of an argument: a tensor, a parameter, or a number made into a constant."""
        value = operator.arguments[argument]
        if isinstance(value, Ref):
            if value.name in self.network.parameters:
                self.initializers[value.name] = self.network.parameters[value.name]
            return value.name
        return self.constant(operator, argument, np.asarray(value, np.float32))

    def main(self, operator: Operator) -> str:
        """Return the tensor that a one-input operator reads."""
        return self.input(operator, "input" if "input" in operator.arguments else "self")

    def constant(self, operator: Operator, name: str, array: np.ndarray | np.generic) -> str:
        """Add a constant and return its name."""
        full = f"{operator.name}/{name}"
        self.initializers[full] = np.asarray(array)
        return full

    def n_axes(self, operator: Operator) -> int:
        """Return the number of axes of an operator's main input."""
        return len(self.network.tensors[self.main(operator)].shape)


Rule = Callable[[_Writer, Operator], Any]


def _simple(kind: str, **attributes: Any) -> Rule:
    return lambda w, o: w.add(kind, o, [w.main(o)], **attributes)


def _binary(kind: str) -> Rule:
    def write(w: _Writer, o: Operator) -> None:
        other = w.input(o, "other")
        if o.arguments.get("alpha", 1) != 1:
            other = w.add("Mul", o, [other, w.constant(o, "alpha", np.float32(o.arguments["alpha"]))], part="scaled")
        w.add(kind, o, [w.input(o, "self"), other])

    return write


def _pair(value: Any, n: int = 2) -> list[int]:
    values = list(value) if isinstance(value, tuple) else [value]
    return [int(v) for v in (values * n if len(values) == 1 else values)]


def _convolution(w: _Writer, o: Operator) -> None:
    inputs = [w.input(o, "input"), w.input(o, "weight")]
    if o.arguments["bias"] is not None:
        inputs.append(w.input(o, "bias"))
    n = w.n_axes(o) - 2
    kernel = w.network.parameters[o.arguments["weight"].name].shape[2:]
    dilation, padding = _pair(o.arguments["dilation"], n), o.arguments["padding"]
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = [t // 2 for t in totals] + [t - t // 2 for t in totals]
    else:
        pads = [0] * (2 * n) if padding == "valid" else _pair(padding, n) * 2
    w.add("Conv", o, inputs, kernel_shape=list(kernel), strides=_pair(o.arguments["stride"], n), pads=pads,
          dilations=dilation, group=int(o.arguments["groups"]))  # fmt: skip


def _batch_norm(w: _Writer, o: Operator) -> None:
    n = w.network.tensors[w.main(o)].shape[1]
    scale = w.constant(o, "ones", np.ones(n, np.float32)) if o.arguments["weight"] is None else w.input(o, "weight")
    shift = w.constant(o, "zeros", np.zeros(n, np.float32)) if o.arguments["bias"] is None else w.input(o, "bias")
    inputs = [w.input(o, "input"), scale, shift, w.input(o, "running_mean"), w.input(o, "running_var")]
    w.add("BatchNormalization", o, inputs, epsilon=float(o.arguments["eps"]))


def _linear(w: _Writer, o: Operator) -> None:
    weight, has_bias = w.input(o, "weight"), o.arguments["bias"] is not None
    if w.n_axes(o) == 2:
        w.add("Gemm", o, [w.input(o, "input"), weight, *([w.input(o, "bias")] if has_bias else [])], transB=1)
        return
    transposed = w.constant(o, "weight_t", np.ascontiguousarray(w.network.parameters[weight].T))
    w.initializers.pop(weight, None)
    product = w.add("MatMul", o, [w.input(o, "input"), transposed], part="product" if has_bias else "")
    if has_bias:
        w.add("Add", o, [product, w.input(o, "bias")])


def _clip(w: _Writer, o: Operator) -> None:
    low, high = {
        "hardtanh": ("min_val", "max_val"),
        "clamp": ("min", "max"),
        "clamp_min": ("min", ""),
        "clamp_max": ("", "max"),
    }.get(o.kind, ("", ""))
    bounds = (0.0, 6.0) if o.kind == "relu6" else (o.arguments.get(low), o.arguments.get(high))
    names = ["" if b is None else w.constant(o, n, np.float32(b)) for n, b in zip(("low", "high"), bounds, strict=True)]
    w.add("Clip", o, [w.main(o), *names])


def _silu(w: _Writer, o: Operator) -> None:
    source = w.main(o)
    w.add("Mul", o, [source, w.add("Sigmoid", o, [source], part="sigmoid")])


def _leaky_relu(w: _Writer, o: Operator) -> None:
    w.add("LeakyRelu", o, [w.main(o)], alpha=float(o.arguments["negative_slope"]))


def _elu(w: _Writer, o: Operator) -> None:
    w.add("Elu", o, [w.main(o)], alpha=float(o.arguments["alpha"]))


def _gelu(w: _Writer, o: Operator) -> None:
    w.add("Gelu", o, [w.main(o)], approximate=str(o.arguments["approximate"]))


def _prelu(w: _Writer, o: Operator) -> None:
    slope = w.network.parameters[o.arguments["weight"].name]
    shaped = slope.reshape(-1, *[1] * (w.n_axes(o) - 2)) if w.n_axes(o) > 2 else slope
    w.add("PRelu", o, [w.main(o), w.constant(o, "slope", shaped)])


def _pool(w: _Writer, o: Operator) -> None:
    kernel = _pair(o.arguments["kernel_size"])
    stride = _pair(o.arguments["stride"]) if o.arguments["stride"] else kernel
    shared: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": _pair(o.arguments["padding"]) * 2,
              "ceil_mode": int(o.arguments["ceil_mode"])}  # fmt: skip
    if o.kind == "max_pool2d":
        w.add("MaxPool", o, [w.main(o)], dilations=_pair(o.arguments["dilation"]), **shared)
        return
    size = w.network.tensors[w.main(o)].shape[2:]
    if tuple(kernel) == tuple(size) and not any(shared["pads"]):
        w.add("GlobalAveragePool", o, [w.main(o)])
        return
    w.add("AveragePool", o, [w.main(o)], count_include_pad=int(o.arguments["count_include_pad"]), **shared)


def _adaptive_pool(w: _Writer, o: Operator) -> None:
    size, wanted = w.network.tensors[w.main(o)].shape[2:], _pair(o.arguments["output_size"])
    kind = "Average" if "avg" in o.kind else "Max"
    if wanted == [1, 1]:
        w.add(f"Global{kind}Pool", o, [w.main(o)])
        return
    if any(s % n for s, n in zip(size, wanted, strict=True)):
        raise UnsupportedModel(
            [f"{o.name} pools {tuple(size)} to {tuple(wanted)}"],
            "ONNX needs an input size that is a multiple of the output's",
        )
    kernel = [s // n for s, n in zip(size, wanted, strict=True)]
    w.add(f"{kind}Pool", o, [w.main(o)], kernel_shape=kernel, strides=kernel)


def _reduce(kind: str) -> Rule:
    def write(w: _Writer, o: Operator) -> None:
        dims = o.arguments["dim"]
        axes = [int(d) % w.n_axes(o) for d in (dims if isinstance(dims, tuple) else (dims,))]
        keeps = bool(o.arguments["keepdim"])
        if kind == "ReduceMean" and axes == [2, 3] and w.n_axes(o) == 4:
            pooled = w.add("GlobalAveragePool", o, [w.main(o)], part="" if keeps else "pooled")
            if not keeps:
                w.add("Flatten", o, [pooled])
            return
        w.add(kind, o, [w.main(o), w.constant(o, "axes", np.array(axes))], keepdims=int(keeps))

    return write


def _reshape(w: _Writer, o: Operator) -> None:
    before, after = w.network.tensors[w.main(o)].shape, w.network.tensors[o.outputs[0]].shape
    if len(after) == 2 and len(before) > 2 and before[0] == after[0]:
        w.add("Flatten", o, [w.main(o)])
        return
    sizes = w.network.tensors[o.outputs[0]].sizes(w.batch) if w.batch else [s if s > 0 else -1 for s in after]
    w.add("Reshape", o, [w.main(o), w.constant(o, "shape", np.array(sizes, np.int64))])


def _permute(w: _Writer, o: Operator) -> None:
    order = list(range(w.n_axes(o)))
    if o.kind == "transpose":
        a, b = int(o.arguments["dim0"]), int(o.arguments["dim1"])
        order[a], order[b] = order[b], order[a]
    else:
        order = [int(d) % len(order) for d in o.arguments["dims"]]
    w.add("Transpose", o, [w.main(o)], perm=order)


def _concatenate(w: _Writer, o: Operator) -> None:
    names = [reference.name for reference in o.arguments["tensors"]]
    for name in names:
        if name in w.network.parameters:
            w.initializers[name] = w.network.parameters[name]
    w.add("Concat", o, names, axis=int(o.arguments["dim"]))


def _split(w: _Writer, o: Operator) -> None:
    sizes = w.constant(o, "sizes", np.array(o.arguments["split_sizes"], np.int64))
    w.add_many("Split", o, [w.main(o), sizes], axis=int(o.arguments["dim"]))


def _slice(w: _Writer, o: Operator) -> None:
    values = (o.arguments["start"] or 0, o.arguments["end"], o.arguments["dim"], o.arguments["step"])
    end = 2**31 - 1 if values[1] is None else min(int(values[1]), 2**31 - 1)
    numbers = (values[0], end, values[2], values[3])
    if numbers == (0, 2**31 - 1, values[2], 1):
        w.add("Identity", o, [w.main(o)])
        return
    names = [
        w.constant(o, n, np.array([v], np.int64)) for n, v in zip(("start", "end", "axis", "step"), numbers, strict=True)
    ]
    w.add("Slice", o, [w.main(o), *names])


def _pad(w: _Writer, o: Operator) -> None:
    n, pads = w.n_axes(o), o.arguments["pad"]
    before, after = [0] * n, [0] * n
    for i in range(len(pads) // 2):
        before[n - 1 - i], after[n - 1 - i] = int(pads[2 * i]), int(pads[2 * i + 1])
    value = w.constant(o, "value", np.float32(o.arguments.get("value") or 0.0))
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[o.arguments.get("mode", "constant")]
    w.add("Pad", o, [w.main(o), w.constant(o, "pads", np.array(before + after, np.int64)), value], mode=mode)


def _softmax(kind: str) -> Rule:
    return lambda w, o: w.add(kind, o, [w.main(o)], axis=int(o.arguments["dim"]))


def _matmul(w: _Writer, o: Operator) -> None:
    w.add("MatMul", o, [w.input(o, "self"), w.input(o, "mat2" if "mat2" in o.arguments else "other")])


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("hardtanh", "relu6", "clamp", "clamp_min", "clamp_max"), _clip),
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), _pool),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive_pool),
    **dict.fromkeys(("reshape", "flatten", "unflatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("permute", "transpose"), _permute),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("dropout", "feature_dropout", "clone", "contiguous", "alias", "detach"), _simple("Identity")),
    **dict.fromkeys(("matmul", "bmm", "mm"), _matmul),
    "relu": _simple("Relu"),
    "sigmoid": _simple("Sigmoid"),
    "tanh": _simple("Tanh"),
    "hardswish": _simple("HardSwish"),
    "hardsigmoid": _simple("HardSigmoid", alpha=1 / 6, beta=0.5),
    "softplus": _simple("Softplus"),
    "mish": _simple("Mish"),
    "abs": _simple("Abs"),
    "neg": _simple("Neg"),
    "exp": _simple("Exp"),
    "sqrt": _simple("Sqrt"),
    "silu": _silu,
    "gelu": _gelu,
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "add": _binary("Add"),
    "sub": _binary("Sub"),
    "mul": _binary("Mul"),
    "div": _binary("Div"),
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
}
