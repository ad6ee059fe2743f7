"""From scores and budgets to problems, and from levels to networks: what all parts of a run that plan have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from silicut.compress import (
    FILE_BYTES,
    MACS,
    PARAMETERS,
    Restrictions,
    Scores,
    file_cost,
    kept_channels,
    mac_cost,
    parameter_cost,
    pruned,
    removed_by,
)
from silicut.flows.budget import SizeLimit
from silicut.flows.decisions import NOTHING_ELSE, Decisions
from silicut.flows.latency import Latencies
from silicut.flows.pruning_problem import Subject, pruning_problem
from silicut.graph import Network
from silicut.graph.counting import n_macs
from silicut.graph.onnx_writer import to_onnx
from silicut.search import CostSource, Problem

SIZES = {PARAMETERS: "max-parameters", MACS: "max-macs", FILE_BYTES: "max-size"}
"""The sizes that can be limited, with the names of their options."""


@dataclass(frozen=True)
class Planner:
    """Makes the problems and the networks of one subject.

    Attributes:
        subject: the network.
        restrictions: what must stay.
        limits: of sizes, by resource (`SIZES`).
        batch: written into the ONNX file.
        besides: what is chosen together with widths.
    """

    subject: Subject
    restrictions: Restrictions
    limits: Mapping[str, SizeLimit] = field(default_factory=dict)
    batch: int = 1
    besides: Decisions = NOTHING_ELSE

    def problem(self, scores: Scores, latencies: Latencies, target_frac: float) -> Problem:
        """Return the problem of the greatest value within a latency and all limits of sizes."""
        sources = latencies.sources() | self._size_sources
        budgets = latencies.budgets(target_frac) | self.size_budgets
        return pruning_problem(self.subject, sources, scores, self.restrictions, budgets, self.besides)

    @cached_property
    def _size_sources(self) -> dict[str, CostSource]:
        subject = self.subject
        makers: dict[str, Callable[[], CostSource]] = {
            PARAMETERS: lambda: parameter_cost(subject.network, subject.channels_as_captured),
            MACS: lambda: mac_cost(subject.network, subject.channels_as_captured),
            FILE_BYTES: lambda: file_cost(subject.folded, subject.channels, self._file_bytes),
        }
        return {resource: makers[resource]() for resource in self.limits}

    @cached_property
    def _file_bytes(self) -> int:
        return len(to_onnx(self.subject.folded, batch=self.batch))

    @cached_property
    def size_budgets(self) -> dict[str, float]:
        """The limits of sizes in units, by resource."""
        network = self.subject.network
        dense: dict[str, Callable[[], int]] = {
            PARAMETERS: network.n_parameters,
            MACS: lambda: n_macs(network),
            FILE_BYTES: lambda: self._file_bytes,
        }
        return {resource: limit.of(dense[resource]()) for resource, limit in self.limits.items()}

    def network(self, levels: Mapping[str, int], scores: Scores, *, is_folded: bool = False) -> Network:
        """Return the pruned network at some levels, as captured or with batch normalisation folded."""
        subject = self.subject
        whole = subject.folded if is_folded else subject.network
        return pruned(whole, self.kept(levels, scores), removed_by(levels, subject.blocks))

    def widths(self, levels: Mapping[str, int]) -> dict[str, int]:
        """Return the widths of groups among the levels of a solution."""
        return self.besides.without(levels)

    def kept(self, levels: Mapping[str, int], scores: Scores) -> dict[str, tuple[int, ...]]:
        """Return the channels that each group keeps, where it does not keep all."""
        return kept_channels(self.widths(levels), scores)
