"""What every solver solves: choose one level for each variable so that the value is greatest and every budget is met.

Values and costs are tables over one to three variables, so a solver never sees a network. `CostSource` is what fills
cost tables: measured engines and accelerator cost models implement it alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from silicut.records import ConfigError, Record

FIT_TOLERANCE = 1e-9
"""A cost fits when it is at most its budget, up to this fraction of it (rounding of sums in float64)."""

_MAX_AXES = 3
_MAX_NUMBER = 10_000_000


@dataclass(frozen=True)
class Variable:
    """One decision: how many channel atoms of a group are kept.

    Attributes:
        name: unique in its problem.
        levels: the numbers to choose from, strictly increasing, each 0..10 million; 0 removes a whole residual block.

    Raises:
        ConfigError: the name is empty or the levels are not as above.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: str
    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        levels = self.levels
        problems = [] if self.name else ["variable.name must be a non-empty text, not ''"]
        if not levels or levels[0] < 0 or levels[-1] > _MAX_NUMBER or any(a >= b for a, b in pairwise(levels)):
            problems.append(
                f"variable {self.name!r}: levels must be strictly increasing integers 0..{_MAX_NUMBER}, not {levels}"
            )
        if problems:
            raise ConfigError(*problems)


@dataclass(frozen=True)
class SumVariable:
    """A number that follows from others: the sum of the numbers of its parts.

    It is the input width of an operator behind a concatenation or a padded shortcut.

    Attributes:
        name: unique in its problem.
        parts: names of (base) variables; one that is named twice counts twice.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: str
    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        problems = [] if self.name else ["sum.name must be a non-empty text, not ''"]
        if not self.parts:
            problems.append(f"sum {self.name!r}: parts must name at least one variable, not none")
        if problems:
            raise ConfigError(*problems)

    @property
    def weights(self) -> dict[str, int]:
        """How often each part counts."""
        return dict(Counter(self.parts))

    def levels(self, variables: Iterable[Variable]) -> tuple[int, ...]:
        """Return every reachable sum, increasing: the order of a table's axis over this variable.

        Args:
            variables: at least the parts.

        Example:
            >>> SumVariable("s", ("a", "b")).levels([Variable("a", (0, 8)), Variable("b", (4, 8))])
            (4, 8, 12, 16)
        """
        by_name = {variable.name: variable for variable in variables}
        return reachable_sums([(by_name[part].levels, weight) for part, weight in self.weights.items()])


def reachable_sums(parts: Iterable[tuple[Sequence[int], int]]) -> tuple[int, ...]:
    """Return every sum of one number of each part times the part's weight, increasing.

    Example:
        >>> reachable_sums([((1, 2), 2), ((0, 5), 1)])
        (2, 4, 7, 9)
    """
    sums = np.zeros(1, dtype=np.int64)
    for levels, weight in parts:
        sums = np.unique(np.add.outer(sums, weight * np.asarray(levels, dtype=np.int64)))
    return tuple(sums.tolist())


@dataclass(frozen=True)
class Table:
    """One number for each setting of one to three variables; make it with `Table.of`.

    Attributes:
        variables: names of distinct variables or sums, one for each axis.
        shape: the number of levels along each axis.
        entries: the numbers in row-major order, the last axis fastest; finite.

    Raises:
        ConfigError: axes, shape and entries do not agree, or an entry is not finite.

    Example:
        >>> table = Table.of(("a", "b"), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        >>> table.shape, float(table.array[1, 2])
        ((2, 3), 6.0)
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    variables: tuple[str, ...]
    shape: tuple[int, ...]
    entries: tuple[float, ...]

    def __post_init__(self) -> None:
        names, problems = ", ".join(self.variables), []
        if not 1 <= len(self.variables) <= _MAX_AXES or len(set(self.variables)) < len(self.variables):
            problems.append(f"table ({names}): variables must be one to three distinct names, not {self.variables}")
        if len(self.shape) != len(self.variables) or math.prod(self.shape) != len(self.entries):
            problems.append(
                f"table ({names}): shape must have one axis for each variable and hold all entries, "
                f"not {self.shape} for {len(self.entries)} entries"
            )
        if not all(map(math.isfinite, self.entries)):
            problems.append(f"table ({names}): entries must be finite, not nan or infinite")
        if problems:
            raise ConfigError(*problems)

    @classmethod
    def of(cls, variables: Sequence[str], array: Any) -> Table:
        """Make a table from anything `numpy.asarray` takes: one axis for each variable, in the order of its levels."""
        numbers = np.asarray(array, dtype=np.float64)
        return cls(tuple(variables), numbers.shape, tuple(numbers.ravel().tolist()))

    @cached_property
    def array(self) -> NDArray[np.float64]:
        """The entries as a read-only array of this shape."""
        numbers = np.array(self.entries, dtype=np.float64).reshape(self.shape)
        numbers.flags.writeable = False
        return numbers


@dataclass(frozen=True, kw_only=True)
class Problem(Record):
    """Choose a level for every variable: greatest value, every budget met.

    The value is the sum of the value tables. The cost of a resource is its fixed part plus the sum of its tables. The
    keys of `costs` are the resources; one without a budget is reported, not limited.

    Attributes:
        variables: the decisions.
        sums: numbers derived from them, as further axes for tables.
        ties: groups of variables that are at level 0 together or not at all (the inner groups of one residual block).
        values: tables to be maximised.
        costs: resource -> its tables ("latency_ms").
        fixed: resource -> the part of its cost that no choice changes; absent means 0.
        budgets: resource -> the most it may cost.

    Raises:
        ConfigError: lists everything that does not agree; also when a file is loaded that was changed by hand.

    Example:
        >>> width = Variable("width", (16, 32))
        >>> problem = Problem(
        ...     variables=(width,),
        ...     values=(Table.of(("width",), [1.0, 1.5]),),
        ...     costs={"latency_ms": (Table.of(("width",), [2.0, 4.0]),)},
        ...     fixed={"latency_ms": 1.0},
        ...     budgets={"latency_ms": 4.0},
        ... )
        >>> evaluate(problem, {"width": 16})
        (1.0, {'latency_ms': 3.0})
    """

    schema: ClassVar[str] = "problem/1"

    variables: tuple[Variable, ...]
    sums: tuple[SumVariable, ...] = ()
    ties: tuple[tuple[str, ...], ...] = ()
    values: tuple[Table, ...]
    costs: dict[str, tuple[Table, ...]]
    fixed: dict[str, float] = field(default_factory=dict)
    budgets: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [*self._wrong_names(), *self._wrong_ties(), *self._wrong_resources()]
        if not problems:
            problems = list(self._wrong_tables())
        if problems:
            raise ConfigError(*problems)

    @property
    def resources(self) -> tuple[str, ...]:
        """The names of all resources, sorted."""
        return tuple(sorted(self.costs))

    @cached_property
    def levels(self) -> dict[str, tuple[int, ...]]:
        """The levels of every variable and every sum by name."""
        base = {variable.name: variable.levels for variable in self.variables}
        return base | {derived.name: derived.levels(self.variables) for derived in self.sums}

    def _wrong_names(self) -> Iterator[str]:
        base = {variable.name for variable in self.variables}
        if not base:
            yield "variables must hold at least one variable, not none"
        names = Counter([*(v.name for v in self.variables), *(s.name for s in self.sums)])
        if repeated := sorted(name for name, n in names.items() if n > 1):
            yield f"variables and sums must have distinct names, not {repeated} twice"
        for derived in self.sums:
            if unknown := sorted(set(derived.parts) - base):
                yield f"sum {derived.name!r}: parts must be variables of the problem, not {unknown}"

    def _wrong_ties(self) -> Iterator[str]:
        removable = {variable.name for variable in self.variables if variable.levels[0] == 0}
        for tie in self.ties:
            if wrong := sorted(set(tie) - removable):
                yield f"tie {tie}: members must be variables that have level 0, not {wrong}"
            if len(set(tie)) < max(2, len(tie)):
                yield f"tie {tie}: members must be at least two distinct variables, not {list(tie)}"
        members = Counter(name for tie in self.ties for name in set(tie))
        if repeated := sorted(name for name, n in members.items() if n > 1):
            yield f"ties must not share variables, not {repeated} in two of them; join those ties into one"

    def _wrong_resources(self) -> Iterator[str]:
        for name, given in (("fixed", self.fixed), ("budgets", self.budgets)):
            if unknown := sorted(set(given) - set(self.costs)):
                yield f"{name} must be of resources in costs {list(self.resources)}, not {unknown}"
            if wrong := sorted(key for key, number in given.items() if not math.isfinite(number)):
                yield f"{name} must be finite, not {[given[key] for key in wrong]} for {wrong}"

    def _wrong_tables(self) -> Iterator[str]:
        for place, tables in (("values", self.values), *((f"costs {key!r}", self.costs[key]) for key in self.costs)):
            for table in tables:
                names = ", ".join(table.variables)
                if unknown := sorted(set(table.variables) - set(self.levels)):
                    yield f"{place}: table ({names}) must be over variables or sums of the problem, not {unknown}"
                    continue
                expected = tuple(len(self.levels[name]) for name in table.variables)
                if table.shape != expected:
                    yield f"{place}: table ({names}) must have shape {expected} (its levels), not {table.shape}"


@dataclass(frozen=True)
class Cost:
    """One resource's part of a problem.

    Attributes:
        tables: over variables and sums.
        sums: those that the tables are over.
        fixed: what no choice changes.
    """

    tables: tuple[Table, ...]
    sums: tuple[SumVariable, ...] = ()
    fixed: float = 0.0

    def scaled(self, factor: float) -> Cost:
        """Return the cost in another unit."""
        return Cost(tuple(Table.of(t.variables, factor * t.array) for t in self.tables), self.sums, factor * self.fixed)


class CostSource(Protocol):
    """What fills cost tables: a measured engine, an accelerator's cost model, a count of parameters.

    A source is made for one network and knows its operators by name.
    """

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The numbers of channels worth having, of every group for which the source has an opinion."""
        ...

    def cost(self, variables: Sequence[Variable], gates: Mapping[str, str]) -> Cost:
        """Return the cost over some levels of the groups.

        Args:
            variables: every group with the levels to choose from; they need not be those of the source.
            gates: operator -> the group at whose level 0 the operator is gone.
        """
        ...


def dense_levels(problem: Problem) -> dict[str, int]:
    """Return every variable at its greatest level: the network as it came."""
    return {variable.name: variable.levels[-1] for variable in problem.variables}


def fits(problem: Problem, costs: Mapping[str, float], resource: str | None = None) -> bool:
    """Tell whether every budget (or only that of one resource) is met, up to `FIT_TOLERANCE` of the budget."""
    budgets = problem.budgets if resource is None else {resource: problem.budgets[resource]}
    return all(costs[key] <= budget + FIT_TOLERANCE * abs(budget) for key, budget in budgets.items())


def evaluate(problem: Problem, levels: Mapping[str, int]) -> tuple[float, dict[str, float]]:
    """Return the exact value of a choice and its exact cost by resource.

    Args:
        problem: whose tables to add up.
        levels: one level for each variable (sums follow from them).

    Raises:
        ConfigError: a variable is missing or unknown, a level is not one of its levels, or a tie is broken.
    """
    _check_levels(problem, levels)
    numbers = dict(levels) | {s.name: sum(levels[part] for part in s.parts) for s in problem.sums}
    index = {name: problem.levels[name].index(number) for name, number in numbers.items()}

    def total(tables: Iterable[Table]) -> float:
        return math.fsum(float(table.array[tuple(index[name] for name in table.variables)]) for table in tables)

    costs = {key: problem.fixed.get(key, 0.0) + total(tables) for key, tables in problem.costs.items()}
    return total(problem.values), costs


def _check_levels(problem: Problem, levels: Mapping[str, int]) -> None:
    base = {variable.name: variable.levels for variable in problem.variables}
    problems = []
    if missing := sorted(set(base) - set(levels)):
        problems.append(f"levels must name every variable, not leave out {missing}")
    if unknown := sorted(set(levels) - set(base)):
        problems.append(f"levels must name variables of the problem, not {unknown}")
    for name in sorted(set(base) & set(levels)):
        if levels[name] not in base[name]:
            problems.append(f"level of {name!r} must be one of {base[name]}, not {levels[name]}")
    for tie in problem.ties:
        if len({levels[name] == 0 for name in tie if name in levels}) > 1:
            problems.append(f"levels of tie {tie} must be all 0 or all above 0, not {[levels[n] for n in tie]}")
    if problems:
        raise ConfigError(*problems)
