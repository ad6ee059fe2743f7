"""A device kit: models and a list of what to measure with them, run where the network will run.

The folder of a kit holds kit.json (what to do), models/ (ONNX files whose weights all lie in one file that is made here,
because their values do not matter), and results.jsonl once it was run: the first line says what machine and engine it was,
every other is one network. A run that was stopped goes on behind the last one.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .machine import engine_fingerprint
from .turns import Turns

KIT, RESULTS, MODELS, WEIGHTS = "kit.json", "results.jsonl", "models", "weights.bin"
KIT_SCHEMA, RESULTS_SCHEMA = "device_kit/1", "device_results/1"
MODULES = {"onnxruntime": "onnx_runtime", "onnxruntime-int8": "onnx_runtime", "openvino": "openvino"}
"""The module of each engine, by its name."""

_LARGEST_WEIGHT = 0.05  # small enough that no network overflows, large enough that none comes near the least floats


class WrongKit(Exception):
    """The kit cannot be run here; the message is a sentence with a next step."""


def main(folder: Path, arguments: list[str] | None = None, work: Callable[[Path, int | None], None] | None = None) -> int:
    """Run a kit as its `run.py` does; return the exit code: 0 done, 2 it cannot be run here, 130 interrupted.

    Args:
        folder: of the kit.
        arguments: of the command line.
        work: what is done with the folder and the number of threads asked for; `run` when None.
    """
    parser = argparse.ArgumentParser(description="Measure the networks of a silicut device kit.")
    parser.add_argument("--threads", type=int, help="threads of the engine; the kit's by default")
    asked = parser.parse_args(arguments)
    try:
        (work or run)(folder, asked.threads)
    except WrongKit as error:
        print(f"device kit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("device kit: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    print(f"device kit: done; take {folder / RESULTS} back", file=sys.stderr)
    return 0


def run(folder: Path, n_threads: int | None = None) -> None:
    """Measure every network of a kit that has no result yet.

    Args:
        folder: of the kit.
        n_threads: threads of the engine, >= 1; the kit's when None.

    Raises:
        WrongKit: the engine is missing, or the folder holds results of another machine or of other threads.
    """
    kit = json.loads((folder / KIT).read_text(encoding="utf-8"))
    n_threads = n_threads or kit["n_threads"]
    engine = engine_of(kit["engine"])
    header = {"schema": RESULTS_SCHEMA, "network": kit["network"], **where_it_runs(kit, engine, n_threads)}
    done = {line["model"] for line in begin(folder / RESULTS, header)}
    left = [network for network in kit["networks"] if network["model"] not in done]
    _write_weights(folder / MODELS / WEIGHTS, kit["weights_bytes"])
    start = time.monotonic()
    for i, network in enumerate(left):
        turns = _measure(engine, kit, network, folder / MODELS, n_threads)
        append(folder / RESULTS, {**network, "turns": turns})
        left_s = (time.monotonic() - start) / (i + 1) * (len(left) - i - 1)
        print(f"{i + 1} of {len(left)} networks measured, {left_s:.0f} s left", file=sys.stderr, flush=True)


def _measure(
    engine: Any, kit: dict[str, Any], network: dict[str, Any], models: Path, n_threads: int
) -> list[dict[str, Any]]:
    """Return the profiles of a network, each taken beside the dense one loaded anew."""
    turns, found = Turns(**kit["turns"]), list[dict[str, Any]]()
    while turns.go_on([turn["ratio"] for turn in found], network["error_frac"]):
        with engine.load(str(models / kit["dense"]), n_threads) as dense:
            found.append(engine.profile_file(str(models / network["model"]), n_threads, turns.n_runs(dense), dense))
    return found


def engine_of(name: str) -> Any:
    """Return the device module of an engine, its runtime imported.

    Raises:
        WrongKit: the runtime is not installed.
    """
    package = name.partition("-")[0]
    try:
        importlib.import_module(package)
    except ImportError:
        raise WrongKit(f"{package} is not installed; install it with: pip install {package}") from None
    return importlib.import_module(f".{MODULES[name]}", __package__)


def where_it_runs(kit: dict[str, Any], engine: Any, n_threads: int) -> dict[str, Any]:
    """Return what results say of machine and engine."""
    fingerprint = engine_fingerprint(kit["engine"], engine.version(), n_threads, kit["batch"], **engine.FINGERPRINT)
    return {"n_threads": n_threads, "batch": kit["batch"], "fingerprint": fingerprint}


def begin(path: Path, header: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results that are there, after writing the first line where there is none.

    Raises:
        WrongKit: the results are of another machine, engine or number of threads.
    """
    lines = list(read(path))
    if not lines:
        append(path, header)
        return []
    if lines[0] != header:
        raise WrongKit(f"{path} was measured by another machine, engine or number of threads; move it away first")
    return lines[1:]


def _write_weights(path: Path, n_bytes: int) -> None:
    if path.exists() and path.stat().st_size == n_bytes:
        return
    values = np.random.default_rng(0).uniform(-_LARGEST_WEIGHT, _LARGEST_WEIGHT, -(-n_bytes // 4)).astype(np.float32)
    path.write_bytes(values.tobytes()[:n_bytes])


def append(path: Path, event: dict[str, Any]) -> None:
    """Write one line at the end of a file; it has reached the disk when this returns."""
    line = json.dumps(event, allow_nan=False).encode() + b"\n"
    with path.open("ab") as file:
        if file.tell() and not path.read_bytes().endswith(b"\n"):
            line = b"\n" + line  # the last one was torn by a kill
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file of results that are whole."""
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
