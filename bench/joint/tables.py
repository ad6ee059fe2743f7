"""Write README.md of this benchmark from the CSV files in results/: nothing in its tables is typed by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import interval_text, markdown, read_rows

HERE = Path(__file__).parent
RESULTS = HERE / "results"
_Z95 = 1.959964
NAMES = {"widths": "widths alone, 8 bits", "bits": "bits alone, whole widths", "both": "both, one problem"}

HEAD = """# Widths, bits, or both

What keeps most of ResNet-20 at the same number of cycles of the GEMM accelerator (build n3h)? Made by
`python bench/joint/run.py --cifar10 DIR` (resumable; `--quick` takes minutes) and `python bench/joint/tables.py`.

The whole is the time of the dense network with weights and activations of 8 bits. Each arm gets the same part of it. Cycles
are *simulated*, by the exact recurrence that the simulator is tested against; accuracy is *measured*. The first and the last
layer have 8 bits in every arm; the others, where bits are chosen, 2, 3, 4, 5, 6 or 8 for weights and for what they read.
"""

MODEL = """## By the model

`loss` is the sum that the solver minimises: divergences in nats from the dense network on 256 training images, each of
one group narrower alone (PCHIP between four widths), or of one layer's weights or one tensor with fewer bits alone, added
unscaled. What 8 bits lose is not counted where they are no decision. Sums of single losses are no loss of the whole, and
none knows of training; they say which plan is tried, not what it is worth in the end. `bits` are means over
multiply-accumulates.
"""

TRAINED = """## After equal training

Each plan fine-tuned and then trained while rounded, each for the same epochs of the same recipes, distilled from the same
dense network, one seed. Right are images of the *integer* network out of those that were never trained on. Differences are
paired over the images; the 95 % interval speaks of other images, not of other trainings.
"""


def main() -> None:
    """Write the README."""
    parts = [HEAD]
    if rows := read_rows(RESULTS / "model.csv"):
        parts += [MODEL, _model(rows), *_unreachable(read_rows(RESULTS / "unreachable.csv"))]
    if rows := read_rows(RESULTS / "trained.csv"):
        parts += [TRAINED, _trained(rows), _pairs(read_rows(RESULTS / "pairs.csv"))]
    (HERE / "README.md").write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _model(rows: list[dict[str, str]]) -> str:
    header = ["budget", "arm", "simulated", "cycles", "rounds", "loss", "bits w / a", "MACs", "parameters", "blocks removed"]
    lines = [
        [
            f"{row['budget']} %",
            NAMES[row["arm"]],
            f"{100 * float(row['ratio']):.2f} %",
            f"{int(row['cycles']):,}",
            row["n_rounds"],
            f"{float(row['lost_nats']):.3f}",
            f"{float(row['weight_bits']):.1f} / {float(row['activation_bits']):.1f}",
            f"{100 * float(row['macs_frac']):.0f} %",
            f"{int(row['n_parameters']):,}",
            row["n_removed_blocks"],
        ]
        for row in rows
    ]
    return markdown(header, lines) + "\n"


def _unreachable(rows: list[dict[str, str]]) -> list[str]:
    return [f"{row['budget']} %, {NAMES[row['arm']]}: {row['sentence']}.\n" for row in rows]


def _trained(rows: list[dict[str, str]]) -> str:
    header = ["budget", "arm", "epochs", "simulated", "dense", "float, fine-tuned", "integer", "against dense, points"]
    lines = []
    for row in rows:
        n = int(row["n"])
        right = [f"{100 * int(row[name]) / n:.2f} %" for name in ("dense_correct", "float_correct", "n_correct")]
        difference = _difference(n, int(row["n_gained"]), int(row["n_lost"]))
        epochs = f"{row['epochs']} + {row['epochs']}"
        lines.append(
            [f"{row['budget']} %", NAMES[row["arm"]], epochs, f"{100 * float(row['ratio']):.2f} %", *right, difference]
        )
    return markdown(header, lines) + "\n"


def _pairs(rows: list[dict[str, str]]) -> str:
    header = ["budget", "difference in points", "images that only it has right", "that only the other has"]
    lines = [
        [
            f"{row['budget']} %, both against {row['b']}",
            _difference(int(row["n"]), int(row["n_gained"]), int(row["n_lost"])),
            row["n_gained"],
            row["n_lost"],
        ]
        for row in rows
    ]
    return markdown(header, lines) + "\n"


def _difference(n: int, gained: int, lost: int) -> str:
    """Return a paired difference in points with its 95 % interval (McNemar, Psychometrika 12, 1947)."""
    mean = (gained - lost) / n
    half = _Z95 * math.sqrt(max(gained + lost - n * mean**2, 0.0)) / n
    return interval_text(100 * mean, 100 * (mean - half), 100 * (mean + half))


if __name__ == "__main__":
    main()
