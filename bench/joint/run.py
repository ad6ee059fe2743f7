"""Widths, bits, or both: what keeps most of a network at the same number of cycles of an accelerator?

    python bench/joint/run.py --cifar10 DIR [--budgets 50 35] [--only model trained] [--epochs N] [--quick]

ResNet-20 on the build n3h of the GEMM accelerator. The whole is its time with weights and activations of 8 bits; each arm
gets the same part of it and makes the best of one kind of decision:

    widths   channels and residual blocks go, all bits stay at 8
    bits     2 to 8 bits for the weights of every layer and for what it reads, all channels stay
    both     one problem

Questions, in this order:

    model    what each arm is predicted to lose, and what its plan simulates; nothing is trained
    trained  the same plans, fine-tuned and then trained while rounded, each for the same epochs of the same recipes; right
             images of the integer network out of 6,000 that were never trained on, image by image

The first and the last layer have 8 bits everywhere. Every row reaches its CSV file in results/ when it is known, and rows
that are there are not made again; runs lie in --work and go on where they stopped. `python bench/joint/tables.py` writes the
README.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import torch
from study import Table, example, load, show

from silicut import Pruned, PruneOptions, Restrictions, prune
from silicut.compress.quantisation.aware_training import QAT
from silicut.flows.gemm_target import GemmTarget
from silicut.flows.quantise import QuantiseOptions
from silicut.flows.run_folder import RunFolder
from silicut.graph.counting import n_macs
from silicut.records import Journal
from silicut.training import RECOVERY, Recipe, TrainingData
from silicut.zoo import open_data

HERE = Path(__file__).parent
NETWORK, TARGET, BUILD, VALUE = "resnet20", "gemm@xc7z020", "n3h", "sensitivity"
BUDGETS = (50, 35)
ARMS = {"widths": ("8/8", ()), "bits": ("joint", ("*",)), "both": ("joint", ())}
"""Each arm: its bits, and the layers whose channels all stay."""
EPOCHS = 4
N_QUICK, N_QUICK_UNSEEN = 128, 200


@dataclass(frozen=True)
class Study:
    """What was asked, and where things are.

    Attributes:
        cifar10: folder of the images.
        work: folder of the runs.
        epochs: of fine-tuning, and of training while rounded.
        is_quick: few images, an epoch each; results stay in `work`.
    """

    cifar10: Path
    work: Path
    epochs: int
    is_quick: bool

    def table(self, name: str, keys: tuple[str, ...]) -> Table:
        """Return a table of results."""
        return Table((self.work if self.is_quick else HERE) / "results" / f"{name}.csv", keys)

    @cached_property
    def data(self) -> TrainingData:
        """Images to train on and images that the network has never seen."""
        found: Any = open_data(f"cifar10:{self.cifar10}")
        return found.subset(N_QUICK, N_QUICK_UNSEEN) if self.is_quick else found  # type: ignore[no-any-return]

    def run(self, arm: str, budget: int, *, is_trained: bool) -> Pruned:
        """Return the result of an arm at a budget in per cent, from its folder where it was made."""
        bits, frozen = ARMS[arm]
        rounded = QuantiseOptions(training=_epochs(QAT, self.epochs))
        target = replace(GemmTarget.named(TARGET, config=BUILD, bits=bits), quantisation=rounded)
        options = PruneOptions(
            value=VALUE,
            restrictions=Restrictions(freeze=frozen),
            recipe=_epochs(RECOVERY, self.epochs),
            is_dry_run=not is_trained,
            time_limit_s=60.0,
        )
        with self._folder(arm, budget) as folder:
            return prune(
                load(NETWORK),
                example(NETWORK),
                f"{budget}%",
                engine=target,
                data=self.data,
                options=options,
                folder=folder,
                progress=show,
            )

    def _folder(self, arm: str, budget: int) -> RunFolder:
        """Return the folder of a run; what channels and bits lose is measured once for all of them."""
        path, shared = self.work / f"{arm}-{budget}", self.work / "shared"
        shared.mkdir(parents=True, exist_ok=True)
        asked = {"arm": arm, "budget": budget, "epochs": self.epochs}
        return RunFolder(path, asked, resumes=(path / "run.json").exists(), shared_with=shared)


def _epochs(recipe: Recipe, epochs: int) -> Recipe:
    return replace(recipe, epochs=epochs, warmup_epochs=min(recipe.warmup_epochs, epochs / 4))


def model(study: Study, budget: int) -> None:
    """Say what each arm is predicted to lose at a budget, and what its plan simulates."""
    table = study.table("model", ("budget", "arm"))
    for arm in ARMS:
        if not table.has(budget=budget, arm=arm):
            table.add(budget=budget, arm=arm, **_planned(study.run(arm, budget, is_trained=False)))


def _planned(result: Pruned) -> dict[str, Any]:
    """Return the columns of a plan."""
    simulated, outcome = result.simulation, result.outcome
    assert simulated is not None
    products = [layer for layer in simulated.layers if layer.w_bits]
    macs = np.array([layer.n_macs for layer in products], float)
    return {
        "build": BUILD,
        "limit_frac": outcome.limit_frac,
        "ratio": outcome.chosen.ratio,
        "cycles": simulated.cycles,
        "n_rounds": len(outcome.rounds),
        "model_error_frac": result.profile.validation.mean_error_frac,
        "value": VALUE,
        "lost_nats": -outcome.solution.value,
        "gap_frac": outcome.solution.gap_frac,
        "macs_frac": n_macs(result.network) / n_macs(result.dense),
        "n_parameters": result.network.n_parameters(),
        "n_removed_blocks": len(result.plan.removed_blocks),
        "weight_bits": float(macs @ [layer.w_bits for layer in products] / macs.sum()),
        "activation_bits": float(macs @ [layer.a_bits for layer in products] / macs.sum()),
    }


def trained(study: Study, budget: int) -> None:
    """Train each arm's plan at a budget, and compare both with one kind of decision with the one with two."""
    table, right = study.table("trained", ("budget", "arm", "epochs")), {}
    for arm in ARMS:
        key = {"budget": budget, "arm": arm, "epochs": study.epochs}
        if not table.has(**key):
            result = study.run(arm, budget, is_trained=True)
            table.add(**key, **_counted(result))
        right[arm] = _right_images(study, arm, budget)
    pairs = study.table("pairs", ("budget", "a", "b", "epochs"))
    for arm in ("widths", "bits"):
        key = {"budget": budget, "a": "both", "b": arm, "epochs": study.epochs}
        if not pairs.has(**key):
            gained, lost = (int((x & ~y).sum()) for x, y in ((right["both"], right[arm]), (right[arm], right["both"])))
            pairs.add(**key, n=len(right[arm]), n_gained=gained, n_lost=lost)


def _counted(result: Pruned) -> dict[str, Any]:
    """Return the columns of a trained network."""
    found = {stage.name: stage for stage in result.stages}
    last, simulated = found["integer"], result.simulation
    assert simulated is not None
    return {
        "ratio": result.measurement.timings["pruned"].ratio,
        "cycles": simulated.cycles,
        "n": last.n,
        "dense_correct": found["dense"].n_correct,
        "float_correct": found["fine-tuned"].n_correct,
        "n_correct": last.n_correct,
        "n_lost": last.n_lost,
        "n_gained": last.n_gained,
    }


def _right_images(study: Study, arm: str, budget: int) -> np.ndarray:
    """Return which unseen images the integer network of an arm has right."""
    steps = Journal(study.work / f"{arm}-{budget}" / "metrics.jsonl")
    (found,) = [event["result"] for event in steps if event["step"] == "quality: integer"]
    return np.unpackbits(np.frombuffer(bytes.fromhex(found["right"]), np.uint8), count=found["n"]).astype(bool)


QUESTIONS = {"model": model, "trained": trained}
"""Each question and what answers it at a budget."""


def main() -> None:
    """Answer the questions asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, required=True, help="folder cifar-10-batches-bin")
    parser.add_argument("--work", type=Path, default=Path("runs/joint"), help="folder of the runs")
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS), help="per cent of the simulated cycles")
    parser.add_argument("--only", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS))
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of fine-tuning, and of training while rounded")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few images, one epoch, one budget; results stay in --work")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    epochs, budgets = (1, arguments.budgets[:1]) if arguments.quick else (arguments.epochs, arguments.budgets)
    work = arguments.work / "quick" if arguments.quick else arguments.work
    study = Study(arguments.cifar10, work, epochs, arguments.quick)
    for question in arguments.only:
        for budget in budgets:
            QUESTIONS[question](study, budget)


if __name__ == "__main__":
    main()
