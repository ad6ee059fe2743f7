"""Operators that work element by element, or within each channel of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from silicut.graph.network import Operator, Ref
from silicut.graph.rules.arguments import main_input, varying_axes
from silicut.graph.rules.norms import reduction
from silicut.graph.tracker import ChannelTracker, Rule, Unfollowed


def _same(t: ChannelTracker, o: Operator) -> None:
    """Element by element, one input."""
    t.labels[o.outputs[0]] = t.of(main_input(o))


def _spatial(t: ChannelTracker, o: Operator) -> None:
    """Works within each channel of an image."""
    source = main_input(o)
    if t.of(source).ndim != 2 + int(next(letter for letter in o.kind if letter.isdigit())):
        raise Unfollowed("its input has no batch axis")
    for output in o.outputs:  # some return indices too
        t.set_axis(output, 1, t.along(source, 1))


def _elementwise(t: ChannelTracker, o: Operator) -> None:
    output = o.outputs[0]
    names = [value.name for value in o.arguments.values() if isinstance(value, Ref)]
    aligned = _aligned(t, names, len(t.sizes(output)))
    operands = [(labels, t.sizes(name)) for name, labels in aligned.items()]
    t.labels[output] = elementwise(t, o, operands, t.sizes(output))


def elementwise(
    t: ChannelTracker, o: Operator, operands: Sequence[tuple[np.ndarray, tuple[int, ...]]], wide: tuple[int, ...]
) -> np.ndarray:
    """Return the labels of operands combined element by element, given with their sizes, into a tensor of a size.

    Equal positions of the operands are one channel; an operand of size 1 on the channel axis must stay. One number for
    each head, spread over the channels of the head, goes with it.

    Raises:
        Unfollowed: each operand is spread over channels of another.
    """
    varying = {axis for labels, _ in operands for axis in varying_axes(labels)}
    full: list[np.ndarray] = []
    whole: set[int] = set()
    for labels, own in operands:
        size = (1,) * (len(wide) - len(own)) + tuple(own)
        spread = {axis for axis in varying if size[axis] == 1 < wide[axis]}
        if spread and not min(spread) > max(varying_axes(labels), default=len(size)):
            t.freeze(labels, f"{o.name} spreads it over other channels")
            whole |= {axis for axis in varying - spread if size[axis] > 1}
        else:
            full.append(labels)
    if not full:
        raise Unfollowed("its operands are spread over each other")
    return _joined(t, full, whole)


def _aligned(t: ChannelTracker, names: list[str], n_axes: int) -> dict[str, np.ndarray]:
    """Return the labels of all operands with the output's axes.

    A parameter that nothing has read yet gets labels only along the axes on which those of tensors vary.
    """
    known = {n: extended(t.of(n), n_axes) for n in names if n in t.labels}
    axes = {axis for labels in known.values() for axis in varying_axes(labels)}
    for name in names:
        if name not in known and known:
            size = t.sizes(name)
            shape = [n if axis + n_axes - len(size) in axes else 1 for axis, n in enumerate(size)]
            t.labels[name] = t.fresh(int(np.prod(shape))).reshape(shape)
    return {name: extended(t.of(name), n_axes) for name in names}


def extended(labels: np.ndarray, n_axes: int) -> np.ndarray:
    """Return the labels with further axes before their own, to be of n axes."""
    return labels.reshape((1,) * (n_axes - labels.ndim) + labels.shape)


def _joined(t: ChannelTracker, operands: list[np.ndarray], whole: set[int]) -> np.ndarray:
    """Tie labels at equal positions and return those of the result; some axes keep all their positions."""
    for labels in operands[1:]:
        t.tie(operands[0], labels)
    shortest = operands[0]
    for axis in range(shortest.ndim):
        if axis in whole:
            shortest = t.whole(shortest, axis)
        elif any(labels.shape[axis] == 1 for labels in operands):  # one of them makes all positions one channel
            shortest = shortest.take([0], axis)
    return shortest


def _gated(t: ChannelTracker, o: Operator) -> None:
    """The first half of the channels times a gate made of the second."""
    source = main_input(o)
    labels = t.of(source)
    axis = int(o.arguments["dim"]) % labels.ndim
    if labels.shape[axis] > 1:
        first, second = np.split(labels, 2, axis)
        t.tie(first, second)
        labels = first
    t.labels[o.outputs[0]] = labels


_SAME = """
relu relu6 hardtanh leaky_relu elu celu selu gelu silu mish sigmoid tanh hardswish hardsigmoid softplus softsign log_sigmoid
hardshrink softshrink tanhshrink threshold rrelu abs neg exp sqrt rsqrt square log log1p log2 expm1 sin cos erf sign round
floor ceil dropout feature_dropout alpha_dropout feature_alpha_dropout clone contiguous alias detach to _to_copy
lift_fresh_copy logical_not reciprocal type_as zeros_like ones_like full_like nan_to_num bitwise_not isnan
""".split()
_ELEMENTWISE = """
add sub mul div rsub maximum minimum pow clamp clamp_min clamp_max where masked_fill addcmul addcdiv lerp fmod remainder
eq ne gt ge lt le logical_and logical_or logical_xor bitwise_and bitwise_or __and__ __or__ atan2
""".split()
_SPATIAL = """
max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d upsample_nearest1d upsample_nearest2d
upsample_nearest3d _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d
_upsample_bilinear2d_aa _upsample_bicubic2d_aa
""".split()


def _larger(t: ChannelTracker, o: Operator) -> None:
    """The larger or smaller of two tensors; over one axis they are reductions."""
    (_elementwise if "other" in o.arguments else reduction)(t, o)


RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_SPATIAL, _spatial),
    **dict.fromkeys(("max", "min"), _larger),
    "glu": _gated,
}
