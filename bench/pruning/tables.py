"""Write README.md of this benchmark from the CSV files in results/: nothing in its tables is typed by hand."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
from study import interval_text, markdown, read_rows

HERE = Path(__file__).parent
RESULTS = HERE / "results"

HEAD = """# Pruners at equal measured latency

Is silicut better than what people use today, at equal measured latency and equal training? Made by
`python bench/pruning/run.py --cifar10 DIR` (resumable; `--quick` takes minutes) and `python bench/pruning/tables.py`.

All latencies are *measured* on ONNX Runtime, one thread, batch 1, in interleaved rounds beside the dense network of the
same run. Accuracy is counted on 6,000 CIFAR-10 images that were never trained on. The rival is Torch-Pruning 1.6.1, global
ranking (`uniform-l1`: local), its pruning ratio tuned by halving until the network measures just within the budget; widths
as they are (`1`) or rounded to 16. It cannot remove residual blocks. Its Taylor importance and ours see the same 2,048
training images.
"""

UNTRAINED = """## After recalibration of batch normalisation only

2,000 training images, no training. `MACs` and `parameters` are fractions of the dense network's.
"""

TRAINED = """## After equal training

The best of ours and the best two rivals of the tables below, 8 epochs of the same recipe, distilled from the same dense
network, the same seeds. Differences are paired over the images (with two seeds: of the mean over seeds); the 95 % interval
speaks of other images, not of other trainings. Latencies of a network's rows are of one run, side by side.
What is missing is *not run* yet.
"""


def percent(text: str | float, digits: int = 1) -> str:
    """Return a fraction in per cent, a dash where there is none."""
    return f"{100 * float(text):.{digits}f} %" if text != "" else "-"


def difference(of: np.ndarray, to: np.ndarray) -> str:
    """Return the mean difference in points with its 95 % interval; arrays (seeds, images) of right or wrong."""
    each = of.astype(float).mean(0) - to.astype(float).mean(0)
    mean, half = 100 * each.mean(), 100 * 1.96 * each.std() / math.sqrt(each.size)
    return interval_text(mean, mean - half, mean + half)


def untrained() -> str:
    """Return a table for each network and budget, the most accurate first."""
    rows, parts = read_rows(RESULTS / "untrained.csv"), [UNTRAINED]
    header = ["tool", "value", "solver or rounding", "measured", "MACs", "parameters", "accuracy", "note"]
    for network, budget in dict.fromkeys((r["network"], r["budget"]) for r in rows):
        some = [r for r in rows if (r["network"], r["budget"]) == (network, budget)]
        lines = [
            [r["tool"], r["value"], r["variant"], _interval(r), percent(r["macs_frac"]), percent(r["parameters_frac"]),
             percent(int(r["n_correct"]) / int(r["n"]), 2) if r["n_correct"] else "-", r["note"]]
            for r in sorted(some, key=lambda r: -int(r["n_correct"] or 0))
        ]  # fmt: skip
        parts.append(f"### {network} at {budget} %\n\n" + markdown(header, lines))
    return "\n\n".join(parts)


def _interval(row: dict[str, str]) -> str:
    if not row["ratio"]:
        return "-"
    return f"{percent(row['ratio'])} ({percent(row['ratio_low'])} to {percent(row['ratio_high'])})"


def trained() -> str:
    """Return the table of fine-tuned networks, ours beside each rival."""
    rows, lines = read_rows(RESULTS / "trained.csv"), []
    together = {_method(r): r for r in read_rows(RESULTS / "latency.csv")}
    header = ["network", "budget", "method", "seeds", "measured", "MACs", "accuracy", "ours is better by (points)"]
    for network, budget in dict.fromkeys((r["network"], r["budget"]) for r in rows):
        some = [r for r in rows if (r["network"], r["budget"]) == (network, budget)]
        methods = list(dict.fromkeys((r["tool"], r["value"], r["variant"]) for r in some))
        of = {m: [r for r in some if (r["tool"], r["value"], r["variant"]) == m] for m in methods}
        ours = next((m for m in methods if m[0] == "silicut"), None)
        for method in sorted(methods, key=lambda m: m != ours):
            first = of[method][0]
            both = _common_seeds(of[ours], of[method]) if ours and method != ours else None
            lines.append([
                network, f"{budget} %", " ".join(method), " ".join(r["seed"] for r in of[method]),
                _interval(together.get(_method(first), first)),
                percent(first["macs_frac"]), _accuracies(of[method]), difference(*both) if both else "",
            ])  # fmt: skip
    missing = "" if any(r["tool"] == "silicut" for r in rows) else "Ours are *not run* yet, so nothing can be compared.\n\n"
    return TRAINED + "\n" + missing + markdown(header, lines)


def _method(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[key] for key in ("network", "tool", "value", "variant", "budget"))


def _accuracies(rows: Iterable[dict[str, str]]) -> str:
    return ", ".join(percent(int(r["n_correct"]) / int(r["n"]), 2) for r in rows)


def _common_seeds(a: list[dict[str, str]], b: list[dict[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    seeds = sorted({r["seed"] for r in a} & {r["seed"] for r in b})
    first, second = (np.stack([_right(r) for s in seeds for r in rows if r["seed"] == s]) for rows in (a, b))
    return first, second


def _right(row: dict[str, str]) -> np.ndarray:
    name = "-".join(row[key] for key in ("network", "tool", "value", "variant", "budget", "seed", "epochs"))
    bits = np.frombuffer((RESULTS / "right" / f"{name}.bin").read_bytes(), np.uint8)
    return np.unpackbits(bits, count=int(row["n"])).astype(bool)


def main() -> None:
    """Write the README."""
    parts = [HEAD, *([trained()] if (RESULTS / "trained.csv").exists() else []), untrained()]
    (HERE / "README.md").write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
