"""Smaller problems with the same best value: tables over the same variables added, useless levels left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from silicut.search.indexed import Block, Bools, Floats, Indexed
from silicut.search.problem import Problem, Table, Variable


def merge_tables(tables: Iterable[Table]) -> tuple[Table, ...]:
    """Return one table for each set of variables: the sum of those over it, in the axis order of the first.

    Example:
        >>> a, b = Table.of(("x", "y"), [[1, 2]]), Table.of(("y", "x"), [[10], [20]])
        >>> merge_tables([a, b])[0].entries
        (11.0, 22.0)
    """
    merged: dict[frozenset[str], tuple[tuple[str, ...], Floats]] = {}
    for table in tables:
        key = frozenset(table.variables)
        if key not in merged:
            merged[key] = (table.variables, table.array)
            continue
        names, total = merged[key]
        merged[key] = (names, total + table.array.transpose([table.variables.index(name) for name in names]))
    return tuple(Table.of(names, total) for names, total in merged.values())


def drop_dominated(problem: Problem) -> Problem:
    """Return the problem without levels that another level of the same variable always replaces at no loss.

    Level k is dropped for level j of a variable when, whatever the other variables are set to, j is worth at least as
    much as k and costs no more of any resource. With tables over several variables this is tested by adding up, over
    the tables that the variable takes part in (through sums as well), the worst difference over all settings of the
    other axes; so it is safe for every neighbour. Of two equal levels the greater stays. Level 0 of a tied variable is
    neither dropped nor replaces another, because the other members of the tie would have to move with it. This is
    repeated until no level goes.
    """
    while True:
        indexed = Indexed(problem)
        keep = [~_dominated(indexed, column) for column in range(indexed.n_variables)]
        if all(mask.all() for mask in keep):
            return problem
        problem = restrict(problem, keep)


def simplify(problem: Problem) -> Problem:
    """Return the problem with tables merged and dominated levels dropped; any solution of it solves the original."""
    merged = replace(
        problem,
        values=merge_tables(problem.values),
        costs={key: merge_tables(tables) for key, tables in problem.costs.items()},
    )
    return drop_dominated(merged)


def _dominated(indexed: Indexed, column: int) -> Bools:
    """Return for each level of a variable whether another one that stays makes it useless."""
    n = len(indexed.numbers[column])
    worst = np.zeros((n, n, indexed.n_losses))
    for block in indexed.blocks:
        slices = _slices(indexed, block, column)
        if slices is not None:
            for k in range(n):
                worst[k] += (slices[k] - slices).min(axis=1)
    replaces: Bools = np.all(worst >= 0.0, axis=-1)
    np.fill_diagonal(replaces, False)
    if any(column in tie for tie in indexed.ties):
        replaces[0, :] = replaces[:, 0] = False
    dropped = np.zeros(n, dtype=np.bool_)
    for k in range(n):
        dropped[k] = (replaces[k] & ~dropped).any()
    return dropped


def _slices(indexed: Indexed, block: Block, column: int) -> Floats | None:
    """Return a block's losses for each level of a variable, all settings of the rest flattened: (n, rest, n_losses)."""
    rests = [indexed.sums_without(axis, column) if indexed.weight_in(axis, column) else None for axis in block.axes]
    if column not in block.axes and all(rest is None for rest in rests):
        return None
    slices = []
    for k, number in enumerate(indexed.numbers[column]):
        index = []
        for axis, rest in zip(block.axes, rests, strict=True):
            if axis == column:
                index.append(np.array([k]))
            elif rest is not None:
                index.append(indexed.index_of(axis, rest + indexed.weight_in(axis, column) * number))
            else:
                index.append(np.arange(len(indexed.numbers[axis])))
        slices.append(block.losses[np.ix_(*index)].reshape(-1, indexed.n_losses))
    return np.stack(slices)


def restrict(problem: Problem, keep: list[Bools]) -> Problem:
    """Return the problem with only some levels of each variable, at least one.

    Where level 0 of one member of a tie goes, it goes from all of them, and the tie with it.

    Args:
        problem: merged or not.
        keep: for each variable, in order, whether each level stays.
    """
    columns = {variable.name: i for i, variable in enumerate(problem.variables)}
    keep, ties = [mask.copy() for mask in keep], []
    for tie in problem.ties:
        if all(keep[columns[name]][0] for name in tie):
            ties.append(tie)
        else:
            for name in tie:
                keep[columns[name]][0] = False
    variables = tuple(
        Variable(variable.name, tuple(level for level, stays in zip(variable.levels, mask, strict=True) if stays))
        for variable, mask in zip(problem.variables, keep, strict=True)
    )
    new = {variable.name: variable.levels for variable in variables}
    new |= {derived.name: derived.levels(variables) for derived in problem.sums}
    kept = {name: np.searchsorted(problem.levels[name], levels) for name, levels in new.items()}

    def cut(tables: Iterable[Table]) -> tuple[Table, ...]:
        return tuple(Table.of(t.variables, t.array[np.ix_(*(kept[name] for name in t.variables))]) for t in tables)

    costs = {key: cut(tables) for key, tables in problem.costs.items()}
    return replace(problem, variables=variables, ties=tuple(ties), values=cut(problem.values), costs=costs)
