"""The pruning problem of one network: values from `compress`, costs from any `CostSource`, for `search`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from silicut.compress import (
    Restrictions,
    Scores,
    independent_blocks,
    options,
    removable_blocks,
    ties,
    value_tables,
)
from silicut.flows.decisions import NOTHING_ELSE, Decisions
from silicut.graph import Block, Channels, Network, find_blocks, find_channels, fold_batch_norm
from silicut.search import CostSource, Problem, Variable

LATENCY = "latency_ms"


@dataclass(frozen=True)
class Subject:
    """A network with everything the problem needs of it, found on its form with folded batch normalisation.

    Attributes:
        network: as captured.
        folded: batch normalisation folded.
        channels: channel groups of `folded` (the same groups as those of `network`).
        blocks: residual blocks of `folded`, none around another.
    """

    network: Network
    folded: Network
    channels: Channels
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, network: Network) -> Subject:
        """Fold the network and find its groups and blocks."""
        folded = fold_batch_norm(network)
        channels = find_channels(folded)
        return cls(network, folded, channels, independent_blocks(find_blocks(folded, channels)))

    @cached_property
    def channels_as_captured(self) -> Channels:
        """The same groups with their members in `network`."""
        return find_channels(self.network)

    def operators_of(self, block: Block) -> frozenset[str]:
        """Return the operators of `folded` and of `network` that go with a block."""
        return block.operators | self._operators_as_captured.get(block.name, frozenset())

    @cached_property
    def _operators_as_captured(self) -> dict[str, frozenset[str]]:
        return {block.name: block.operators for block in find_blocks(self.network, self.channels_as_captured)}


def pruning_problem(
    subject: Subject,
    sources: Mapping[str, CostSource],
    scores: Scores,
    restrictions: Restrictions,
    budgets: Mapping[str, float],
    besides: Decisions = NOTHING_ELSE,
) -> Problem:
    """Return the problem of choosing widths and blocks within budgets.

    A group may have every width that a source finds worth having: one that is the corner of a staircase on one engine
    is none on another, where it costs what the next larger corner does, and solvers drop what never pays.

    Args:
        subject: the network.
        sources: what fills the cost tables, by resource; all made for this network.
        scores: value of every group.
        restrictions: what must stay.
        budgets: by resource; one without a budget is reported, not limited.
        besides: what is chosen together with widths; its losses are in the unit of the scores.
    """
    other = {variable.name for variable in besides.variables}
    widths = [variable for variable in _joined_levels(sources.values()) if variable.name not in other]
    variables = (*options(widths, subject.channels, subject.blocks, restrictions), *besides.variables)
    blocks = removable_blocks(subject.blocks, restrictions)
    gates = {layer: block.inner_groups[0] for block in blocks for layer in subject.operators_of(block)}
    costs = {resource: source.cost(variables, gates) for resource, source in sources.items()}
    return Problem(
        variables=variables,
        sums=tuple({derived.name: derived for cost in costs.values() for derived in cost.sums}.values()),
        ties=ties(blocks, variables),
        values=(
            *value_tables(scores, variables[: len(widths)]),
            *besides.value_tables(gates, {variable.name: variable for variable in variables}),
        ),
        costs={resource: cost.tables for resource, cost in costs.items()},
        fixed={resource: cost.fixed for resource, cost in costs.items()},
        budgets=dict(budgets),
    )


def _joined_levels(sources: Iterable[CostSource]) -> tuple[Variable, ...]:
    levels: dict[str, set[int]] = {}
    for source in sources:
        for variable in source.variables:
            levels.setdefault(variable.name, set()).update(variable.levels)
    return tuple(Variable(name, tuple(sorted(numbers))) for name, numbers in levels.items())
