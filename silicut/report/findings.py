"""Why a network is no faster than it is: its latency by what could change it, and the known causes that apply."""

from __future__ import annotations

from dataclasses import dataclass

from silicut.report.part import Part


@dataclass(frozen=True, kw_only=True)
class LatencyParts(Part):
    """A predicted latency, taken apart by what could make it smaller; milliseconds.

    Attributes:
        overhead_ms: calls, input and output: what a run takes besides its layers.
        frozen_ms: layers on no channel group because their channels are frozen.
        untouched_ms: other layers on no channel group.
        least_ms: all other layers at the smallest legal widths.
        narrowing_ms: what narrowing them to these widths saves.
        removal_ms: what removing all residual blocks that may go saves besides, at the smallest widths; a part of
            `least_ms`, `frozen_ms` and `untouched_ms`.

    Example:
        >>> parts = LatencyParts(
        ...     overhead_ms=1, frozen_ms=0, untouched_ms=1, least_ms=2, narrowing_ms=4, removal_ms=1
        ... )
        >>> parts.total_ms, parts.fixed_frac
        (8, 0.5)
    """

    overhead_ms: float
    frozen_ms: float
    untouched_ms: float
    least_ms: float
    narrowing_ms: float
    removal_ms: float

    @property
    def total_ms(self) -> float:
        """The whole latency."""
        return self.fixed_ms + self.narrowing_ms

    @property
    def fixed_ms(self) -> float:
        """The part that depends on no width."""
        return self.overhead_ms + self.frozen_ms + self.untouched_ms + self.least_ms

    @property
    def fixed_frac(self) -> float:
        """`fixed_ms` over the whole."""
        return self.fixed_ms / self.total_ms

    @property
    def launch_frac(self) -> float:
        """The part that is spent on starting operators: overhead and layers at their smallest, over the whole."""
        return (self.overhead_ms + self.least_ms) / self.total_ms


@dataclass(frozen=True, kw_only=True)
class Finding(Part):
    """One known cause that applies.

    Attributes:
        cause: its short name: "launch-bound", "coarse steps", "cliffs", "frozen channels", "untouched layers" or
            "memory-bound".
        frac: the share of the latency it concerns, 0..1.
        sentence: what was seen, in figures.
        advice: what helps.
    """

    cause: str
    frac: float
    sentence: str
    advice: str
