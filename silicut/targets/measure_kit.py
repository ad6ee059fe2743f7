"""Networks measured on a device that silicut does not run on: a kit is written here, run there, and read back here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from silicut.records import BadFile, ConfigError, Progress, Tracker, canonical_json, silent, write_atomically
from silicut.targets.device import kit as on_device
from silicut.targets.device.measure_kit import KIT_SCHEMA, RESULTS_SCHEMA
from silicut.targets.device.rounds import Rounds
from silicut.targets.engine import Engine, Model
from silicut.targets.kit import check_kit, device_of, write_program
from silicut.targets.measure import Measurement, MeasureOptions, measurement_of, model_hash
from silicut.targets.onnx_engine import OnnxEngine
from silicut.targets.onnx_model import OnnxModel

_README = """\
This folder compares networks with {engine} on the machine that runs it and needs Python 3.10 or newer, numpy and {package}.
Copy it to the device and run: python run.py (stopped, the same command goes on where it was).
Then take {results} back and type: silicut measure --merge {results} (of a run: silicut measure RUN --merge {results})
"""


def write_measure_kit(
    folder: Path,
    models: Mapping[str, Model],
    reference: str,
    engine: Engine,
    options: MeasureOptions | None = None,
    progress: Progress = silent,
) -> None:
    """Write a folder that does on a device what `measure` does here, with Python, numpy and the engine only.

    Args:
        folder: new.
        models: networks or ONNX files by name, with their own weights.
        reference: the name of the one that the others are compared with.
        engine: of the kind that the device runs, with its threads and batch; every model is run once here, to be sure.
        options: how to measure.
        progress: told after every model.

    Raises:
        OutputExists: the folder exists.
        ConfigError: the engine cannot be part of a kit, or `reference` is none of the models.
        BadFile, UnsupportedModel: the engine cannot run a model.
    """
    check_kit(folder, engine)
    assert isinstance(engine, OnnxEngine)
    if reference not in models:
        raise ConfigError(f"reference must be one of {', '.join(map(repr, models))}, not {reference!r}")
    tracker, described = Tracker(progress, "write models", len(models)), []
    runnable = {name: _fixed(engine, engine.onnx(model)) for name, model in models.items()}
    for i, (name, data) in enumerate(runnable.items()):
        write_atomically(folder / on_device.MODELS / f"{i:04}.onnx", data)
        described.append({"name": name, "file": f"{i:04}.onnx", "hash": model_hash(models[name])})
        tracker.step()
    kit = {
        "schema": KIT_SCHEMA,
        "engine": engine.name,
        "n_threads": engine.settings.n_threads,
        "batch": engine.settings.batch,
        "models": described,
        "reference": reference,
        "options": (options or MeasureOptions()).to_json(),
    }
    write_atomically(folder / on_device.KIT, canonical_json(kit).encode())
    write_program(folder, engine.name, "measure_kit", _README)


def _fixed(engine: OnnxEngine, model: OnnxModel) -> bytes:
    """Return what the engine runs in place of a file, with every size of its inputs fixed."""
    import onnx

    with engine.load(model) as session:
        shapes = dict(zip(session.input_names, session.input_shapes, strict=True))
    found = engine.runnable(model)
    proto = onnx.load_model_from_string(found) if isinstance(found, bytes) else onnx.load(found)
    for value in proto.graph.input:
        for dimension, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            dimension.dim_value = size
    return bytes(proto.SerializeToString())


def read_measurement(results: Path) -> Measurement:
    """Return what a kit measured, under the device's own fingerprint.

    Args:
        results: the file that the kit wrote.

    Raises:
        BadFile: the file is missing, damaged, of another kind or without a whole session of rounds.
        TooNoisy: a ratio is known too badly.
    """
    if not results.is_file():
        raise BadFile(f"{results} does not exist; give the {on_device.RESULTS} of a kit")
    header, *sessions = list(on_device.read(results)) or [{}]
    if header.get("schema") != RESULTS_SCHEMA:
        raise BadFile(f"{results} holds no results of a kit of silicut measure; give the {on_device.RESULTS} of one")
    if not sessions:
        raise BadFile(f"{results} holds no measured rounds yet; run the kit to its end")
    try:
        options = MeasureOptions.from_json(header["options"])
        hashes = {model["name"]: model["hash"] for model in header["models"]}
        shape = (options.rounds_per_session, len(hashes), options.runs_per_round)
        rounds = Rounds(_not_here, len(hashes), list(hashes).index(header["reference"]), options)
        for session in sessions:
            rounds.add(_seconds(session["seconds"], shape), float(session["elapsed_s"]))
        where = device_of(header)
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{results} is damaged ({type(error).__name__}: {error}); take it from the device again") from error
    return measurement_of(rounds, hashes, header["reference"], options, where)


def _not_here(number: int) -> Any:
    raise AssertionError(f"model {number} was measured elsewhere")


def _seconds(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    seconds = np.array(values, np.float64)
    if seconds.shape != shape or not (np.isfinite(seconds) & (seconds > 0)).all():
        raise ValueError(f"a session must hold {shape} times above 0, not {seconds.shape}")
    return seconds
