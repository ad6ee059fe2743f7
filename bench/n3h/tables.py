"""Write README.md of this benchmark from the CSV files in results/: nothing in its tables is typed by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from study import markdown, read_rows

HERE = Path(__file__).parent
Row = dict[str, str]

HEAD = """# ResNet-18 and MobileNetV2 on a LUT core and a DSP core together

Made by `python bench/n3h/run.py` (resumable; `--quick` takes minutes) and `python bench/n3h/tables.py`. Images of 224 x 224,
batch 1; every clock is *assumed* to be 100 MHz, nothing is synthesised. Networks have random weights, since time depends on
sizes and bits alone.

## Simulated

Every transfer is counted, the program's own included. `simulated` is the time of the compiled program, `model` that of the
recurrence over its loop nests, which reads no program; `bound` is below every schedule of these layers with this split.
`n3h` has the arrays of N3H-Core's released model (8 x 128 x 16 bits, 128 slices, two shared ports of 64 bits); with all that
they need around them they fit no xc7z020. `z020` and `z045` fit their parts by the resource model. Policies: bits of the
released search with our own split; 4/4 with the first and last layer at 8/8 on both cores, on the LUT core, on the DSP core.
"""


def machine(rows: Iterable[Row]) -> str:
    """Return the table of compiled networks."""
    header = ["build", "network", "policy", "between layers", "simulated cycles", "model", "ms", "bound, ms", "instructions"]
    lines = [
        [r["build"], r["network"], r["policy"], r["mode"], f"{int(r['simulated_cycles']):,}", f"{int(r['exact_cycles']):,}",
         f"{float(r['ms']):.2f}", f"{float(r['bound_cycles']) / 1e5:.2f}", r["n_instructions"]]
        for r in rows
    ]  # fmt: skip
    return markdown(header, lines)


def exactness() -> str:
    """Return what was compared, and how much of it differs."""
    results = HERE / "results"
    random, data, cycles = (read_rows(results / f"{name}.csv") for name in ("random", "data", "cycles"))
    made = [r for r in random if not r["note"]]
    header = [
        "what", "programs", "numbers", "numbers that differ", "programs whose cycles differ", "layers",
        "layers whose cycles differ", "layers below their bound",
    ]  # fmt: skip
    lines = [
        ["random networks on random builds", str(len(made)), f"{_sum(made, 'n_numbers'):,}", str(_sum(made, "n_different")),
         str(_n_unequal(made)), "", "", ""],
        *(
            [f"{r['network']} {r['policy']} on {r['build']}, {r['n_pixels']} pixels", "1", f"{int(r['n_numbers']):,}",
             r["n_different"], str(_n_unequal([r])), "", "", ""]
            for r in data
        ),
        ["both networks on random builds", str(len(cycles)), "", "", str(_n_unequal(cycles)), str(_sum(cycles, "n_layers")),
         str(_sum(cycles, "n_layers_differ")), str(_sum(cycles, "n_below_bound"))],
    ]  # fmt: skip
    refused = f"{len(random) - len(made)} of {len(random)} random networks have no program on their build, for lack of room."
    return f"{markdown(header, lines)}\n\n{refused}"


def _sum(rows: Iterable[Row], name: str) -> int:
    return sum(int(row[name]) for row in rows)


def _n_unequal(rows: Iterable[Row]) -> int:
    return sum(row["simulated_cycles"] != row["exact_cycles"] for row in rows)


def baselines(rows: Iterable[Row]) -> str:
    """Return the table of Mix&Match's builds."""
    header = ["design", "part", "peak GOPS", "modelled ms (execution alone)", "the paper's ms, recalled"]
    lines = [
        [r["design"], r["part"], r["peak_gops"], f"{float(r['modelled_ms']):.1f}", r["recalled_ms"] or "-"] for r in rows
    ]
    return markdown(header, lines)


def resources(rows: Iterable[Row]) -> str:
    """Return the table of what builds need."""
    header = ["build", "LUTs of arrays by", "part", "LUTs", "DSP slices", "BRAM36", "exceeded"]
    lines = [
        [r["build"], r["model"], r["part"], *(f"{int(r[name]):,}" for name in ("n_luts", "n_dsps", "n_bram36")),
         r["exceeded"] or "nothing"]
        for r in rows
    ]  # fmt: skip
    return markdown(header, lines)


def main() -> None:
    """Write the page from what is there."""
    found = {name: read_rows(HERE / "results" / f"{name}.csv") for name in ("machine", "baselines", "resources")}
    parts = [HEAD, machine(found["machine"]), "## Numbers and cycles compared", exactness()]
    parts += ["## Mix&Match's builds, ResNet-18 at 4/4", baselines(found["baselines"])]
    parts += ["## Resources, modelled; glue assumed until synthesis", resources(found["resources"])]
    (HERE / "README.md").write_text("\n\n".join(part.strip() for part in parts) + "\n")


if __name__ == "__main__":
    main()
