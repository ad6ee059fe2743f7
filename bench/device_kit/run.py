"""Does a profile that was made by kits on a device give the plans that a local profile gives?

    python bench/device_kit/run.py [--work DIR] [--networks NAME ...] [--quick]

The device is this machine, but an environment of its own that holds Python, NumPy and ONNX Runtime only. Both rounds of kits
are run there and merged. Plans of the merged profile are compared with those of a local profile, and, to know what noise
alone does, those of a second local profile with those of the first. Rows reach results/ when they are known.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import Table, example, load, show

from silicut import engine, profile_network
from silicut.compress import Restrictions, log_energy
from silicut.flows.pruning_problem import LATENCY, Subject, pruning_problem
from silicut.graph import Network, capture
from silicut.records import Cache
from silicut.search import Problem, Solution, evaluate, solve
from silicut.targets.elsewhere import Device
from silicut.targets.kit import Unmeasured, device_profile, merge, write_kit
from silicut.targets.profile import Profile

HERE = Path(__file__).parent
BUDGETS = (70, 50, 35)
RUNTIME = "onnxruntime"


def environment(folder: Path) -> Path:
    """Return the interpreter of an environment with NumPy and the engine alone, made where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "numpy", RUNTIME], check=True)
    return python


def profile_by_kits(network: Network, work: Path, python: Path) -> Profile:
    """Return the profile made by rounds of kits that are run in the other environment."""
    cache, device, n_rounds = Cache(work / "cache"), Device(engine(RUNTIME).settings), 0
    while True:
        try:
            return device_profile(network, device, cache=cache, progress=show)
        except Unmeasured as left:
            folder = work / f"round{n_rounds}"
            if not folder.exists():
                write_kit(folder, network, engine(RUNTIME), left.networks)
            subprocess.run([python, folder / "run.py"], check=True, cwd=folder)
            device, n_rounds = merge(folder / "results.jsonl", network, cache), n_rounds + 1


@dataclass(frozen=True)
class Planner:
    """Plans of one network by any profile of it."""

    network: Network

    def problem(self, profile: Profile, limit_frac: float) -> Problem:
        """Return the problem of a profile at a fraction of its dense latency."""
        subject = Subject.of(self.network)
        scores = log_energy(subject.folded, subject.channels, subject.blocks)
        limits = {LATENCY: limit_frac * profile.dense_ms}
        return pruning_problem(subject, {LATENCY: profile}, scores, Restrictions(), limits)

    def plan(self, profile: Profile, budget: int) -> Solution:
        """Return the best plan within a budget in per cent."""
        return solve(self.problem(profile, budget / 100))

    def judged(self, profile: Profile, plan: Solution) -> dict[str, float]:
        """Return what a profile says of a plan made by another: latency over the dense one, value."""
        problem = self.problem(profile, 1.0)
        nearest = {
            v.name: min(v.levels, key=lambda level, v=v: abs(level - plan.levels[v.name]))  # type: ignore[misc]
            for v in problem.variables
        }
        value, costs = evaluate(problem, nearest)
        return {"value": value, "cost_frac": costs[LATENCY] / profile.dense_ms}


def compared(planner: Planner, first: Profile, other: Profile, budget: int) -> dict[str, object]:
    """Return how far a profile's plan is from the first one's, and what the first profile says of it."""
    ours, theirs = planner.plan(first, budget), planner.plan(other, budget)
    dense = {v.name: v.levels[-1] for v in first.variables}
    kept = sum(dense.values())
    seen = planner.judged(first, theirs)
    return {
        "dense_ms": first.dense_ms, "other_dense_ms": other.dense_ms,
        "changed_frac": sum(abs(ours.levels[name] - theirs.levels[name]) for name in dense) / kept,
        "first_cost_frac": ours.costs[LATENCY] / first.dense_ms, "other_cost_frac": seen["cost_frac"],
        "first_value": ours.value, "other_value": seen["value"],
    }  # fmt: skip


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/device_kit"), help="folder of kits, caches, environment")
    parser.add_argument("--networks", nargs="+", default=("resnet20-projection", "resnet56-projection"))
    parser.add_argument("--quick", action="store_true", help="one small network; its results stay in the work folder")
    arguments = parser.parse_args()
    results = arguments.work / "results" if arguments.quick else HERE / "results"
    rows = Table(results / "plans.csv", ("network", "other", "budget"))
    python = environment((arguments.work / "environment").resolve())
    for name in ("resnet20-projection",) if arguments.quick else arguments.networks:
        network, work = capture(load(name), example(name)), arguments.work / name
        first = profile_network(network, engine(RUNTIME), cache=Cache(work / "first"), progress=show)
        others: dict[str, Callable[[], Profile]] = {
            "local again": lambda n=network, w=work: profile_network(  # type: ignore[misc]
                n, engine(RUNTIME), cache=Cache(w / "second"), progress=show
            ),
            "by kits": lambda n=network, w=work: profile_by_kits(n, w.resolve(), python),  # type: ignore[misc]
        }
        for label, made in others.items():
            other = made()
            for budget in BUDGETS:
                if not rows.has(network=name, other=label, budget=budget):
                    rows.add(network=name, other=label, budget=budget, **compared(Planner(network), first, other, budget))


if __name__ == "__main__":
    main()
