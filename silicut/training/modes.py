"""Modes of a module: training or evaluation, its device, its precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def in_mode(module: nn.Module, is_training: bool) -> Iterator[None]:
    """Put a module into training or evaluation mode and put every submodule back as it was afterwards."""
    before = [(part, part.training) for part in module.modules()]
    module.train(is_training)
    try:
        yield
    finally:
        for part, was_training in before:
            part.training = was_training


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Put a module's buffers (batch-norm statistics, counters) back as they were afterwards."""
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(kept[name])


def device_of(module: nn.Module) -> torch.device:
    """Return the device of the module's first parameter, else of its first buffer, else the CPU."""
    first = next(module.parameters(), next(module.buffers(), None))
    return torch.device("cpu") if first is None else first.device
