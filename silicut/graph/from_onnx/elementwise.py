"""ONNX nodes that work element by element, reductions and softmax: what ATen operators they are."""

from __future__ import annotations

from typing import Any

from silicut.graph.from_onnx.folding import CannotRead
from silicut.graph.from_onnx.opened import OnnxNode
from silicut.graph.from_onnx.reader import Reader, Rule
from silicut.graph.network import Ref

_SELU = (1.67326319217681884765625, 1.05070102214813232421875)  # ONNX's defaults, float32 roundings of PyTorch's
_INF = float("inf")


def unary(kind: str, **numbers: tuple[str, float]) -> Rule:
    """Return the rule of an operator of one input; `numbers` maps its arguments to ONNX attributes and their defaults."""

    def read(r: Reader, node: OnnxNode) -> None:
        given = {argument: float(node.attributes.get(name, default)) for argument, (name, default) in numbers.items()}
        r.emit(node, f"aten.{kind}.default", {"self": r.tensor(node), **given})

    return read


def selu(r: Reader, node: OnnxNode) -> None:
    """Selu, whose constants may be given."""
    alpha, gamma = (float(node.attributes.get(name, d)) for name, d in zip(("alpha", "gamma"), _SELU, strict=True))
    arguments: dict[str, Any] = {"self": r.tensor(node)}
    if abs(alpha - _SELU[0]) < 1e-6 and abs(gamma - _SELU[1]) < 1e-6:
        r.emit(node, "aten.selu.default", arguments)
    else:
        r.emit(node, "aten.elu.default", {**arguments, "alpha": alpha, "scale": gamma})


def gelu(r: Reader, node: OnnxNode) -> None:
    """Gelu, exact or by tanh."""
    r.emit(node, "aten.gelu.default", {"self": r.tensor(node), "approximate": node.attributes.get("approximate", "none")})


def hard_sigmoid(r: Reader, node: OnnxNode) -> None:
    """HardSigmoid: clamp(alpha x + beta, 0, 1)."""
    alpha, beta = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        r.emit(node, "aten.hardsigmoid.default", {"self": r.tensor(node)})
        return
    x = r.emit(node, "aten.mul.Tensor", {"self": r.tensor(node), "other": alpha}, part="scaled")
    x = r.emit(node, "aten.add.Tensor", {"self": x, "other": beta}, part="shifted")
    r.emit(node, "aten.clamp.default", {"self": x, "min": 0.0, "max": 1.0})


def clip(r: Reader, node: OnnxNode) -> None:
    """Clip to bounds, which may be computed."""
    given = {name: i for name, i in (("min", 1), ("max", 2)) if node.has(i)}
    if not given:
        r.emit(node, "aten.alias.default", {"self": r.tensor(node)})
    elif all(r.is_constant(node, i) for i in given.values()):
        r.emit(
            node, "aten.clamp.default", {"self": r.tensor(node), **{name: r.number(node, i) for name, i in given.items()}}
        )
    else:
        r.emit(node, "aten.clamp.Tensor", {"self": r.tensor(node), **{name: r.tensor(node, i) for name, i in given.items()}})


def dropout(r: Reader, node: OnnxNode) -> None:
    """Dropout that does nothing in evaluation mode and drops in training."""
    r.needs(node, 1)
    if node.has(2) and bool(r.number(node, 2)):
        raise CannotRead("it is always on")
    ratio = float(r.number(node, 1)) if node.has(1) else float(node.attributes.get("ratio", 0.5))
    r.emit(node, "aten.dropout.default", {"input": r.tensor(node), "p": ratio, "train": False})


def binary(kind: str, *, is_commutative: bool = False) -> Rule:
    """Return the rule of an operator of two broadcast inputs."""

    def read(r: Reader, node: OnnxNode) -> None:
        a, b = r.operand(node, 0), r.operand(node, 1)
        if is_commutative and not isinstance(a, Ref):
            a, b = b, a
        elif not isinstance(a, Ref):
            a = r.tensor(node, 0)
        if kind == "add":
            _train_bias(r, node)
        r.emit(node, f"aten.{kind}.Tensor", {"self": a, "other": b})

    return read


def _train_bias(r: Reader, node: OnnxNode) -> None:
    """Make a vector that is added to a linear layer's result trainable: it is the layer's bias."""
    for i, other in ((0, 1), (1, 0)):
        is_vector = r.is_constant(node, i) and len(r.shape(node.inputs[i])) == 1
        if is_vector and not r.is_number(node, i) and r.is_made_by(node.inputs[other], "linear"):
            r.weight(node, i)


def division(r: Reader, node: OnnxNode) -> None:
    """Div, which truncates whole numbers."""
    a, b = r.tensor(node, 0), r.operand(node, 1)
    if r.dtype(node.inputs[0]).kind == "f":
        r.emit(node, "aten.div.Tensor", {"self": a, "other": b})
    else:
        r.emit(node, "aten.div.Tensor_mode", {"self": a, "other": b, "rounding_mode": "trunc"})


def power(r: Reader, node: OnnxNode) -> None:
    """Pow by a number or a tensor."""
    exponent = r.operand(node, 1)
    if isinstance(exponent, Ref):
        r.emit(node, "aten.pow.Tensor_Tensor", {"self": r.tensor(node), "exponent": exponent})
    else:
        r.emit(node, "aten.pow.Tensor_Scalar", {"self": r.tensor(node), "exponent": exponent})


def of_many(kind: str) -> Rule:
    """Return the rule of an operator that joins any number of inputs pair by pair."""

    def read(r: Reader, node: OnnxNode) -> None:
        result = r.tensor(node, 0)
        if len(node.inputs) == 1:
            r.emit(node, "aten.alias.default", {"self": result})
        overload = "Tensor" if kind == "add" else "default"
        for i in range(1, len(node.inputs)):
            part = "" if i == len(node.inputs) - 1 else f"first{i + 1}"
            result = r.emit(node, f"aten.{kind}.{overload}", {"self": result, "other": r.tensor(node, i)}, part=part)

    return read


def where(r: Reader, node: OnnxNode) -> None:
    """Where."""
    condition, a, b = (r.tensor(node, i) for i in range(3))
    r.emit(node, "aten.where.self", {"condition": condition, "self": a, "other": b})


def cast(r: Reader, node: OnnxNode) -> None:
    """Cast to another number type."""
    from onnx import helper

    dtype = str(helper.tensor_dtype_to_np_dtype(node.attributes["to"]))
    if dtype == str(r.dtype(node.inputs[0])):
        r.emit(node, "aten.alias.default", {"self": r.tensor(node)})
    else:
        r.emit(node, "aten.to.dtype", {"self": r.tensor(node), "dtype": f"torch.{dtype}"})


def softmax(kind: str) -> Rule:
    """Return the rule of Softmax or LogSoftmax; before operator set 13 they flatten from their axis on."""

    def read(r: Reader, node: OnnxNode) -> None:
        shape = r.shape(node.inputs[0])
        axis = int(node.attributes.get("axis", 1 if node.opset < 13 else -1)) % len(shape)
        source = r.tensor(node)
        if node.opset >= 13 or axis == len(shape) - 1:
            r.emit(node, f"aten.{kind}.int", {"self": source, "dim": axis})
            return
        if axis == 0:
            raise CannotRead("it normalises over images")
        flat = r.emit(node, "aten.flatten.using_ints", {"self": source, "start_dim": axis, "end_dim": -1}, part="flat")
        made = r.emit(node, f"aten.{kind}.int", {"self": flat, "dim": axis}, part="normalised")
        r.emit(node, "aten.reshape.default", {"self": made, "shape": _symbolic(r, shape)})

    return read


def _symbolic(r: Reader, shape: tuple[int, ...]) -> tuple[int | str, ...]:
    first, second = ([-s * batch if s < 0 else s for s in shape] for batch in r.batches.sizes)
    return r.argument(first, second)


def reduced_axes(r: Reader, node: OnnxNode) -> tuple[int, ...] | None:
    """Return the axes a node reduces, which are an attribute or an input; None where it reduces none."""
    n = len(r.shape(node.inputs[0]))
    if node.has(1):
        axes = [int(axis) for axis in r.constant(node, 1).ravel()]
    else:
        axes = [int(axis) for axis in node.attributes.get("axes") or ()]
    if axes:
        return tuple(sorted(axis % n for axis in axes))
    return None if node.attributes.get("noop_with_empty_axes") else tuple(range(n))


def reduction(target: str) -> Rule:
    """Return the rule of a reduction."""

    def read(r: Reader, node: OnnxNode) -> None:
        axes = reduced_axes(r, node)
        if axes is None:
            r.emit(node, "aten.alias.default", {"self": r.tensor(node)})
            return
        keeps = bool(node.attributes.get("keepdims", 1))
        r.emit(node, target, {"self": r.tensor(node), "dim": axes, "keepdim": keeps})

    return read


def norm_reduction(has_root: bool) -> Rule:
    """Return the rule of ReduceL2 or ReduceSumSquare."""

    def read(r: Reader, node: OnnxNode) -> None:
        axes, x = reduced_axes(r, node), r.tensor(node)
        if axes is None:
            raise CannotRead("it reduces no axis")
        squares = r.emit(node, "aten.mul.Tensor", {"self": x, "other": x}, part="squares")
        arguments = {"self": squares, "dim": axes, "keepdim": bool(node.attributes.get("keepdims", 1))}
        total = r.emit(node, "aten.sum.dim_IntList", arguments, part="total" if has_root else "")
        if has_root:
            r.emit(node, "aten.sqrt.default", {"self": total})

    return read


def arg_max(r: Reader, node: OnnxNode) -> None:
    """ArgMax, the first where there are several."""
    if node.attributes.get("select_last_index"):
        raise CannotRead("it selects the last of equal ones")
    keeps, axis = bool(node.attributes.get("keepdims", 1)), int(node.attributes.get("axis", 0))
    r.emit(node, "aten.argmax.default", {"self": r.tensor(node), "dim": axis, "keepdim": keeps})
