"""Norms and other statistics in ONNX."""

from __future__ import annotations

import numpy as np

from silicut.graph.network import Operator
from silicut.graph.onnx_nodes import CannotWrite, OnnxNodes
from silicut.graph.onnx_rules.rule import Rule


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


def _softmax(kind: str) -> Rule:
    return lambda w, o: w.add(kind, o, [w.main(o)], axis=int(o.arguments["dim"]))


def _extreme(kind: str) -> Rule:
    """The larger or smaller of two tensors, or along axes of one."""

    def write(w: OnnxNodes, o: Operator) -> None:
        if "other" in o.arguments:
            w.add(kind, o, [w.input(o, "self"), w.input(o, "other")])
        else:
            _reduce(f"Reduce{kind}")(w, o)

    return write


def _scale_and_shift(w: OnnxNodes, o: Operator, shape: tuple[int, ...]) -> list[str]:
    """Return a norm's weight and bias, made where it has none."""
    dtype = w.dtype(o.outputs[0])
    ones, zeros = np.ones(shape, dtype), np.zeros(shape, dtype)
    scale = w.constant(o, "ones", ones) if o.arguments["weight"] is None else w.input(o, "weight")
    return [scale, w.constant(o, "zeros", zeros) if o.arguments["bias"] is None else w.input(o, "bias")]


def _layer_norm(w: OnnxNodes, o: Operator) -> None:
    shape = tuple(o.arguments["normalized_shape"])
    inputs = [w.main(o), *_scale_and_shift(w, o, shape)]
    w.add("LayerNormalization", o, inputs, axis=-len(shape), epsilon=float(o.arguments["eps"]))


def _rms_norm(w: OnnxNodes, o: Operator) -> None:
    source, n = w.main(o), len(o.arguments["normalized_shape"])
    eps = o.arguments["eps"]
    eps = float(np.finfo(w.dtype(source)).eps) if eps is None else eps
    square = w.add("Mul", o, [source, source], part="square")
    axes = w.constant(o, "axes", np.arange(-n, 0))
    mean = w.add("ReduceMean", o, [square, axes], part="mean", keepdims=1)
    root = w.add("Sqrt", o, [w.add("Add", o, [mean, w.number(o, "eps", eps)], part="sum")], part="root")
    has_weight = o.arguments["weight"] is not None
    normalised = w.add("Div", o, [source, root], part="normalised" if has_weight else "")
    if has_weight:
        w.add("Mul", o, [normalised, w.input(o, "weight")])


def _group_norm(w: OnnxNodes, o: Operator) -> None:
    """Each group as the channel of an instance norm, then the weights of the channels."""
    n_groups, shape, dtype = int(o.arguments["num_groups"]), w.shape(o.outputs[0]), w.dtype(o.outputs[0])
    apart = w.constant(o, "apart", np.array([0, n_groups, -1], np.int64))
    groups = w.add("Reshape", o, [w.main(o), apart], part="groups")
    ones, zeros = w.constant(o, "ones", np.ones(n_groups, dtype)), w.constant(o, "zeros", np.zeros(n_groups, dtype))
    even = w.add("InstanceNormalization", o, [groups, ones, zeros], part="even", epsilon=float(o.arguments["eps"]))
    own = [(kind, o.arguments[name]) for kind, name in (("Mul", "weight"), ("Add", "bias")) if o.arguments[name] is not None]
    joined = w.constant(o, "joined", np.array([0, *shape[1:]], np.int64))
    result = w.add("Reshape", o, [even, joined], part="whole" if own else "")
    for i, (kind, reference) in enumerate(own):
        if reference.name not in w.network.parameters:
            raise CannotWrite("its weight is computed, not a parameter")
        values = w.network.parameters[reference.name].reshape(-1, *[1] * (len(shape) - 2))
        is_last = i == len(own) - 1
        result = w.add(kind, o, [result, w.constant(o, kind.lower(), values)], part="" if is_last else "scaled")


def _instance_norm(w: OnnxNodes, o: Operator) -> None:
    if not o.arguments["use_input_stats"]:
        raise CannotWrite("it uses running statistics")
    inputs = [w.main(o), *_scale_and_shift(w, o, w.shape(o.outputs[0])[1:2])]
    w.add("InstanceNormalization", o, inputs, epsilon=float(o.arguments["eps"]))


def _variance(w: OnnxNodes, o: Operator) -> None:
    source, dims = w.main(o), o.arguments["dim"]
    shape, correction = w.shape(source), o.arguments.get("correction")
    axes = [int(d) % len(shape) for d in (dims if isinstance(dims, tuple) else (dims,))] if dims else []
    if not axes or any(shape[axis] < 0 for axis in axes):
        raise CannotWrite("it takes a variance over images")
    n = int(np.prod([shape[axis] for axis in axes]))
    named = w.constant(o, "axes", np.array(axes, np.int64))
    mean = w.add("ReduceMean", o, [source, named], part="mean", keepdims=1)
    centred = w.add("Sub", o, [source, mean], part="centred")
    square = w.add("Mul", o, [centred, centred], part="square")
    total = w.add("ReduceSum", o, [square, named], part="total", keepdims=int(bool(o.arguments["keepdim"])))
    w.add("Div", o, [total, w.number(o, "count", n - (1 if correction is None else float(correction)))])


def _vector_norm(w: OnnxNodes, o: Operator) -> None:
    kind = {1: "ReduceL1", 2: "ReduceL2"}.get(o.arguments["ord"])
    if kind is None:
        raise CannotWrite("its order is neither 1 nor 2")
    _reduce(kind)(w, o)


RULES: dict[str, Rule] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "mean": _reduce("ReduceMean"),
    "sum": _reduce("ReduceSum"),
    "amax": _reduce("ReduceMax"),
    "amin": _reduce("ReduceMin"),
    "max": _extreme("Max"),
    "min": _extreme("Min"),
    "var": _variance,
    "linalg_vector_norm": _vector_norm,
    "softmax": _softmax("Softmax"),
    "log_softmax": _softmax("LogSoftmax"),
}
