"""Is latency predicted right, on the networks and engines that people use?

    python bench/latency_model/run.py [--networks NAME ...] [--engines NAME ...] [--only QUESTION ...] [--quick]

Questions:

    model     a profile is made where the cache has none; 20 fresh random prunings, every other one without some of its
              blocks, are then predicted and measured, beside the sum of layers measured alone
    budgets   plans at several budgets, measured again apart from the loop that chose them

Every row reaches its CSV file in results/ when it is known, and rows that are there are not made again: the study can be
stopped and resumed, a profile too. `python bench/latency_model/tables.py` writes the README.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from study import Table, errors_of, example, load, show

from silicut import MeasureOptions, PruneOptions, engine, measure, profile_network, prune
from silicut.flows.latency import DENSE, PRUNED
from silicut.graph import capture, fold_batch_norm
from silicut.graph.onnx_writer import to_onnx
from silicut.records import Cache, DoesNotFit, NotFaster

HERE = Path(__file__).parent
NETWORKS = ("resnet56-projection", "mobilenet-v2", "densenet121", "vit-ti", "resnet18", "resnet50")
ENGINES = ("onnxruntime", "openvino")
BUDGET_NETWORKS = ("mobilenet-v2", "densenet121")
BUDGETS, QUICK_BUDGETS = (70, 50), (50,)
_WARM_S = 10.0  # a profile that took less was in the cache already


@dataclass(frozen=True)
class Study:
    """The questions; every answer is a row."""

    networks: tuple[str, ...]
    engines: tuple[str, ...]
    results: Path
    cache: Cache
    budget_frac: tuple[int, ...]

    def model(self) -> None:
        """Profile every network on every engine and compare prediction with measurement."""
        rows = Table(self.results / "model.csv", ("network", "engine"))
        for name, runtime in ((n, e) for n in self.networks for e in self.engines):
            if rows.has(network=name, engine=runtime):
                continue
            network, started = capture(load(name), example(name)), time.monotonic()
            profile = profile_network(network, engine(runtime), cache=self.cache, progress=show)
            seconds = time.monotonic() - started
            cold_s = seconds if seconds > _WARM_S else ""
            rows.add(network=name, engine=runtime, **errors_of(profile), cold_s=cold_s, seed=profile.options.seed)

    def budgets(self) -> None:
        """Plan for budgets, then measure the plan again."""
        rows = Table(self.results / "budgets.csv", ("network", "engine", "budget"))
        for name, runtime in ((n, e) for n in self.networks if n in BUDGET_NETWORKS for e in self.engines):
            for budget in self.budget_frac:
                if not rows.has(network=name, engine=runtime, budget=budget):
                    rows.add(network=name, engine=runtime, budget=budget, **self._planned(name, runtime, budget), seed=1)

    def _planned(self, name: str, runtime: str, budget: int) -> dict[str, object]:
        options = PruneOptions(value="log-energy", recipe=None, is_dry_run=True)
        try:
            result = prune(
                load(name), example(name), f"{budget}%", runtime, options=options, cache=self.cache, progress=show
            )
        except (DoesNotFit, NotFaster) as error:
            return {"is_met": False, "ratio": "", "ratio_low": "", "ratio_high": "", "again": "", "note": str(error)}
        models = {label: to_onnx(fold_batch_norm(network), batch=1)
                  for label, network in ((DENSE, result.dense), (PRUNED, result.network))}  # fmt: skip
        again = measure(engine(runtime), models, DENSE, MeasureOptions(seed=1)).timings[PRUNED]
        first = result.outcome
        return {"is_met": first.is_met, "ratio": first.chosen.ratio, "again": again.ratio, "ratio_low": again.ratio_low,
                "ratio_high": again.ratio_high, "note": ""}  # fmt: skip


def main() -> None:
    """Answer the questions asked."""
    questions = ("model", "budgets")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="names in the zoo")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--only", nargs="+", choices=questions, default=questions)
    parser.add_argument("--work", type=Path, default=Path("runs/latency_model"), help="folder for the profile cache")
    parser.add_argument("--quick", action="store_true", help="one small network; its results stay in the work folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    is_quick = arguments.quick
    study = Study(
        networks=("resnet56-projection",) if is_quick else tuple(arguments.networks),
        engines=tuple(arguments.engines),
        results=arguments.work / "results" if is_quick else HERE / "results",
        cache=Cache(arguments.work / "cache"),
        budget_frac=QUICK_BUDGETS if is_quick else BUDGETS,
    )
    answers: dict[str, Callable[[], None]] = {"model": study.model, "budgets": study.budgets}
    for question in arguments.only:
        answers[question]()


if __name__ == "__main__":
    main()
