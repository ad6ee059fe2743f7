"""How fast are ResNet-18 and MobileNetV2 on a LUT core and a DSP core together, by whose model?

    python bench/n3h/run.py [--only QUESTION ...] [--quick]

Questions, in this order:

    published   the released model of N3H-Core for ResNet-18: its policies, its splits and better ones, one core alone
    baselines   Mix&Match's six builds, execution modelled, with the paper's figures as recalled
    resources   what three builds take of an xc7z020 and an xc7z045, by both fits of BISMO
    bounds      the least cycles of each unit for each layer, build and policy
    machine     compiled: the time of the program and of the exact recurrence, with a barrier behind each layer and
                overlapped
    exactness   numbers against the integer reference and cycles against the recurrence: 300 random networks on random
                builds, both networks with data, and both on 20 random builds

All times are at an assumed clock of 100 MHz, batch 1, 224 x 224. Every row says what it is: *released model*, *modelled*,
*recalled*, *bound* or *simulated*. Rows that are there are not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import bounds
import exactness
import formulas
import machine
import torch
from study import Table

HERE = Path(__file__).parent
_TIMED = ("build", "network", "policy", "n_pixels")


def main() -> None:
    """Answer the questions asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("published", "baselines", "resources", "bounds", "machine", "exactness")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--work", type=Path, default=Path("runs/n3h"), help="folder for the results of --quick")
    parser.add_argument("--quick", action="store_true", help="inputs of 64 x 64 for 'machine'; results stay in --work")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = (given.work if given.quick else HERE) / "results"

    def table(name: str, *keys: str) -> Table:
        return Table(folder / f"{name}.csv", keys)

    answers: dict[str, Callable[[], None]] = {
        "published": lambda: formulas.answer_published(table("published", "policy", "split", "layer")),
        "baselines": lambda: formulas.answer_baselines(table("baselines", "design")),
        "resources": lambda: bounds.answer_resources(table("resources", "build", "model")),
        "bounds": lambda: bounds.answer(table("bounds", "build", "network", "policy", "layer")),
        "machine": lambda: machine.answer(
            table("machine", *_TIMED, "mode"), table("layers", *_TIMED, "layer"), 64 if given.quick else 224
        ),
        "exactness": lambda: exactness.answer(
            table("random", "seed"), table("data", *_TIMED), table("cycles", "build", "network", "has_barriers", "n_pixels"),
            64 if given.quick else 224, given.quick,
        ),
    }  # fmt: skip
    for question in given.only:
        answers[question]()


if __name__ == "__main__":
    main()
