"""Write README.md of this benchmark from the CSV files in results/; only what others found is typed by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import markdown, read_rows

HERE = Path(__file__).parent
Row = dict[str, str]
Key = tuple[str, str, str]

LISTED: dict[Key, tuple[int, int | None]] = {
    ("alexnet-2012", "fp32", "xc7vx485t"): (2_005_892, 1_530_900),
    ("alexnet-2012", "fp32", "xc7vx690t"): (1_768_724, 1_168_128),
    ("alexnet-2012", "fixed16", "xc7vx485t"): (1_042_118, 366_025),
    ("alexnet-2012", "fixed16", "xc7vx690t"): (987_416, 366_025),
    ("squeezenet-1.1-227", "fp32", "xc7vx485t"): (1_109_229, 871_808),
    ("squeezenet-1.1-227", "fp32", "xc7vx690t"): (880_889, 686_000),
    ("squeezenet-1.1-227", "fixed16", "xc7vx485t"): (347_965, 178_752),
    ("squeezenet-1.1-227", "fixed16", "xc7vx690t"): (331_305, 136_808),
    ("vgg16", "fp32", "xc7vx485t"): (35_590_464, None),
    ("vgg16", "fp32", "xc7vx690t"): (27_984_096, None),
    ("vgg16", "fixed16", "xc7vx485t"): (7_747_488, None),
    ("vgg16", "fixed16", "xc7vx690t"): (6_378_624, None),
    ("googlenet-2014", "fp32", "xc7vx485t"): (4_308_521, None),
    ("googlenet-2014", "fp32", "xc7vx690t"): (3_517_416, None),
    ("googlenet-2014", "fixed16", "xc7vx485t"): (1_401_939, None),
    ("googlenet-2014", "fixed16", "xc7vx690t"): (1_301_734, None),
}
"""Single engine and dynamic programme over four orders, calculated elsewhere before this project's code."""
PUBLISHED: dict[Key, tuple[str, str]] = {
    ("alexnet-2012", "fp32", "xc7vx485t"): ("2,006k", "1,558k"),
    ("alexnet-2012", "fp32", "xc7vx690t"): ("1,769k", "1,168k"),
    ("squeezenet-1.1-227", "fixed16", "xc7vx485t"): ("349k", "185k"),
    ("squeezenet-1.1-227", "fixed16", "xc7vx690t"): ("331k", "145k"),
}
"""Shen et al., arXiv 1607.00064, as recalled; the paper's engines keep the limits of blocks and bandwidth too."""

HEAD = """# Several engines for one network

Made by `python bench/multi_engine/run.py` (resumable; `--quick` takes minutes) and `python
bench/multi_engine/tables.py`. 80 % of the slices and blocks of two parts (their figures are recalled), a clock that is
*assumed* to be 100 MHz, one image a time. The networks are those of the papers
(`silicut/accelerators/multi_engine/published_layers.py`), convolutions alone. Numbers are cycles between two images,
*modelled* where nothing else is said.

## Slices alone limited

`listed` was calculated before this code existed; `published` is Shen et al., as recalled, under limits of memory too.
`runs` is the dynamic programme: at most six runs of neighbours in one of eight orders of the layers, best by proof.
`annealing` and `tabu` may give any layers to any engine and are therefore sometimes better; all are given the same
number of partitions to try.
"""
SYSTEM = """## Computed and simulated

The partitions of `runs` above as systems on one memory: of any bandwidth, of the board's (12.8 and 29.8 GB/s: 128 and
298 bytes a cycle), and of a quarter of it. Tiles move least for 80 % of the blocks. `computed` is the larger of the
busiest engine's cycles and all bytes over the bandwidth; the simulated epoch is the mean of the last four of at
most 24. Memory is shared
equally, at every moment, by the ports that have something to move (each engine has one to read and one to write); a
transfer ends with the cycle in which its last byte moves.

Where memory is no limit, {n_equal} of {n_any} simulated epochs equal the computed ones to the cycle. Where it is one,
they need not. The slowest engine is then often not the one with most products, but one whose layers need more than an
equal share of the memory at once: it waits, because buffers hold one step ahead, and nothing makes up for it; the
column says how much of its epoch it is at work and how much it waits. Gaps below 0.01 % are images that leave a few
cycles earlier or later, as transfers of other engines happen to lie. `stages` counts the images under way, `latency` is
simulated too, for images that come at the computed pace; with `follows` a layer may follow in the same round what its
own engine made.
"""
LIMITS = """## Blocks and bandwidth limited too

80 % of the blocks, and all bytes of an epoch within the bandwidth of the board, or within a quarter of it. `bound`
holds for all partitions into runs of the orders, with banks of the depths that are tried. The searches are given
{n_tried} partitions and one seed.
"""


def key_of(row: Row) -> Key:
    """Return what a row is about."""
    return row["network"], row["precision"], row["part"]


def _in_order(rows: Iterable[Row]) -> list[Row]:
    """Return rows in the order of `LISTED`, whenever they were made."""
    places = {key: place for place, key in enumerate(LISTED)}
    return sorted(rows, key=lambda row: places[key_of(row)])


def number(text: str | float) -> str:
    """Return cycles with separators; "-" where there are none."""
    return "-" if text == "" else f"{round(float(text)):,}"


def relative(cycles: float, to: float) -> str:
    """Return how much more cycles are than others."""
    return f"{100 * (cycles / to - 1):+.2f} %"


def slices() -> str:
    """Return the table of all solvers where slices alone are limited."""
    exact = {(*key_of(r), r["solver"]): r for r in read_rows(HERE / "results" / "exact.csv")}
    walks = read_rows(HERE / "results" / "walks.csv")
    header = [
        "network", "precision", "part", "single", "listed", "runs", "listed", "published: single, several",
        "use of multipliers", "annealing: best, worst", "tabu: best, worst", "seeds",
    ]  # fmt: skip
    lines = []
    for key, (single, several) in LISTED.items():
        one, runs = exact[*key, "single"], exact[*key, "runs"]
        found = [_spread(walks, key, solver, float(runs["epoch_cycles"])) for solver in ("annealing", "tabu")]
        lines.append([
            *key, number(one["epoch_cycles"]), number(single), number(runs["epoch_cycles"]), number(several or ""),
            ", ".join(PUBLISHED.get(key, ("-",))), f"{100 * float(one['utilisation_frac']):.0f} -> "
            f"{100 * float(runs['utilisation_frac']):.0f} %", *(text for text, _ in found), str(min(n for _, n in found)),
        ])  # fmt: skip
    return markdown(header, lines)


def _spread(walks: Iterable[Row], key: Key, solver: str, reference: float) -> tuple[str, int]:
    """Return the best and worst of all seeds beside the dynamic programme, and how many there were."""
    costs = [float(row["epoch_cycles"]) for row in walks if key_of(row) == key and row["solver"] == solver]
    if not costs:
        return "-", 0
    return f"{number(min(costs))} ({relative(min(costs), reference)}), {relative(max(costs), reference)}", len(costs)


def engines() -> str:
    """Return the engines of every partition, and what they take."""
    header = ["network", "precision", "part", "engines and layers of each", "slices", "BRAM18", "GB/s", "seconds"]
    lines = [
        [*key_of(r), r["engines"].replace("<", "&lt;").replace(">x", "&gt; x "), number(r["n_dsps"]), number(r["n_bram18"]),
         f"{float(r['gb_per_s']):.1f}", f"{float(r['seconds']):.2f}"]
        for r in _in_order(read_rows(HERE / "results" / "exact.csv"))
        if r["solver"] == "runs"
    ]  # fmt: skip
    return markdown(header, lines)


def system(rows: Iterable[Row]) -> str:
    """Return the table of simulated systems."""
    header = [
        "network", "precision", "part", "memory", "computed", "simulated", "gap",
        "slowest engine: at work + waiting for memory", "stages", "latency, epochs",
        "follows: simulated", "stages", "latency, epochs",
    ]  # fmt: skip
    found = {(*key_of(r), r["memory"], r["follows"]): r for r in _in_order(rows)}
    return markdown(header, [_system_line(r, found[*key[:4], "True"]) for key, r in found.items() if key[4] == "False"])


def _system_line(apart: Row, follows: Row) -> list[str]:
    gap = "equal" if apart["is_equal"] == "True" else f"{100 * float(apart['gap_frac']):+.3f} %"
    return [
        *key_of(apart), apart["memory"], number(apart["computed_cycles"]), number(apart["simulated_cycles"]), gap,
        f"{number(apart['slowest_computes'])} + {number(apart['slowest_waits_for_memory'])}", apart["n_stages"],
        f"{float(apart['latency_epochs']):.2f}", number(follows["simulated_cycles"]), follows["n_stages"],
        f"{float(follows['latency_epochs']):.2f}",
    ]  # fmt: skip


def limits(rows: Iterable[Row]) -> str:
    """Return the table of all solvers under limits of memory."""
    header = [
        "network", "precision", "part", "memory", "runs", "bound", "gap", "BRAM18", "bytes a cycle", "seconds",
        "annealing", "tabu",
    ]  # fmt: skip
    found = {(*key_of(r), r["memory"], r["solver"]): r for r in _in_order(rows)}
    return markdown(header, list(_limit_lines(found)))


def _limit_lines(found: dict[tuple[str, ...], Row]) -> Iterator[list[str]]:
    for key, row in found.items():
        if key[4] != "runs":
            continue
        cycles, bound = float(row["epoch_cycles"]), float(row["bound_cycles"])
        walked = [found.get((*key[:4], solver), {}).get("epoch_cycles", "") for solver in ("annealing", "tabu")]
        yield [
            *key[:4], number(cycles), number(bound), f"{100 * (cycles / bound - 1):.2f} %", number(row["n_bram18"]),
            f"{float(row['bytes_per_cycle']):.1f}", f"{float(row['seconds']):.1f}",
            *(f"{number(text)} ({relative(float(text), cycles)})" if text else "-" for text in walked),
        ]  # fmt: skip


def main() -> None:
    """Write README.md."""
    simulated, limited = (read_rows(HERE / "results" / f"{name}.csv") for name in ("system", "limits"))
    free = [row for row in simulated if row["memory"] == "any"]
    n_equal = sum(row["is_equal"] == "True" for row in free)
    n_tried = max((int(r["n_tried"]) for r in limited if r["solver"] != "runs"), default=0)
    parts = [
        HEAD, slices(), "### The engines of `runs`", engines(), SYSTEM.format(n_equal=n_equal, n_any=len(free)),
        system(simulated),
    ]  # fmt: skip
    if limited:
        parts += [LIMITS.format(n_tried=f"{n_tried:,}"), limits(limited)]
    (HERE / "README.md").write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
