"""A kit that measures: a network beside others, on the device, by the protocol of `silicut measure`.

The folder holds kit.json, models/ (ONNX files as they are, every size fixed) and results.jsonl once it was run: the first
line says what machine and engine it was and what was measured, every other is one session of rounds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from . import kit as kits
from .rounds import Rounds

KIT_SCHEMA, RESULTS_SCHEMA = "measure_kit/1", "measure_results/1"


def main(folder: Path, arguments: list[str] | None = None) -> int:
    """Run a kit as its `run.py` does; the exit codes are those of `kit.main`."""
    return kits.main(folder, arguments, measure)


def measure(folder: Path, n_threads: int | None = None) -> None:
    """Measure the models of a kit until their ratios are known well enough; what was measured before counts.

    Args:
        folder: of the kit.
        n_threads: threads of the engine, >= 1; the kit's when None.

    Raises:
        WrongKit: the engine is missing, or the folder holds results of another machine or of other threads.
    """
    kit = json.loads((folder / kits.KIT).read_text(encoding="utf-8"))
    n_threads = n_threads or kit["n_threads"]
    engine = kits.engine_of(kit["engine"])
    asked = {key: kit[key] for key in ("models", "reference", "options")}
    header = {"schema": RESULTS_SCHEMA, **asked, **kits.where_it_runs(kit, engine, n_threads)}
    paths = [str(folder / kits.MODELS / model["file"]) for model in kit["models"]]
    names, options = [model["name"] for model in kit["models"]], SimpleNamespace(**kit["options"])
    rounds = Rounds(lambda i: engine.load(paths[i], n_threads), len(names), names.index(kit["reference"]), options)
    for session in kits.begin(folder / kits.RESULTS, header):
        rounds.add(np.array(session["seconds"]), session["elapsed_s"])
    while not rounds.is_done():
        before_s = rounds.elapsed_s
        rounds.measure_session()
        session = {"seconds": rounds.sessions[-1].tolist(), "elapsed_s": rounds.elapsed_s - before_s}
        kits.append(folder / kits.RESULTS, session)
        print(f"{rounds.n_rounds} rounds, +-{100 * rounds.widest_frac:.1f} %", file=sys.stderr, flush=True)
