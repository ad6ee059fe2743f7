"""Which number type to compute in: as asked where the device has it, or measured, not guessed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from silicut.records import ConfigError
from silicut.training.modes import buffers_kept
from silicut.training.recipe import Precision

ComputePrecision = Literal["fp32", "bf16", "fp16"]
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_N_TIMED = 3


def autocast(device: torch.device, precision: ComputePrecision) -> torch.autocast:
    """Return the autocast context of one precision; weights and optimiser stay float32 in all."""
    is_reduced = precision != "fp32"
    return torch.autocast(device.type, _TYPES[precision] if is_reduced else torch.bfloat16, enabled=is_reduced)


def gradient_scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """Return what keeps small gradients from vanishing in float16; it does nothing in the other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def check_precision(precision: Precision, device: torch.device) -> None:
    """Check that a device computes in the precision asked for.

    Raises:
        ConfigError: float16 is asked for on another device than CUDA, or bfloat16 on a CUDA device without it.
    """
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError(f"precision must be auto, bf16 or fp32 on {device.type}, not 'fp16'; it needs a CUDA device")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError("precision must be auto, fp16 or fp32 on this CUDA device, not 'bf16'")


def chosen_precision(
    precision: Precision, device: torch.device, step: Callable[[ComputePrecision], None]
) -> ComputePrecision:
    """Return the precision to train in.

    Args:
        precision: the recipe's wish; "auto" measures on a CPU and asks the driver on CUDA.
        device: where training runs.
        step: runs forward and backward of one batch in a precision; it must change nothing that lasts. Called a few times,
            on "auto" and CPU only.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device.type != "cpu":
        return "fp32"
    return "bf16" if _best_s(lambda: step("bf16")) < _best_s(lambda: step("fp32")) else "fp32"


def trial_step(
    module: nn.Module, loss_of_batch: Callable[[], torch.Tensor], device: torch.device
) -> Callable[[ComputePrecision], None]:
    """Return a step for `chosen_precision` that puts gradients and buffers (batch-norm statistics) back."""

    def step(precision: ComputePrecision) -> None:
        try:
            with buffers_kept(module):
                with autocast(device, precision):
                    loss = loss_of_batch()
                loss.backward()  # type: ignore[no-untyped-call]
        finally:
            module.zero_grad(set_to_none=True)

    return step


def _best_s(run: Callable[[], None]) -> float:
    run()
    times_s = []
    for _ in range(_N_TIMED):
        start = time.perf_counter()
        run()
        times_s.append(time.perf_counter() - start)
    return min(times_s)
