"""The windows of operators over the maps of their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from silicut.accelerators.gemm.compile.folding import Array
from silicut.accelerators.gemm.compile.geometry import Geometry
from silicut.accelerators.gemm.compile.views import View
from silicut.numerics import Convolution2d, Linear, MaxPool2d, Pad, Slice, SumPool2d


def as_convolution(root: Convolution2d | Linear, view: View) -> tuple[Array, Geometry]:
    """Return weights (n, c, kh, kw) and windows of an undivided layer, over the rows as they lie in memory."""
    if isinstance(root, Linear):
        size = (view.height, view.width)
        weight = root.weight.reshape(len(root.weight), view.n_channels, *size)
        return weight.astype(np.int64), Geometry(size=size, output_size=(1, 1), kernel=size)
    geometry = geometry_of(root, view)
    weight = root.weight.astype(np.int64)
    if view.unrolled is None:
        return weight, geometry
    n, c, kh, kw = weight.shape
    packed = replace(
        geometry,
        size=(view.packed_height, view.width),
        kernel=(1, kw),
        stride=(1, geometry.stride[1]),
        padding=(0, geometry.padding[1]),
    )
    return weight.transpose(0, 2, 1, 3).reshape(n, kh * c, 1, kw), packed


def geometry_of(root: Convolution2d, view: View) -> Geometry:
    """Return the windows of a convolution."""
    kh, kw = root.weight.shape[2:]
    return _windows((kh, kw), root.stride, root.padding, view, root.dilation)


def _windows(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Sequence[int],
    view: View,
    dilation: tuple[int, int] = (1, 1),
) -> Geometry:
    top, left, bottom, right = padding
    rooms = (top + view.height + bottom, left + view.width + right)
    sizes = [
        (room - (taps - 1) * gap - 1) // step + 1
        for room, taps, gap, step in zip(rooms, kernel, dilation, stride, strict=True)
    ]
    return Geometry(
        size=(view.height, view.width),
        output_size=(sizes[0], sizes[1]),
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=(top, left),
    )


def window_of(roots: Sequence[object], view: View) -> tuple[Geometry, int, bool]:
    """Return the windows of a layer of POST, what padding holds, and whether their largest number is taken."""
    size = (view.height, view.width)
    root = roots[0] if roots else None
    if isinstance(root, MaxPool2d):
        geometry = _windows(root.kernel, root.stride, root.padding, view, root.dilation)
        return geometry, root.input_format.min, True
    if isinstance(root, SumPool2d):
        return _windows(root.kernel or size, root.stride, root.padding, view), root.input_zero_point, False
    if isinstance(root, Pad):
        (top, bottom), (left, right) = root.pads[2:]
        return _windows((1, 1), (1, 1), (top, left, bottom, right), view), root.value, True
    output, stride = list(size), [1, 1]
    for step in roots:
        assert isinstance(step, Slice)
        axis = step.axis % 4 - 2
        output[axis] = len(range(*slice(step.start, step.stop, step.step).indices(size[axis])))
        stride[axis] = step.step
    return Geometry(size=size, output_size=(output[0], output[1]), stride=(stride[0], stride[1])), 0, True
