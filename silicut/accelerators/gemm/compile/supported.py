"""What the accelerator cannot do, operator by operator, each as the end of the sentence "it stays on the host because"."""

from __future__ import annotations

from collections.abc import Sequence

from silicut.numerics import (
    Add,
    Clamp,
    Concatenate,
    Convolution2d,
    IntegerFormat,
    IntegerOperator,
    Linear,
    Lookup,
    MaxPool2d,
    Pad,
    Requantise,
    Reshape,
    Slice,
    SumPool2d,
)

MAX_BITS = 8
_MAX_MULTIPLIER = 1 << 24
_MAX_ADD_MULTIPLIER = 1 << 16
_MAX_SIZE, _MAX_TAPS, _MAX_STEP = 4095, 255, 63
Shape = Sequence[int]


def alias_problem(integer: IntegerOperator, shapes: Sequence[Shape]) -> str:
    """Return why an operator that only says where numbers lie cannot be one, "" where it can.

    Args:
        integer: a join, a reshape, or a slice or a pad of channels.
        shapes: of its inputs and its output at batch 1.
    """
    if any(len(shape) not in (2, 4) for shape in shapes):
        return f"tensors must be images or vectors, not of {max(len(shape) for shape in shapes)} axes"
    if integer.output_format.bits > MAX_BITS:
        return _too_wide(integer.output_format)
    if isinstance(integer, Concatenate) and integer.axis % len(shapes[0]) != 1:
        return f"channels alone can be joined, not axis {integer.axis}"
    if isinstance(integer, Reshape) and not _is_flattening(*shapes):
        return f"a map can be flattened, not be made {tuple(shapes[-1][1:])} of {tuple(shapes[0][1:])}"
    return ""


def _is_flattening(before: Shape, after: Shape) -> bool:
    """Tell whether a reshape makes a vector of a map, or changes axes of size 1 alone."""
    if len(after) == 2:
        return len(before) == 2 or after[1] == before[1] * before[2] * before[3]
    plain = [tuple(size for size in shape[2:] if size != 1) for shape in (before, after)]
    return before[1] == after[1] and plain[0] == plain[1] and (plain[0] == () or len(before) == len(after))


def window_problem(integer: IntegerOperator, shapes: Sequence[Shape]) -> str:
    """Return why an operator that walks over a map cannot run, "" where it can.

    Args:
        integer: a convolution, a fully connected layer, a pool, or a slice or a pad of the map.
        shapes: of its input and its output at batch 1.
    """
    if any(len(shape) not in (2, 4) for shape in shapes):
        return f"tensors must be images or vectors, not of {max(len(shape) for shape in shapes)} axes"
    if integer.input_formats[0].bits > MAX_BITS:
        return _too_wide(integer.input_formats[0])
    if max(size for shape in shapes for size in shape[2:] or (1,)) > _MAX_SIZE:
        return f"maps must be at most {_MAX_SIZE} high and wide"
    if isinstance(integer, Convolution2d | Linear) and integer.weight_format.bits > MAX_BITS:
        return _too_wide(integer.weight_format)
    if isinstance(integer, Convolution2d | Linear) and not integer.weight_format.is_signed:
        return f"weights must be signed, not {integer.weight_format.name}"
    if isinstance(integer, Linear) and len(shapes[0]) != 2:
        return "a fully connected layer must read a vector"
    if isinstance(integer, Convolution2d):
        return _geometry(integer.weight.shape[2:], integer.stride, integer.padding, integer.dilation)
    if isinstance(integer, MaxPool2d):
        return _geometry(integer.kernel, integer.stride, integer.padding, integer.dilation)
    if isinstance(integer, SumPool2d):
        return _geometry(integer.kernel or shapes[0][2:], integer.stride, integer.padding, (1, 1))
    return _movement(integer, len(shapes[0]))


def _geometry(kernel: Shape, stride: Shape, padding: Shape, dilation: Shape) -> str:
    if max(*kernel, *padding) > _MAX_TAPS or max(*stride, *dilation) > _MAX_STEP:
        return f"kernels and pads must be at most {_MAX_TAPS}, strides and dilations at most {_MAX_STEP}"
    return ""


def _movement(integer: IntegerOperator, n_axes: int) -> str:
    if isinstance(integer, Slice) and (integer.start != 0 or integer.step > _MAX_STEP or integer.axis % n_axes < 2):
        return f"a slice of a map must start at 0 with a step of at most {_MAX_STEP}"
    if isinstance(integer, Pad) and (any(integer.pads[0]) or any(integer.pads[1])):
        return "a pad must be of channels or of the map, not of both"
    if isinstance(integer, Pad) and max(max(pair) for pair in integer.pads) > _MAX_TAPS:
        return f"pads must be at most {_MAX_TAPS}"
    return ""


def step_problem(integer: IntegerOperator, shapes: Sequence[Shape], *, behind_sums: bool = False) -> str:
    """Return why an operator on single numbers cannot run, "" where it can.

    Args:
        integer: any other operator.
        shapes: of its inputs and its output at batch 1.
        behind_sums: whether it may read sums of 32 bits.
    """
    if not isinstance(integer, Requantise | Add | Lookup | Clamp):
        return f"the accelerator has no {integer.kind}"
    if any(len(shape) not in (2, 4) for shape in shapes):
        return f"tensors must be images or vectors, not of {max(len(shape) for shape in shapes)} axes"
    limit = 32 if behind_sums and isinstance(integer, Requantise) else MAX_BITS
    wide = [
        f
        for f in (*integer.input_formats, integer.output_format)
        if f.bits > (limit if f is not integer.output_format else MAX_BITS)
    ]
    if wide:
        return _too_wide(wide[0])
    if isinstance(integer, Requantise):
        return _requantise(integer)
    if isinstance(integer, Add):
        if len({tuple(shape) for shape in shapes}) > 1:
            return "tensors that are added must have one shape"
        if max(integer.multipliers) >= _MAX_ADD_MULTIPLIER:
            return f"multipliers of an addition must be below {_MAX_ADD_MULTIPLIER}"
    return ""


def _requantise(integer: Requantise) -> str:
    if len(integer.multiplier) > 1 and integer.axis != 1:
        return "factors must differ along the channels alone"
    if int(integer.multiplier.max()) >= _MAX_MULTIPLIER:
        return f"multipliers must be below {_MAX_MULTIPLIER}"
    return ""


def _too_wide(format: IntegerFormat) -> str:
    return f"tensors must have at most {MAX_BITS} bits, not be {format.name}"
