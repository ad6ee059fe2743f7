"""Rounding that is trained through: straight-through gradients and steps that are learned.

Source: Esser et al., "Learned Step Size Quantization", 2020 (LSQ). Four passes over memory forward and four backward;
PyTorch's own learnable fake quantisation takes more than ten times as long on a processor.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

Limit = float | Tensor
_STEP_RATE = 10.0


def fake_quantise(values: Tensor, log_step: Tensor, low: Limit, high: Limit, n: int) -> Tensor:
    """Return clamp(round(values / step), low, high) * step, rounded halves to even.

    A value's gradient passes where low < value / step < high. The gradient of a step is LSQ's: g times the sum over its
    values of the incoming gradient times (round(v / s) - v / s), or times `low` or `high` where they saturate, with
    g = 1 / sqrt(n q) and q the larger of -low and high. Steps are kept as logarithms: they stay positive, and move by a
    fraction that does not depend on the unit of the values, tenfold, which is LSQ's rate for steps of about 0.3. (LSQ's own
    rate, 1 / step^2, diverges for filters of 8 bits, whose steps are some thousandths.)

    Args:
        values: activations (images, ...), or weights (filters, ...).
        log_step: natural logarithm of the step: () for one step, (filters,) for one a filter.
        low: the smallest number of steps, 0 or less; a number, or a tensor that broadcasts, with one number a step.
        high: the largest, 0 or more; a tensor as `low` is.
        n: values that share a step: those of one image, or of one filter.

    Example:
        >>> fake_quantise(torch.tensor([-1.0, 0.4, 9.0]), torch.tensor(0.0), 0, 3, 3)
        tensor([0., 0., 3.])
    """
    rounded: Tensor = _FakeQuantise.apply(values, log_step, low, high, n)  # type: ignore[no-untyped-call]
    return rounded


class _FakeQuantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, log_step: Tensor, low: Limit, high: Limit, n: int) -> Tensor:
        step = along_filters(log_step.exp(), values)
        steps = values / step
        # A mask would take a quarter of the memory, but the gradient of the step needs the fractions.
        rounded = _clamped(steps.round(), low, high).mul_(step)
        ctx.save_for_backward(steps, rounded, log_step)
        ctx.low, ctx.high, ctx.n = low, high, n
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (gradient,), (steps, rounded, log_step) = gradients, ctx.saved_tensors
        passed = _passed(gradient, steps, ctx.low, ctx.high)
        of_log = _sums(gradient, rounded, log_step) - log_step.exp() * _sums(passed, steps, log_step)
        return passed, _STEP_RATE * _gradient_scale(ctx.low, ctx.high, ctx.n, log_step) * of_log, None, None, None


def along_filters(numbers: Tensor, values: Tensor) -> Tensor:
    """Return one number, or one for each filter, in a shape that broadcasts over the filters on axis 0."""
    return numbers.reshape(-1, *[1] * (values.ndim - 1)) if numbers.ndim else numbers


def _clamped(values: Tensor, low: Limit, high: Limit) -> Tensor:
    return torch.clamp_(values, low, high)  # type: ignore[arg-type]  # both are numbers, or both tensors


def _passed(gradient: Tensor, steps: Tensor, low: Limit, high: Limit) -> Tensor:
    """Return the gradient of what does not saturate, 0 elsewhere."""
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return gradient * ((steps > low) & (steps < high))
    passed = torch.empty_like(steps)  # in their memory order, which the operator's own result would not have
    torch.ops.aten.hardtanh_backward.grad_input(gradient, steps, low, high, grad_input=passed)
    return passed


def _gradient_scale(low: Limit, high: Limit, n: int, log_step: Tensor) -> float | Tensor:
    if isinstance(high, Tensor):
        return torch.maximum(high, -torch.as_tensor(low)).reshape(log_step.shape).mul(n).rsqrt()
    return 1.0 / math.sqrt(n * max(-low, high))


def _sums(a: Tensor, b: Tensor, log_step: Tensor) -> Tensor:
    """Return the sum of products over all numbers that share a step."""
    if log_step.ndim:
        return (a * b).flatten(1).sum(1)
    if a.stride() == b.stride() and math.prod(a.shape) == a.untyped_storage().nbytes() // a.element_size():
        whole = (a.numel(),), (1,)  # in the order of memory, whatever that of the axes
        return torch.dot(a.as_strided(*whole), b.as_strided(*whole))
    return (a * b).sum()
