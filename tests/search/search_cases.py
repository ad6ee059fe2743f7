"""Problems for the tests of the search room, and their solution by trying everything (plain Python, no shared code)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from silicut.search import Problem, SumVariable, Table, Variable


def every_choice(problem: Problem) -> Iterator[tuple[dict[str, int], float, dict[str, float]]]:
    """Yield every legal choice with its value and costs, added up entry by entry."""
    for numbers in itertools.product(*(variable.levels for variable in problem.variables)):
        levels = {variable.name: number for variable, number in zip(problem.variables, numbers, strict=True)}
        if any(len({levels[name] == 0 for name in tie}) > 1 for tie in problem.ties):
            continue
        everything = dict(levels)
        for derived in problem.sums:
            everything[derived.name] = sum(levels[part] for part in derived.parts)
        value = sum(_entry(problem, table, everything) for table in problem.values)
        costs = {
            key: problem.fixed.get(key, 0.0) + sum(_entry(problem, table, everything) for table in tables)
            for key, tables in problem.costs.items()
        }
        yield levels, value, costs


def _entry(problem: Problem, table: Table, numbers: dict[str, int]) -> float:
    flat = 0
    for name, size in zip(table.variables, table.shape, strict=True):
        flat = flat * size + problem.levels[name].index(numbers[name])
    return table.entries[flat]


def meets(problem: Problem, costs: dict[str, float], besides: str = "") -> bool:
    """Tell whether all budgets (but one) are met, with the tolerance the room promises."""
    return all(costs[key] <= b + 1e-9 * abs(b) for key, b in problem.budgets.items() if key != besides)


def best_value(problem: Problem) -> float | None:
    """Return the greatest value within the budgets, or None if nothing fits."""
    return max((value for _, value, costs in every_choice(problem) if meets(problem, costs)), default=None)


def random_problem(seed: int, features: frozenset[str] = frozenset()) -> Problem:
    """Return a problem of 2-4 variables; features: "sum", "tie", "triple", "two budgets", "whole" (small integers).

    Costs are neither monotone nor convex. The budget lies somewhere between the least and the greatest cost that a
    random sample of choices has, or just below the least.
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3 if "triple" in features else 2, 5))
    variables = tuple(_variable(rng, f"v{i}", i < 2 and "tie" in features) for i in range(n))
    sums = (SumVariable("s", tuple(f"v{i}" for i in rng.integers(0, n, rng.integers(2, 4)))),) * ("sum" in features)
    sizes = {v.name: len(v.levels) for v in variables} | {s.name: len(s.levels(variables)) for s in sums}

    def table(*names: str) -> Table:
        shape = [sizes[name] for name in names]
        return Table.of(names, rng.integers(-1, 6, shape) if "whole" in features else rng.normal(0, 3, shape))

    def tables() -> tuple[Table, ...]:
        some = [table(f"v{i}") for i in range(n)] + [table(f"v{i}", f"v{i - 1}") for i in range(1, n)]
        some += [table("s"), table("v0", "s"), table("s", "v1")] if sums else []
        some += [table("v0", "v2", "v1")] if "triple" in features else []
        some += [table("v0", f"v{n - 1}")]
        return tuple(some)

    costs = {f"cost{i}": tables() for i in range(1 + ("two budgets" in features))}
    ties = (("v0", "v1"),) if "tie" in features else ()
    open_problem = Problem(variables=variables, sums=sums, ties=ties, values=tables(), costs=costs, fixed={"cost0": 2.0})
    sample = list(every_choice(open_problem))
    budgets = {}
    for key in costs:
        reached = sorted(choice[2][key] for choice in sample)
        budgets[key] = reached[int(rng.integers(len(reached)))] - (0.25 if rng.random() < 0.1 else 0.0)
    return Problem(
        variables=variables,
        sums=sums,
        ties=ties,
        values=open_problem.values,
        costs=costs,
        fixed=open_problem.fixed,
        budgets=budgets,
    )


def _variable(rng: np.random.Generator, name: str, is_removable: bool) -> Variable:
    levels = sorted(rng.choice(np.arange(1, 9), int(rng.integers(1, 4)), replace=False).tolist())
    return Variable(name, tuple([0, *levels] if is_removable or rng.random() < 0.3 else levels))


class _Net:
    """Groups and convolutions collected into a problem; costs are staircases of 16 channels with 5 % of noise."""

    def __init__(self, seed: int, step: int) -> None:
        self.rng, self.step = np.random.default_rng(seed), step
        self.variables: list[Variable] = []
        self.sums: list[SumVariable] = []
        self.ties: list[tuple[str, ...]] = []
        self.values: list[Table] = []
        self.costs: list[Table] = []

    def group(self, name: str, levels: list[int], n_producers: int = 1) -> str:
        """Add a group whose value is the prefix sum of s_j / (s_1 + ... + s_j) over descending scores s."""
        scores = np.sort(self.rng.lognormal(0.0, 1.0, levels[-1]))[::-1]
        kept = np.concatenate([[0.0], np.cumsum(scores / np.cumsum(scores))]) * n_producers
        self.variables.append(Variable(name, tuple(levels)))
        self.values.append(Table.of((name,), kept[levels]))
        return name

    def conv(self, a: str | int, b: str | int, size: int, kernel: int) -> None:
        """Add the cost of a convolution between groups or fixed widths."""
        widths = [np.array([side]) if isinstance(side, int) else np.array(self._levels(side)) for side in (a, b)]
        n_in, n_out = (np.ceil(width / self.step) * self.step for width in widths)
        cost = 2e-8 * size**2 * (kernel**2 * np.outer(n_in, n_out) + 10 * np.add.outer(n_in, n_out)) + 1e-3
        cost = np.where(np.outer(n_in, n_out) > 0, cost * (1 + 0.05 * self.rng.standard_normal(cost.shape)), 0.0)
        names = [side for side in (a, b) if isinstance(side, str)]
        self.costs.append(Table.of(names, cost.reshape([len(self._levels(name)) for name in names])))

    def _levels(self, name: str) -> tuple[int, ...]:
        found = {v.name: v.levels for v in self.variables} | {s.name: s.levels(self.variables) for s in self.sums}
        return found[name]

    def problem(self, budget_frac: float) -> Problem:
        """Return the problem with a latency budget at a fraction of the dense cost."""
        dense = sum(float(table.array.ravel()[-1]) for table in self.costs) + 0.1
        return Problem(
            variables=tuple(self.variables),
            sums=tuple(self.sums),
            ties=tuple(self.ties),
            values=tuple(self.values),
            costs={"latency_ms": tuple(self.costs)},
            fixed={"latency_ms": 0.1},
            budgets={"latency_ms": budget_frac * dense},
        )


def _levels(width: int, step: int, is_removable: bool = False) -> list[int]:
    return ([0] if is_removable else []) + list(range(step, width + 1, step))


def resnet18_like(budget_frac: float, seed: int = 0) -> Problem:
    """Return 12 groups in steps of 16 channels: 4 streams, 8 inner groups (removable where the shortcut is plain)."""
    net, widths, sizes = _Net(seed, 16), (64, 128, 256, 512), (56, 28, 14, 7)
    streams = [net.group(f"stream{i}", _levels(width, 16), 3) for i, width in enumerate(widths)]
    net.conv(3, streams[0], 112, 7)
    for i, block in itertools.product(range(4), range(2)):
        is_first = block == 0 and i > 0
        source = streams[i - 1] if is_first else streams[i]
        inner = net.group(f"inner{i}.{block}", _levels(widths[i], 16, not is_first))
        net.conv(source, inner, sizes[i], 3)
        net.conv(inner, streams[i], sizes[i], 3)
        if is_first:
            net.conv(source, streams[i], sizes[i], 1)
    net.conv(streams[3], 1000, 1, 1)
    return net.problem(budget_frac)


def resnet50_like(budget_frac: float, seed: int = 0, n_levels: int | None = None) -> Problem:
    """Return 37 groups, two tied ones in each removable block; steps of 32 channels, or `n_levels` for each group."""
    return _bottlenecks(budget_frac, seed, n_levels, (3, 4, 6, 3))


def _bottlenecks(budget_frac: float, seed: int, n_levels: int | None, depths: tuple[int, ...]) -> Problem:
    net, widths, sizes = _Net(seed, 16), (64, 128, 256, 512), (56, 28, 14, 7)

    def levels(width: int, is_removable: bool = False) -> list[int]:
        return _levels(width, max(2, width // n_levels) if n_levels else 32, is_removable)

    stem = net.group("stem", levels(64))
    streams = [net.group(f"stream{i}", levels(4 * width), depths[i] + 1) for i, width in enumerate(widths)]
    net.conv(3, stem, 112, 7)
    for i, depth in enumerate(depths):
        for block in range(depth):
            source = streams[i] if block else (streams[i - 1] if i else stem)
            inner = [net.group(f"inner{i}.{block}{side}", levels(widths[i], block > 0)) for side in "ab"]
            net.ties += [tuple(inner)] if block else []
            net.conv(source, inner[0], sizes[i], 1)
            net.conv(inner[0], inner[1], sizes[i], 3)
            net.conv(inner[1], streams[i], sizes[i], 1)
            if not block:
                net.conv(source, streams[i], sizes[i], 1)
    net.conv(streams[3], 1000, 1, 1)
    return net.problem(budget_frac)


def resnet56_like(budget_frac: float, seed: int = 0) -> Problem:
    """Return 27 inner groups and 3 streams whose widths add up (shortcuts padded with zeros), about 5 levels each."""
    net, widths, sizes = _Net(seed, 4), (16, 32, 64), (32, 16, 8)
    for i, added in enumerate((16, 16, 32)):
        net.group(f"part{i}", _levels(added, added // 4), 9)
    net.sums = [SumVariable("stream1", ("part0", "part1")), SumVariable("stream2", ("part0", "part1", "part2"))]
    streams = ("part0", "stream1", "stream2")
    net.conv(3, "part0", 32, 3)
    for i, block in itertools.product(range(3), range(9)):
        is_first = block == 0 and i > 0
        inner = net.group(f"inner{i}.{block}", _levels(widths[i], widths[i] // 4, not is_first))
        net.conv(streams[i - 1] if is_first else streams[i], inner, sizes[i], 3)
        net.conv(inner, streams[i], sizes[i], 3)
    net.conv("stream2", 10, 1, 1)
    return net.problem(budget_frac)


def densenet_like(budget_frac: float, n_layers: int, growth: int, seed: int = 0) -> Problem:
    """Return one dense block: every layer reads the sum of all widths before it."""
    net = _Net(seed, 4)
    names = [net.group("stem", _levels(2 * growth, growth // 2))]
    for layer in range(n_layers):
        source = names[0]
        if len(names) > 1:
            source = f"before{layer}"
            net.sums.append(SumVariable(source, tuple(names)))
        names.append(net.group(f"layer{layer}", _levels(growth, max(1, growth // 4)), 1))
        net.conv(source, names[-1], 16, 3)
    net.sums.append(SumVariable("after", tuple(names)))
    net.conv("after", 10, 16, 1)
    return net.problem(budget_frac)


def resnet152_like(budget_frac: float, seed: int = 0, n_levels: int | None = None) -> Problem:
    """Return the groups of a ResNet-152: 105 of them, two tied ones in each of 46 removable blocks."""
    return _bottlenecks(budget_frac, seed, n_levels, (3, 8, 36, 3))


def vit_like(budget_frac: float, n_blocks: int = 12, n_levels: int = 24, seed: int = 0) -> Problem:
    """Return one stream that every block reads and writes, with heads and hidden channels in each block."""
    net = _Net(seed, 16)
    stream = net.group("stream", _levels(768, 768 // n_levels), 2 * n_blocks + 1)
    net.conv(3, stream, 14, 16)
    for block in range(n_blocks):
        heads = net.group(f"heads{block}", _levels(768, 64, True), 3)
        hidden = net.group(f"hidden{block}", _levels(3072, 3072 // n_levels, True))
        for name in (heads, hidden):
            net.conv(stream, name, 14, 1)
            net.conv(name, stream, 14, 1)
    net.conv(stream, 1000, 1, 1)
    return net.problem(budget_frac)
