"""The points that SP-LAMP's abstract names, measured: 8.45x on ResNet-18 for CIFAR-10, 1.28x on ResNet-50 for ImageNet.

    python bench/paper_points/run.py [--cifar10 DIR] [--only QUESTION ...] [--dense-epochs N] [--epochs N] [--quick]

Questions:

    cifar10    train a dense ResNet-18, prune it to 1 / 8.45 of its latency, recover it
    imagenet   prune a ResNet-50 at 224 x 224 to 1 / 1.28 of its latency; latency only, ImageNet's accuracy is not run

The published speed-ups were taken on another machine and engine (a GPU and an edge device): what is compared is whether the
factor is reached here, and what it costs with a schedule that is stated. Stopped and started again, training goes on at the
last finished epoch.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from study import Table, example, load, show

from silicut import MeasureOptions, PruneOptions, engine, measure, prune
from silicut.flows.latency import DENSE, PRUNED
from silicut.graph import Network, fold_batch_norm
from silicut.graph.onnx_writer import to_onnx
from silicut.records import Cache
from silicut.training import RECOVERY, Recipe, evaluate, fit
from silicut.zoo import open_data

HERE = Path(__file__).parent
SPEEDUPS = {"resnet18-cifar": 8.45, "resnet50": 1.28}
DENSE_RECIPE = Recipe(epochs=30, batch_size=128, learning_rate=0.1, warmup_epochs=1.5, weight_decay=5e-4, precision="bf16")


@dataclass(frozen=True)
class Study:
    """The questions; every answer is a row."""

    cifar10: Path | None
    work: Path
    results: Path
    dense_epochs: int
    epochs: int

    @property
    def rows(self) -> Table:
        return Table(self.results / "points.csv", ("network", "dense_epochs", "epochs"))

    def cifar(self) -> None:
        """Train, prune and recover ResNet-18."""
        name, key = "resnet18-cifar", {"dense_epochs": self.dense_epochs, "epochs": self.epochs}
        if self.cifar10 is None:
            sys.exit("cifar10 must come with --cifar10 DIR, not without")
        if self.rows.has(network=name, **key):
            return
        data, module = open_data(f"cifar10:{self.cifar10}"), load(name)
        recipe = dataclasses.replace(DENSE_RECIPE, epochs=self.dense_epochs)
        fit(module, data, recipe, folder=self.work / f"{name}-dense-{self.dense_epochs}", progress=show)
        dense = evaluate(module, data).is_correct
        folder = self.work / f"{name}-{self.dense_epochs}-{self.epochs}"
        options = PruneOptions(recipe=dataclasses.replace(RECOVERY, epochs=self.epochs, precision="bf16"))
        result = prune(
            module, example(name), f"{100 / SPEEDUPS[name]:.3f}%", data=data, options=options, folder=folder,
            resumes=folder.exists(), cache=Cache(self.work / "cache"), progress=show,
        )  # fmt: skip
        right = evaluate(result.module, data).is_correct
        self._add(name, result.dense, result.network, {
            "n": len(right), "dense_correct": int(dense.sum()), "n_correct": int(right.sum()),
            "n_lost": int((dense & ~right).sum()), "n_gained": int((right & ~dense).sum()),
        })  # fmt: skip

    def imagenet(self) -> None:
        """Prune ResNet-50 without training it."""
        name = "resnet50"
        if self.rows.has(network=name, dense_epochs=0, epochs=0):
            return
        options = PruneOptions(value="sp-lamp", recipe=None, is_dry_run=True)
        result = prune(
            load(name), example(name), f"{100 / SPEEDUPS[name]:.3f}%", options=options, cache=Cache(self.work / "cache"),
            progress=show,
        )  # fmt: skip
        self._add(name, result.dense, result.network, {})

    def _add(self, name: str, dense: Network, pruned: Network, quality: dict[str, int]) -> None:
        models = {label: to_onnx(fold_batch_norm(network), batch=1) for label, network in ((DENSE, dense), (PRUNED, pruned))}
        timing = measure(engine("onnxruntime"), models, DENSE, MeasureOptions(seed=1)).timings[PRUNED]
        epochs = (self.dense_epochs, self.epochs) if quality else (0, 0)
        counts = dict.fromkeys(("n", "dense_correct", "n_correct", "n_lost", "n_gained"), "") | quality
        self.rows.add(
            network=name, dense_epochs=epochs[0], epochs=epochs[1], target_speedup=SPEEDUPS[name], ratio=timing.ratio,
            ratio_low=timing.ratio_low, ratio_high=timing.ratio_high,
            parameters_frac=pruned.n_parameters() / dense.n_parameters(), **counts, seed=0,
        )  # fmt: skip


def main() -> None:
    """Answer the questions asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, help="folder of the binary version of CIFAR-10")
    parser.add_argument("--work", type=Path, default=Path("runs/paper_points"), help="folder of checkpoints and profiles")
    parser.add_argument("--only", nargs="+", choices=("cifar10", "imagenet"), default=("cifar10", "imagenet"))
    parser.add_argument("--dense-epochs", type=int, default=30, help="of the dense ResNet-18")
    parser.add_argument("--epochs", type=int, default=30, help="of recovery")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of training")
    parser.add_argument("--quick", action="store_true", help="one epoch each; results stay in the work folder")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    results = given.work / "results" if given.quick else HERE / "results"
    dense_epochs, epochs = (1, 1) if given.quick else (given.dense_epochs, given.epochs)
    study = Study(given.cifar10, given.work, results, dense_epochs, epochs)
    answers: dict[str, Callable[[], None]] = {"cifar10": study.cifar, "imagenet": study.imagenet}
    for question in given.only:
        answers[question]()


if __name__ == "__main__":
    main()
