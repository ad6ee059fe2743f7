"""Brings the arguments of operators that name channel counts up to date after channels went."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from silicut.graph.network import Operator, Tensor
from silicut.graph.normal_form import symbolic

Masks = Mapping[str, Mapping[int, np.ndarray]]


def resized(operator: Operator, tensors: Mapping[str, Tensor], masks: Masks) -> Operator:
    """Return an operator for the tensors that are left.

    Args:
        operator: as it was.
        tensors: the types of all tensors after the edit.
        masks: for each tensor and parameter, by axis, which positions stay.
    """
    resize = _RESIZE.get(operator.kind)
    return resize(operator, tensors, masks) if resize else operator


def _convolution(o: Operator, tensors: Mapping[str, Tensor], masks: Masks) -> Operator:
    mask = masks.get(o.arguments["input"].name, {}).get(1)
    is_depthwise = mask is not None and o.arguments["groups"] == len(mask) > 1
    return o.with_arguments(groups=int(mask.sum())) if is_depthwise and mask is not None else o


def _shape(o: Operator, tensors: Mapping[str, Tensor], masks: Masks) -> Operator:
    argument = "size" if o.kind == "expand" else "shape"
    return o.with_arguments(**{argument: symbolic(tensors[o.outputs[0]].shape)})


def _split(o: Operator, tensors: Mapping[str, Tensor], masks: Masks) -> Operator:
    return o.with_arguments(split_sizes=symbolic(tuple(tensors[output].shape[o.arguments["dim"]] for output in o.outputs)))


def _slice(o: Operator, tensors: Mapping[str, Tensor], masks: Masks) -> Operator:
    by_axis = masks.get(o.arguments["self"].name, {})
    mask = by_axis.get(o.arguments["dim"] % len(tensors[o.outputs[0]].shape))
    if mask is None or mask.all():
        return o
    start, end, _ = slice(o.arguments["start"], o.arguments["end"]).indices(len(mask))
    return o.with_arguments(start=int(mask[:start].sum()), end=int(mask[:end].sum()))


def _pad(o: Operator, tensors: Mapping[str, Tensor], masks: Masks) -> Operator:
    pads = list(o.arguments["pad"])
    n_axes = len(tensors[o.outputs[0]].shape)
    for axis, mask in masks.get(o.outputs[0], {}).items():
        at = 2 * (n_axes - 1 - axis)
        if at < len(pads) and (pads[at] or pads[at + 1]):
            n = len(mask)
            pads[at], pads[at + 1] = int(mask[: pads[at]].sum()), int(mask[n - pads[at + 1] :].sum())
    return o.with_arguments(pad=tuple(pads))


def _normalised(o: Operator, tensors: Mapping[str, Tensor], masks: Masks) -> Operator:
    n_axes = len(o.arguments["normalized_shape"])
    return o.with_arguments(normalized_shape=tensors[o.outputs[0]].shape[-n_axes:])


def _group_norm(o: Operator, tensors: Mapping[str, Tensor], masks: Masks) -> Operator:
    """Fewer groups where whole groups went, smaller ones where each lost the same."""
    mask = masks.get(o.outputs[0], {}).get(1)
    if mask is None or mask.all():
        return o
    by_group = mask.reshape(int(o.arguments["num_groups"]), -1)
    stays = np.asarray(by_group.any(axis=1))
    is_whole = bool((by_group == stays[:, None]).all())
    assert is_whole or (by_group == by_group[0]).all(), f"{o.name} lost unequal parts of its groups"
    return o.with_arguments(num_groups=int(stays.sum()))


_RESIZE: dict[str, Callable[[Operator, Mapping[str, Tensor], Masks], Operator]] = {
    **{f"conv{transposed}{n}d": _convolution for transposed in ("", "_transpose") for n in (1, 2, 3)},
    **dict.fromkeys(("reshape", "expand"), _shape),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("layer_norm", "rms_norm"), _normalised),
    "group_norm": _group_norm,
    "split_with_sizes": _split,
    "slice": _slice,
}
