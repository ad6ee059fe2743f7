"""Operators that work element by element, in ONNX."""

from __future__ import annotations

import numpy as np

from silicut.graph.network import Operator, Ref
from silicut.graph.onnx_nodes import CannotWrite, OnnxNodes
from silicut.graph.onnx_rules.rule import Rule, simple


def _binary(kind: str) -> Rule:
    def write(w: OnnxNodes, o: Operator) -> None:
        if o.arguments.get("rounding_mode") is not None:
            raise CannotWrite("it rounds")
        other = w.input(o, "exponent" if kind == "Pow" else "other")
        if o.arguments.get("alpha", 1) != 1:
            other = w.add("Mul", o, [other, w.number(o, "alpha", o.arguments["alpha"])], part="scaled")
        w.add(kind, o, [w.input(o, "self"), other])

    return write


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


def _to(w: OnnxNodes, o: Operator) -> None:
    w.add("Cast", o, [w.main(o)], to=w.onnx_type(o.outputs[0]))


def _rsqrt(w: OnnxNodes, o: Operator) -> None:
    w.add("Reciprocal", o, [w.add("Sqrt", o, [w.main(o)], part="root")])


def _square(w: OnnxNodes, o: Operator) -> None:
    w.add("Mul", o, [w.main(o), w.main(o)])


def _glu(w: OnnxNodes, o: Operator) -> None:
    first, second = w.add_parts("Split", o, [w.main(o)], ("first", "second"), axis=int(o.arguments["dim"]), num_outputs=2)
    w.add("Mul", o, [first, w.add("Sigmoid", o, [second], part="gate")])


def _comparison(kind: str) -> Rule:
    def write(w: OnnxNodes, o: Operator) -> None:
        source, other = w.main(o), o.arguments["other"]
        if isinstance(other, Ref):
            w.add(kind, o, [source, w.read(other.name)])
        else:
            w.add(kind, o, [source, w.constant(o, "other", np.asarray(other, w.dtype(source)))])

    return write


def _where(w: OnnxNodes, o: Operator) -> None:
    w.add("Where", o, [w.input(o, "condition"), w.input(o, "self"), w.input(o, "other")])


def _masked(w: OnnxNodes, o: Operator) -> None:
    w.add("Where", o, [w.input(o, "mask"), w.input(o, "value"), w.input(o, "self")])


RULES: dict[str, Rule] = {
    **dict.fromkeys(("hardtanh", "relu6", "clamp", "clamp_min", "clamp_max"), _clip),
    **dict.fromkeys(("dropout", "feature_dropout"), _dropout),
    **dict.fromkeys(("clone", "contiguous", "alias", "detach"), simple("Identity")),
    "to": _to,
    "relu": simple("Relu"),
    "sigmoid": simple("Sigmoid"),
    "tanh": simple("Tanh"),
    "hardswish": simple("HardSwish"),
    "hardsigmoid": simple("HardSigmoid", alpha=1 / 6, beta=0.5),
    "softplus": _softplus,
    "mish": simple("Mish"),
    "abs": simple("Abs"),
    "neg": simple("Neg"),
    "exp": simple("Exp"),
    "sqrt": simple("Sqrt"),
    "rsqrt": _rsqrt,
    "square": _square,
    "reciprocal": simple("Reciprocal"),
    "log": simple("Log"),
    "erf": simple("Erf"),
    "silu": _silu,
    "gelu": _gelu,
    "glu": _glu,
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "add": _binary("Add"),
    "sub": _binary("Sub"),
    "mul": _binary("Mul"),
    "div": _binary("Div"),
    "maximum": _binary("Max"),
    "minimum": _binary("Min"),
    "pow": _binary("Pow"),
    "eq": _comparison("Equal"),
    "gt": _comparison("Greater"),
    "ge": _comparison("GreaterOrEqual"),
    "lt": _comparison("Less"),
    "le": _comparison("LessOrEqual"),
    "where": _where,
    "masked_fill": _masked,
}
