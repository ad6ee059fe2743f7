"""How far are learned and heuristic searches from the best build of a grid?

    python bench/design_search/run.py [--only designs exact searches] [--cases NETWORK@PART ...] [--grids NAME ...]
        [--solvers NAME ...] [--seeds N ...] [--long] [--quick]

Builds of the GEMM accelerator are searched for the least predicted time of ResNet-18 and MobileNetV2 (224 x 224, weights
and activations of 4 bits, first and last product of 8) on an xc7z020 and an xc7z045 at an assumed 100 MHz. Branch and bound
finds the optimum of the grid with proof; then every solver gets 600 evaluations (distinct builds) for each seed. Two grids:
the committed one, and the hardware actions of N3H-Core's released search, everything else fixed. With --long the solvers
that are quick enough for it get 20 times as many as well. The question "designs" is what comes of it: the build that
`silicut design` chooses for ResNet-18, compiled and timed to the cycle, for other memories and bits too.

Rows in results/ are not made again (delete them when the model of time or the grid changes), and with --storage FILE an
interrupted search goes on with its own evaluations; `python bench/design_search/tables.py` writes the README.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import designs
from study import Table

from silicut.accelerators.gemm.cost.work import LayerWork, network_work, with_edge_bits
from silicut.accelerators.gemm.design import GRID, N3H_SPACE, DesignProblem, branch_and_bound
from silicut.compress.quantisation.bits import BitPlan
from silicut.records import DoesNotFit
from silicut.search import minimise
from silicut.targets.parts import device_table
from silicut.zoo.layer_table import known_layers

HERE = Path(__file__).parent
GRIDS = {"committed": GRID, "n3h": N3H_SPACE}
CASES = tuple(f"{network}@{part}" for network in ("resnet18", "mobilenet-v2") for part in ("xc7z020", "xc7z045"))
SOLVERS = ("random", "annealing", "tabu", "evolution", "tpe", "ddpg")
N_EVALUATIONS, N_LONG = 600, 12_000
LONG_SOLVERS = ("random", "annealing", "tabu")
MILESTONES = (50, 100, 200, 300, 600, 1200, 3000, 6000, 12_000)
CASE = ("grid", "network", "part")
EXACT_COLUMNS = ("cycles", "bound", "is_proven", "time_s", "n_visited", "n_pruned", "n_infeasible")
EXACT_LIMIT_S = 1800.0


def work_of(name: str) -> tuple[LayerWork, ...]:
    """Return the layers of a network of the zoo at 4 bits, the ends at 8."""
    shapes = known_layers(name)
    work = network_work(shapes, with_edge_bits(BitPlan.uniform(4, 4), shapes, 8)).layers
    return tuple(replace(layer, dsp_bits=4 if layer.a_bits <= 4 else 8) for layer in work)


def problem_of(grid: str, case: str) -> DesignProblem:
    """Return what is searched: a case is "network@part"."""
    network, _, part = case.partition("@")
    return DesignProblem(layers=work_of(network), part=device_table().part(part), space=GRIDS[grid], network=network)


def prove(table: Table, grid: str, case: str) -> None:
    """Make the row of the least predicted cycles of a grid, with its proof; empty where no build of it fits."""
    problem = problem_of(grid, case)
    key = {"grid": grid, "network": problem.network, "part": problem.part.name}
    if table.has(**key):
        return
    found: dict[str, object] = dict.fromkeys(EXACT_COLUMNS, "")
    try:
        exact = branch_and_bound(problem, time_limit_s=EXACT_LIMIT_S)
    except DoesNotFit as error:
        print(f"    {grid}, {case}: {error}", file=sys.stderr)
    else:
        numbers = (exact.best[0].cost, exact.bound, exact.is_proven, exact.seconds)
        counts = (sum(getattr(count, name) for count in exact.counts.values()) for name in EXACT_COLUMNS[4:])
        found = dict(zip(EXACT_COLUMNS, (*numbers, *counts), strict=True))
    table.add(**key, n_points=problem.space.size, **found)


def searches(seeds: Sequence[int], solvers: Sequence[str], *, is_long: bool) -> Iterator[tuple[str, int, int]]:
    """Yield solver, seed and evaluations, all solvers of one seed before the next."""
    yield from ((solver, seed, N_EVALUATIONS) for seed in seeds for solver in solvers)
    if is_long:
        yield from ((solver, seed, N_LONG) for seed in seeds for solver in solvers if solver in LONG_SOLVERS)


def fill(rows: Table, problem: DesignProblem, key: dict[str, object], storage: Path | None) -> None:
    """Make the row of one search if it is missing."""
    if rows.has(**key):
        return
    store = None if storage is None else storage.with_name(f"{storage.stem}-{'-'.join(map(str, key.values()))}.log")
    result = minimise(problem, str(key["solver"]), int(str(key["n_allowed"])), int(str(key["seed"])), store)
    outcome, curve = result.best.outcome, result.curve
    reached = {f"cycles_{n}": min((cost for m, cost in curve if m <= n), default="") for n in MILESTONES}
    rows.add(
        **key, cycles=outcome.cost if curve else "", violation=outcome.violation, n_evaluations=result.n_evaluations,
        n_infeasible=result.n_infeasible, first_feasible=curve[0][0] if curve else "", time_s=result.seconds, **reached,
    )  # fmt: skip


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    questions = ("designs", "exact", "searches")
    parser.add_argument("--only", nargs="+", choices=questions, default=questions)
    parser.add_argument("--work", type=Path, default=Path("runs/design_search"), help="folder of the designs")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, metavar="NETWORK@PART")
    parser.add_argument("--grids", nargs="+", choices=tuple(GRIDS), default=tuple(GRIDS))
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=SOLVERS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--long", action="store_true", help=f"also {N_LONG:,} evaluations by {', '.join(LONG_SOLVERS)}")
    parser.add_argument("--storage", type=Path, help="trials are kept in files of this name, one for each search")
    parser.add_argument("--quick", action="store_true", help="ResNet-18 on the xc7z020, one seed, without the slow solvers")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    cases, grids, seeds, solvers = arguments.cases, arguments.grids, arguments.seeds, arguments.solvers
    if arguments.quick:
        cases, grids, seeds, solvers = CASES[:1], ("committed",), (0,), ("random", "annealing", "tabu", "evolution")
    if "designs" in arguments.only and not arguments.quick:
        tables = (
            Table(arguments.results / "designs.csv", ("case",)),
            Table(arguments.results / "helps.csv", ("case", "what")),
        )
        designs.answer(*tables, arguments.work)
    exact = Table(arguments.results / "exact.csv", CASE)
    rows = Table(arguments.results / "searches.csv", (*CASE, "solver", "seed", "n_allowed"))
    for grid in grids if "exact" in arguments.only else ():
        for case in cases:
            prove(exact, grid, case)
    for solver, seed, n_allowed in searches(seeds, solvers, is_long=arguments.long) if "searches" in arguments.only else ():
        for grid in grids:
            for problem in (problem_of(grid, case) for case in cases):
                key = {"grid": grid, "network": problem.network, "part": problem.part.name, "solver": solver, "seed": seed,
                       "n_allowed": n_allowed}  # fmt: skip
                fill(rows, problem, key, arguments.storage)


if __name__ == "__main__":
    main()
