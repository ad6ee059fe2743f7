"""How far are learned and heuristic searches from the best build of a grid?

    python bench/design_search/run.py [--only NETWORK@PART ...] [--solvers NAME ...] [--seeds N ...] [--quick]

Builds of the GEMM accelerator are searched for the least predicted time of ResNet-18 and MobileNetV2 (224 x 224, weights
and activations of 4 bits, first and last product of 8) on an xc7z020 and an xc7z045 at an assumed 100 MHz. Branch and bound
finds the optimum of the grid with proof; then every solver gets 600 evaluations (distinct builds) for each seed. Two grids:
the committed one, and the hardware actions of N3H-Core's released search, everything else fixed. At last the solvers that
are quick enough for it get 20 times as many.

Rows in results/ are not made again, and with --storage FILE an interrupted search goes on with its own evaluations;
`python bench/design_search/tables.py` writes the README.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import Table

from silicut.accelerators.gemm.cost.work import LayerWork, network_work, with_edge_bits
from silicut.accelerators.gemm.design.exact import branch_and_bound
from silicut.accelerators.gemm.design.problem import DesignProblem
from silicut.accelerators.gemm.design.space import GRID, N3H_SPACE
from silicut.compress.quantisation.bits import BitPlan
from silicut.records import DoesNotFit
from silicut.search import SearchResult, minimise
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


def work_of(name: str) -> tuple[LayerWork, ...]:
    """Return the layers of a network of the zoo at 4 bits, the ends at 8."""
    shapes = known_layers(name)
    work = network_work(shapes, with_edge_bits(BitPlan.uniform(4, 4), shapes, 8)).layers
    return tuple(replace(layer, dsp_bits=4 if layer.a_bits <= 4 else 8) for layer in work)


def problem_of(grid: str, case: str) -> DesignProblem:
    """Return what is searched: a case is "network@part"."""
    network, _, part = case.partition("@")
    return DesignProblem(layers=work_of(network), part=device_table().part(part), space=GRIDS[grid], network=network)


def optimum(table: Table, grid: str, problem: DesignProblem) -> float | None:
    """Return the least predicted cycles of a grid, None where no build of it fits; found once, with its proof."""
    key = {"grid": grid, "network": problem.network, "part": problem.part.name}
    if not table.has(**key):
        try:
            found = branch_and_bound(problem)
        except DoesNotFit:
            table.add(**key, n_points=problem.space.size, cycles="", bound="", is_proven="", time_s="", n_visited="",
                      n_pruned="", n_infeasible="")  # fmt: skip
        else:
            counts = found.counts.values()
            table.add(
                **key, n_points=found.n_points, cycles=found.best[0].cost, bound=found.bound, is_proven=found.is_proven,
                time_s=found.seconds, n_visited=sum(c.n_visited for c in counts), n_pruned=sum(c.n_pruned for c in counts),
                n_infeasible=sum(c.n_infeasible for c in counts),
            )  # fmt: skip
    row = next(row for row in table.rows() if all(row[name] == value for name, value in key.items()))
    return float(row["cycles"]) if row["cycles"] else None


def gaps(result: SearchResult, least: float) -> dict[str, float | str]:
    """Return how far above the optimum the best build was after so many evaluations; empty where none kept the limits."""
    found = {}
    for milestone in MILESTONES:
        costs = [cost for n, cost in result.curve if n <= milestone]
        found[f"gap_{milestone}"] = costs[-1] / least - 1 if costs and milestone <= max(MILESTONES) else ""
    return found


def searches(seeds: list[int], solvers: list[str]) -> Iterator[tuple[str, int, int]]:
    """Yield solver, seed and evaluations, all solvers of one seed before the next."""
    yield from ((solver, seed, N_EVALUATIONS) for seed in seeds for solver in solvers)
    yield from ((solver, seed, N_LONG) for seed in seeds for solver in solvers if solver in LONG_SOLVERS)


def fill(rows: Table, case: tuple[str, DesignProblem, float], search: tuple[str, int, int], storage: Path | None) -> None:
    """Make the row of one search if it is missing."""
    (grid, problem, least), (solver, seed, n_allowed) = case, search
    key = {"grid": grid, "network": problem.network, "part": problem.part.name, "solver": solver, "seed": seed,
           "n_allowed": n_allowed}  # fmt: skip
    if rows.has(**key):
        return
    store = None if storage is None else storage.with_name(f"{storage.stem}-{'-'.join(map(str, key.values()))}.log")
    result = minimise(problem, solver, n_allowed, seed, store)
    outcome, curve = result.best.outcome, result.curve
    rows.add(
        **key, cycles=outcome.cost if curve else "", gap_frac=outcome.cost / least - 1 if curve else "",
        violation=outcome.violation, n_evaluations=result.n_evaluations, n_infeasible=result.n_infeasible,
        first_feasible=curve[0][0] if curve else "", time_s=result.seconds, **gaps(result, least),
    )  # fmt: skip


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, metavar="NETWORK@PART")
    parser.add_argument("--grids", nargs="+", choices=tuple(GRIDS), default=tuple(GRIDS))
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=SOLVERS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--storage", type=Path, help="trials are kept in files of this name, one for each search")
    parser.add_argument("--quick", action="store_true", help="ResNet-18 on the xc7z020, one seed, without the slow solvers")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    cases, grids, seeds, solvers = arguments.only, arguments.grids, arguments.seeds, arguments.solvers
    if arguments.quick:
        cases, grids, seeds, solvers = CASES[:1], ("committed",), (0,), ("random", "annealing", "tabu", "evolution")
    exact = Table(arguments.results / "exact.csv", CASE)
    rows = Table(arguments.results / "searches.csv", (*CASE, "solver", "seed", "n_allowed"))
    problems = [(grid, problem_of(grid, case)) for grid in grids for case in cases]
    known = [(grid, problem, optimum(exact, grid, problem)) for grid, problem in problems]
    for grid in grids:
        for search in searches(list(seeds), list(solvers)):
            for of, problem, least in known:
                if of == grid and least is not None:
                    fill(rows, (grid, problem, least), search, arguments.storage)


if __name__ == "__main__":
    main()
