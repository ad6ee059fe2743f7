"""`silicut measure`: ONNX files and results of runs against each other, in interleaved, paired rounds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from silicut.cli.console import print_json, print_rich, progress_bars
from silicut.records import BadFile, ConfigError

if TYPE_CHECKING:
    from silicut.targets import Model


def measure(
    *,
    models: Annotated[list[Path], Argument(help="ONNX files or folders of silicut prune; the first is the reference.")],
    engine: Annotated[str, Option(help="Engine to run on.")] = "onnxruntime",
    threads: Annotated[int, Option(min=1, help="Threads of the engine.")] = 1,
    batch: Annotated[int, Option(min=1, help="Batch size where a model leaves it free.")] = 1,
    seconds: Annotated[float, Option(help="At most this long.")] = 60.0,
    noise: Annotated[float, Option(help="Per cent: ratios known less surely than +- this are refused.")] = 10.0,
    seed: Annotated[int, Option(min=0, help="Seed of the order of runs.")] = 0,
    json: Annotated[bool, Option("--json", help="Print the measurement as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Compare the latency of networks: same rounds, random order, ratios with their interval."""
    for path in models:
        if not path.exists():
            raise BadFile(f"{path} does not exist; give ONNX files or folders of silicut prune")
    if not seconds > 0:
        raise ConfigError(f"seconds must be above 0, not {seconds:g}")
    from silicut.targets import MeasureOptions
    from silicut.targets import engine as engine_by_name
    from silicut.targets import measure as measure_models

    options = MeasureOptions(max_s=seconds, seed=seed).refusing(noise)
    target = engine_by_name(engine, n_threads=threads, batch=batch)
    named = dict(zip(_names(models), map(_model, models), strict=True))
    with progress_bars(json) as progress:
        result = measure_models(target, named, next(iter(named)), options, progress)
    if json:
        print_json(result.to_json())
        return
    from silicut.report.terminal import measurement_table

    print_rich(measurement_table(result))


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
