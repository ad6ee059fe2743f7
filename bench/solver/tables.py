"""Write README.md of this benchmark from the CSV file in results/: nothing in its tables is typed by hand."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import markdown, read_rows

HERE = Path(__file__).parent

HEAD = """# The solvers

How good are the solvers, beside each other and beside a knapsack over output widths? Made by `python bench/solver/run.py`
(resumable; `--quick` takes synthetic costs, half the latency and one value function) and `python bench/solver/tables.py`.

- *gap* is how much more value any plan within the budget could have, relative, by the solver's own bound. All plans are
  compared within the same **true** latency.
- *first try* is the true latency that a solver reaches when it is given the budget once. A knapsack that freezes the
  width before a layer ("halp") or all other widths ("knapsack") misses it; its best plan of 53 budgets counts for the
  other columns.
- "hull" is the best point of the concave front, one computation for all budgets.
- Costs are *measured* (profiles of ONNX Runtime, one thread, batch 1) or *synthetic* (a staircase of 16 channels over the
  same layers with 5 % of noise, at most 24 widths a group).
"""

HEADER = ["network", "value function", "budget", "solver", "value", "gap", "true latency", "first try", "seconds"]


def line(row: dict[str, str]) -> list[str]:
    """Return a table line of a row."""
    gap = "-"
    if row["bound"]:
        value, bound = float(row["plan_value"]), float(row["bound"])
        gap = f"{max(0.0, bound - value) / max(abs(value), 1e-12):.1e}"
    first = f"{100 * float(row['one_shot_frac']):.1f} %" if row["one_shot_frac"] else "-"
    return [
        row["network"], row["value"], f"{row['budget']} %", row["solver"], f"{float(row['plan_value']):.5g}", gap,
        f"{100 * float(row['cost_frac']):.2f} %", first, f"{float(row['time_s']):.2f}",
    ]  # fmt: skip


def main() -> None:
    """Write the README."""
    rows = sorted(read_rows(HERE / "results" / "solver.csv"), key=lambda r: r["costs"])
    parts = [HEAD.strip()]
    for costs, group in groupby(rows, key=lambda r: r["costs"]):
        parts.append(f"## {costs.capitalize()} costs\n\n" + markdown(HEADER, [line(row) for row in group]))
    (HERE / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
