"""Write README.md of this benchmark from the CSV files in results/: nothing in its tables is typed by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import markdown as table
from study import read_rows

HERE = Path(__file__).parent

HEAD = """# The main job, measured

Does a network pruned to a latency *measure* so, what does it cost in accuracy, how good are the latency model and the
solvers, and how long does it take? Made by `python bench/main_job/run.py --cifar10 DIR --published FILE` (resumable;
`--quick` fine-tunes one epoch) and `python bench/main_job/tables.py`. Every row of the CSV files in `results/` carries
machine, versions, threads, batch, seed and code.

All latencies are *measured* on ONNX Runtime, one thread, batch 1, in interleaved rounds beside the dense network of the same
run; "ratio" is pruned over dense with its bootstrap 95 % interval.

![Milliseconds by layer before and after](stacked.svg)
"""


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of one of the study's tables."""
    return read_rows(HERE / "results" / f"{name}.csv")


def percent(text: str, digits: int = 1) -> str:
    """Return a fraction in per cent."""
    return f"{100 * float(text):.{digits}f} %"


def seconds(text: str) -> str:
    """Return seconds, a dash where they were not taken."""
    return f"{float(text):.1f}" if text else "-"


def accuracy() -> str:
    """Return the table of accuracies with the paired difference and its 95 % interval."""
    lines = []
    for r in rows("accuracy"):
        n, lost, gained = int(r["n"]), int(r["n_lost"]), int(r["n_gained"])
        difference = (gained - lost) / n
        half = 1.96 * math.sqrt(max(lost + gained - (gained - lost) ** 2 / n, 0)) / n
        lines.append([
            r["network"], r["epochs"], r["value"], percent(str(int(r["dense_correct"]) / n), 2),
            percent(str(int(r["recalibrated_correct"]) / n), 2), percent(str(int(r["final_correct"]) / n), 2),
            f"{100 * difference:+.2f} ({100 * (difference - half):+.2f} to {100 * (difference + half):+.2f})", str(n),
            f"{float(r['ratio']):.3f} ({float(r['ratio_low']):.3f} to {float(r['ratio_high']):.3f})", r["n_blocks_removed"],
        ])  # fmt: skip
    header = ["network", "epochs", "value", "dense", "recalibrated only", "fine-tuned",
              "points gained, 95 % interval (paired)", "unseen images", "ratio", "blocks removed"]  # fmt: skip
    return "## Accuracy at half the latency (one seed)\n\n" + table(header, lines)


def budgets() -> str:
    """Return the table of budgets, measured again apart from the loop that chose the plan."""
    lines = [
        [r["network"], f"{r['budget']} %", percent(r["predicted_frac"]), percent(r["loop_ratio"]),
         f"{percent(r['ratio'])} ({percent(r['ratio_low'])} to {percent(r['ratio_high'])})", percent(r["next_better_frac"]),
         r["n_rounds"], r["n_blocks_removed"], "yes" if r["is_met"] == "True" else "no"]
        for r in rows("budgets")
    ]  # fmt: skip
    met = sum(r["is_met"] == "True" for r in rows("budgets"))
    in_loop, within = (sum(_lies_within(r, key) for r in rows("budgets")) for key in ("loop_ratio", "ratio"))
    header = ["network", "budget", "predicted", "measured in the loop", "measured again", "next better plan", "rounds",
              "blocks removed", "met"]  # fmt: skip
    text = (
        f"As the loop that chose the plan measured, {in_loop} of {len(lines)} plans lie within their budget; measured "
        f"again, apart from it, {within} do. Met: within the budget when measured again, and at least 98 % of it or no "
        "better-valued plan fits. One measurement is sure to 0.5 to 1 %, so a plan near an edge of that window may fall "
        "out of it when measured again."
    )
    return f"## Budgets: {met} of {len(lines)} met when measured again\n\n{text}\n\n" + table(header, lines)


def _lies_within(row: dict[str, str], key: str) -> bool:
    return float(row[key]) <= int(row["budget"]) / 100


def latency_model() -> str:
    """Return the table of the latency model's errors."""
    lines = [
        [r["network"], r["n"], f"{float(r['dense_ms']):.3f}", f"{float(r['r2']):.4f}", percent(r["mean_error_frac"]),
         percent(r["max_error_frac"]), percent(r["isolated_mean_error_frac"]), percent(r["isolated_max_error_frac"]),
         r["n_measured"], seconds(r["cold_s"]), seconds(r["warm_s"])]
        for r in rows("latency_model")
    ]  # fmt: skip
    header = ["network", "fresh networks", "dense ms", "R2", "mean error", "max error", "isolated layers: mean error",
              "isolated: max", "networks measured", "cold profile s", "warm s"]  # fmt: skip
    return "## The latency model on fresh random legal networks\n\n" + table(header, lines)


def solvers() -> str:
    """Return the table of solvers at equal true cost."""
    lines = [
        [r["network"], f"{r['budget']} %", r["value"], r["solver"], f"{float(r['plan_value']):.4f}",
         percent(r["cost_frac"], 2),
         f"{float(r['gap_frac']):.1e}" if r["solver"] == "coupled" else "-", f"{float(r['time_s']):.2f}"]
        for r in rows("solvers")
    ]  # fmt: skip
    header = ["network", "budget", "value function", "solver", "value", "true cost", "gap", "seconds"]
    text = "Knapsack and descent get budgets of 0.4 to 2 times the limit; their best plan whose true cost fits counts."
    return f"## Solvers at equal true cost\n\n{text}\n\n" + table(header, lines)


def main() -> None:
    """Write the README."""
    parts = [HEAD, accuracy(), budgets(), latency_model(), solvers()]
    (HERE / "README.md").write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
