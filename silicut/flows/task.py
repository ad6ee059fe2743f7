"""What a pruning run was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from silicut.flows.budget import Budget
from silicut.flows.options import PruneOptions
from silicut.flows.platform import Platform
from silicut.training import Loss, Metric, TrainingData


@dataclass(frozen=True)
class Task:
    """What was asked.

    Attributes:
        model, inputs: the trained network and an example of its inputs.
        budget: of latency; None where a drop of accuracy was asked for.
        max_drop: points of accuracy that may be lost; None where a latency was asked for.
        platforms: where the network is to be fast, with the weight of each.
        options: everything else.
        data: None where there is none.
        evaluate, loss, metric: the user's own.
    """

    model: nn.Module
    inputs: torch.Tensor | Sequence[torch.Tensor]
    budget: Budget | None
    max_drop: float | None
    platforms: tuple[tuple[Platform, float], ...]
    options: PruneOptions
    data: TrainingData | None
    evaluate: Callable[[nn.Module], float] | None
    loss: Loss | None
    metric: Metric | None

    def settings(self) -> dict[str, Any]:
        """Return what a resumed run must ask again; a dry run may be gone on with to its end."""
        free = ("is_dry_run", "accepts_nearest")
        options = {name: value for name, value in asdict(self.options).items() if name not in free}
        budget = None if self.budget is None else str(self.budget)
        data = None if self.data is None else self.data.name
        return {"budget": budget, "max_drop": self.max_drop, "data": data, **options}
