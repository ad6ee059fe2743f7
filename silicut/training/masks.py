"""Soft masks: parts of parameters that count as zero for a while, go on learning, and can come back.

Source of the idea: SMCP (arXiv 2211.02206), which masks the readers of channels; what makes the channels stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from silicut.training.modes import device_of

Masks = Mapping[str, Mapping[int, np.ndarray]]
"""For parameters by state-dict name, by axis: which positions count, bool (size of the axis,)."""


class MaskedModule(nn.Module):
    """A module in which masked positions of its parameters are zero, while their gradients arrive as if they were not.

    With w' = w * mask in place of w, the gradient of w is that of w' unmasked ("straight-through"): a weight that counts for
    nothing still learns what it would be good for. The module's own names are found under "module.", its weights are never
    set to zero, and whoever holds the module can use it unmasked.

    Args:
        module: what to mask.
        masks: every parameter and axis that will ever be masked, with the masks to begin with.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> _ = layer.weight.data.fill_(3.0)
        >>> masked = MaskedModule(layer, {"weight": {1: np.array([True, False])}})
        >>> output = masked(torch.tensor([[1.0, 5.0]]))
        >>> output.backward()
        >>> output.item(), layer.weight.grad.tolist()
        (3.0, [[1.0, 5.0]])
    """

    def __init__(self, module: nn.Module, masks: Masks) -> None:
        super().__init__()
        self.module, self._masks = module, nn.Module()
        named = {
            **dict(module.named_parameters(remove_duplicate=False)),
            **dict(module.named_buffers(remove_duplicate=False)),
        }
        self._names = {name: [other for other, each in named.items() if each is named[name]] for name in masks}
        device = device_of(module)
        for name, by_axis in masks.items():
            for axis, mask in by_axis.items():
                self._masks.register_buffer(_buffer(name, axis), torch.from_numpy(np.array(mask)).to(device))
        self._axes = {name: tuple(by_axis) for name, by_axis in masks.items()}

    @property
    def batch_norm_momentum(self) -> dict[str, float | None]:
        """Momentum by prefix of buffers, where the masked module says it (see `batch_norm_buffers`)."""
        inner: dict[str, float | None] = getattr(self.module, "batch_norm_momentum", {})
        return {f"module.{prefix}": momentum for prefix, momentum in inner.items()}

    def set_masks(self, masks: Masks) -> None:
        """Replace all masks; positions without a mask count again."""
        for name, axes in self._axes.items():
            for axis in axes:
                mask, found = self._mask(name, axis), masks.get(name, {}).get(axis)
                mask.copy_(torch.ones_like(mask) if found is None else torch.from_numpy(np.array(found)))

    def forward(self, *inputs: Any) -> Any:
        """Return what the module returns with its masked weights."""
        with self._masked():
            return self.module(*inputs)

    @contextmanager
    def _masked(self) -> Iterator[None]:
        """Put masked weights in the parameters' places; plain tensors, so that gradients reach the parameters."""
        replaced = []
        try:
            for name, names in self._names.items():
                store, leaf = _place(self.module, name)
                weight = self._through_masks(name, store[leaf])
                for each in names:
                    store, leaf = _place(self.module, each)
                    replaced.append((store, leaf, store[leaf]))
                    store[leaf] = weight
            yield
        finally:
            for store, leaf, original in replaced:
                store[leaf] = original

    def _through_masks(self, name: str, weight: Tensor) -> Tensor:
        masked = weight.detach()
        for axis in self._axes[name]:
            masked = masked * self._mask(name, axis).view([-1 if a == axis else 1 for a in range(weight.ndim)])
        return weight + (masked - weight.detach())  # exact: w + (w - w) and w + (0 - w)

    def _mask(self, name: str, axis: int) -> Tensor:
        return self._masks.get_buffer(_buffer(name, axis))


def _buffer(name: str, axis: int) -> str:
    return f"{name.replace('.', '/')}@{axis}"


def _place(module: nn.Module, name: str) -> tuple[dict[str, Any], str]:
    """Return where a parameter or buffer is stored; generated modules may have submodules named as their attributes."""
    *path, leaf = name.split(".")
    for part in path:
        module = module._modules[part]  # type: ignore[assignment]
    return (module._parameters if leaf in module._parameters else module._buffers), leaf
