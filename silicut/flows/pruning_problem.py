"""The pruning problem of one network on one engine: values from `compress`, costs from `targets`, for `search`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from silicut.compress import (
    Restrictions,
    Scores,
    independent_blocks,
    log_energy,
    options,
    removable_blocks,
    sp_lamp,
    ties,
    value_tables,
)
from silicut.graph import Block, Channels, Network, find_blocks, find_channels, fold_batch_norm
from silicut.records import ConfigError
from silicut.search import Problem, Table, Variable
from silicut.targets.profile import LayerCost, Profile

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


Gradients = Callable[[Subject], Scores]
"""What makes scores that need data: `taylor` with the user's batches and loss."""


def score(subject: Subject, value: str, gradients: Gradients | None = None) -> Scores:
    """Return the scores of a named value function: "sp-lamp", "log-energy" or "taylor".

    Raises:
        ConfigError: the name is unknown, or "taylor" is asked for without data.
    """
    magnitude = {"sp-lamp": sp_lamp, "log-energy": log_energy}
    if value in magnitude:
        return magnitude[value](subject.folded, subject.channels, subject.blocks)
    if value != "taylor":
        raise ConfigError(f"value must be one of {', '.join(VALUES)}, not {value!r}")
    if gradients is None:
        raise ConfigError("value 'taylor' must come with training data, not without; give data or choose 'sp-lamp'")
    return gradients(subject)


VALUES = ("sp-lamp", "log-energy", "taylor")


def pruning_problem(
    subject: Subject, profile: Profile, scores: Scores, restrictions: Restrictions, budget_ms: float
) -> Problem:
    """Return the problem of choosing widths and blocks within a latency.

    Args:
        subject: the network.
        profile: made on the same network.
        scores: value of every group.
        restrictions: what must stay.
        budget_ms: on the scale of `profile.dense_ms`.
    """
    variables = options(profile.variables, subject.channels, subject.blocks, restrictions)
    blocks = removable_blocks(subject.blocks, restrictions)
    gate = {layer: block.inner_groups[0] for block in blocks for layer in block.operators}
    tables = _CostTables(profile, variables, gate)
    return Problem(
        variables=variables,
        sums=profile.sums,
        ties=ties(blocks, variables),
        values=value_tables(scores, variables),
        costs={LATENCY: tuple(t for layer in profile.layers if (t := tables.of(layer)) is not None)},
        fixed={LATENCY: profile.overhead_ms + tables.fixed_ms},
        budgets={LATENCY: budget_ms},
    )


class _CostTables:
    """Cost tables over the problem's levels: those of the profile, restricted, and 0 where a block is gone."""

    def __init__(self, profile: Profile, variables: Sequence[Variable], gate: Mapping[str, str]) -> None:
        self._gate = gate
        self._old = {v.name: v.levels for v in profile.variables} | {
            s.name: s.levels(profile.variables) for s in profile.sums
        }
        self._new = {v.name: v.levels for v in variables} | {s.name: s.levels(variables) for s in profile.sums}
        self.fixed_ms = sum(layer.dense_ms for layer in profile.layers if layer.table is None and layer.name not in gate)

    def of(self, layer: LayerCost) -> Table | None:
        """Return the table of a layer in milliseconds, None where its cost is fixed."""
        gate = self._gate.get(layer.name)
        if layer.table is None:
            if gate is None:
                return None
            return self._gated((), np.array(layer.dense_ms), gate)
        array = layer.table.array
        for axis, name in enumerate(layer.table.variables):
            array = self._relevel(array, axis, name)
        if gate is not None and gate not in layer.table.variables:
            return self._gated(layer.table.variables, array, gate)
        return Table.of(layer.table.variables, array)

    def _relevel(self, array: np.ndarray, axis: int, name: str) -> np.ndarray:
        """Bring one axis from the profile's levels to the problem's; level 0 costs nothing.

        A sum with some of its parts at 0 that is not among the profile's levels takes the next larger one's cost.
        """
        old, new = np.array(self._old[name]), np.array(self._new[name])
        picked = array.take(np.minimum(np.searchsorted(old, new), len(old) - 1), axis)
        is_gone = (new == 0).reshape([-1 if a == axis else 1 for a in range(picked.ndim)])
        return np.where(is_gone, 0.0, picked)

    def _gated(self, names: tuple[str, ...], array: np.ndarray, gate: str) -> Table:
        stays = np.array([level > 0 for level in self._new[gate]], float)
        return Table.of((*names, gate), array[..., None] * stays)
