"""Whether to compute under bfloat16 autocast: measured, not guessed."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

from silicut.training.recipe import Precision

_N_TIMED = 3


def autocast(device: torch.device, is_bf16: bool) -> torch.autocast:
    """Return the autocast context of one precision; weights and optimiser stay float32 either way."""
    return torch.autocast(device.type, torch.bfloat16, enabled=is_bf16)


def chosen_bf16(precision: Precision, device: torch.device, step: Callable[[bool], None]) -> bool:
    """Return whether to train under bfloat16 autocast.

    Args:
        precision: the recipe's wish; "auto" measures on a CPU and asks the driver on CUDA.
        device: where training runs.
        step: runs forward and backward of one batch, in bfloat16 if its argument is true; it must change nothing that
            lasts. Called a few times, on "auto" and CPU only.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu":
        return False
    return _best_s(lambda: step(True)) < _best_s(lambda: step(False))


def trial_step(module: nn.Module, loss_of_batch: Callable[[], torch.Tensor], device: torch.device) -> Callable[[bool], None]:
    """Return a step for `chosen_bf16` that puts gradients and buffers (batch-norm statistics) back."""

    def step(is_bf16: bool) -> None:
        kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
        try:
            with autocast(device, is_bf16):
                loss = loss_of_batch()
            loss.backward()  # type: ignore[no-untyped-call]
        finally:
            module.zero_grad(set_to_none=True)
            with torch.no_grad():
                for name, buffer in module.named_buffers():
                    buffer.copy_(kept[name])

    return step


def _best_s(run: Callable[[], None]) -> float:
    run()
    times_s = []
    for _ in range(_N_TIMED):
        start = time.perf_counter()
        run()
        times_s.append(time.perf_counter() - start)
    return min(times_s)
