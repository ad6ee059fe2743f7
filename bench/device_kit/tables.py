"""Write README.md of this benchmark from the CSV file in results/: nothing in its table is typed by hand."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import markdown, read_rows

HERE = Path(__file__).parent

HEAD = """# Plans from a device's kits

Does a profile that was made by kits on a device give the plans that a local profile gives? Made by
`python bench/device_kit/run.py` and `python bench/device_kit/tables.py`. ONNX Runtime, one thread, batch 1. The device is
the same machine, in an environment that holds Python, NumPy and ONNX Runtime only.

Each row compares plans of another profile with those of the first local one, at the same budget. "Local again" is a second
local profile: what it changes is noise alone. "Channels changed" sums differences of widths, over all channels;
costs and values are those that the *first* profile gives to both plans, so that they say what the difference is worth.
"""


def percent(text: str) -> str:
    """Return a fraction in per cent."""
    return f"{100 * float(text):.1f} %"


def plans() -> str:
    """Return the table of plans."""
    lines = [
        [r["network"], r["other"], f"{r['budget']} %", percent(r["changed_frac"]),
         f"{percent(r['first_cost_frac'])}, {percent(r['other_cost_frac'])}",
         f"{float(r['first_value']):.2f}, {float(r['other_value']):.2f}"]
        for r in read_rows(HERE / "results" / "plans.csv")
    ]  # fmt: skip
    header = ["network", "other profile", "budget", "channels changed", "cost: first, other", "value: first, other"]
    return markdown(header, lines)


def main() -> None:
    """Write the page from what is there."""
    (HERE / "README.md").write_text(f"{HEAD}\n{plans()}\n")


if __name__ == "__main__":
    main()
