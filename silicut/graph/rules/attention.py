"""Products of tensors with each other: matrix products, attention, sums by index letters.

Channels along which a product sums stay whole, so what can be removed from an attention are its heads: a head goes from
queries, keys, values and from what reads them, and no scale changes, since no head gets narrower.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from silicut.graph.network import Operator, Ref
from silicut.graph.rules.arguments import main_input
from silicut.graph.rules.elementwise import elementwise, extended
from silicut.graph.tracker import ChannelTracker, Rule, Unfollowed

_LETTERS = "zyxwvuts"  # of the axes before the last two of a matrix product


class Factor(NamedTuple):
    """One tensor of a product: its labels and sizes, and a letter for each axis."""

    labels: np.ndarray
    sizes: tuple[int, ...]
    letters: str

    def varies(self, letter: str) -> bool:
        """Tell whether the labels vary along a letter's axis."""
        return bool(self.labels.shape[self.letters.index(letter)] > 1)

    def is_spread(self, letter: str) -> bool:
        """Tell whether the factor is repeated along a letter's axis."""
        return self.sizes[self.letters.index(letter)] == 1


def contracted(t: ChannelTracker, left: Factor, right: Factor, result: str) -> np.ndarray:
    """Return the labels of a product of two tensors summed over the letters that the result lacks, as in `einsum`.

    Raises:
        Unfollowed: channels of both factors lie on axes of their own.
    """
    both = [letter for letter in left.letters if letter in right.letters]
    a, b = _shortened(t, left, right, both), _shortened(t, right, left, both)
    summed = [letter for letter in both if letter not in result]
    for letter in summed:
        a, b = t.whole(a, left.letters.index(letter)), t.whole(b, right.letters.index(letter))
    shared = [n for n in both if n in result and not left.is_spread(n) and not right.is_spread(n)]
    shared = [n for n in shared if left.varies(n) or right.varies(n)]
    if shared:
        a, b = _only(t, a, left.letters, shared), _only(t, b, right.letters, shared)
        t.tie(_ordered(a, left.letters, shared), _ordered(b, right.letters, shared))
    elif summed and a.size == b.size == 1:
        t.tie(a.ravel(), b.ravel())
    if a.size > 1 < b.size and not shared:
        raise Unfollowed("it multiplies channels with channels")
    return _ordered(a, left.letters, list(result)) if a.size > 1 else _ordered(b, right.letters, list(result))


def _shortened(t: ChannelTracker, factor: Factor, other: Factor, both: list[str]) -> np.ndarray:
    """Return the labels of a factor: one for all where it is repeated along channels of the other."""
    is_repeated = any(factor.is_spread(n) and not other.is_spread(n) and other.varies(n) for n in both)
    return t.whole(factor.labels.reshape(1, -1), 1).reshape((1,) * factor.labels.ndim) if is_repeated else factor.labels


def _only(t: ChannelTracker, labels: np.ndarray, letters: str, kept: list[str]) -> np.ndarray:
    for axis, letter in enumerate(letters):
        if letter not in kept:
            labels = t.whole(labels, axis)
    return labels


def _ordered(labels: np.ndarray, letters: str, wanted: list[str]) -> np.ndarray:
    """Return the labels with one axis for each wanted letter, of length 1 where they have none."""
    shape = [labels.shape[letters.index(letter)] if letter in letters else 1 for letter in wanted]
    order = [letters.index(letter) for letter in wanted if letter in letters]
    rest = [axis for axis in range(labels.ndim) if axis not in order]
    return labels.transpose(order + rest).reshape(shape)


def _matmul(t: ChannelTracker, o: Operator) -> None:
    a = main_input(o, "self")
    b = main_input(o, "other", "mat2")
    if b in t.network.parameters and len(t.sizes(b)) == 2 and b not in t.labels:
        _product_with_weight(t, o, a, b)
        return
    if a in t.network.parameters and len(t.sizes(a)) == 2 and a not in t.labels:
        t.labels[a] = t.fresh(1).reshape(1, 1)  # it mixes rows: none of its positions goes
    if min(len(t.sizes(a)), len(t.sizes(b))) < 2:
        raise Unfollowed("it multiplies by a vector")
    n_axes = len(t.sizes(o.outputs[0]))
    t.labels[o.outputs[0]] = _batched_product(t, _factor(t, a), _factor(t, b), n_axes)


def _product_with_weight(t: ChannelTracker, o: Operator, source: str, weight: str) -> None:
    argument = next(key for key, value in o.arguments.items() if value == Ref(weight))
    if t.of(source).shape[-1] == 1 < t.of(source).size:
        raise Unfollowed("it mixes positions, not channels")
    made = t.fresh(t.sizes(weight)[1])
    t.place(o, argument, 0, t.along(source, -1), "in")
    t.place(o, argument, 1, made, "out")
    t.set_axis(o.outputs[0], len(t.sizes(o.outputs[0])) - 1, made)


def _added_product_with_weight(t: ChannelTracker, o: Operator) -> None:
    """bias + mat1 @ mat2: a linear layer whose weight is turned round."""
    weight = main_input(o, "mat2")
    if weight not in t.network.parameters:
        raise Unfollowed("its weight is computed, not a parameter")
    _product_with_weight(t, o, main_input(o, "mat1"), weight)
    bias = main_input(o, "self")
    if bias not in t.network.parameters or len(t.sizes(bias)) != 1:
        raise Unfollowed("its bias is no vector of parameters")
    t.place(o, "self", 0, t.along(o.outputs[0], -1), "along")


def _batched_product(t: ChannelTracker, a: Factor, b: Factor, n_axes: int) -> np.ndarray:
    """Return the labels of a @ b, whose leading axes are broadcast and have no letters yet."""
    lead = _LETTERS[: n_axes - 2]
    return contracted(t, _lettered(a, lead + "mk"), _lettered(b, lead + "kn"), lead + "mn")


def _lettered(factor: Factor, letters: str) -> Factor:
    missing = (1,) * (len(letters) - factor.labels.ndim)
    return Factor(factor.labels.reshape(missing + factor.labels.shape), missing + factor.sizes, letters)


def _factor(t: ChannelTracker, name: str, letters: str = "") -> Factor:
    return Factor(t.of(name), tuple(t.sizes(name)), letters)


def _added_product(t: ChannelTracker, o: Operator) -> None:
    """input + batch1 @ batch2."""
    added = main_input(o, "self")
    left, right = (_factor(t, main_input(o, name)) for name in ("batch1", "batch2"))
    sizes = t.sizes(o.outputs[0])
    t.labels[o.outputs[0]] = _sum(t, o, _batched_product(t, left, right, len(sizes)), sizes, added)


def _sum(t: ChannelTracker, o: Operator, product: np.ndarray, sizes: tuple[int, ...], added: str) -> np.ndarray:
    """Return the labels of a product to which a tensor is added."""
    operands = [(product, sizes), (extended(t.of(added), len(sizes)), tuple(t.sizes(added)))]
    return elementwise(t, o, operands, sizes)


def _attention(t: ChannelTracker, o: Operator) -> None:
    query, key, value = (_factor(t, o.arguments[name].name) for name in ("query", "key", "value"))
    if o.arguments.get("enable_gqa", False):
        key, value = _repeated(key, query.sizes[-3]), _repeated(value, query.sizes[-3])
    n_axes = query.labels.ndim
    scores = _batched_product(t, query, _transposed(key), n_axes)
    sizes = (*query.sizes[:-1], key.sizes[-2])
    mask = o.arguments.get("attn_mask")
    if isinstance(mask, Ref):
        scores = _sum(t, o, scores, sizes, mask.name)
    t.labels[o.outputs[0]] = _batched_product(t, Factor(scores, sizes, ""), value, n_axes)


def _transposed(factor: Factor) -> Factor:
    *lead, rows, columns = factor.sizes
    return Factor(np.swapaxes(factor.labels, -1, -2), (*lead, columns, rows), "")


def _repeated(factor: Factor, n_heads: int) -> Factor:
    """Return keys or values with each head once for every query head that reads it."""
    *lead, n_own, rows, columns = factor.sizes
    labels = np.repeat(factor.labels, n_heads // n_own, -3) if factor.labels.shape[-3] > 1 else factor.labels
    return Factor(labels, (*lead, n_heads, rows, columns), "")


def _einsum(t: ChannelTracker, o: Operator) -> None:
    names = [reference.name for reference in o.arguments["tensors"]]
    factors, _, result = str(o.arguments["equation"]).replace(" ", "").partition("->")
    letters = factors.split(",")
    if len(names) != 2 or not result or "." in factors or any(len(set(part)) < len(part) for part in letters):
        raise Unfollowed("its equation is not of two tensors with all letters written")
    if any(name in t.network.parameters for name in names):
        raise Unfollowed("it reads a parameter")
    left, right = (_factor(t, name, part) for name, part in zip(names, letters, strict=True))
    t.labels[o.outputs[0]] = contracted(t, left, right, result)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("matmul", "bmm", "mm"), _matmul),
    "addmm": _added_product_with_weight,
    "baddbmm": _added_product,
    "scaled_dot_product_attention": _attention,
    "einsum": _einsum,
}
