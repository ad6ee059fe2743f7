"""Write README.md of this benchmark from the CSV files in results/: nothing in its tables is typed by hand."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import markdown, read_rows

HERE = Path(__file__).parent
Row = dict[str, str]

HEAD = """# Searches for a build, beside the best there is

How far are learned and heuristic searches from the best build of a grid? Made by `python bench/design_search/run.py`
(resumable; `--quick` takes a minute) and `python bench/design_search/tables.py`. Cost is the *modelled* time of ResNet-18
and MobileNetV2 (224 x 224, batch 1, weights and activations of 4 bits, the ends of 8) at an assumed 100 MHz, with two
ports of 64 bits (1.6 GB/s) on either part; limits are
look-up tables, flip-flops, slices and memory blocks of the part. Every solver has its default options; those of annealing
and tabu search were tried on ResNet-18 on the xc7z020 (committed grid) only.

## The optimum

Branch and bound; *proven* means that no point of the grid is below.
"""

SEARCHES = """## {n_allowed:,} evaluations: {grid} grid

How much slower than the optimum the best build is that a search found, in percent: mean of the seeds (least to greatest).
*evaluations* are distinct builds; an agent that converges asks for builds again, which cost it an episode and are not
evaluated. *within limits* is the part of the evaluated builds that fit; *first* is after how many evaluations one did.
"""

DESIGNS = """## What `silicut design` chooses for ResNet-18 on an xc7z020

4 bits, the ends 8, two ports of 64 bits at full speed (1.6 GB/s), where nothing else is said. The build that is predicted
best (by proof where `bound` is the least prediction) and its neighbours are compiled; the fastest, *simulated*, is the
answer. `floor`: no schedule on this build is shorter. The loss of chosen bits is a *proxy*, the noise power of
rounding. Resources are modelled, nothing is synthesised.
"""

HELPS = """What would help most, by searching again with more of one limit: least *predicted* cycles.
"""

MILESTONES = (50, 100, 300)


def designs(rows: Iterable[Row]) -> str:
    """Return the table of chosen builds."""
    header = ["case", "simulated ms", "predicted", "bound", "floor", "LUT core", "DSP core", "lanes", "fill bits", "LUTs",
              "DSP", "BRAM36", "mean bits of weights", "loss (proxy)", "seconds"]  # fmt: skip
    return markdown(header, [_design_line(row) for row in rows])


def _design_line(row: Row) -> list[str]:
    times = (
        f"{float(row[name]) / 1e5:.2f}" for name in ("simulated_cycles", "least_cycles", "bound", "machine_bound_cycles")
    )
    lut = "x".join(row[f"lut_{name}"] for name in ("rows", "columns", "word_bits"))
    dsp = "x".join(row[f"dsp_{name}"] for name in ("rows", "inputs", "outputs")) + f" in {row['dsp_passes']} passes"
    amounts = (f"{int(row[name]):,}" for name in ("n_luts", "n_dsps", "n_bram36"))
    chosen = (
        f"{float(row[name]):.{digits}f}" if row[name] else "" for name, digits in (("mean_weight_bits", 2), ("loss", 4))
    )
    return [
        row["case"],
        *times,
        lut,
        dsp,
        row["n_lanes"],
        row["fill_bits"],
        *amounts,
        *chosen,
        f"{float(row['search_s']):.0f}",
    ]


def helps(rows: Iterable[Row]) -> str:
    """Return the table of what more of a limit would bring."""
    lines = []
    for row in rows:
        saved = 100 * (1 - float(row["cycles"]) / float(row["least_cycles"])) if row["cycles"] else None
        lines.append([row["what"], "not finished" if saved is None else f"{float(row['cycles']):,.0f}",
                      "" if saved is None else f"{saved:.1f} %"])  # fmt: skip
    return markdown(["more of", "cycles", "saved"], lines)


def exact(rows: Iterable[Row]) -> str:
    """Return the table of optima."""
    header = [
        "grid",
        "network",
        "part",
        "points",
        "least cycles",
        "ms",
        "proven",
        "seconds",
        "visited",
        "pruned",
        "infeasible",
    ]
    return markdown(header, [_exact_line(row) for row in rows])


def _exact_line(row: Row) -> list[str]:
    beginning = [row["grid"], row["network"], row["part"], f"{int(row['n_points']):,}"]
    if not row["cycles"]:
        return [*beginning, "nothing fits", *[""] * 6]
    cycles, counts = float(row["cycles"]), (f"{int(row[f'n_{what}']):,}" for what in ("visited", "pruned", "infeasible"))
    proven = "yes" if row["is_proven"] == "True" else f"to {float(row['bound']):,.0f}"
    return [*beginning, f"{cycles:,.0f}", f"{cycles / 1e5:.2f}", proven, f"{float(row['time_s']):.0f}", *counts]


def searches(rows: Iterable[Row], least: dict[tuple[str, ...], float]) -> Iterator[str]:
    """Yield one table for each number of evaluations and grid."""
    rows = sorted(rows, key=lambda row: (int(row["n_allowed"]), row["grid"]))
    for (n_allowed, grid), group in groupby(rows, key=lambda row: (int(row["n_allowed"]), row["grid"])):
        header = ["network", "part", "solver", "seeds", *(f"after {n}" for n in MILESTONES), "at the end", "evaluations",
                  "within limits", "first", "seconds"]  # fmt: skip
        yield SEARCHES.format(n_allowed=n_allowed, grid=grid) + "\n" + markdown(header, list(_lines(group, least)))


def _lines(rows: Iterable[Row], least: dict[tuple[str, ...], float]) -> Iterator[list[str]]:
    cases: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        cases.setdefault((row["network"], row["part"], row["solver"]), []).append(row)
    for key, of_case in sorted(
        cases.items(), key=lambda case: (case[0][0] != "resnet18", case[0][1], _mean_cycles(case[1]))
    ):
        optimum = least.get((of_case[0]["grid"], *key[:2]))
        reached = [[row[name] for row in of_case] for name in (*(f"cycles_{n}" for n in MILESTONES), "cycles")]
        yield [
            *key, str(len(of_case)), *(_gap_text(cycles, optimum) for cycles in reached),
            f"{_mean(of_case, 'n_evaluations'):,.0f}",
            f"{100 * (1 - _mean(of_case, 'n_infeasible') / _mean(of_case, 'n_evaluations')):.0f} %",
            _first_text(row["first_feasible"] for row in of_case), f"{_mean(of_case, 'time_s'):.0f}",
        ]  # fmt: skip


def _mean(rows: list[Row], name: str) -> float:
    return statistics.fmean(float(row[name]) for row in rows)


def _mean_cycles(rows: list[Row]) -> float:
    return statistics.fmean(float(row["cycles"] or "inf") for row in rows)


def _gap_text(cycles: list[str], optimum: float | None) -> str:
    """Return mean and spread in percent above the optimum, and how many seeds had nothing within the limits.

    Example:
        >>> _gap_text(["110", "130", ""], 100.0)
        '20.0 (10.0 to 30.0), none in 1'
    """
    if optimum is None:
        return "optimum not known"
    found = [100 * (float(number) / optimum - 1) for number in cycles if number]
    none = f"none in {len(cycles) - len(found)}" if len(found) < len(cycles) else ""
    spread = f" ({min(found):.1f} to {max(found):.1f})" if len(found) > 1 else ""
    return ", ".join(part for part in (f"{statistics.fmean(found):.1f}{spread}" if found else "", none) if part)


def _first_text(numbers: Iterable[str]) -> str:
    found = [int(number) for number in numbers if number]
    return " to ".join(map(str, sorted({min(found), max(found)}))) if found else "never"


def main() -> None:
    """Write the README."""
    results = HERE / "results"
    optima = read_rows(results / "exact.csv")
    least = {(r["grid"], r["network"], r["part"]): float(r["cycles"]) for r in optima if r["cycles"]}
    parts = [HEAD.strip(), exact(optima), *searches(read_rows(results / "searches.csv"), least)]
    if chosen := read_rows(results / "designs.csv"):
        parts += [DESIGNS, designs(chosen)]
    if more := read_rows(results / "helps.csv"):
        parts += [HELPS, helps(more)]
    (HERE / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
