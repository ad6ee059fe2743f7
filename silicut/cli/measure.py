"""`silicut measure`: ONNX files and results of runs against each other, in interleaved, paired rounds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from silicut.cli.console import print_json, print_note, print_rich, progress_bars
from silicut.records import BadFile, ConfigError

if TYPE_CHECKING:
    from silicut.records import Progress
    from silicut.targets import Engine, Measurement, MeasureOptions, Model


def measure(
    *,
    models: Annotated[
        list[Path] | None,
        Argument(help="ONNX files or folders of silicut prune; the first is the reference. With --merge: the run, if any."),
    ] = None,
    engine: Annotated[str, Option(help="Engine to run on.")] = "onnxruntime",
    threads: Annotated[int, Option(min=1, help="Threads of the engine.")] = 1,
    batch: Annotated[int, Option(min=1, help="Batch size where a model leaves it free.")] = 1,
    seconds: Annotated[float, Option(help="At most this long.")] = 60.0,
    noise: Annotated[float, Option(help="Per cent: ratios known less surely than +- this are refused.")] = 10.0,
    seed: Annotated[int, Option(min=0, help="Seed of the order of runs.")] = 0,
    kit: Annotated[Path | None, Option(help="New folder to run on another device, instead of measuring here.")] = None,
    merge: Annotated[Path | None, Option(help="results.jsonl of a kit that was run on its device.")] = None,
    json: Annotated[bool, Option("--json", help="Print the measurement as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Compare the latency of networks: same rounds, random order, ratios with their interval.

    On a device that silicut does not run on: --kit DIR writes what to run there, --merge FILE takes its results. A run of
    silicut prune --profile brings its dense network along: RUN --kit DIR, and RUN --merge FILE to keep what was measured.
    """
    _check(models or [], seconds, is_merging=merge is not None)
    from silicut.targets import MeasureOptions
    from silicut.targets import engine as engine_by_name
    from silicut.targets import measure as measure_models

    if merge is not None:
        _show(_merged(merge, models or []), json)
        return
    options = MeasureOptions(max_s=seconds, seed=seed).refusing(noise)
    target = engine_by_name(engine, n_threads=threads, batch=batch)
    with progress_bars(json) as progress:
        if kit is not None:
            _write_kit(kit, models or [], target, options, progress)
            return
        named = _named(models or [])
        result = measure_models(target, named, next(iter(named)), options, progress)
    _show(result, json)


def _check(models: list[Path], seconds: float, *, is_merging: bool) -> None:
    for path in models:
        if not path.exists():
            raise BadFile(f"{path} does not exist; give ONNX files or folders of silicut prune")
    if not models and not is_merging:
        raise ConfigError("models must be ONNX files or folders of silicut prune, at least one, not none")
    if is_merging and len(models) > 1:
        raise ConfigError(f"models must be the run that results are for, or none, not {len(models)}")
    if not seconds > 0:
        raise ConfigError(f"seconds must be above 0, not {seconds:g}")


def _show(result: Measurement, is_json: bool) -> None:
    if is_json:
        print_json(result.to_json())
        return
    from silicut.report.terminal import measurement_table

    print_rich(measurement_table(result))


def _write_kit(folder: Path, models: list[Path], target: Engine, options: MeasureOptions, progress: Progress) -> None:
    """Write a kit of the models; a run alone stands for its dense and its pruned network."""
    from silicut.flows.measured_elsewhere import models_of
    from silicut.targets.measure_kit import write_measure_kit

    named: Mapping[str, Model] = models_of(models[0]) if len(models) == 1 and models[0].is_dir() else _named(models)
    write_measure_kit(folder, named, next(iter(named)), target, options, progress)
    where = models[0] if len(models) == 1 else ""
    print_rich(
        f"{folder}: {len(named)} networks; run python run.py in it on the device, then type: "
        f"silicut measure {where}{' ' if where else ''}--merge results.jsonl"
    )


def _merged(results: Path, runs: list[Path]) -> Measurement:
    """Return what a kit measured, kept in its run where one is named."""
    from silicut.flows.measured_elsewhere import keep_measurement
    from silicut.targets.measure_kit import read_measurement

    found = read_measurement(results)
    for run in runs:
        keep_measurement(run, found)
        print_note(f"{run} holds what was measured; its command with --resume writes table and page anew")
    return found


def _named(models: list[Path]) -> dict[str, Model]:
    return dict(zip(_names(models), map(_model, models), strict=True))


def _model(path: Path) -> Model:
    """Return a file as it is, and of a folder the network in it as an engine should run it."""
    if not path.is_dir():
        return path
    from silicut.graph import fold_batch_norm
    from silicut.graph.storage import load_network

    if not (path / "network.json").exists():
        raise BadFile(f"{path} is no folder of silicut prune: it holds no network.json; give ONNX files or such folders")
    return fold_batch_norm(load_network(path / "network.json", path / "model.safetensors"))


def _names(models: list[Path]) -> list[str]:
    """Return each file's path without the folder that all of them share, numbered where a file is given again."""
    paths = [path.absolute() for path in models]
    shared = os.path.commonpath([path.parent for path in paths])
    names = [os.path.relpath(path, shared) for path in paths]
    return [name if names.index(name) == i else f"{name} ({i + 1})" for i, name in enumerate(names)]
