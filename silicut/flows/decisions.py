"""What is chosen together with widths: more variables of the pruning problem, and what each of their levels loses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from silicut.search import Table, Variable


@dataclass(frozen=True)
class Loss:
    """What the levels of a variable lose in one layer.

    Attributes:
        variable: its name.
        layer: the operator; where it went with its residual block, nothing is lost.
        by_level: one loss for each level, in their order; in the unit of the values of widths.
    """

    variable: str
    layer: str
    by_level: tuple[float, ...]


@dataclass(frozen=True)
class Decisions:
    """Variables besides the widths of groups, with their losses.

    Attributes:
        variables: with names that no group has.
        losses: any number for each; they add up.
    """

    variables: tuple[Variable, ...] = ()
    losses: tuple[Loss, ...] = ()

    def value_tables(self, gates: Mapping[str, str], variables: Mapping[str, Variable]) -> Iterator[Table]:
        """Yield the tables of minus the losses.

        Args:
            gates: operator -> the group at whose level 0 it is gone.
            variables: of the problem, by name.
        """
        for loss in self.losses:
            values = -np.asarray(loss.by_level)
            if gate := gates.get(loss.layer):
                stays = np.array([level > 0 for level in variables[gate].levels], float)
                yield Table.of((loss.variable, gate), np.outer(values, stays))
            else:
                yield Table.of((loss.variable,), values)

    def without(self, levels: Mapping[str, int]) -> dict[str, int]:
        """Return the widths among the levels of a solution."""
        own = {variable.name for variable in self.variables}
        return {name: level for name, level in levels.items() if name not in own}


NOTHING_ELSE = Decisions()
"""Widths alone are chosen."""
