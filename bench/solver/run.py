"""How good are the solvers, beside each other and beside a knapsack over output widths, on the networks people bring?

    python bench/solver/run.py [--networks NAME ...] [--costs measured synthetic] [--quick]

For every network, value function and budget every solver gets the same problem: value, true latency, gap and seconds.
Solvers that do not know the true latency (knapsacks) are also given smaller and larger budgets, and their best plan whose
true latency fits counts. "halp" prices a group by its producers alone, the width before them frozen (HALP, arXiv
2110.10811); "hull" is the best point of the concave front, which serves all budgets at once.

Costs are *measured* (profiles of ONNX Runtime; made where the cache has none) or *synthetic*: a staircase of 16 channels
over the same layers, at most 24 widths a group, which needs no engine and shows the solver's time on large networks. Rows
that are in results/solver.csv are not made again; `python bench/solver/tables.py` writes the README.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
from study import Table, example, load, show

from silicut import engine, profile_network
from silicut.compress import Restrictions, Scores, log_energy, sp_lamp
from silicut.flows.pruning_problem import LATENCY, Subject, pruning_problem
from silicut.graph import capture
from silicut.records import Cache, DoesNotFit, SilicutError
from silicut.search import Cost, CostSource, Problem, Solution, Variable, dense_levels, evaluate, hull, solve
from silicut.search import Table as CostTable
from silicut.targets.layers import Layer, layers_of
from silicut.targets.profile import axis_name, sum_variable

HERE = Path(__file__).parent
NETWORKS = ("resnet18", "resnet50", "resnet56-projection", "resnet152", "densenet121", "mobilenet-v2", "vit-b")
SOLVERS = ("coupled", "lagrangian", "descent", "hull", "knapsack", "halp")
BLIND = ("knapsack", "halp")  # do not know the true latency
BUDGETS, QUICK_BUDGETS = (70, 50, 35), (50,)
TIME_LIMIT_S = 120.0
N_LEVELS, STEP = 24, 16
VALUES: dict[str, Callable[..., Scores]] = {"sp-lamp": sp_lamp, "log-energy": log_energy}


@dataclass(frozen=True)
class SyntheticCosts:
    """A `CostSource` by formula: channels filled up to blocks of 16, times kernel and map, with 5 % of seeded noise."""

    layers: tuple[Layer, ...]
    variables: tuple[Variable, ...]

    @classmethod
    def of(cls, subject: Subject) -> SyntheticCosts:
        """Return the costs of a network's layers at up to 24 multiples of 16 a group."""
        sizes = {group.name: group.n_channels for group in subject.channels.groups}
        variables = tuple(Variable(name, _levels(n)) for name, n in sizes.items())
        return cls(layers_of(subject.folded, subject.channels, 1), variables)

    def cost(self, variables: Sequence[Variable], gates: Mapping[str, str]) -> Cost:
        """Return milliseconds; see `CostSource`."""
        levels = {v.name: v.levels for v in variables}
        sums = {s.name: s for la in self.layers for w in (la.inputs, la.outputs) if (s := sum_variable(w)) is not None}
        levels |= {name: derived.levels(variables) for name, derived in sums.items()}
        tables, fixed = [], 0.05
        for number, layer in enumerate(self.layers):
            names, costs = self._table(layer, levels, np.random.default_rng(number))
            gate = gates.get(layer.name)
            if gate is not None and gate not in names:
                stays = np.array([level > 0 for level in levels[gate]], float)
                names, costs = (*names, gate), costs[..., None] * stays
            if names:
                tables.append(CostTable.of(names, costs))
            else:
                fixed += float(costs)
        return Cost(tuple(tables), tuple(sums.values()), fixed)

    @staticmethod
    def _table(
        layer: Layer, levels: Mapping[str, tuple[int, ...]], rng: np.random.Generator
    ) -> tuple[tuple[str, ...], np.ndarray]:
        widths = (layer.inputs, layer.outputs)
        names = tuple(dict.fromkeys(axis_name(w) for w in widths if w.parts))
        shape = [len(levels[name]) for name in names]
        filled = []
        for width in widths:
            numbers = np.array([float(width.constant)])
            if width.parts:
                name = axis_name(width)
                numbers = width.constant + np.array(levels[name], dtype=float)
                numbers = numbers.reshape([-1 if n == name else 1 for n in names])
            filled.append(np.ceil(numbers / STEP) * STEP)
        area = float(np.prod(layer.shape.out_map)) * (9.0 if "3x3" in layer.shape.settings else 1.0)
        n_in, n_out = filled
        is_layer = layer.shape.kind in ("conv2d", "linear") and layer.shape.grouping == "dense"
        cost = 1e-8 * area * (n_in * n_out if is_layer else n_in + n_out)
        return names, np.broadcast_to(cost, shape) * (1 + 0.05 * rng.standard_normal(shape)) * (
            np.broadcast_to(n_out, shape) > 0
        )


def _levels(n_channels: int) -> tuple[int, ...]:
    stride = STEP * -(-n_channels // (STEP * N_LEVELS))
    return tuple(sorted({*range(stride, n_channels, stride), n_channels}))


def output_only(problem: Problem) -> Problem:
    """Return the problem as HALP prices it: a layer costs what its output width makes it cost, its input width dense.

    Tables over one axis stay; an output that is a sum of groups counts as fixed.
    """
    base, tables, fixed = {v.name for v in problem.variables}, [], problem.fixed[LATENCY]
    for table in problem.costs[LATENCY]:
        array, last = table.array, table.variables[-1]
        for _ in table.variables[:-1]:
            array = array[-1]
        if last in base:
            tables.append(CostTable.of((last,), array))
        else:
            fixed += float(array[-1])
    return replace(problem, costs={LATENCY: tuple(tables)}, fixed={LATENCY: fixed}, sums=())


@dataclass(frozen=True)
class Case:
    """One network with costs and values.

    Attributes:
        subject, source, scores: what the problems are made of.
        dense_ms: true latency of the dense network by these costs.
    """

    subject: Subject
    source: CostSource
    scores: Scores
    dense_ms: float

    def problem(self, budget_ms: float, *, may_remove_blocks: bool = True) -> Problem:
        """Return the problem at a budget."""
        restrictions = Restrictions(may_remove_blocks=may_remove_blocks)
        return pruning_problem(self.subject, {LATENCY: self.source}, self.scores, restrictions, {LATENCY: budget_ms})

    def solved(self, solver: str, budget_ms: float) -> tuple[Problem, Solution]:
        """Return a solver's plan evaluated in the true problem."""
        true = self.problem(budget_ms)
        if solver != "halp":
            return true, solve(true, solver, TIME_LIMIT_S)
        bare = self.problem(budget_ms, may_remove_blocks=False)
        found = solve(output_only(bare), "knapsack")
        value, costs = evaluate(true, found.levels)
        return true, replace(found, value=value, costs=costs)


def row_of(case: Case, solver: str, limit_ms: float) -> dict[str, object]:
    """Return a solver's figures at a limit of the true latency."""
    started = time.monotonic()
    if solver == "hull":
        front = hull(case.problem(limit_ms), LATENCY, TIME_LIMIT_S)
        point = front.best(limit_ms)
        assert point is not None
        return {
            "plan_value": point.value, "cost_frac": point.cost / case.dense_ms, "one_shot_frac": "",
            "bound": front.bound(limit_ms), "is_proven": front.is_complete, "time_s": front.time_s,
        }  # fmt: skip
    _, first = case.solved(solver, limit_ms)
    time_s, best = time.monotonic() - started, first
    if solver in BLIND:
        best = at_true_cost(case, solver, limit_ms) or first
    return {
        "plan_value": best.value, "cost_frac": best.costs[LATENCY] / case.dense_ms,
        "one_shot_frac": first.costs[LATENCY] / case.dense_ms, "bound": "" if solver in BLIND else best.bound,
        "is_proven": best.is_proven and solver not in BLIND, "time_s": time_s,
    }  # fmt: skip


def at_true_cost(case: Case, solver: str, limit_ms: float) -> Solution | None:
    """Return the best plan of a solver, given budgets of 0.4 to 3 times the limit, whose true latency fits."""
    found = []
    for factor in np.linspace(0.4, 3.0, 53):
        try:
            found.append(case.solved(solver, float(factor) * limit_ms)[1])
        except DoesNotFit:
            continue
    return max((s for s in found if s.costs[LATENCY] <= limit_ms * (1 + 1e-9)), key=lambda s: s.value, default=None)


def cases(name: str, costs: str, cache: Cache) -> dict[str, Case]:
    """Return the cases of a network by value function."""
    network = capture(load(name), example(name))
    subject = Subject.of(network)
    source: CostSource = (
        SyntheticCosts.of(subject) if costs == "synthetic"
        else profile_network(network, engine("onnxruntime"), cache=cache, progress=show)
    )  # fmt: skip
    made = {}
    for value, score in VALUES.items():
        case = Case(subject, source, score(subject.folded, subject.channels, subject.blocks), 0.0)
        problem = case.problem(1.0)
        made[value] = replace(case, dense_ms=evaluate(problem, dense_levels(problem))[1][LATENCY])
    return made


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="names in the zoo")
    parser.add_argument("--costs", nargs="+", choices=("measured", "synthetic"), default=("measured", "synthetic"))
    parser.add_argument("--work", type=Path, default=Path("runs/solver"), help="folder for the profile cache")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "solver.csv")
    parser.add_argument("--quick", action="store_true", help="synthetic costs, half the latency, one value function")
    arguments = parser.parse_args()
    rows = Table(arguments.results, ("network", "costs", "value", "budget", "solver"))
    for name in arguments.networks:
        for costs in ("synthetic",) if arguments.quick else arguments.costs:
            fill(rows, name, costs, Cache(arguments.work / "cache"), is_quick=arguments.quick)


def fill(rows: Table, name: str, costs: str, cache: Cache, *, is_quick: bool) -> None:
    """Make the missing rows of one network."""
    values, budgets = (["sp-lamp"], QUICK_BUDGETS) if is_quick else (list(VALUES), BUDGETS)
    keys = [(value, budget, solver) for value in values for budget in budgets for solver in SOLVERS]
    missing = [
        key for key in keys
        if not rows.has(network=name, costs=costs, **dict(zip(("value", "budget", "solver"), key, strict=True)))
    ]  # fmt: skip
    if not missing:
        return
    try:
        made = cases(name, costs, cache)
    except SilicutError as error:
        print(f"    {name}: left out, {error}", file=sys.stderr)
        return
    for value, budget, solver in missing:
        case = made[value]
        n_levels = [len(v.levels) for v in case.source.variables]
        try:
            found = row_of(case, solver, budget / 100 * case.dense_ms)
        except DoesNotFit as error:
            print(f"    {name} at {budget} % by {solver}: {error}", file=sys.stderr)
            continue
        rows.add(
            network=name, costs=costs, value=value, budget=budget, solver=solver, n_groups=len(n_levels),
            n_levels_max=max(n_levels), **found, seed=0,
        )  # fmt: skip


if __name__ == "__main__":
    main()
