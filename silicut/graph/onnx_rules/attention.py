"""Products of tensors with each other, in ONNX."""

from __future__ import annotations

import numpy as np

from silicut.graph.network import Operator
from silicut.graph.onnx_nodes import CannotWrite, OnnxNodes
from silicut.graph.onnx_rules.rule import Rule


def _matmul(w: OnnxNodes, o: Operator) -> None:
    w.add("MatMul", o, [w.input(o, "self"), w.input(o, "mat2" if "mat2" in o.arguments else "other")])


def _added_product(w: OnnxNodes, o: Operator) -> None:
    """beta * input + alpha * batch1 @ batch2."""
    terms = [w.input(o, "self"), w.add("MatMul", o, [w.input(o, "batch1"), w.input(o, "batch2")], part="product")]
    for i, name in enumerate(("beta", "alpha")):
        if o.arguments[name] != 1:
            terms[i] = w.add("Mul", o, [terms[i], w.number(o, name, o.arguments[name])], part=f"{name}_times")
    w.add("Add", o, terms)


def _added_matrix_product(w: OnnxNodes, o: Operator) -> None:
    inputs = [w.input(o, name) for name in ("mat1", "mat2", "self")]
    w.add("Gemm", o, inputs, alpha=float(o.arguments["alpha"]), beta=float(o.arguments["beta"]))


def _attention(w: OnnxNodes, o: Operator) -> None:
    """softmax(scale * query @ key^T + mask) @ value, step by step."""
    if o.arguments["dropout_p"]:
        raise CannotWrite("its dropout is always on")
    query, key, value = (w.input(o, name) for name in ("query", "key", "value"))
    shape, n_keys = w.shape(query), w.shape(key)[-2]
    if o.arguments.get("enable_gqa", False):
        key, value = _repeated(w, o, "key", shape[-3]), _repeated(w, o, "value", shape[-3])
    order = list(range(len(shape)))
    transposed = w.add("Transpose", o, [key], part="key_t", perm=[*order[:-2], order[-1], order[-2]])
    scale = o.arguments.get("scale")
    scale = w.number(o, "scale", shape[-1] ** -0.5 if scale is None else scale)
    scores = w.add("MatMul", o, [query, transposed], part="product")
    scores = w.add("Mul", o, [scores, scale], part="scores")
    scores = _masked(w, o, scores, (shape[-2], n_keys))
    w.add("MatMul", o, [w.add("Softmax", o, [scores], part="weights", axis=-1), value])


def _repeated(w: OnnxNodes, o: Operator, argument: str, n_heads: int) -> str:
    """Append keys or values with each head once for every query head that reads it."""
    name = w.input(o, argument)
    n_own = w.shape(name)[-3]
    heads = w.constant(o, f"{argument}_heads", np.repeat(np.arange(n_own), n_heads // n_own))
    return w.add("Gather", o, [name, heads], part=f"{argument}_repeated", axis=len(w.shape(name)) - 3)


def _masked(w: OnnxNodes, o: Operator, scores: str, sizes: tuple[int, int]) -> str:
    mask = o.arguments.get("attn_mask")
    if o.arguments.get("is_causal", False):
        later = np.triu(np.full(sizes, -np.inf, w.dtype(o.outputs[0])), 1)
        return w.add("Add", o, [scores, w.constant(o, "later", later)], part="masked")
    if mask is None:
        return scores
    if w.dtype(mask.name) == "bool":
        nothing = w.number(o, "nothing", -np.inf)
        return w.add("Where", o, [w.read(mask.name), scores, nothing], part="masked")
    return w.add("Add", o, [scores, w.read(mask.name)], part="masked")


def _einsum(w: OnnxNodes, o: Operator) -> None:
    names = [w.read(reference.name) for reference in o.arguments["tensors"]]
    w.add("Einsum", o, names, equation=str(o.arguments["equation"]))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("matmul", "bmm", "mm"), _matmul),
    "addmm": _added_matrix_product,
    "baddbmm": _added_product,
    "scaled_dot_product_attention": _attention,
    "einsum": _einsum,
}
