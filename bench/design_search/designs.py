"""The build that `silicut design` chooses for ResNet-18 on an xc7z020, and what other memories and bits make of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from study import Table, show

from silicut import DesignOptions, design
from silicut.records import SilicutError

CASES: dict[str, dict[str, Any]] = {
    "4/4": {"asks_what_helps": True},
    "4/4, memory at 75 %": {"memory_efficiency": 0.75},
    "4/4, 4.2 GB/s": {"bandwidth_gb_per_s": 4.2},
    "weights of 2..4 bits, as much loss as 2.8": {"weight_bits": (2, 3, 4), "like_weight_bits": 2.8},
}
"""What differs from 4 bits for weights and activations, the ends at 8, two ports of 64 bits (1.6 GB/s), 100 MHz."""

SHAPE = (
    "lut_rows", "lut_columns", "lut_word_bits", "dsp_rows", "dsp_inputs", "dsp_outputs", "dsp_passes", "n_lanes",
    "fill_bits",
)  # fmt: skip


def answer(designs: Table, helps: Table, work: Path) -> None:
    """Make the rows of all cases that are missing; a search that was stopped goes on in its folder."""
    for number, (case, options) in enumerate(CASES.items()):
        if designs.has(case=case):
            continue
        asked = DesignOptions(**{"asks_what_helps": False, **options})
        try:
            found = design("resnet18", work / f"design{number}", asked, progress=show).summary
        except SilicutError as error:
            print(f"    {case}: {error}", file=sys.stderr)
            continue
        for help_ in found.helps:
            helps.add(case=case, what=help_.what, cycles=help_.cycles, n_luts=help_.n_luts, least_cycles=found.least_cycles)
        designs.add(
            case=case, simulated_cycles=found.simulated_cycles, predicted_cycles=found.predicted_cycles,
            least_cycles=found.least_cycles, bound=found.bound, machine_bound_cycles=found.machine_bound_cycles,
            n_luts=found.total("n_luts"), n_dsps=found.total("n_dsps"), n_bram36=found.total("n_bram36"),
            loss=found.loss, loss_kind=found.loss_kind, mean_weight_bits=found.mean_weight_bits,
            search_s=found.search_seconds, n_timed=len(found.contenders),
            **{name: found.point.get(name, "") for name in SHAPE},
        )  # fmt: skip
