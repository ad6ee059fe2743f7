"""The main job, measured: does a network pruned to a latency *measure* so, what does it cost in accuracy, how good are the
latency model and the solvers, and how long does it all take?

    python bench/main_job/run.py --cifar10 DIR [--published FILE] [--only QUESTION ...] [--quick]

Questions: model, solvers, budgets, accuracy. Every row reaches its CSV file in results/ when it is known; rows that
are there are not made again, so the study can be stopped and resumed. The README's tables are printed from those files by
`python bench/main_job/tables.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import Table, errors_of, example, load, show

from silicut import MeasureOptions, PruneOptions, engine, measure, profile_network, prune
from silicut.compress import Restrictions, log_energy, sp_lamp
from silicut.flows.label import Label
from silicut.flows.latency import DENSE, PRUNED
from silicut.flows.pruning_problem import LATENCY, Subject, pruning_problem
from silicut.flows.run_folder import RunFolder
from silicut.flows.summary import summarise, write_report
from silicut.graph import capture, fold_batch_norm
from silicut.graph.onnx_writer import to_onnx
from silicut.records import Cache, DoesNotFit
from silicut.search import Problem, Solution, solve
from silicut.training import RECOVERY
from silicut.zoo import open_data

HERE = Path(__file__).parent
NETWORKS = ("resnet56-projection", "resnet18-half", "resnet18")
SCORES = {"sp-lamp": sp_lamp, "log-energy": log_energy}
BUDGETS = {"resnet56-projection": (70, 60, 50, 40), "resnet18-half": (70, 50, 35), "resnet18": (70, 50, 35)}
_WARM_S = 10.0  # a profile that took less was in the cache already
ACCURACY = ("resnet18-half", "resnet56-projection", "resnet20", "resnet56")


def table(name: str, keys: tuple[str, ...]) -> Table:
    """Return a table of this study."""
    return Table(HERE / "results" / f"{name}.csv", keys)


@dataclasses.dataclass
class Study:
    """Arguments of the study."""

    cifar10: Path | None
    published: Path | None
    work: Path
    is_quick: bool
    networks: list[str] | None

    @property
    def cache(self) -> Cache:
        return Cache(self.work / "cache")

    def profile(self, name: str) -> Any:
        """Return a captured network and its profile."""
        captured = capture(load(name, self.published), example(name))
        return captured, profile_network(captured, engine("onnxruntime"), cache=self.cache, progress=show)

    def seconds(self, name: str) -> float:
        """Return how long profiling takes, as the cache stands."""
        started = time.monotonic()
        self.profile(name)
        return time.monotonic() - started

    def model(self) -> None:
        """Is the sum of layers right? On 20 random legal prunings, beside the sum of isolated layers."""
        rows = table("latency_model", ("network",))
        for name in NETWORKS:
            if not rows.has(network=name):
                cold_s, warm_s = self.seconds(name), self.seconds(name)
                _, profile = self.profile(name)
                cold = cold_s if cold_s > _WARM_S else ""
                rows.add(network=name, **errors_of(profile), cold_s=cold, warm_s=warm_s, seed=profile.options.seed)

    def solvers(self) -> None:
        """Is the coupled solver fast, proven and at least as good as every other at equal true cost?"""
        rows = table("solvers", ("network", "budget", "value", "solver"))
        for name in NETWORKS:
            captured, profile = self.profile(name)
            subject = Subject.of(captured)
            for value in ("sp-lamp", "log-energy"):
                scores = SCORES[value](subject.folded, subject.channels, subject.blocks)
                for budget in (70, 50, 35):
                    limit_ms = budget / 100 * profile.dense_ms

                    def problem(target_ms: float, scores: Any = scores) -> Problem:
                        budgets = {LATENCY: target_ms}
                        return pruning_problem(subject, {LATENCY: profile}, scores, Restrictions(), budgets)  # noqa: B023

                    for solver in ("coupled", "knapsack", "descent"):
                        if not rows.has(network=name, budget=budget, value=value, solver=solver):
                            found = at_true_cost(problem, solver, limit_ms)
                            rows.add(
                                network=name, budget=budget, value=value, solver=solver, plan_value=found.value,
                                cost_frac=found.costs[LATENCY] / profile.dense_ms, gap_frac=found.gap_frac,
                                time_s=found.time_s, is_proven=found.is_proven,
                            )  # fmt: skip

    def budgets(self) -> None:
        """Is the budget met? Plan, then measure again apart from the loop that chose it."""
        rows = table("budgets", ("network", "budget", "seed"))
        for name, budget in ((n, b) for n in NETWORKS for b in BUDGETS[n]):
            if rows.has(network=name, budget=budget, seed=0):
                continue
            options = PruneOptions(recipe=None, is_dry_run=True)
            result = prune(
                load(name, self.published), example(name), f"{budget}%", options=options, cache=self.cache, progress=show
            )
            models = {DENSE: to_onnx(fold_batch_norm(result.dense), batch=1),
                      PRUNED: to_onnx(fold_batch_norm(result.network), batch=1)}  # fmt: skip
            again = measure(engine("onnxruntime"), models, DENSE, MeasureOptions(seed=1)).timings[PRUNED]
            following = result.outcome.next_better_frac
            limit = budget / 100
            rows.add(
                network=name, budget=budget, seed=0, predicted_frac=result.outcome.rounds[-1].predicted_frac,
                loop_ratio=result.measurement.timings[PRUNED].ratio, ratio=again.ratio, ratio_low=again.ratio_low,
                ratio_high=again.ratio_high, next_better_frac=following or 1.0, n_rounds=len(result.outcome.rounds),
                n_blocks_removed=len(result.plan.removed_blocks),
                is_met=again.ratio <= limit and (again.ratio >= 0.98 * limit or (following or 9.9) > limit),
            )  # fmt: skip

    def accuracy(self) -> None:
        """What is lost at half the latency, after 8 epochs?"""
        if self.cifar10 is None:
            sys.exit("accuracy must come with --cifar10 DIR, not without")
        rows = table("accuracy", ("network", "budget", "value", "seed", "epochs"))
        epochs = 1 if self.is_quick else 8
        for name in self.networks or ACCURACY:
            key = {"network": name, "budget": 50, "value": "auto", "seed": 0, "epochs": epochs}
            if rows.has(**key) or (name == "resnet56" and self.published is None):
                continue
            data = open_data(f"{'cifar10-test' if name == 'resnet56' else 'cifar10'}:{self.cifar10}")
            folder = RunFolder(self.work / f"{name}-{epochs}", key, resumes=(self.work / f"{name}-{epochs}").exists())
            options = PruneOptions(recipe=dataclasses.replace(RECOVERY, epochs=epochs))
            started = time.monotonic()
            result = prune(load(name, self.published), example(name), "50%", data=data, options=options, folder=folder,
                           cache=self.cache, progress=show)  # fmt: skip
            summary = summarise(result, Label(name, f"python bench/main_job/run.py --only accuracy ({name})"))
            write_report(summary, folder.path)
            stages = {stage.name: stage for stage in result.stages}
            dense, final = stages["dense"], stages["fine-tuned"]
            timing = result.measurement.timings[PRUNED]
            rows.add(
                **key, n=final.n, dense_correct=dense.n_correct, pruned_correct=stages["pruned"].n_correct,
                recalibrated_correct=stages["batch norm recalibrated"].n_correct, final_correct=final.n_correct,
                n_lost=final.n_lost, n_gained=final.n_gained, ratio=timing.ratio, ratio_low=timing.ratio_low,
                ratio_high=timing.ratio_high, is_met=result.outcome.is_met,
                n_blocks_removed=len(result.plan.removed_blocks), seconds=time.monotonic() - started,
            )  # fmt: skip


def at_true_cost(problem: Callable[[float], Problem], solver: str, limit_ms: float) -> Solution:
    """Return a solver's best solution whose *true* cost is within a limit, whatever it believes the cost to be.

    The coupled solver knows true costs; the others are given budgets from 0.4 to 2 times the limit, best of all taken.
    """
    steps = (40,) if solver == "coupled" else range(16, 81, 2)
    found = []
    for step in steps:
        try:
            found.append(solve(problem(limit_ms * step / 40), solver))
        except DoesNotFit:
            continue
    return max((s for s in found if s.costs[LATENCY] <= limit_ms * (1 + 1e-9)), key=lambda s: s.value)


def main() -> None:
    """Answer the questions asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    questions = ("model", "solvers", "budgets", "accuracy")
    parser.add_argument("--cifar10", type=Path, help="folder of the binary version of CIFAR-10")
    parser.add_argument("--published", type=Path, help="published weights of the option-A ResNet-56")
    parser.add_argument("--work", type=Path, default=Path("runs/main_job"), help="folder for runs and the profile cache")
    parser.add_argument("--networks", nargs="+", help="of the question accuracy; all by default")
    parser.add_argument("--only", nargs="+", choices=questions, default=questions)
    parser.add_argument("--quick", action="store_true", help="one epoch of fine-tuning")
    arguments = parser.parse_args()
    study = Study(arguments.cifar10, arguments.published, arguments.work, arguments.quick, arguments.networks)
    for question in arguments.only:
        getattr(study, question)()


if __name__ == "__main__":
    main()
