"""A problem as arrays: many choices are evaluated at once, and everything is to be minimised.

A *state* is a row of level indices, one for each variable. The *losses* of a state are a row of numbers: first the
value with a minus sign, then the cost of each resource (fixed part included) in the order of `Problem.resources`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silicut.search.problem import FIT_TOLERANCE, Problem, SumVariable, Table, reachable_sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Block:
    """All tables over the same variables, added up.

    Attributes:
        axes: column of each axis: a variable's position, or the number of variables plus a sum's position.
        losses: shape (levels of each axis..., 1 + number of resources).
    """

    axes: tuple[int, ...]
    losses: Floats


class Indexed:
    """The arrays of one problem.

    Attributes:
        problem: where they come from.
        numbers: for each column (variables, then sums) its levels, increasing.
        n_variables: number of variables.
        n_losses: 1 + number of resources.
        fixed: losses that no choice changes, shape (n_losses,).
        blocks: the tables, at most one for each set of variables.
        ties: for each tie the columns of its members.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.n_variables = len(problem.variables)
        self.n_losses = 1 + len(problem.resources)
        names = [*(v.name for v in problem.variables), *(s.name for s in problem.sums)]
        self._columns = {name: column for column, name in enumerate(names)}
        self.numbers: list[Ints] = [np.asarray(problem.levels[name], dtype=np.int64) for name in names]
        self.fixed: Floats = np.array([0.0, *(problem.fixed.get(key, 0.0) for key in problem.resources)])
        self.ties = [tuple(self._columns[name] for name in tie) for tie in problem.ties]
        self.blocks = self._add_up()
        self._lookups = [self._lookup(derived) for derived in problem.sums]
        self._touching = [
            [block for block in self.blocks if self._depends(block, column)] for column in range(self.n_variables)
        ]

    def _add_up(self) -> list[Block]:
        sums: dict[tuple[int, ...], Floats] = {}
        parts = [(-1.0, 0, self.problem.values)]
        parts += [(1.0, 1 + i, self.problem.costs[key]) for i, key in enumerate(self.problem.resources)]
        for sign, loss, tables in parts:
            for table in tables:
                axes, array = self._sorted_axes(table)
                block = sums.setdefault(axes, np.zeros((*array.shape, self.n_losses)))
                block[..., loss] += sign * array
        return [Block(axes, losses) for axes, losses in sums.items()]

    def _sorted_axes(self, table: Table) -> tuple[tuple[int, ...], Floats]:
        columns = [self._columns[name] for name in table.variables]
        order = sorted(range(len(columns)), key=columns.__getitem__)
        return tuple(columns[axis] for axis in order), table.array.transpose(order)

    def _lookup(self, derived: SumVariable) -> tuple[list[tuple[int, int]], Ints]:
        """Return (column, weight) of each part, and the level index of each number (-1 where unreachable)."""
        levels = self.numbers[self._columns[derived.name]]
        index = np.full(levels[-1] + 1, -1, dtype=np.int64)
        index[levels] = np.arange(len(levels))
        return [(self._columns[part], weight) for part, weight in derived.weights.items()], index

    def _depends(self, block: Block, column: int) -> bool:
        return any(axis == column or self.weight_in(axis, column) for axis in block.axes)

    def weight_in(self, axis: int, column: int) -> int:
        """Return how often a variable counts in the sum on an axis (0 if the axis is not such a sum)."""
        if axis < self.n_variables:
            return 0
        return dict(self._lookups[axis - self.n_variables][0]).get(column, 0)

    def parts(self, axis: int) -> list[tuple[int, int]]:
        """Return the columns and weights of the parts of the sum on an axis."""
        return self._lookups[axis - self.n_variables][0]

    def index_of(self, axis: int, sums: Ints) -> Ints:
        """Return the level index of numbers of a sum; all must be reachable."""
        return self._lookups[axis - self.n_variables][1][sums]

    def sums_without(self, axis: int, column: int) -> Ints:
        """Return all reachable sums of the parts of a sum other than one variable."""
        others = [(self.numbers[part].tolist(), weight) for part, weight in self.parts(axis) if part != column]
        return np.asarray(reachable_sums(others), dtype=np.int64)

    def widen(self, states: Ints) -> Ints:
        """Return states (n, n_variables) with a column of level indices for each sum appended."""
        if not self._lookups:
            return states
        derived = []
        for parts, index in self._lookups:
            sums = sum(weight * self.numbers[column][states[:, column]] for column, weight in parts)
            derived.append(index[sums])
        return np.concatenate([states, np.stack(derived, axis=1)], axis=1)

    def losses(self, states: Ints) -> Floats:
        """Return the losses, shape (n, n_losses), of states of shape (n, n_variables)."""
        return self.fixed + self._sum_blocks(self.blocks, states)

    def _sum_blocks(self, blocks: Sequence[Block], states: Ints) -> Floats:
        wide, total = self.widen(states), np.zeros((len(states), self.n_losses))
        for block in blocks:
            total += block.losses[tuple(wide[:, axis] for axis in block.axes)]
        return total

    def changes(self, state: Ints, columns: Sequence[int], settings: Ints) -> Floats:
        """Return by how much the losses change when some variables move, all else as it is.

        Args:
            state: where from, shape (n_variables,).
            columns: the variables that move.
            settings: their new level indices, shape (n, number of columns).

        Returns:
            Shape (n, n_losses).
        """
        states = np.repeat(state[None], len(settings) + 1, axis=0)
        states[1:, list(columns)] = settings
        touched = {id(block): block for column in columns for block in self._touching[column]}
        total = self._sum_blocks(list(touched.values()), states)
        change: Floats = total[1:] - total[0]
        return change

    def neighbours(self, column: int) -> set[int]:
        """Return the variables whose changes depend on one variable, itself included."""
        near = {column}
        for block in self._touching[column]:
            for axis in block.axes:
                near |= {axis} if axis < self.n_variables else {part for part, _ in self.parts(axis)}
        return near

    def dense_state(self) -> Ints:
        """Return the state with every variable at its greatest level."""
        return np.array([len(self.numbers[column]) - 1 for column in range(self.n_variables)], dtype=np.int64)

    def levels(self, state: Ints) -> dict[str, int]:
        """Return a state as levels by name."""
        names = (variable.name for variable in self.problem.variables)
        return {name: int(self.numbers[i][state[i]]) for i, name in enumerate(names)}

    def state(self, levels: Mapping[str, int]) -> Ints:
        """Return levels by name, each a level of its variable, as a state."""
        return np.array([v.levels.index(levels[v.name]) for v in self.problem.variables], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Goal:
    """Which loss is minimised, and how great the losses may be.

    Attributes:
        objective: index of the loss to minimise; 0 maximises the value.
        upper: the most of each loss, shape (n_losses,); infinite where there is no limit.
    """

    objective: int
    upper: Floats

    @classmethod
    def best_value(cls, problem: Problem) -> Goal:
        """Return the goal of the problem itself: the greatest value under all budgets."""
        return cls(0, np.array([np.inf, *(problem.budgets.get(key, np.inf) for key in problem.resources)]))

    @property
    def limit(self) -> Floats:
        """The limits with half of the tolerance of `fits` added, so that what meets them also fits."""
        return self.upper + 0.5 * FIT_TOLERANCE * np.abs(self.upper)

    def excess(self, losses: Floats) -> Floats:
        """Return by how much losses (..., n_losses) break the limits: relative to each limit, added up."""
        scale = np.where(self.upper == 0.0, 1.0, np.abs(self.upper))
        total: Floats = (np.maximum(losses - self.limit, 0.0) / scale).sum(axis=-1)
        return total

    def is_met(self, losses: Floats) -> Bools:
        """Tell for losses (..., n_losses) whether every limit is kept."""
        kept: Bools = np.all(losses <= self.limit, axis=-1)
        return kept
