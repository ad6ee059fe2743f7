"""What a device measured of a run takes the place of what was predicted for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from silicut.flows.run import DENSE_FILE, MEASUREMENT
from silicut.flows.stages import DENSE, PRUNED
from silicut.records import BadFile, ConfigError, Journal
from silicut.targets import Measurement
from silicut.targets.measure import model_hash


def models_of(folder: Path) -> dict[str, Path]:
    """Return the ONNX files that a run for a device elsewhere left to be measured there: the dense network and the pruned.

    Raises:
        BadFile: one is missing.
    """
    models = {DENSE: folder / DENSE_FILE, PRUNED: folder / "model.onnx"}
    if missing := [path.name for path in models.values() if not path.is_file()]:
        raise BadFile(
            f"{folder} holds no {' and no '.join(missing)}, as finished runs with --profile do; name the dense network's "
            "file before it"
        )
    return models


def keep_measurement(folder: Path, measurement: Measurement) -> None:
    """Put a measurement in the place of the prediction that a run ended with; the run's command with --resume shows it.

    Args:
        folder: of the run.
        measurement: of the models of `models_of`, on the device that the run is for.

    Raises:
        BadFile: the folder holds no finished run.
        ConfigError: the run was measured where it was made; or the results are of other networks or of another machine.
        InUse: another process is at work in the folder.
    """
    journal = Journal(folder / "metrics.jsonl")
    events = [event for event in journal if event.get("step") == MEASUREMENT]
    if not events:
        raise BadFile(f"{folder} holds no finished run; give the folder of silicut prune --profile")
    predicted = Measurement.from_json(events[0]["result"], str(journal.path))
    if not predicted.settings.is_predicted:
        raise ConfigError(f"the run in {folder} must be one with --profile to take results, not one that was measured here")
    _check_models(folder, measurement)
    _check_device(folder, predicted.fingerprint, measurement.fingerprint)
    release = journal.lock()
    try:
        journal.append({"step": MEASUREMENT, "result": measurement.to_json()})
    finally:
        release()


def _check_models(folder: Path, measurement: Measurement) -> None:
    found = {name: timing.model_hash for name, timing in measurement.timings.items()}
    if found != {name: model_hash(path) for name, path in models_of(folder).items()}:
        raise ConfigError(f"results must be of the networks in {folder}, not of others; write the kit of this run")


def _check_device(folder: Path, asked: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    if wrong := sorted(key for key in {*asked, *found} if asked.get(key) != found.get(key)):
        raise ConfigError(
            f"results must be of the device that the run in {folder} is for, not of one with another "
            f"{', '.join(key.replace('_', ' ') for key in wrong)}"
        )
