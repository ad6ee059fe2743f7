"""A problem as a mixed-integer linear model over the settings of pairs (and triples) of variables.

Columns, all 0 or 1: x[v, k] = 1 if variable v is at level k; w[s, k] likewise for a sum of some variables; y[b, j, k]
for every entry of a table block b over two or three axes, and for every step of a sum. Rows, all equalities:

    sum_k x[v, k] = 1                                     one level for each variable
    x[v, 0] = x[u, 0]                                     for v, u in one tie, and likewise for y (`_tighten_tie`)
    sum_j y[b, j, k] = x[v, k]   for every axis v of b    so y is 1 at the chosen entry, 0 elsewhere, once x is whole
    w[s, n] = sum of y[s, j, k] over number_j + number_k = n       for s = (a shorter sum) + (one more variable)

Every loss is linear in these columns, whatever the tables hold (staircases, cliffs). y is whole once x is; it is
declared whole all the same, because HiGHS then rounds it too and has nothing left to repair. The linear relaxation is
the local polytope known from graphical models, which is tight on trees. A sum whose step would need too many columns
is tied to its parts by its number alone, sum_k number_k w[s, k] = sum of the parts' numbers, which is as exact but
relaxes worse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy  # its modules are loaded on first use: they are slow to import

from silicut.search.indexed import Block, Floats, Indexed, Ints

_MAX_STEP_ENTRIES = 10_000


@dataclass(frozen=True, eq=False)
class PairModel:
    """The arrays of the model: matrix @ columns = rhs, losses = losses @ columns (+ `Indexed.fixed`).

    Attributes:
        matrix: equalities, shape (rows, columns).
        rhs: their right-hand side.
        losses: shape (n_losses, columns).
        starts: first column of each variable, then the end of the last.
    """

    matrix: scipy.sparse.csr_array
    rhs: Floats
    losses: Floats
    starts: Ints

    def one_hot(self, columns: Floats) -> list[Floats]:
        """Return the part of a solution that belongs to each variable."""
        return [columns[a:b] for a, b in pairwise(self.starts)]


def build_pair_model(indexed: Indexed) -> PairModel:
    """Return the mixed-integer model of a problem."""
    return _Builder(indexed).build()


class _Builder:
    """Columns and rows as they are collected."""

    def __init__(self, indexed: Indexed) -> None:
        self._indexed = indexed
        self._n_columns, self._n_rows = 0, 0
        self._rows: list[Ints] = []
        self._columns: list[Ints] = []
        self._numbers: list[Floats] = []
        self._rhs: list[Floats] = []
        self._sums: dict[tuple[tuple[int, int], ...], tuple[int, Ints]] = {}

    def build(self) -> PairModel:
        indexed = self._indexed
        starts = [self._new_columns(len(numbers)) for numbers in indexed.numbers[: indexed.n_variables]]
        starts.append(self._n_columns)
        for a, b in pairwise(starts):
            self._add_row(np.arange(a, b), np.ones(b - a), 1.0)
        for tie in indexed.ties:
            for other in tie[1:]:
                self._add_row(np.array([starts[tie[0]], starts[other]]), np.array([1.0, -1.0]), 0.0)
        placed = []
        for block in indexed.blocks:
            axes = [starts[axis] if axis < indexed.n_variables else self._add_sum(axis, starts) for axis in block.axes]
            start = axes[0] if len(axes) == 1 else self._add_entries(axes, block.losses.shape[:-1])
            placed.append((block, start + np.arange(math.prod(block.losses.shape[:-1]))))
        for tie in indexed.ties:
            self._tighten_tie(set(tie), [(block, entries) for block, entries in placed if len(block.axes) > 1])
        losses = np.zeros((indexed.n_losses, self._n_columns))
        for block, entries in placed:
            losses[:, entries] += block.losses.reshape(-1, indexed.n_losses).T
        place = (np.concatenate(self._rows), np.concatenate(self._columns))
        matrix = scipy.sparse.csr_array((np.concatenate(self._numbers), place), shape=(self._n_rows, self._n_columns))
        return PairModel(matrix, np.concatenate(self._rhs), losses, np.array(starts, dtype=np.int64))

    def _new_columns(self, n: int) -> int:
        self._n_columns += n
        return self._n_columns - n

    def _add_rows(self, rows: Ints, columns: Ints, numbers: Floats, rhs: Floats) -> None:
        self._rows.append(rows + self._n_rows)
        self._columns.append(columns)
        self._numbers.append(numbers)
        self._rhs.append(rhs)
        self._n_rows += len(rhs)

    def _add_row(self, columns: Ints, numbers: Floats, rhs: float) -> None:
        self._add_rows(np.zeros(len(columns), dtype=np.int64), columns, numbers, np.array([rhs]))

    def _add_entries(self, axes: list[int], shape: tuple[int, ...]) -> int:
        """Add y over some axes, given by their first columns, with its marginals; return its first column."""
        start = self._new_columns(int(np.prod(shape)))
        for index, axis, size in zip(np.indices(shape), axes, shape, strict=True):
            self._add_groups(start + np.arange(index.size), index.ravel(), axis, size)
        return start

    def _add_groups(self, entries: Ints, group: Ints, first: int, n_groups: int) -> None:
        """Add a row for each group: the columns in it add up to one column, that at `first` + group."""
        groups = np.arange(n_groups)
        self._add_rows(
            np.concatenate([group, groups]),
            np.concatenate([entries, first + groups]),
            np.concatenate([np.ones(len(entries)), -np.ones(n_groups)]),
            np.zeros(n_groups),
        )

    def _tighten_tie(self, tie: set[int], placed: list[tuple[Block, Ints]]) -> None:
        """Add what holds for whole choices anyway, so that a removed block cannot be half removed in the relaxation.

        Entries at which only some members of the tie are at level 0 are 0; and for any other axes, "these levels, and
        this member removed" is the same for every member.
        """
        removed: dict[tuple[int, ...], Ints] = {}
        for block, flat in placed:
            entries = flat.reshape(block.losses.shape[:-1])
            members = [i for i, axis in enumerate(block.axes) if axis in tie]
            if len(members) == 1:
                others = tuple(axis for axis in block.axes if axis not in tie)
                at_zero = entries.take(0, axis=members[0]).ravel()
                first = removed.setdefault(others, at_zero)
                if first is not at_zero:
                    rows, signs = np.tile(np.arange(len(first)), 2), np.repeat([1.0, -1.0], len(first))
                    self._add_rows(rows, np.concatenate([first, at_zero]), signs, np.zeros(len(first)))
            elif members:
                n_zero = sum((np.indices(entries.shape)[i] == 0).astype(int) for i in members)
                broken = entries[(n_zero > 0) & (n_zero < len(members))]
                self._add_row(broken, np.ones(len(broken)), 0.0)

    def _add_sum(self, axis: int, starts: list[int]) -> int:
        """Return the first column of w for the sum on an axis; sums that begin with the same variables share steps."""
        parts = tuple(sorted(self._indexed.parts(axis)))
        for n in range(1, len(parts) + 1):
            key = parts[:n]
            if key in self._sums:
                continue
            part, weight = key[-1]
            numbers = weight * self._indexed.numbers[part]
            if n == 1:
                self._sums[key] = (starts[part], numbers)
                continue
            first, shorter = self._sums[key[:-1]]
            sums, index = np.unique(np.add.outer(shorter, numbers), return_inverse=True)
            if index.size > _MAX_STEP_ENTRIES:
                return self._link_sum(axis, parts, starts)
            w = self._new_columns(len(sums))
            y = self._add_entries([first, starts[part]], (len(shorter), len(numbers)))
            self._add_groups(y + np.arange(index.size), index.ravel(), w, len(sums))
            self._sums[key] = (w, sums)
        return self._sums[parts][0]

    def _link_sum(self, axis: int, parts: tuple[tuple[int, int], ...], starts: list[int]) -> int:
        sums = self._indexed.numbers[axis]
        w = self._new_columns(len(sums))
        self._add_row(w + np.arange(len(sums)), np.ones(len(sums)), 1.0)
        columns, numbers = [w + np.arange(len(sums))], [-sums]
        for part, weight in parts:
            columns.append(starts[part] + np.arange(len(self._indexed.numbers[part])))
            numbers.append(weight * self._indexed.numbers[part])
        self._add_row(np.concatenate(columns), np.concatenate(numbers) / max(1, int(sums[-1])), 0.0)
        self._sums[parts] = (w, sums)
        return w
