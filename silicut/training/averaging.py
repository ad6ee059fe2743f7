"""Exponential moving averages of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverages:
    """Averages of a module's floating-point parameters and buffers: a <- d a + (1 - d) w after every step.

    Early averages would be those of the start; so d = min(decay, (1 + n) / (10 + n)) in step n, counted from 1.

    Args:
        module: averaged from its present weights on; its parameters must stay the same tensors.
        decay: d, from 0 to less than 1.

    Attributes:
        n_updates: steps averaged over.

    Example:
        >>> module = nn.Linear(1, 1, bias=False)
        >>> _ = module.weight.data.fill_(0.0)
        >>> averages = WeightAverages(module, decay=0.1)
        >>> _ = module.weight.data.fill_(1.0)
        >>> averages.update()
        >>> round(averages.state()["weight"].item(), 2)
        0.9
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay, self.n_updates = module, decay, 0
        self._averages = {name: tensor.detach().clone() for name, tensor in _averaged(module).items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's weights in, as they are after one more step."""
        self.n_updates += 1
        decay = min(self._decay, (1 + self.n_updates) / (10 + self.n_updates))
        now = _averaged(self._module)
        torch._foreach_lerp_(list(self._averages.values()), [now[name] for name in self._averages], 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """Return the averages by state-dict name; the tensors themselves."""
        return self._averages

    def restore(self, averages: Mapping[str, Tensor], n_updates: int) -> None:
        """Go on from averages that `state` gave."""
        for name, average in self._averages.items():
            average.copy_(averages[name])
        self.n_updates = n_updates

    @torch.no_grad()
    def give_to(self, module: nn.Module) -> None:
        """Set the weights of a module of the same names to the averages."""
        for name, tensor in _averaged(module).items():
            tensor.copy_(self._averages[name])


def _averaged(module: nn.Module) -> dict[str, Tensor]:
    return {n: t for n, t in (*module.named_parameters(), *module.named_buffers()) if t.is_floating_point()}
