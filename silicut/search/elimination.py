"""Variable elimination: the least loss of a whole problem at given prices, exactly, one variable at a time.

With a price for each resource the budgets are gone and what is left is a sum of tables. A variable is *eliminated* by
adding up the tables over it and keeping the least entry along its axis, which leaves a table over its neighbours. On the
graphs of networks these tables stay small: a residual block is eliminated into one table over the two streams beside
it, so the time grows with the number of blocks and the third power of the levels.

Sums are nodes of the graph too, made in steps (a shorter sum plus one variable), and a tie is a node of two states, so
both keep their tables small. Where a table would be too large the tables of the variable are split into parts that are
minimised apart (mini-buckets; Dechter and Rish, J. ACM 50, 2003): the sum of the least is then a bound, no longer the
least of the sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from silicut.search.indexed import Floats, Indexed, Ints

MAX_ENTRIES = 2**23
"""The largest table that is made: 64 MB."""

_Rank = Callable[[dict[int, set[int]], int, Sequence[int]], tuple[float, float]]
"""Ranks a node by the neighbours of those that are left and by the sizes of all."""


@dataclass(frozen=True, eq=False)
class Minimum:
    """The outcome of one elimination.

    Attributes:
        state: a choice that keeps every tie, shape (n_variables,); the best one where the elimination is exact.
        bound: no choice has a smaller priced loss; that of `state` where the elimination is exact.
    """

    state: Ints
    bound: float


@dataclass(frozen=True, eq=False)
class _Factor:
    """A table over some nodes: losses of shape (sizes..., n_losses), or numbers of shape (sizes...) that have no price."""

    scope: tuple[int, ...]
    losses: Floats | None = None
    numbers: Floats | None = None


@dataclass(frozen=True, eq=False)
class _Part:
    """Tables that are added up and minimised over one node.

    Attributes:
        members: numbers of the tables.
        rest: the nodes that are left.
        message: number of the table that is left.
    """

    members: tuple[int, ...]
    rest: tuple[int, ...]
    message: int


@dataclass(frozen=True, eq=False)
class _Step:
    """The elimination of one node; it has more than one part where all tables together would be too large."""

    node: int
    parts: tuple[_Part, ...]


class Elimination:
    """The tables of a problem with an order in which its variables are eliminated; made once, used at many prices.

    Args:
        indexed: the problem.
        max_entries: the largest table that may be made; `MAX_ENTRIES` by default.

    Attributes:
        n_split: variables whose tables had to be split; 0 where `minimise` is exact.
        n_entries: numbers added up in one elimination, a measure of its time.
    """

    def __init__(self, indexed: Indexed, max_entries: int | None = None) -> None:
        self.indexed = indexed
        graph = _Graph(indexed)
        self._factors, self._sizes = graph.factors, graph.sizes
        self._steps, self.n_split, self.n_entries = _plan(graph, max_entries or MAX_ENTRIES)

    def minimise(self, prices: Floats) -> Minimum:
        """Return the choice with the least sum of losses times prices.

        Args:
            prices: of every loss, shape (n_losses,); the first, that of the negative value, is 1 as a rule.
        """
        tables = self._tables(prices)
        total = float(self.indexed.fixed @ prices)
        for step in self._steps:
            for part in step.parts:
                total += 0.0 if part.rest else float(tables[part.message][0])
        return Minimum(self._decoded(tables), total)

    def least_with(self, prices: Floats) -> list[Floats]:
        """Return for each variable, and each of its levels, the least priced loss of all choices with that level.

        It takes a pass back from the last node to the first. Only where the elimination is exact.
        """
        assert not self.n_split, "tables were split"
        tables = self._tables(prices)
        fixed = float(self.indexed.fixed @ prices)
        roots = {step.node: float(tables[p.message][0]) for step in self._steps for p in step.parts if not p.rest}
        whole = fixed + math.fsum(roots.values())
        least = [np.full(size, whole) for size in self._sizes]
        above: dict[int, tuple[Floats, tuple[int, ...]]] = {}
        for step in reversed(self._steps):
            for part in step.parts:
                outside = above.get(part.message, (np.array(whole - roots.get(step.node, 0.0)), ()))
                own = [tables[i] for i in part.members]
                full = _add((step.node, *part.rest), [*own, outside], self._sizes)
                least[step.node] = full.reshape(len(full), -1).min(axis=1)
                for i in part.members:
                    if i >= len(self._factors):
                        others = [tables[j] for j in part.members if j != i]
                        above[i] = self._seen_from(tables[i][1], [*others, outside])
        return least[: self.indexed.n_variables]

    def _tables(self, prices: Floats) -> list[tuple[Floats, tuple[int, ...]]]:
        """Return the priced tables with their nodes: those of the problem, then what each elimination leaves."""
        tables = [self._priced(factor, prices) for factor in self._factors]
        for step in self._steps:
            for part in step.parts:
                added = _add((step.node, *part.rest), [tables[i] for i in part.members], self._sizes)
                tables.append((added.min(axis=0), part.rest))
        return tables

    def _seen_from(
        self, scope: tuple[int, ...], tables: list[tuple[Floats, tuple[int, ...]]]
    ) -> tuple[Floats, tuple[int, ...]]:
        """Return the least sum of tables for each setting of some nodes."""
        rest = tuple(dict.fromkeys(n for _, nodes in tables for n in nodes if n not in scope))
        full = _add((*scope, *rest), tables, self._sizes)
        return full.reshape(*full.shape[: len(scope)], -1).min(axis=-1), scope

    def _priced(self, factor: _Factor, prices: Floats) -> tuple[Floats, tuple[int, ...]]:
        if factor.losses is None:
            assert factor.numbers is not None
            return factor.numbers, factor.scope
        return factor.losses @ prices, factor.scope

    def _decoded(self, tables: list[tuple[Floats, tuple[int, ...]]]) -> Ints:
        """Set the nodes from the last eliminated to the first, each where its tables add up to the least."""
        setting = np.zeros(len(self._sizes), dtype=np.int64)
        for step in reversed(self._steps):
            along = np.zeros(self._sizes[step.node])
            for numbers, scope in (tables[i] for part in step.parts for i in part.members):
                along = along + numbers[tuple(slice(None) if n == step.node else setting[n] for n in scope)]
            setting[step.node] = int(np.argmin(along))
        state = setting[: self.indexed.n_variables]
        for tie in self.indexed.ties:  # only a split elimination breaks one
            if len({state[column] == 0 for column in tie}) > 1:
                state[list(tie)] = 0
        return state


def _add(scope: tuple[int, ...], tables: Sequence[tuple[Floats, tuple[int, ...]]], sizes: Sequence[int]) -> Floats:
    """Return the sum of tables, its axes in the order of `scope`."""
    total = np.zeros([sizes[node] for node in scope])
    for numbers, own in sorted(tables, key=lambda table: table[0].ndim):
        ordered = numbers.transpose([own.index(node) for node in scope if node in own])
        total += ordered.reshape([sizes[node] if node in own else 1 for node in scope])
    return total


class _Graph:
    """Nodes with their sizes, and tables over them: variables first, then ties, then sums and their steps."""

    def __init__(self, indexed: Indexed) -> None:
        self._indexed = indexed
        self.sizes = [len(numbers) for numbers in indexed.numbers[: indexed.n_variables]]
        self.factors: list[_Factor] = []
        self._sums: dict[tuple[tuple[int, int], ...], tuple[int, Ints]] = {}
        for tie in indexed.ties:
            self._add_tie(tie)
        for block in indexed.blocks:
            nodes = [axis if axis < indexed.n_variables else self._sum_node(axis) for axis in block.axes]
            self._add_losses(nodes, block.losses)

    def _new_node(self, size: int) -> int:
        self.sizes.append(size)
        return len(self.sizes) - 1

    def _add_losses(self, nodes: list[int], losses: Floats) -> None:
        """Add a table; axes over one node (a sum of one variable beside that variable) become its diagonal."""
        scope = tuple(dict.fromkeys(nodes))
        if len(scope) < len(nodes):
            subscripts = [scope.index(node) for node in nodes]
            index = np.indices([self.sizes[node] for node in scope])
            losses = losses[tuple(index[place] for place in subscripts)]
        self.factors.append(_Factor(scope, losses=losses))

    def _add_tie(self, tie: tuple[int, ...]) -> None:
        """Let a node of two states say whether the members are at level 0."""
        node = self._new_node(2)
        for column in tie:
            is_zero = np.arange(self.sizes[column]) == 0
            broken = np.stack([~is_zero, is_zero], axis=1)
            self.factors.append(_Factor((column, node), numbers=np.where(broken, np.inf, 0.0)))

    def _sum_node(self, axis: int) -> int:
        """Return the node of a sum; sums that begin with the same variables share steps."""
        parts = tuple(sorted(self._indexed.parts(axis)))
        for n in range(1, len(parts) + 1):
            if parts[:n] not in self._sums:
                self._sums[parts[:n]] = self._step_node(parts[:n])
        return self._sums[parts][0]

    def _step_node(self, parts: tuple[tuple[int, int], ...]) -> tuple[int, Ints]:
        column, weight = parts[-1]
        numbers = weight * self._indexed.numbers[column]
        if len(parts) == 1:
            return column, numbers
        shorter, shorter_numbers = self._sums[parts[:-1]]
        sums, index = np.unique(np.add.outer(shorter_numbers, numbers), return_inverse=True)
        node = self._new_node(len(sums))
        table = np.full((len(shorter_numbers), len(numbers), len(sums)), np.inf)
        np.put_along_axis(table, index.reshape(table.shape[:2])[..., None], 0.0, axis=2)
        self.factors.append(_Factor((shorter, column, node), numbers=table))
        return node, sums


def _plan(graph: _Graph, max_entries: int) -> tuple[list[_Step], int, int]:
    """Return the steps of the cheaper of two orders, how many of them are split, and the entries they add up."""
    plans = []
    for rank in (_fill, _table):
        order = _order(graph, rank)
        plans.append(_steps(graph, order, max_entries))
    return min(plans, key=lambda plan: plan[1:])


def _order(graph: _Graph, rank: _Rank) -> Iterator[int]:
    """Yield the nodes, always the one with the least rank in the graph of those that are left."""
    near: dict[int, set[int]] = {node: set() for node in range(len(graph.sizes))}
    for factor in graph.factors:
        for node in factor.scope:
            near[node] |= set(factor.scope) - {node}
    ranks = {node: rank(near, node, graph.sizes) for node in near}
    while near:
        node = min(ranks, key=lambda n: (ranks[n], n))
        yield node
        around = near.pop(node)
        del ranks[node]
        for other in around:
            near[other] |= around - {other}
            near[other].discard(node)
        touched = around.union(*(near[other] for other in around))
        ranks |= {other: rank(near, other, graph.sizes) for other in touched}


def _fill(near: dict[int, set[int]], node: int, sizes: Sequence[int]) -> tuple[float, float]:
    """Rank by the pairs of neighbours that elimination would join (weighted min-fill), then by the table."""
    around = sorted(near[node])
    missing = ((a, b) for i, a in enumerate(around) for b in around[i + 1 :] if b not in near[a])
    return float(sum(sizes[a] * sizes[b] for a, b in missing)), _log_entries(around, sizes)


def _table(near: dict[int, set[int]], node: int, sizes: Sequence[int]) -> tuple[float, float]:
    """Rank by the size of the table that elimination makes."""
    return _log_entries([node, *near[node]], sizes), 0.0


def _log_entries(nodes: Sequence[int], sizes: Sequence[int]) -> float:
    return math.fsum(math.log(sizes[node]) for node in sorted(nodes))


def _steps(graph: _Graph, order: Iterator[int], max_entries: int) -> tuple[list[_Step], int, int]:
    scopes = [factor.scope for factor in graph.factors]
    holders: dict[int, set[int]] = {node: set() for node in range(len(graph.sizes))}
    for i, scope in enumerate(scopes):
        for node in scope:
            holders[node].add(i)
    steps, n_split, n_entries = [], 0, 0
    for node in order:
        parts = []
        for members in _parts(sorted(holders[node]), scopes, graph.sizes, max_entries):
            rest = tuple(dict.fromkeys(n for i in members for n in scopes[i] if n != node))
            n_entries += math.prod(graph.sizes[n] for n in (node, *rest))
            parts.append(_Part(tuple(members), rest, len(scopes)))
            for i in members:
                for n in scopes[i]:
                    holders[n].discard(i)
            for n in rest:
                holders[n].add(len(scopes))
            scopes.append(rest)
        steps.append(_Step(node, tuple(parts)))
        n_split += len(parts) > 1
    return steps, n_split, n_entries


def _parts(
    members: Sequence[int], scopes: Sequence[tuple[int, ...]], sizes: Sequence[int], max_entries: int
) -> list[list[int]]:
    """Return a node's tables in as few parts as fit, the largest first, each into the first part that has room.

    A table that is too large alone is a part of its own: it exists already.
    """
    parts: list[tuple[list[int], set[int]]] = []
    for i in sorted(members, key=lambda i: (-math.prod(sizes[n] for n in scopes[i]), i)):
        for inside, nodes in parts:
            if math.prod(sizes[n] for n in nodes | set(scopes[i])) <= max_entries or set(scopes[i]) <= nodes:
                inside.append(i)
                nodes |= set(scopes[i])
                break
        else:
            parts.append(([i], set(scopes[i])))
    return [inside for inside, _ in parts]
