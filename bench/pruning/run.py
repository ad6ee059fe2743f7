"""Is silicut better than what people use today, at equal measured latency and equal training?

    python bench/pruning/run.py --cifar10 DIR [--only QUESTION ...] [--networks NAME ...] [--quick]

Questions, in this order:

    rivals    Torch-Pruning, each importance with widths as they are or rounded to 16, its pruning ratio tuned until the
              network measures just within the budget; accuracy after batch-norm recalibration only
    ours      silicut, each value function with each solver, verified within the budget; the same accuracy
    trained   the best of ours and the best two rivals, fine-tuned alike
    latency   all networks that were trained, measured again in one run, each round of which runs every one of them once

Every row reaches its CSV file in results/ when it is known, and rows that are there are not made again: the study can be
stopped and resumed. Two processes may work on different networks. `python bench/pruning/tables.py` writes the README.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import rivals
import torch
from study import Table, example, load, show

from silicut import MeasureOptions, Pruned, PruneOptions, engine, measure, prune
from silicut.flows.values import VALUES
from silicut.graph import Network, capture, fold_batch_norm, to_module
from silicut.graph.counting import n_macs
from silicut.graph.onnx_writer import to_onnx
from silicut.graph.storage import load_network, save_network
from silicut.records import Cache, DoesNotFit, NotFaster, content_hash
from silicut.search import SOLVERS
from silicut.targets import Timing
from silicut.training import RECOVERY, TrainingData, evaluate, fit, recalibrate_batch_norm
from silicut.zoo import open_data

HERE = Path(__file__).parent
NETWORKS = ("resnet56-projection", "resnet18-half", "resnet20")
TRAINED = NETWORKS[:2]  # on the third, of option A, the question is whether a rival's network runs at all
BUDGETS = (70, 50, 35)
SEEDS = {70: (0,), 50: (0, 1), 35: (0,)}
EPOCHS, N_CALIBRATION = 8, 2000
FINALISTS = {"torch-pruning": 2, "silicut": 1}  # how many of each tool are trained
SURELY = MeasureOptions(n_rounds=40, ci_frac=0.005)
QUICKLY = MeasureOptions(n_rounds=10, max_rounds=20, ci_frac=0.01, max_s=5.0)
GRID = tuple(i / 10 for i in range(1, 10))
TOLERANCE = 1.02  # of a budget, when a network that was tuned to it is measured again
N_HALVINGS = 5  # of a pruning ratio's interval: to 0.3 %


@dataclasses.dataclass(frozen=True)
class Scope:
    """How much of the study is done."""

    results: Path = HERE / "results"
    budgets: tuple[int, ...] = BUDGETS
    importances: tuple[str, ...] = rivals.IMPORTANCES
    roundings: tuple[int, ...] = rivals.ROUNDINGS
    values: tuple[str, ...] = VALUES
    solvers: tuple[str, ...] = tuple(SOLVERS)
    seeds: tuple[int, ...] = (0, 1)
    epochs: int = EPOCHS

    @classmethod
    def quick(cls, work: Path) -> Scope:
        """Return what takes minutes; its results stay in the work folder."""
        return cls(work / "results", (50,), ("group-norm",), (16,), ("log-energy",), ("coupled",), (0,), 1)

    @classmethod
    def named(cls, arguments: argparse.Namespace) -> Scope:
        """Return what the command line names."""
        names = ("budgets", "values", "solvers", "seeds")
        return cls(**{name: tuple(getattr(arguments, name)) for name in names})


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to prune one network: who, with what value (importance) and how (solver, or rounding)."""

    network: str
    tool: str
    value: str
    variant: str

    def key(self, budget: int) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "budget": budget}

    def folder(self, work: Path, budget: int) -> Path:
        return work / "networks" / f"{self.network}-{self.tool}-{self.value}-{self.variant}-{budget}"


@dataclasses.dataclass
class Subject:
    """A dense network with what every candidate is compared on."""

    name: str
    data: TrainingData
    cache: Cache

    @cached_property
    def module(self) -> torch.nn.Module:
        return load(self.name)

    @cached_property
    def inputs(self) -> torch.Tensor:
        return example(self.name)

    @cached_property
    def network(self) -> Network:
        return capture(self.module, self.inputs)

    @cached_property
    def is_right(self) -> np.ndarray:
        return evaluate(self.module, self.data).is_correct

    @cached_property
    def gradients(self) -> dict[str, torch.Tensor]:
        return rivals.gradients(self.module, self.data)

    def timing(self, network: Network, options: MeasureOptions) -> Timing:
        """Measure a network beside the dense one."""
        models = {name: to_onnx(fold_batch_norm(n), batch=1) for name, n in (("dense", self.network), ("pruned", network))}
        return measure(engine("onnxruntime"), models, "dense", options).timings["pruned"]

    def recalibrated(self, network: Network) -> torch.nn.Module:
        """Return the network as a module with its batch norms' statistics taken anew."""
        module = to_module(network)
        recalibrate_batch_norm(module, self.data, N_CALIBRATION)
        return module

    def quality(self, is_right: np.ndarray) -> dict[str, int]:
        """Return the counts of a network against the dense one."""
        return {
            "n": len(is_right),
            "dense_correct": int(self.is_right.sum()),
            "n_correct": int(is_right.sum()),
            "n_lost": int((self.is_right & ~is_right).sum()),
            "n_gained": int((is_right & ~self.is_right).sum()),
        }

    def size(self, network: Network) -> dict[str, float]:
        """Return multiply-accumulates and parameters as fractions of the dense network's."""
        return {
            "macs_frac": n_macs(network) / n_macs(self.network),
            "parameters_frac": network.n_parameters() / self.network.n_parameters(),
        }


class Tuner:
    """Finds the pruning ratio at which a rival's network measures just within a budget."""

    def __init__(self, subject: Subject, candidate: Candidate) -> None:
        self._subject, self._candidate = subject, candidate
        self._timed: dict[str, float] = {}  # measured ratio by structure of the network
        self.seen: dict[float, float] = {}  # measured ratio by pruning ratio
        self.failures: dict[float, str] = {}

    def network(self, ratio: float) -> Network:
        value, rounding = self._candidate.value, int(self._candidate.variant)
        subject = self._subject
        return rivals.prune(subject.module, subject.inputs, value, ratio, rounding, subject.gradients)

    def measured(self, ratio: float) -> float:
        """Return the latency at a pruning ratio, over the dense one; infinity where the network does not run."""
        if ratio not in self.seen:
            try:
                network = self.network(ratio)
                if network.structure_hash not in self._timed:
                    self._timed[network.structure_hash] = self._subject.timing(network, QUICKLY).ratio
                self.seen[ratio] = self._timed[network.structure_hash]
            except Exception as error:  # a rival may raise anything, and that is a result
                self.failures[ratio] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]
                self.seen[ratio] = float("inf")
        return self.seen[ratio]

    def best(self, limit_frac: float) -> float | None:
        """Return the pruning ratio of the slowest network within a limit, None where there is none."""
        for ratio in GRID:
            self.measured(ratio)
        fitting = [ratio for ratio in GRID if self.seen[ratio] <= limit_frac]
        if not fitting:
            return None
        low, high = fitting[0] - GRID[0], fitting[0]
        for _ in range(N_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.measured(middle) <= limit_frac else (middle, high)
        within = [ratio for ratio, measured in self.seen.items() if measured <= limit_frac]
        return max(within, key=lambda ratio: self.seen[ratio])


def _fits(row: dict[str, str]) -> bool:
    """Tell whether a network of the untrained table runs and measures within its budget."""
    return bool(row["n_correct"]) and float(row["ratio"]) <= TOLERANCE * int(row["budget"]) / 100


class Study:
    """The questions; every answer is a row."""

    def __init__(self, data: TrainingData, work: Path, networks: list[str], tools: list[str], scope: Scope) -> None:
        self.data, self.work, self.networks, self.tools, self.scope = data, work, networks, tools, scope
        keys = ("network", "tool", "value", "variant", "budget")
        self.untrained = Table(scope.results / "untrained.csv", keys)
        self.fine_tuned = Table(scope.results / "trained.csv", (*keys, "seed", "epochs"))
        self.side_by_side = Table(scope.results / "latency.csv", keys)

    def subject(self, name: str) -> Subject:
        return Subject(name, self.data, Cache(self.work / "cache"))

    def rivals(self) -> None:
        """Tune every rival to every budget."""
        for name in self.networks:
            subject = self.subject(name)
            for value, rounding in itertools.product(self.scope.importances, self.scope.roundings):
                candidate = Candidate(name, "torch-pruning", value, str(rounding))
                tuner = Tuner(subject, candidate)
                for budget in self.scope.budgets:
                    if not self.untrained.has(**candidate.key(budget)):
                        self._add_rival(subject, candidate, tuner, budget)

    def _add_rival(self, subject: Subject, candidate: Candidate, tuner: Tuner, budget: int) -> None:
        setting = tuner.best(budget / 100)
        note = f"does not run at {len(tuner.failures)} of {len(tuner.seen)} pruning ratios" if tuner.failures else ""
        if setting is not None:
            self._add(subject, candidate, budget, tuner.network(setting), f"{setting:.4f}", note)
            return
        least = min(tuner.seen.values())
        reason = next(iter(tuner.failures.values()), "")
        note = f"smallest reached {100 * least:.1f} %" if np.isfinite(least) else f"no network runs ({reason})"
        self._row(candidate, budget, "", note, {}, {}, {})

    def ours(self) -> None:
        """Prune with every value function and solver."""
        for name in self.networks:
            subject = self.subject(name)
            for value, solver, budget in itertools.product(self.scope.values, self.scope.solvers, self.scope.budgets):
                candidate = Candidate(name, "silicut", value, solver)
                if not self.untrained.has(**candidate.key(budget)):
                    self._add_ours(subject, candidate, budget)

    def _add_ours(self, subject: Subject, candidate: Candidate, budget: int) -> None:
        try:
            result = self._pruned(subject, candidate, budget)
        except (DoesNotFit, NotFaster) as error:
            self._row(candidate, budget, "", str(error), {}, {}, {})
            return
        self._add(subject, candidate, budget, result.network, result.plan.hash, "")

    def _pruned(self, subject: Subject, candidate: Candidate, budget: int) -> Pruned:
        options = PruneOptions(
            value=candidate.value, solver=candidate.variant, recipe=None, is_dry_run=True, measuring=SURELY
        )
        return prune(
            subject.module, subject.inputs, f"{budget}%", data=self.data, options=options, cache=subject.cache,
            progress=show, evaluate=lambda _: 0.0,
        )  # fmt: skip

    def _add(self, subject: Subject, candidate: Candidate, budget: int, network: Network, setting: str, note: str) -> None:
        """Measure and evaluate a pruned network, keep it and write its row."""
        self._keep(network, candidate.folder(self.work, budget))
        timing = subject.timing(network, SURELY)
        measured = {"ratio": timing.ratio, "ratio_low": timing.ratio_low, "ratio_high": timing.ratio_high}
        quality = subject.quality(evaluate(subject.recalibrated(network), self.data).is_correct)
        self._row(candidate, budget, setting, note, measured, subject.size(network), quality)

    def _row(self, candidate: Candidate, budget: int, setting: str, note: str, *parts: dict[str, Any]) -> None:
        names = ("ratio", "ratio_low", "ratio_high", "macs_frac", "parameters_frac", "n", "dense_correct", "n_correct",
                 "n_lost", "n_gained")  # fmt: skip
        known = {key: value for part in parts for key, value in part.items()}
        self.untrained.add(
            **candidate.key(budget), setting=setting, **{name: known.get(name, "") for name in names}, note=note
        )

    def trained(self) -> None:
        """Fine-tune the best of each tool."""
        for name in [n for n in self.networks if n in TRAINED]:
            subject = self.subject(name)
            for candidate, budget, setting, seed in self._finalists(name):
                key = {**candidate.key(budget), "seed": seed, "epochs": self.scope.epochs}
                if not self.fine_tuned.has(**key):
                    self._train(subject, self._network(subject, candidate, budget, setting), key)

    def latency(self) -> None:
        """Measure what was trained side by side; rows that are there are made anew, because they belong to one run."""
        for name in [n for n in self.networks if n in TRAINED]:
            rows = [r for r in self.fine_tuned.rows() if r["network"] == name and int(r["budget"]) in self.scope.budgets]
            wanted = {(Candidate(name, r["tool"], r["value"], r["variant"]), int(r["budget"])) for r in rows}
            if all(self.side_by_side.has(**candidate.key(budget)) for candidate, budget in wanted):
                continue
            self.side_by_side.drop(network=name)
            self._measure_together(self.subject(name), sorted(wanted, key=str))

    def _measure_together(self, subject: Subject, wanted: list[tuple[Candidate, int]]) -> None:
        models = {"dense": to_onnx(fold_batch_norm(subject.network), batch=1)}
        for i, (candidate, budget) in enumerate(wanted):
            folder = candidate.folder(self.work, budget)
            network = load_network(folder / "network.json", folder / "weights.safetensors")
            models[str(i)] = to_onnx(fold_batch_norm(network), batch=1)
        timings = measure(engine("onnxruntime"), models, "dense", SURELY).timings
        for i, (candidate, budget) in enumerate(wanted):
            t = timings[str(i)]
            self.side_by_side.add(**candidate.key(budget), ratio=t.ratio, ratio_low=t.ratio_low, ratio_high=t.ratio_high)

    def _finalists(self, name: str) -> Iterator[tuple[Candidate, int, str, int]]:
        """Yield who is trained: half the latency first, seeds beyond the first last."""
        for seed in self.scope.seeds:
            for budget in sorted((b for b in self.scope.budgets if seed in SEEDS[b]), key=lambda b: abs(b - 50)):
                for tool, n in ((tool, n) for tool, n in FINALISTS.items() if tool in self.tools):
                    rows = [r for r in self.untrained.rows() if (r["network"], r["tool"]) == (name, tool)]
                    known = [r for r in rows if int(r["budget"]) == budget and _fits(r)]
                    for row in sorted(known, key=lambda r: -int(r["n_correct"]))[:n]:
                        yield Candidate(name, tool, row["value"], row["variant"]), budget, row["setting"], seed

    def _network(self, subject: Subject, candidate: Candidate, budget: int, setting: str) -> Network:
        """Return the pruned network, made again where another machine has the folder of work."""
        folder = candidate.folder(self.work, budget)
        if not folder.exists() and candidate.tool == "torch-pruning":
            self._keep(Tuner(subject, candidate).network(float(setting)), folder)
        elif not folder.exists():
            self._keep(self._pruned(subject, candidate, budget).network, folder)
        return load_network(folder / "network.json", folder / "weights.safetensors")

    @staticmethod
    def _keep(network: Network, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_network(network, folder / "network.json", folder / "weights.safetensors")

    def _train(self, subject: Subject, network: Network, key: dict[str, Any]) -> None:
        module = subject.recalibrated(network)
        recipe = dataclasses.replace(RECOVERY, epochs=key["epochs"], seed=key["seed"], precision="bf16")
        checkpoint = self.work / "checkpoints" / content_hash({**key, "network": network.structure_hash})
        epochs = fit(module, self.data, recipe, teacher=subject.module, folder=checkpoint)
        is_right = evaluate(module, self.data).is_correct
        timing = subject.timing(network, SURELY)
        right = self.scope.results / "right" / f"{'-'.join(map(str, key.values()))}.bin"
        right.parent.mkdir(parents=True, exist_ok=True)
        right.write_bytes(np.packbits(is_right).tobytes())
        self.fine_tuned.add(
            **key, recipe=recipe.hash, ratio=timing.ratio, ratio_low=timing.ratio_low, ratio_high=timing.ratio_high,
            **subject.size(network), **subject.quality(is_right), seconds=sum(e.seconds for e in epochs),
        )  # fmt: skip


def main() -> None:
    """Answer the questions asked."""
    questions = ("rivals", "ours", "trained", "latency")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, required=True, help="folder of the binary version of CIFAR-10")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/pruning"), help="folder for networks, checkpoints and profiles"
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--tools", nargs="+", choices=list(FINALISTS), default=list(FINALISTS), help="whose are trained")
    parser.add_argument("--budgets", nargs="+", type=int, choices=BUDGETS, default=BUDGETS, help="in per cent")
    parser.add_argument("--seeds", nargs="+", type=int, choices=(0, 1), default=(0, 1), help="of training")
    parser.add_argument("--values", nargs="+", choices=VALUES, default=VALUES, help="of ours")
    parser.add_argument("--solvers", nargs="+", choices=list(SOLVERS), default=list(SOLVERS), help="of ours")
    parser.add_argument("--only", nargs="+", choices=questions, default=questions)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of training")
    parser.add_argument("--quick", action="store_true", help="one method each, one budget, one epoch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    scope = Scope.quick(arguments.work) if arguments.quick else Scope.named(arguments)
    study = Study(open_data(f"cifar10:{arguments.cifar10}"), arguments.work, arguments.networks, arguments.tools, scope)
    for question in arguments.only:
        getattr(study, question)()


if __name__ == "__main__":
    main()
