"""How many images a second do several engines give, who finds the best partition, and does the system keep what is computed?

    python bench/multi_engine/run.py [--only QUESTION ...] [--quick]

Questions, in this order:

    exact       slices alone limited: the best single engine and the dynamic programme, 80 % of two parts
    system      every exact partition simulated on one memory: the epoch that is seen against the one that is computed
    walks       slices alone limited: annealing and tabu search, several seeds
    limits      blocks of memory and bandwidth limited too: of the boards, and a quarter of their bandwidth; all solvers

Cycles are *modelled* or *simulated*, the clock is *assumed* to be 100 MHz, figures of papers are *recalled*. Rows that are
there are not made again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import Table

from silicut.accelerators.multi_engine.config import PRECISIONS
from silicut.accelerators.multi_engine.partition import Limits, Partition, PartitionProblem
from silicut.accelerators.multi_engine.partition.contiguous import exact_partition
from silicut.accelerators.multi_engine.partition.limited import limited_partition
from silicut.accelerators.multi_engine.partition.memory import configured, least_traffic
from silicut.accelerators.multi_engine.partition.walks import WALKS, walk
from silicut.accelerators.multi_engine.program import programs
from silicut.accelerators.multi_engine.published_layers import published_layers
from silicut.accelerators.system import computed_epoch, simulate, stages
from silicut.targets.parts import device_table

HERE = Path(__file__).parent
NETWORKS = ("alexnet-2012", "squeezenet-1.1-227", "vgg16", "googlenet-2014")
BOARDS = {"xc7vx485t": "vc707", "xc7vx690t": "vc709"}
CLOCK_HZ = 100e6
N_EVALUATIONS, N_LIMITED, N_SEEDS = 2000, 1000, 5  # partitions without and with limits of memory, seeds


@dataclass(frozen=True)
class Case:
    """One network on one part."""

    network: str
    precision: str
    part: str

    def problem(self, memory: str = "any", max_engines: int = 6) -> PartitionProblem:
        """Return the problem with memory "any", of the "board", or a "quarter" of its bandwidth."""
        share = Limits.of_part(device_table().part(self.part))
        per_cycle = bytes_per_cycle(self.part, memory)
        limits = Limits(n_dsps=share.n_dsps) if memory == "any" else Limits.of_part(
            device_table().part(self.part), bytes_per_cycle=float(per_cycle or 0)
        )  # fmt: skip
        return PartitionProblem(published_layers(self.network), PRECISIONS[self.precision], limits, max_engines)


def bytes_per_cycle(part: str, memory: str) -> Fraction | None:
    """Return what a memory moves in a cycle of the assumed clock; None for any number."""
    if memory == "any":
        return None
    per_s = Fraction(str(device_table().board(BOARDS[part]).bandwidth_gb_per_s)) * 10**9
    return per_s / int(CLOCK_HZ) / (4 if memory == "quarter" else 1)


def cases(networks: tuple[str, ...]) -> Iterator[Case]:
    """Yield every network in both precisions on both parts."""
    for network in networks:
        for precision in PRECISIONS:
            yield from (Case(network, precision, part) for part in BOARDS)


def shape_text(partition: Partition) -> str:
    """Return the engines in words, with how many layers each has."""
    return " ".join(f"<{e.n_inputs},{e.n_outputs}>x{len(e.layers)}" for e in partition)


def memory_columns(problem: PartitionProblem, partition: Partition, part: str) -> dict[str, object]:
    """Return what a partition takes of blocks, within 80 % of the part's if it can, and moves."""
    use = least_traffic(problem, partition, Limits.of_part(device_table().part(part)).n_bram18)
    epoch = problem.epoch_cycles(partition)
    units = problem.n_macs_per_cycle(partition)
    return {
        "n_engines": len(partition), "n_dsps": units * problem.precision.n_dsps_per_mac, "n_bram18": use.n_bram18,
        "bytes_per_cycle": use.n_bytes / epoch, "gb_per_s": use.n_bytes / epoch * CLOCK_HZ / 1e9,
        "utilisation_frac": sum(layer.n_macs for layer in problem.layers) / epoch / units, "engines": shape_text(partition),
    }  # fmt: skip


def answer_exact(table: Table, networks: tuple[str, ...]) -> None:
    """Add the best single engine and the best partition into runs."""
    for case in cases(networks):
        for n_engines, what in ((1, "single"), (6, "runs")):
            key = {**vars(case), "solver": what}
            if table.has(**key):
                continue
            start, problem = time.process_time(), case.problem(max_engines=n_engines)
            found = exact_partition(problem)
            seconds = time.process_time() - start
            table.add(label="modelled", **key, epoch_cycles=found.epoch_cycles, order=found.order, n_epochs=found.n_epochs,
                      seconds=seconds, **memory_columns(problem, found.partition, case.part))  # fmt: skip


def answer_walks(table: Table, networks: tuple[str, ...], n_evaluations: int, n_seeds: int) -> None:
    """Add what annealing and tabu search find where slices alone are limited."""
    for seed in range(n_seeds):
        for case in cases(networks):
            for solver in WALKS:
                key = {**vars(case), "solver": solver, "seed": seed}
                if not table.has(**key):
                    table.add(label="modelled", **key, **walked(case, "any", solver, seed, n_evaluations))


def walked(case: Case, memory: str, solver: str, seed: int, n_evaluations: int) -> dict[str, object]:
    """Return the columns of one walk."""
    start, problem = time.process_time(), case.problem(memory)
    found = walk(problem, solver, n_evaluations, seed)
    seconds = time.process_time() - start
    return {
        "epoch_cycles": int(found.outcome.cost) if found.outcome.is_feasible else "", "bound_cycles": "", "order": "",
        "n_tried": found.n_evaluations, "n_infeasible": found.n_infeasible,
        "n_until_best": found.curve[-1][0] if found.curve else "", "seconds": seconds,
        **memory_columns(problem, found.partition, case.part),
    }  # fmt: skip


def answer_limits(table: Table, networks: tuple[str, ...], n_evaluations: int) -> None:
    """Add what all solvers find where blocks and bandwidth are limited too."""
    for memory in ("board", "quarter"):
        for case in cases(networks):
            for solver in ("runs", *WALKS):
                key = {**vars(case), "memory": memory, "solver": solver, "seed": 0}
                if table.has(**key):
                    continue
                if solver == "runs":
                    table.add(label="modelled", **key, **limited(case, memory))
                else:
                    table.add(label="modelled", **key, **walked(case, memory, solver, 0, n_evaluations))


def limited(case: Case, memory: str) -> dict[str, object]:
    """Return the columns of the dynamic programme under limits of memory."""
    start, problem = time.process_time(), case.problem(memory)
    found = limited_partition(problem)
    seconds = time.process_time() - start
    assert found.partition is not None, case  # every case here has one
    return {
        "epoch_cycles": found.epoch_cycles, "bound_cycles": found.bound_cycles, "order": found.order,
        "n_tried": found.n_epochs, "n_infeasible": "", "n_until_best": "", "seconds": seconds,
        **memory_columns(problem, found.partition, case.part),
    }  # fmt: skip


def answer_system(table: Table, networks: tuple[str, ...]) -> None:
    """Add what a simulation of each exact partition shows."""
    for case in cases(networks):
        for memory in ("any", "board", "quarter"):
            for follows in (False, True):
                key = {**vars(case), "memory": memory, "follows": follows}
                if not table.has(**key):
                    table.add(label="simulated", **key, **simulated(case, memory, follows))


def simulated(case: Case, memory: str, follows: bool) -> dict[str, object]:
    """Return the columns of a simulation of the partition into runs that is best where slices alone are limited."""
    problem = case.problem()
    partition = exact_partition(problem).partition
    use = least_traffic(problem, partition, Limits.of_part(device_table().part(case.part)).n_bram18)
    config = configured(problem, partition, use, network=case.network, precision=case.precision, clock_hz=CLOCK_HZ)
    system, per_cycle = programs(config, problem.layers), bytes_per_cycle(case.part, memory)
    pipeline, computed = stages(system, follows), computed_epoch(system, per_cycle)
    start = time.process_time()
    run = simulate(system, pipeline, per_cycle, computed)
    slowest = max(run.waits.values(), key=lambda waits: waits.own)
    return {
        "busiest_engine_cycles": computed_epoch(system), "computed_cycles": computed,
        "simulated_cycles": f"{float(run.epoch_cycles):.3f}", "is_equal": run.is_steady and run.epoch_cycles == computed,
        "gap_frac": float(run.epoch_cycles / computed - 1), "asked_bytes_per_cycle": use.n_bytes / computed,
        "there_bytes_per_cycle": "" if per_cycle is None else float(per_cycle),
        "slowest_computes": round(slowest.computing),
        "slowest_waits_for_memory": round(slowest.moving), "n_stages": pipeline.n_stages,
        "latency_cycles": run.latency_cycles, "latency_epochs": float(run.latency_cycles / run.epoch_cycles),
        "seconds": time.process_time() - start,
    }  # fmt: skip


def main() -> None:
    """Answer the questions asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("exact", "system", "walks", "limits")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--work", type=Path, default=Path("runs/multi_engine"), help="folder for the results of --quick")
    parser.add_argument("--quick", action="store_true", help="AlexNet, 300 partitions, one seed; results stay in --work")
    given = parser.parse_args()
    folder = (given.work if given.quick else HERE) / "results"
    networks = ("alexnet-2012",) if given.quick else NETWORKS
    n_evaluations, n_limited, n_seeds = (300, 300, 1) if given.quick else (N_EVALUATIONS, N_LIMITED, N_SEEDS)
    keys = ("network", "precision", "part", "solver")

    answers: dict[str, Callable[[], None]] = {
        "exact": lambda: answer_exact(Table(folder / "exact.csv", keys), networks),
        "walks": lambda: answer_walks(Table(folder / "walks.csv", (*keys, "seed")), networks, n_evaluations, n_seeds),
        "limits": lambda: answer_limits(Table(folder / "limits.csv", (*keys, "memory", "seed")), networks, n_limited),
        "system": lambda: answer_system(Table(folder / "system.csv", (*keys[:3], "memory", "follows")), networks),
    }
    for question in given.only:
        answers[question]()


if __name__ == "__main__":
    main()
