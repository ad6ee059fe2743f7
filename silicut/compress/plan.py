"""What happens to a whole network: a record small enough to read, enough to repeat it on any checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.records import Record


@dataclass(frozen=True, kw_only=True)
class Plan(Record):
    """Which channels and blocks of a network stay.

    Attributes:
        widths: kept channels of every group; 0 where the group's residual block is removed.
        kept: indices of the kept channels of each group that loses some, increasing.
        removed_blocks: names of the residual blocks that go.
        value: name of the value function and the plan's value.
        solver: name of the solver.
        predicted_ms: latency predicted by the profile.
        target_ms: the budget it was solved for.
        bound: upper bound on the value of any plan within the same budget.
        hashes: content hashes of what it was made from: "network" (structure), "weights", "profile".
    """

    schema: ClassVar[str] = "plan/1"
    widths: dict[str, int]
    kept: dict[str, tuple[int, ...]]
    removed_blocks: tuple[str, ...]
    value: tuple[str, float]
    solver: str
    predicted_ms: float
    target_ms: float
    bound: float
    hashes: dict[str, str]
