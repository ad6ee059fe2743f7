"""Batch-norm statistics measured again, as is needed after channels were removed or weights changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from silicut.training.data import Batches, TrainingData, is_training_data
from silicut.training.modes import device_of, in_mode
from silicut.training.processes import own_turns, summed

_MEAN, _VAR, _COUNT = "running_mean", "running_var", "num_batches_tracked"
_USUAL_MOMENTUM = 0.1


@dataclass(frozen=True, eq=False)
class BatchNormBuffers:
    """The running statistics of one batch norm.

    Attributes:
        mean: running mean, (channels,); the module's own tensor.
        var: running variance, (channels,); the module's own tensor.
        n_batches: the module's counter of batches, or None.
        momentum: share of the newest batch in a running statistic, 0..1; None for the average over all batches.
    """

    mean: Tensor
    var: Tensor
    n_batches: Tensor | None
    momentum: float | None


def batch_norm_buffers(module: nn.Module) -> dict[str, BatchNormBuffers]:
    """Return the running statistics of every batch norm by its prefix in the state dict ("layer1.0.bn1").

    They are found by the names of the buffers, so that any module with such names will do. The momentum is the layer's
    attribute of that name, else the entry of the prefix in the module's `batch_norm_momentum` mapping, else 0.1.

    Example:
        >>> sorted(batch_norm_buffers(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))))
        ['1']
    """
    buffers = dict(module.named_buffers())
    given: dict[str, float] = getattr(module, "batch_norm_momentum", {})
    found = {}
    for name, mean in buffers.items():
        prefix, _, last = name.rpartition(".")
        start = f"{prefix}." if prefix else ""
        if last != _MEAN or f"{start}{_VAR}" not in buffers:
            continue
        momentum = getattr(module.get_submodule(prefix), "momentum", given.get(prefix, _USUAL_MOMENTUM))
        found[prefix] = BatchNormBuffers(mean, buffers[f"{start}{_VAR}"], buffers.get(f"{start}{_COUNT}"), momentum)
    return found


def recalibrate_batch_norm(
    module: nn.Module,
    data: TrainingData | Batches,
    n_images: int = 2000,
    batch_size: int = 250,
    seed: int = 0,
) -> None:
    """Replace all running statistics by their averages over the batches of some training images; weights stay.

    In training mode a forward pass sets a statistic r to (1 - m) r + m b, with the batch's own statistic b and the
    momentum m. Starting each batch at r = 0 gives b = r / m without a look inside the module. Averages weight every batch
    by its images. Dropout layers stay off. Batch norms of momentum 0 are left alone. In a process group all processes call
    this with equal modules and data; each takes its turn of the batches, and all get the averages over all of them.

    Args:
        module: any module for which `batch_norm_buffers` finds buffers that a forward pass uses once; none is legal.
        data: a data set, of which training images are taken, or any iterable of (images, labels).
        n_images: images to average over, 1 or more; fewer when the data has fewer.
        batch_size: images of one forward pass; only for a data set.
        seed: decides which training images; only for a data set.

    Raises:
        ValueError: `n_images` is less than 1, or the data has no images.
    """
    if n_images < 1:
        raise ValueError(f"n_images must be 1 or more, not {n_images}")
    norms = [buffers for buffers in batch_norm_buffers(module).values() if buffers.momentum != 0]
    if not norms:
        return
    batches = data.training_batches(0, batch_size, seed) if is_training_data(data) else cast(Batches, data)
    device, n_seen = device_of(module), 0
    sums = [(torch.zeros_like(b.mean, dtype=torch.float64), torch.zeros_like(b.var, dtype=torch.float64)) for b in norms]
    with torch.no_grad(), statistics_mode(module), _kept_on_error(norms):
        for x in own_turns(_first_images(batches, n_images)):
            _measure(module, x.to(device), norms, sums)
            n_seen += len(x)
        n_all = int(summed(torch.tensor(n_seen, device=device)))
        if n_all == 0:
            raise ValueError("the data must hold at least one training image, not none")
        for buffers, (mean, var) in zip(norms, sums, strict=True):
            buffers.mean.copy_(summed(mean) / n_all)
            buffers.var.copy_(summed(var) / n_all)


def _first_images(batches: Batches, n_images: int) -> Iterator[Tensor]:
    for x, _ in batches:
        yield x[:n_images]
        n_images -= len(x)
        if n_images <= 0:
            return


def _measure(module: nn.Module, x: Tensor, norms: list[BatchNormBuffers], sums: list[tuple[Tensor, Tensor]]) -> None:
    """Add a batch's own statistics, times its images, to the sums."""
    for buffers in norms:
        buffers.mean.zero_()
        buffers.var.zero_()
        if buffers.n_batches is not None:
            buffers.n_batches.zero_()
    module(x)
    for buffers, (mean, var) in zip(norms, sums, strict=True):
        factor = len(x) / (1.0 if buffers.momentum is None else buffers.momentum)
        mean.add_(buffers.mean.double(), alpha=factor)
        var.add_(buffers.var.double(), alpha=factor)


@contextmanager
def statistics_mode(module: nn.Module) -> Iterator[None]:
    """Let batch norms use the statistics of what they are given; dropout layers stay off."""
    with in_mode(module, is_training=True):
        for part in module.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd):
                part.eval()
        yield


@contextmanager
def _kept_on_error(norms: list[BatchNormBuffers]) -> Iterator[None]:
    kept = [(buffers.mean.clone(), buffers.var.clone()) for buffers in norms]
    try:
        yield
    except BaseException:
        for buffers, (mean, var) in zip(norms, kept, strict=True):
            buffers.mean.copy_(mean)
            buffers.var.copy_(var)
        raise
