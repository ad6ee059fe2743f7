"""The parts of a network that is trained while it is rounded: steps of activations, layers, batch norms.

A layer whose batch norm was folded keeps it while it trains. Weights are rounded before it, and it normalises by each batch.
That is the folded layer in other words: folding multiplies a filter, and its scale takes that up, so the integers stay the
same (negated where the factor is negative).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from silicut.compress.quantisation.fake_quantise import along_filters, fake_quantise
from silicut.compress.quantisation.ranges import mse_scales
from silicut.compress.quantisation.weights import LARGEST_BIAS, IntegerWeights, largest_levels
from silicut.graph import Operator
from silicut.graph.module import run_operator
from silicut.numerics import Quantisation

NORM_LEVELS = 127
"""The integer weight of each channel of a batch norm that is no layer's: the largest of 8 bits."""


class LearnedStep(nn.Module):
    """Rounds activations with one step, which is learned; the integer that stands for 0 stays.

    Args:
        start: unsigned, with one scale.

    Attributes:
        log_step: natural logarithm of the step, ().
    """

    def __init__(self, start: Quantisation) -> None:
        super().__init__()
        (scale,), (zero_point,) = start.scales, start.zero_points
        self._start = start
        self._low, self._high = float(start.format.min - zero_point), float(start.format.max - zero_point)
        self.log_step = nn.Parameter(torch.tensor(scale).log())

    @property
    def step(self) -> Tensor:
        """The step, ()."""
        return self.log_step.exp()

    def forward(self, values: Tensor) -> Tensor:
        """Return float32 values rounded to whole steps within the format.

        Args:
            values: (images, ...).
        """
        return fake_quantise(values.float(), self.log_step, self._low, self._high, values[0].numel())

    def learned(self) -> Quantisation:
        """Return the quantisation with the step as it is."""
        return Quantisation.per_tensor(self._start.format, float(self.step.detach()), self._start.zero_points[0])


class LearnedNorm(nn.Module):
    """A batch norm that will be a factor and a bias: by the batch's statistics in training mode, else by its own.

    Args:
        operator: the batch norm.
        parameters: parameters of its network by name.

    Attributes:
        weight, bias: trained, (channels,).
        running_mean, running_var: (channels,), updated in training mode.
        momentum: share of the newest batch in them; None for the average over all batches.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, operator: Operator, parameters: Mapping[str, NDArray[Any]]) -> None:
        super().__init__()
        a = operator.arguments
        n = len(parameters[a["running_mean"].name])
        given = {
            key: torch.full((n,), default) if a[key] is None else torch.from_numpy(parameters[a[key].name].copy())
            for key, default in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0))
        }
        self.weight, self.bias = nn.Parameter(given["weight"]), nn.Parameter(given["bias"])
        self.register_buffer("running_mean", given["running_mean"])
        self.register_buffer("running_var", given["running_var"])
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.eps, self.momentum = float(a["eps"]), a["momentum"]

    def factor(self) -> Tensor:
        """Return what each channel is multiplied by, (channels,)."""
        return self.weight * torch.rsqrt(self.running_var + self.eps)

    def shift(self) -> Tensor:
        """Return what is then added to each channel, (channels,)."""
        return self.bias - self.running_mean * self.factor()

    def arrays(self, operator: Operator) -> dict[str, NDArray[Any]]:
        """Return weight, bias and statistics as arrays, by the names that an operator reads them by."""
        keys = ("weight", "bias", "running_mean", "running_var")
        return {ref.name: _array(getattr(self, key)) for key in keys if (ref := operator.arguments[key]) is not None}

    def forward(self, values: Tensor, scales: Tensor) -> Tensor:
        """Return normalised values, with a bias that is a whole number on the scale of the accumulators.

        Args:
            values: (images, channels, ...).
            scales: of the integers that the norm is folded into, before that: () or (channels,).
        """
        with torch.no_grad():
            rounding = _rounding_error(self.shift(), scales * self.factor().abs())
            rounding = torch.where(self.running_var > 0, rounding, 0.0)  # statistics at 0 are being measured anew
            if self.training:
                self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None and self.training else self.momentum or 0.0
        return functional.batch_norm(
            values,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias + rounding,
            self.training,
            momentum,
            self.eps,
        )


def _rounding_error(bias: Tensor, scales: Tensor) -> Tensor:
    """Return what is added to biases when they are rounded on a scale, without gradients; nothing where it is too small."""
    with torch.no_grad():
        scales = torch.maximum(scales, bias.abs() / LARGEST_BIAS).clamp_min(torch.finfo(torch.float32).tiny)
        return (bias / scales).round() * scales - bias


class LearnedLayer(nn.Module):
    """A convolution or linear layer with rounded weights and the batch norm behind it, if it has one.

    Args:
        operator: the layer, as in the network that is quantised.
        weight: float weight, filters on axis 0: before the norm is folded into it, if there is one.
        bias: float bias (filters,) or None; with a norm part of its running mean.
        norm: what normalises the layer's result, or None.
        bits: width of each filter's weights, array (filters,).

    Attributes:
        weight: (filters, ...).
        bias: (filters,), or None.
        norm: the batch norm, or None.
        log_step: natural logarithm of the step of each filter, (filters,).
    """

    limit: Tensor

    def __init__(
        self,
        operator: Operator,
        weight: nn.Parameter,
        bias: nn.Parameter | None,
        norm: LearnedNorm | None,
        bits: NDArray[np.int64],
    ) -> None:
        super().__init__()
        self._operator = operator.with_arguments(bias=None)
        self._n_bits = int(bits.max())
        self.weight, self.bias, self.norm = weight, bias, norm
        scales = mse_scales(weight.detach().cpu().numpy(), bits)
        self.log_step = nn.Parameter(torch.from_numpy(np.log(scales).astype(np.float32)))
        levels = torch.from_numpy(largest_levels(bits).astype(np.float32))
        self.register_buffer("limit", along_filters(levels, weight), persistent=False)

    def forward(self, values: Tensor, step: Tensor) -> Tensor:
        """Return the layer's result in float32, not yet rounded.

        Args:
            values: rounded activations.
            step: theirs, ().
        """
        n = self.weight[0].numel()
        weight = fake_quantise(self.weight, self.log_step, -self.limit, self.limit, n)
        a = self._operator.arguments
        found = {a["input"].name: values, a["weight"].name: weight}
        run_operator(self._operator, found, len(values))
        result, scales = found[self._operator.outputs[0]].float(), step.detach() * self.log_step.detach().exp()
        if self.norm is not None:
            return self.norm(result, scales)  # type: ignore[no-any-return]
        if self.bias is None:
            return result
        bias = self.bias + _rounding_error(self.bias, scales)
        return result + bias.reshape(-1, *[1] * (result.ndim - 2 if result.ndim == 4 else 0))

    @torch.no_grad()
    def folded(self) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return weight and bias with the norm folded in, as floats that were never rounded."""
        if self.norm is None:
            return _array(self.weight), None if self.bias is None else _array(self.bias)
        return _array(self.weight * along_filters(self.norm.factor(), self.weight)), _array(self.norm.shift())

    @torch.no_grad()
    def integers(self) -> IntegerWeights:
        """Return the folded weights as integers with the steps as they are."""
        step = self.log_step.exp()
        whole = (self.weight / along_filters(step, self.weight)).round().clamp(-self.limit, self.limit)
        if self.norm is not None:
            factor = self.norm.factor()
            whole, step = whole * along_filters(factor.sign(), whole), step * factor.abs()
        return IntegerWeights(_array(whole).astype(np.int8), _array(step).astype(np.float64), self._n_bits)


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy().copy()
    return array
