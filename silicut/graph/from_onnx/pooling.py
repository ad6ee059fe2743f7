"""ONNX pools and resizing: what ATen operators they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from silicut.graph.from_onnx.folding import CannotRead
from silicut.graph.from_onnx.layers import n_spatial, padded, repeated, window_pads
from silicut.graph.from_onnx.opened import OnnxNode
from silicut.graph.from_onnx.reader import Reader
from silicut.graph.normal_form import symbolic


def max_pool(r: Reader, node: OnnxNode) -> None:
    """MaxPool; padding that differs between the sides, or is too wide for PyTorch, becomes an operator of its own."""
    r.needs(node, 1)
    n = n_spatial(r, node)
    kernel, dilation = repeated(node, "kernel_shape", n), repeated(node, "dilations", n)
    before, after = window_pads(r, node, kernel)
    is_even = before == after and all(2 * p <= k for p, k in zip(before, kernel, strict=True))
    ceil_mode = bool(node.attributes.get("ceil_mode", 0))
    if not is_even and ceil_mode:
        raise CannotRead("it pads its sides differently and rounds its size up")
    arguments: dict[str, Any] = {
        "self": r.tensor(node) if is_even else padded(r, node, before, after, float("-inf")),
        "kernel_size": kernel,
        "stride": repeated(node, "strides", n),
        "padding": before if is_even else (0,) * n,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
    }
    r.emit(node, f"aten.max_pool{n}d.default", arguments)


def average_pool(r: Reader, node: OnnxNode) -> None:
    """AveragePool; where its sides are padded differently, sums are divided by the numbers of elements."""
    n = n_spatial(r, node)
    kernel = repeated(node, "kernel_shape", n)
    if set(repeated(node, "dilations", n)) != {1}:
        raise CannotRead("it is dilated")
    before, after = window_pads(r, node, kernel)
    counts_padding = bool(node.attributes.get("count_include_pad", 0))
    ceil_mode = bool(node.attributes.get("ceil_mode", 0))
    arguments: dict[str, Any] = {"kernel_size": kernel, "stride": repeated(node, "strides", n), "ceil_mode": ceil_mode}
    if before == after and all(2 * p <= k for p, k in zip(before, kernel, strict=True)):
        arguments |= {"self": r.tensor(node), "padding": before, "count_include_pad": counts_padding}
        r.emit(node, f"aten.avg_pool{n}d.default", arguments)
        return
    if ceil_mode:
        raise CannotRead("it pads its sides differently and rounds its size up")
    arguments |= {"self": padded(r, node, before, after, 0.0), "padding": (0,) * n}
    if counts_padding:
        r.emit(node, f"aten.avg_pool{n}d.default", arguments)
        return
    pooled = r.emit(node, f"aten.avg_pool{n}d.default", arguments, part="pooled")
    share = _share_inside(r.shape(node.inputs[0])[2:], before, after, kernel, arguments["stride"])
    inverse = r.own_constant(node, "inverse_share", (1 / share).astype(r.dtype(node.inputs[0])))
    r.emit(node, "aten.mul.Tensor", {"self": pooled, "other": inverse})


def _share_inside(
    size: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...]
) -> np.ndarray:
    """Return the share of each window that lies inside the image, (1, 1, ...)."""
    pads = [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]
    ones = functional.pad(torch.ones(1, 1, *size, dtype=torch.float64), pads)
    pool = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[len(size) - 1]
    share: np.ndarray = pool(ones, kernel, stride).numpy()
    return share


def global_average_pool(r: Reader, node: OnnxNode) -> None:
    """GlobalAveragePool."""
    n = n_spatial(r, node)
    if n == 2:
        r.emit(node, "aten.adaptive_avg_pool2d.default", {"self": r.tensor(node), "output_size": (1, 1)})
    else:
        r.emit(node, "aten.mean.dim", {"self": r.tensor(node), "dim": tuple(range(2, 2 + n)), "keepdim": True})


def global_max_pool(r: Reader, node: OnnxNode) -> None:
    """GlobalMaxPool."""
    axes = tuple(range(2, 2 + n_spatial(r, node)))
    r.emit(node, "aten.amax.default", {"self": r.tensor(node), "dim": axes, "keepdim": True})


_LINEAR = {1: "upsample_linear1d", 2: "upsample_bilinear2d", 3: "upsample_trilinear3d"}


def resize(r: Reader, node: OnnxNode) -> None:
    """Resize of an image's sides: nearest, linear or cubic, where PyTorch places the pixels in the same way."""
    n, mode = n_spatial(r, node), node.attributes.get("mode", "nearest")
    _check_resize(node)
    sizes, scales = _target_size(r, node, n)
    where = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    arguments: dict[str, Any] = {"input": r.tensor(node), "output_size": sizes, "scale_factors": scales}
    if mode == "nearest":
        _check_nearest(r, node, where, sizes, scales)
        r.emit(node, f"aten.upsample_nearest{n}d.vec", arguments)
        return
    made = sizes or [int(s * f) for s, f in zip(r.shape(node.inputs[0])[2:], scales or (), strict=True)]
    if where == "pytorch_half_pixel" and min(made) > 1:
        where = "half_pixel"
    if where not in ("half_pixel", "align_corners") or (mode == "cubic" and n != 2):
        raise CannotRead(f"PyTorch has no {mode} resizing of {n} sides with {where}")
    kind = _LINEAR[n] if mode == "linear" else "upsample_bicubic2d"
    r.emit(node, f"aten.{kind}.vec", {**arguments, "align_corners": where == "align_corners"})


def _check_resize(node: OnnxNode) -> None:
    usual = {"antialias": (0,), "exclude_outside": (0,), "keep_aspect_ratio_policy": ("stretch",)}
    for name, legal in usual.items():
        if node.attributes.get(name, legal[0]) not in legal:
            raise CannotRead(f"its {name} must be {legal[0]}, not {node.attributes[name]}")
    if node.attributes.get("mode") == "cubic" and abs(float(node.attributes.get("cubic_coeff_a", -0.75)) + 0.75) > 1e-6:
        raise CannotRead("its cubic_coeff_a must be -0.75")


def _target_size(r: Reader, node: OnnxNode, n: int) -> tuple[list[int] | None, list[float] | None]:
    """Return the new size of the image's sides, or the factors; exactly one is given."""
    axes = node.attributes.get("axes") or tuple(range(n + 2))
    places = {int(axis) % (n + 2): i for i, axis in enumerate(axes)}
    size = r.shape(node.inputs[0])
    if node.has(2) and r.constant(node, 2).size:
        factors = [float(f) for f in r.constant(node, 2).ravel()]
        if any(axis < 2 and factors[i] != 1 for axis, i in places.items()):
            raise CannotRead("it resizes channels or images")
        return None, [factors[places[axis]] if axis in places else 1.0 for axis in range(2, n + 2)]
    wanted = r.integers(node, 3)
    is_batch = 0 not in places or wanted[places[0]] in (symbolic(size)[0], r.freed_batch)
    if not is_batch or (1 in places and wanted[places[1]] != size[1]):
        raise CannotRead("it resizes channels or images")
    return [int(wanted[places[axis]]) if axis in places else size[axis] for axis in range(2, n + 2)], None


def _check_nearest(r: Reader, node: OnnxNode, where: str, sizes: list[int] | None, scales: list[float] | None) -> None:
    """Refuse a nearest resize whose pixels are not those at floor(position / scale)."""
    rounding = node.attributes.get("nearest_mode", "round_prefer_floor")
    before = r.shape(node.inputs[0])[2:]
    factors = scales or [after / size for after, size in zip(sizes or (), before, strict=True)]
    is_repetition = all(float(factor).is_integer() for factor in factors)
    centred = where in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric") and rounding.startswith("round_prefer")
    if not (where == "asymmetric" and rounding == "floor") and not (centred and is_repetition):
        raise CannotRead(f"PyTorch has no nearest resizing with {where} and {rounding} by {', '.join(map(str, factors))}")
