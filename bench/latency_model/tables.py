"""Write README.md of this benchmark from the CSV files in results/: nothing in its tables is typed by hand."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import markdown, read_rows

HERE = Path(__file__).parent

HEAD = """# The latency model, network by network, engine by engine

Is latency predicted right, and do plans measure within their budgets? Made by `python bench/latency_model/run.py`
(resumable; `--quick` takes minutes) and `python bench/latency_model/tables.py`. One thread, batch 1; networks with random
weights, images of 224 x 224 but for ResNet-56 (CIFAR-10).

A profile predicts a pruned network as the sum of its layers, each as it was measured inside whole networks. Below it is
compared with {n} fresh random prunings, every other one without some of its residual blocks where there are any; "alone" is
the sum of layers measured one at a time. Errors are fractions of the measured latency.
"""


def percent(text: str, digits: int = 1) -> str:
    """Return a fraction in per cent, a dash where there is none."""
    return f"{100 * float(text):.{digits}f} %" if text else "-"


def model() -> str:
    """Return the table of prediction errors."""
    lines = [
        [r["network"], r["engine"], f"{float(r['dense_ms']):.2f}", f"{float(r['r2']):.4f}", percent(r["mean_error_frac"]),
         percent(r["max_error_frac"]), percent(r["isolated_mean_error_frac"]), percent(r["isolated_max_error_frac"]),
         r["n_measured"], f"{float(r['cold_s']):.0f}" if r["cold_s"] else "-"]
        for r in read_rows(HERE / "results" / "model.csv")
    ]  # fmt: skip
    header = ["network", "engine", "dense ms", "R2", "mean error", "greatest error", "alone: mean", "alone: greatest",
              "networks measured", "seconds"]  # fmt: skip
    return "## Prediction against measurement\n\n" + markdown(header, lines)


def budgets() -> str:
    """Return the table of plans measured again."""
    lines = [
        [r["network"], r["engine"], f"{r['budget']} %", percent(r["ratio"]),
         f"{percent(r['again'])} ({percent(r['ratio_low'])} to {percent(r['ratio_high'])})" if r["again"] else "-",
         "yes" if r["is_met"] == "True" else f"no: {r['note'] or 'see the ratio'}"]
        for r in read_rows(HERE / "results" / "budgets.csv")
    ]  # fmt: skip
    header = ["network", "engine", "budget", "measured in the loop", "measured again (95 % interval)", "met in the loop"]
    return (
        "## Budgets\n\nThe plan of the value \"log-energy\", and the same network measured again apart from the loop that "
        "chose it, both beside the dense network.\n\n" + markdown(header, lines)
    )  # fmt: skip


def main() -> None:
    """Write the page from what is there."""
    rows = read_rows(HERE / "results" / "model.csv")
    parts = [HEAD.format(n=rows[0]["n"] if rows else 20)]
    parts += [
        part() for part, name in ((model, "model"), (budgets, "budgets")) if read_rows(HERE / "results" / f"{name}.csv")
    ]
    (HERE / "README.md").write_text("\n\n".join(part.strip() for part in parts) + "\n")


if __name__ == "__main__":
    main()
