"""Write README.md of this benchmark from the CSV files in results/: nothing in its tables is typed by hand."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import interval_text, markdown, read_rows

HERE = Path(__file__).parent
RESULTS = HERE / "results"

HEAD = """# Integer networks: how right, how exact, how exchangeable

Made by `python bench/quantisation/run.py --data DIR --weights DIR` (resumable; `--quick` takes minutes) and
`python bench/quantisation/tables.py`. What has no row is *not run* yet.

Every accuracy is that of the *integer* network, counted on images that were never trained on: the last 5,000 training
images and 1,000 test images of CIFAR-10 (`resnet20`, `resnet56-projection`, which come with the package), 1,000 test images
(`resnet8` of MLPerf Tiny and the published `resnet56`, which have seen all training images), the test images of MNIST
(`lenet5`, trained by the study in three epochs). Differences are in points, paired image by image, with their 95 %
interval; where it holds 0 there is *no difference*. Intervals speak of other images, not of other calibration images.
Bits are those of weights / of the tensor that a layer reads; what additions read and the outputs have 8. The first and the
last layer have 8 / 8 unless a table says otherwise.
"""

PTQ = """## After training, without more of it

512 training images, no labels. `min-max`: nothing saturates, activations or weights; all others choose the scales of
weights by least squared error, and the ranges of activations as they are called. `equalised`: channels of neighbouring
layers brought to equal ranges first. `biases`: shifted means taken back by biases. `adaptive`: each weight up or down for
the least error of its layer's output; biases are corrected along with it.
"""

MIXED = """## Mixed precision at equal bit operations

Widths of 2 to 8 bits, searched within the bit operations (multiply-accumulates x both widths) of a uniform plan: of all
layers, or of the inner ones with the first and the last at 8 / 8 as in the uniform plan. Both plans are rounded in the same
way (`mse, adaptive`) on the same images, for three draws of calibration images, over which each counted image is averaged.
The search sees calibration images only; the counted images never. Cross-entropy
of the labels says more than accuracy where few images change sides. Bit operations and bits of weights are relative to the
uniform plan's.
"""

QAT = """## After quantisation-aware training

Trained while rounded, distilled from the float network; `untrained` has the same ranges and rounds to the nearest. A
difference is to float.
"""

EXACT = """## PyTorch's evaluation against the integer reference

Numbers of every tensor of every layer; two independent implementations.
"""

EXCHANGE = """## Files

The QDQ file in ONNX Runtime against the integer network. `steps`: the largest difference of an output in its own steps.
`operators off`: results of single operators, fed with what the runtime made, that differ, and the largest difference. Round
trips compare all integers of all tensors.
"""

Row = dict[str, str]


def percent(n: float, of: int) -> str:
    """Return a part in per cent with two digits."""
    return f"{100 * n / of:.2f} %"


def difference(n_gained: int, n_lost: int, n: int) -> str:
    """Return a paired difference in points with its 95 % interval.

    Example:
        >>> difference(26, 17, 6000)
        '+0.15 (-0.06 to +0.36): no difference'
    """
    mean = (n_gained - n_lost) / n
    half = 1.96 * math.sqrt(max((n_gained + n_lost) / n - mean**2, 0.0) / n)
    return interval_text(100 * mean, 100 * (mean - half), 100 * (mean + half))


def _difference(row: Row) -> str:
    return difference(int(row["n_gained"]), int(row["n_lost"]), int(row["n"]))


def _points(row: Row) -> str:
    """Return the difference of a row that carries its interval, because it is a mean over calibrations."""
    return interval_text(*(float(row[name]) for name in ("points", "points_low", "points_high")))


def _loss_difference(row: Row) -> str:
    return interval_text(*(float(row[name]) for name in ("loss_change", "loss_low", "loss_high")), digits=4)


def after_training(rows: Iterable[Row]) -> str:
    """Return the table of methods, by network and bits from the widest on."""
    header = ["network", "bits", "method", "images", "float", "integer", "integer - float (points)"]
    lines = [
        [r["network"], r["bits"], r["method"], r["n"], percent(float(r["before_correct"]), int(r["n"])),
         percent(float(r["correct"]), int(r["n"])), _difference(r)]
        for r in sorted(rows, key=lambda r: (r["network"], -int(r["bits"].partition("/")[0])))
    ]  # fmt: skip
    return markdown(header, lines)


def mixed(rows: Iterable[Row]) -> str:
    """Return the table of searched plans beside uniform ones."""
    header = [
        "network", "at the cost of", "searched", "images", "float", "uniform", "searched", "searched - uniform (points)",
        "cross-entropy: float, uniform, searched", "searched - uniform (nats)", "bit operations", "bits of weights",
    ]  # fmt: skip
    lines = [
        [r["network"], r["uniform"], r["searched"], r["n"],
         *(percent(float(r[name]), int(r["n"])) for name in ("float_correct", "before_correct", "correct")), _points(r),
         ", ".join(f"{float(r[name]):.4f}" for name in ("float_loss", "before_loss", "loss")), _loss_difference(r),
         *(f"{100 * float(r[name]):.1f} %" for name in ("bops_frac", "weight_bits_frac"))]
        for r in rows
    ]  # fmt: skip
    return markdown(header, lines)


def plans(rows: Iterable[Row]) -> str:
    """Return the searched widths, layer by layer."""
    return "\n".join(f"- {r['network']}, {r['searched']} at the cost of {r['uniform']}: {r['plan']}" for r in rows)


def trained(rows: Iterable[Row]) -> str:
    """Return the table of networks that were trained while rounded."""
    header = ["network", "bits", "epochs", "images", "float", "untrained", "trained", "trained - float (points)"]
    lines = [
        [r["network"], f"{r['weight_bits']}/{r['activation_bits']}", r["epochs"], r["n"],
         *(percent(int(r[name]), int(r["n"])) for name in ("float_correct", "untrained_correct", "n_correct")),
         _difference(r)]
        for r in rows
    ]  # fmt: skip
    return markdown(header, lines)


def exact(rows: Iterable[Row]) -> str:
    """Return the table of numbers that were compared, random networks in one line."""
    header = ["network", "bits", "images", "tensors", "numbers", "different"]
    lines = [
        [r["network"], r["widths"], r["n_images"], r["n_tensors"], f"{int(r['n_numbers']):,}", r["n_different"]]
        for r in rows
    ]
    if some := read_rows(RESULTS / "exact_random.csv"):
        bits = f"random {min(int(r['least_bits']) for r in some)}..{max(int(r['most_bits']) for r in some)}"
        totals = [str(sum(int(r[name]) for r in some)) for name in ("n_tensors", "n_numbers", "n_different")]
        lines.append([f"{len(some)} random small ones", bits, "16 each", totals[0], f"{int(totals[1]):,}", totals[2]])
    return markdown(header, lines)


def exchange(rows: Iterable[Row]) -> str:
    """Return the table of files."""
    header = ["network", "weights", "images", "equal top-1", "steps", "operators off", "QDQ back", "QONNX back"]
    lines = [
        [r["network"], r["weights"], r["n_images"], f"{100 * float(r['same_top1_frac']):.2f} %", r["output_steps"],
         f"{r['n_off']} (by {r['operator_steps']})", r["qdq_back"], r["qonnx_back"]]
        for r in rows
    ]  # fmt: skip
    return markdown(header, lines)


def _sections() -> Iterator[tuple[str, str]]:
    """Yield for each question its file's name and what is said about it."""
    for name, text, tables in (
        ("ptq", PTQ, (after_training,)),
        ("mixed", MIXED, (mixed, plans)),
        ("qat", QAT, (trained,)),
        ("exact", EXACT, (exact,)),
        ("exchange", EXCHANGE, (exchange,)),
    ):
        if rows := read_rows(RESULTS / f"{name}.csv"):
            yield name, "\n\n".join([text.strip(), *(table(rows) for table in tables)])


def _machines(names: Iterable[str]) -> str:
    found = [(r["machine"], r["versions"]) for name in names for r in read_rows(RESULTS / f"{name}.csv")]
    lines = (f"- {machine}; {versions}" for machine, versions in dict.fromkeys(found))
    return "## Machines and versions\n\nIntegers are the same on all of them; times are not compared.\n\n" + "\n".join(lines)


def main() -> None:
    """Write the README."""
    sections = dict(_sections())
    parts = [HEAD.strip(), *sections.values(), _machines(sections)]
    (HERE / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
