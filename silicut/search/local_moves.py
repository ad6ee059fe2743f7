"""Moves from one choice to the next, priced by the true tables: repair what breaks limits, improve what does not."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass

import numpy as np

from silicut.search.indexed import Bools, Floats, Goal, Indexed, Ints

_NEAR_LEVELS = 3
_N_EXCHANGES_TRIED = 256
_RELATIVE_STEP = 1e-12


@dataclass(frozen=True, eq=False)
class Unit:
    """What moves at once: one variable, or all variables of a tie (a block removed or brought back).

    Attributes:
        columns: the variables.
        settings: the level indices they may move to, shape (n, number of columns).
    """

    columns: tuple[int, ...]
    settings: Ints


def make_units(indexed: Indexed) -> list[Unit]:
    """Return one unit for each variable and one for each tie.

    A tie is removed as a whole, or brought back with all members at about the same fraction of their levels.
    """
    sizes = [len(numbers) for numbers in indexed.numbers[: indexed.n_variables]]
    units = [Unit((column,), np.arange(size, dtype=np.int64)[:, None]) for column, size in enumerate(sizes)]
    for tie in indexed.ties:
        top = np.array([sizes[column] - 1 for column in tie])
        settings = np.zeros((1, len(tie)), dtype=np.int64)
        if top.min() > 0:
            shares = np.linspace(0.0, 1.0, int(top.max()))[:, None]
            settings = np.concatenate([settings, 1 + np.rint(shares * (top - 1)).astype(np.int64)])
        units.append(Unit(tie, settings))
    return units


class Walk:
    """A choice that moves, with the exact change of all losses by every move kept up to date.

    A *move* is a number: one setting of one unit.

    Attributes:
        state: the choice, level indices of shape (n_variables,).
        losses: its losses, shape (n_losses,).
        changes: what each move would change, shape (number of moves, n_losses).
        is_legal: whether each move goes somewhere else without breaking a tie.
    """

    def __init__(self, indexed: Indexed, goal: Goal, state: Ints) -> None:
        self.indexed, self.goal, self.state = indexed, goal, state.copy()
        self.losses = indexed.losses(self.state[None])[0]
        self._units = make_units(indexed)
        counts = [len(unit.settings) for unit in self._units]
        self._starts = np.cumsum([0, *counts])
        self.unit_of: Ints = np.repeat(np.arange(len(counts)), counts)
        self.changes: Floats = np.zeros((len(self.unit_of), indexed.n_losses))
        self.is_legal: Bools = np.zeros(len(self.unit_of), dtype=np.bool_)
        self._tied = {column for tie in indexed.ties for column in tie}
        self._affected = [self._units_near(unit) for unit in self._units]
        self._refresh(range(len(self._units)))

    def _units_near(self, unit: Unit) -> list[int]:
        near = set().union(*(self.indexed.neighbours(column) for column in unit.columns))
        return [i for i, other in enumerate(self._units) if near & set(other.columns)]

    def _refresh(self, units: list[int] | range) -> None:
        for i in units:
            unit, moves = self._units[i], slice(self._starts[i], self._starts[i + 1])
            self.changes[moves] = self.indexed.changes(self.state, unit.columns, unit.settings)
            here = self.state[list(unit.columns)]
            legal = (unit.settings != here).any(axis=1)
            if len(unit.columns) == 1 and unit.columns[0] in self._tied:
                legal &= (unit.settings[:, 0] > 0) == (here[0] > 0)
            self.is_legal[moves] = legal

    def fork(self) -> Walk:
        """Return a copy that moves on its own."""
        other = copy.copy(self)
        other.state, other.changes, other.is_legal = self.state.copy(), self.changes.copy(), self.is_legal.copy()
        return other

    def follow(self, other: Walk) -> None:
        """Go where a copy has gone."""
        self.state, self.losses, self.changes, self.is_legal = other.state, other.losses, other.changes, other.is_legal

    def after(self, *moves: int) -> Ints:
        """Return the state after some moves of different variables."""
        state = self.state.copy()
        for move in moves:
            unit = self._units[self.unit_of[move]]
            state[list(unit.columns)] = unit.settings[move - self._starts[self.unit_of[move]]]
        return state

    def take(self, *moves: int) -> None:
        """Make some moves of different variables."""
        self.state = self.after(*moves)
        self.losses = self.indexed.losses(self.state[None])[0]
        self._refresh(sorted({i for move in moves for i in self._affected[self.unit_of[move]]}))

    def near_moves(self) -> Bools:
        """Return which legal moves change a variable by a few levels, or a whole tie."""
        near = self.is_legal.copy()
        for i in range(self.indexed.n_variables):
            moves = slice(self._starts[i], self._starts[i + 1])
            near[moves] &= np.abs(self._units[i].settings[:, 0] - self.state[i]) <= _NEAR_LEVELS
        return near

    def shares_variable(self, first: Ints, second: Ints) -> Bools:
        """Return for moves (n,) and moves (m,) which pairs move the same variable, shape (n, m)."""
        members = np.zeros((len(self._units), self.indexed.n_variables))
        for i, unit in enumerate(self._units):
            members[i, list(unit.columns)] = 1.0
        shared: Bools = (members @ members.T > 0)[np.ix_(self.unit_of[first], self.unit_of[second])]
        return shared


def repair(walk: Walk, deadline: float = math.inf) -> bool:
    """Move until every limit is kept; return whether that was reached.

    Each step takes the move that costs least of the objective for each part of the excess it removes; moves that cost
    nothing go first. It stops when no single move lowers the excess, or at the deadline (`time.monotonic`).
    """
    goal = walk.goal
    while (excess := float(goal.excess(walk.losses))) > 0.0 and time.monotonic() < deadline:
        gain = np.where(walk.is_legal, excess - goal.excess(walk.losses + walk.changes), 0.0)
        helps = np.flatnonzero(gain > _RELATIVE_STEP)
        if not len(helps):
            return False
        price = walk.changes[helps, goal.objective]
        free = price <= 0.0
        rank = np.where(free, -gain[helps], price / gain[helps])
        walk.take(int(helps[np.lexsort((rank, ~free))[0]]))
    return float(goal.excess(walk.losses)) == 0.0


def improve(walk: Walk, deadline: float = math.inf) -> None:
    """Improve a choice that keeps every limit until no single move and no exchange of two near moves does, or time is up."""
    while time.monotonic() < deadline and (
        _improve_by_one(walk) or _improve_by_two(walk) or _improve_by_detour(walk, deadline)
    ):
        pass


def _least_step(walk: Walk) -> float:
    return _RELATIVE_STEP * max(1.0, abs(float(walk.losses[walk.goal.objective])))


def _improve_by_one(walk: Walk) -> bool:
    change = walk.changes[:, walk.goal.objective]
    fine = walk.is_legal & (change < -_least_step(walk)) & walk.goal.is_met(walk.losses + walk.changes)
    if not fine.any():
        return False
    moves = np.flatnonzero(fine)
    walk.take(int(moves[np.argmin(change[moves])]))
    return True


def _improve_by_two(walk: Walk) -> bool:
    """Pair a move that gains but breaks a limit with one that makes room; changes are added up, then checked exactly."""
    change, near = walk.changes[:, walk.goal.objective], walk.near_moves()
    gains = np.flatnonzero(near & (change < -_least_step(walk)))
    gives = np.flatnonzero(near & (change >= -_least_step(walk)) & (walk.changes < 0.0).any(axis=1))
    total = change[gains][:, None] + change[gives][None]
    both = walk.losses + walk.changes[gains][:, None] + walk.changes[gives][None]
    fine = (total < -_least_step(walk)) & walk.goal.is_met(both) & ~walk.shares_variable(gains, gives)
    rows, columns = np.nonzero(fine)
    best = np.argsort(total[rows, columns], kind="stable")[:_N_EXCHANGES_TRIED]
    pairs = [(int(gains[rows[i]]), int(gives[columns[i]])) for i in best]
    if not pairs:
        return False
    losses = walk.indexed.losses(np.stack([walk.after(*pair) for pair in pairs]))
    truly = walk.goal.is_met(losses) & (
        losses[:, walk.goal.objective] < walk.losses[walk.goal.objective] - _least_step(walk)
    )
    if not truly.any():
        return False
    reached = np.where(truly, losses[:, walk.goal.objective], np.inf)
    walk.take(*pairs[int(np.argmin(reached))])
    return True


def _improve_by_detour(walk: Walk, deadline: float) -> bool:
    """Make a near move that gains, repair what it breaks, fill what room is left; go there if that gained in all."""
    change = walk.changes[:, walk.goal.objective]
    gains = np.flatnonzero(walk.near_moves() & (change < -_least_step(walk)))
    for move in gains[np.argsort(change[gains], kind="stable")]:
        other = walk.fork()
        other.take(int(move))
        while repair(other, deadline) and _improve_by_one(other):
            pass
        gained = float(walk.losses[walk.goal.objective] - other.losses[walk.goal.objective])
        if gained > _least_step(walk) and walk.goal.is_met(other.losses):
            walk.follow(other)
            return True
    return False
