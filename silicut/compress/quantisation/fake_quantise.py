"""Rounding that lets gradients pass: the operator of PyTorch that quantisation-aware training is made of.

Importing this module registers "silicut::fake_quantise", which a `Network` may name like any other operator.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_STEP_RATE = 10.0  # LSQ's rate for steps of about 0.3

FAKE_QUANTISE = "silicut.fake_quantise.default"


@torch.library.custom_op("silicut::fake_quantise", mutates_args=())
def fake_quantise(input: Tensor, log_step: Tensor, zero_point: int, low: int, high: int) -> Tensor:
    """Return (clamp(round(input / step) + zero point, low, high) - zero point) * step, in float32.

    Gradients pass straight through numbers within the range and stop outside of it. The step learns as in LSQ (Esser et
    al., "Learned Step Size Quantization", 2020), its gradient scaled by 1 / sqrt(n high) for the n numbers of one image or
    one filter. It is kept as its logarithm: so it stays positive, and moves by a fraction that does not depend on how large
    the numbers are.

    Args:
        input: activations (n, ...) with one step, or weights (filters, ...) with a step for each filter.
        log_step: tensor () or (filters,), natural logarithm of the step.
        zero_point: the integer that stands for 0.0.
        low, high: the smallest and the largest integer.
    """
    step = _along_filters(log_step.exp(), input)
    numbers = input.float() / step
    if zero_point:
        return numbers.round_().add_(zero_point).clamp_(low, high).sub_(zero_point).mul_(step)
    return numbers.round_().clamp_(low, high).mul_(step)


@fake_quantise.register_fake
def _(input: Tensor, log_step: Tensor, zero_point: int, low: int, high: int) -> Tensor:
    return torch.empty_like(input, dtype=torch.float32)


def _along_filters(numbers: Tensor, input: Tensor) -> Tensor:
    return numbers.reshape(-1, *[1] * (input.ndim - 1)) if numbers.ndim else numbers


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, log_step, *ctx.limits = inputs
    ctx.save_for_backward(input, log_step, output)


def _fake_quantise_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
    input, log_step, output = ctx.saved_tensors
    zero_point, low, high = ctx.limits
    wide = _along_filters(log_step.exp(), input)
    is_within = (input >= (low - zero_point) * wide) & (input <= (high - zero_point) * wide)
    passed = gradient * is_within
    by_step = _sums(gradient, output, log_step) - _sums(passed, input, log_step)  # of step * d output / d step
    n = input[0].numel()
    return passed.to(input.dtype), _STEP_RATE * by_step / math.sqrt(n * high), None, None, None


def _sums(a: Tensor, b: Tensor, log_step: Tensor) -> Tensor:
    """Return the sum of products over all numbers that share a step."""
    products = a * b
    return products.flatten(1).sum(1) if log_step.ndim else products.sum()


fake_quantise.register_autograd(_fake_quantise_backward, setup_context=_keep)
