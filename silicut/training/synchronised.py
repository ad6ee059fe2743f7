"""Batch normalisation over the images of all processes, on any device and in any module.

PyTorch's SyncBatchNorm replaces layers and runs on CUDA only; generated modules have no layers and CPUs train too. Here
the functional form is intercepted instead, so a step of several processes is the step of one on the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from silicut.training.processes import n_processes, summed


def synchronised_batch_norm() -> AbstractContextManager[Any]:
    """Return a context in which batch normalisation in training mode takes its statistics over all processes.

    All processes must run the same layers. With one process nothing changes.
    """
    return nullcontext() if n_processes() == 1 else _Intercepting()


class _Intercepting(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        own = _SYNCHRONISED.get(func)
        return (func if own is None else own)(*args, **(kwargs or {}))


def _functional(  # noqa: PLR0913, PLR0917 - torch.nn.functional's signature
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    return _batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, True)


def _batch_norm(  # noqa: PLR0913, PLR0917 - ATen's signature
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    if not training:
        return torch.batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps, cudnn_enabled)
    with torch.no_grad():
        mean, var, n = _statistics(input)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (n / (n - 1))).to(running_var.dtype), momentum)
    result: Tensor = _Normalise.apply(input, weight, bias, mean, var, n, eps)  # type: ignore[no-untyped-call]
    return result


_SYNCHRONISED: dict[Any, Callable[..., Tensor]] = {
    functional.batch_norm: _functional,
    torch.batch_norm: _batch_norm,
    torch.ops.aten.batch_norm.default: _batch_norm,
}


def _axes(x: Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return mean and variance (biased) of each channel, and values a channel, over all processes.

    Each process's own are combined: var = sum n_r (var_r + (mean_r - mean)^2) / n, which does not cancel as the
    difference of E[x^2] and E[x]^2 does.
    """
    var, mean = torch.var_mean(x.float(), _axes(x), correction=0)
    own = torch.stack([mean, var, torch.full_like(mean, x.numel() / x.shape[1])])
    parts = [torch.empty_like(own) for _ in range(n_processes())]
    dist.all_gather(parts, own)
    means, variances, counts = torch.stack(parts, 1)
    n = float(counts[:, 0].sum())
    mean = (counts * means).sum(0) / n
    return mean, (counts * (variances + (means - mean) ** 2)).sum(0) / n, n


class _Normalise(torch.autograd.Function):
    """y = weight (x - mean) / sqrt(var + eps) + bias, with the gradient through mean and var of all processes."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 - one argument each
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, n: float, eps: float
    ) -> Tensor:
        scale = torch.rsqrt(var + eps)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.n, ctx.has_bias = n, bias is not None
        return torch.batch_norm(x, weight, bias, mean, var, False, 0.0, eps, torch.backends.cudnn.enabled)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """dx = weight * scale * (dy - mean(dy) - z mean(dy z)) with z the normalised x and means over all processes."""
        x, weight, mean, scale = ctx.saved_tensors
        dy, line = gradients[0].float(), [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        z = (x.float() - mean.view(line)) * scale.view(line)
        own = torch.stack([dy.sum(_axes(x)), (dy * z).sum(_axes(x))])
        of_all = summed(own) / ctx.n
        gain = scale if weight is None else scale * weight
        dx = (dy - of_all[0].view(line) - z * of_all[1].view(line)) * gain.view(line)
        d_weight = None if weight is None else own[1].to(weight.dtype)
        return dx.to(x.dtype), d_weight, own[0] if ctx.has_bias else None, None, None, None, None
