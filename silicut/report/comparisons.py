"""Parts of a run's record that compare: engines, budgets on sizes, value functions, latencies tried for a drop."""

from __future__ import annotations

from dataclasses import dataclass

from silicut.report.part import Part
from silicut.targets.engine import EngineSettings


@dataclass(frozen=True, kw_only=True)
class EngineSummary(Part):
    """The network on one of several engines.

    Attributes:
        settings: engine, threads, batch.
        dense_ms, pruned_ms: measured.
        ratio, ratio_low, ratio_high: pruned over dense, measured together, with the 95 % interval.
        mean_error_frac: of the latency model on fresh random networks.
    """

    settings: EngineSettings
    dense_ms: float
    pruned_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    mean_error_frac: float


@dataclass(frozen=True, kw_only=True)
class SizeBudget(Part):
    """A budget besides latency.

    Attributes:
        name: of what: "parameters", "multiply-accumulates", "file_bytes".
        limit, reached: in units.
    """

    name: str
    limit: float
    reached: float

    @property
    def is_kept(self) -> bool:
        """Whether the network is within it."""
        return self.reached <= self.limit


@dataclass(frozen=True, kw_only=True)
class ValueSummary(Part):
    """How a value function did on this network.

    Attributes:
        name: of the value function.
        accuracy_frac: of its plan on training images, before training; None where it was not tried.
        rank_correlation: Spearman's, of its value of random prunings with minus their divergence; None where that would have
            taken too long.
    """

    name: str
    accuracy_frac: float | None
    rank_correlation: float | None


@dataclass(frozen=True, kw_only=True)
class TriedDrop(Part):
    """A latency that was tried for a drop of accuracy.

    Attributes:
        limit_frac: of the dense latency, predicted.
        drop: lost after the short recovery, as a fraction (or in the user's own unit).
        is_allowed: whether that is little enough.
    """

    limit_frac: float
    drop: float
    is_allowed: bool
