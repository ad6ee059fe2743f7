"""A profile's costs over the levels of a problem: fewer than its own, more than its own, and 0 where a block is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from silicut.search.problem import Cost, Table, Variable

if TYPE_CHECKING:
    from silicut.targets.profile import LayerCost, Profile


def cost_over(profile: Profile, variables: Sequence[Variable], gates: Mapping[str, str]) -> Cost:
    """Return a profile's milliseconds as `silicut.search.CostSource.cost` says.

    At a level that is none of the profile's a layer costs what it does at the next larger one. The profile's levels are
    the corners of staircases, so no width between two corners was found to cost less than the larger of them. One that lies
    on a cliff costs more; that is seen when the plan is measured.
    """
    tables = _CostTables(profile, variables, gates)
    found = tuple(table for layer in profile.layers if (table := tables.of(layer)) is not None)
    return Cost(found, profile.sums, profile.overhead_ms + tables.fixed_ms)


class _CostTables:
    def __init__(self, profile: Profile, variables: Sequence[Variable], gates: Mapping[str, str]) -> None:
        self._gates = gates
        self._old = profile.levels
        self._removable = {v.name for v in variables if v.levels[0] == 0}
        self._new = {v.name: v.levels for v in variables} | {s.name: s.levels(variables) for s in profile.sums}
        self.fixed_ms = sum(layer.dense_ms for layer in profile.layers if layer.table is None and layer.name not in gates)

    def of(self, layer: LayerCost) -> Table | None:
        """Return the table of a layer in milliseconds, None where its cost is fixed."""
        gate = self._gates.get(layer.name)
        if layer.table is None:
            if gate is None:
                return None
            return self._gated((), np.array(layer.dense_ms), gate)
        array = layer.table.array
        for axis, name in enumerate(layer.table.variables):
            array = self._relevel(array, axis, name)
        if gate is not None and not self._vanishes(layer.table.variables):
            return self._gated(layer.table.variables, array, gate)
        return Table.of(layer.table.variables, array)

    def _relevel(self, array: np.ndarray, axis: int, name: str) -> np.ndarray:
        """Bring one axis from the profile's levels to the problem's; level 0 costs nothing."""
        old, new = np.array(self._old[name]), np.array(self._new[name])
        picked = array.take(np.minimum(np.searchsorted(old, new), len(old) - 1), axis)
        is_gone = (new == 0).reshape([-1 if a == axis else 1 for a in range(picked.ndim)])
        return np.where(is_gone, 0.0, picked)

    def _vanishes(self, names: tuple[str, ...]) -> bool:
        """Tell whether a layer is gone at level 0 of an axis of its own: groups inside a block are at 0 together."""
        return any(name in self._removable for name in names)

    def _gated(self, names: tuple[str, ...], array: np.ndarray, gate: str) -> Table:
        stays = np.array([level > 0 for level in self._new[gate]], float)
        return Table.of((*names, gate), array[..., None] * stays)
