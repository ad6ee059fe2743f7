"""A `QuantisedNetwork` in a folder: structure and quantisations as JSON, parameters as safetensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from silicut.graph.storage import load_network, save_network
from silicut.numerics.execute import IntegerExecutor
from silicut.numerics.formats import IntegerFormat
from silicut.numerics.quantisation import Quantisation
from silicut.numerics.quantised import QuantisedNetwork
from silicut.records import AccumulatorTooNarrow, BadFile, ConfigError, Record, UnsupportedModel

STRUCTURE_FILE, WEIGHTS_FILE, QUANTISATIONS_FILE = "integer.json", "integer.safetensors", "quantisations.json"


@dataclass(frozen=True, kw_only=True)
class _Steps:
    """A `Quantisation` as plain values."""

    format: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None


@dataclass(frozen=True, kw_only=True)
class _Quantisations(Record):
    """What the integers of a network stand for; `network` is its structure's hash."""

    schema: ClassVar[str] = "quantisations/1"
    network: str
    tensors: dict[str, _Steps]
    origins: dict[str, str]


def save_quantised(quantised: QuantisedNetwork, folder: str | Path) -> None:
    """Write an integer network into a folder, which is made: integer.json, integer.safetensors, quantisations.json."""
    folder = Path(folder)
    save_network(quantised.network, folder / STRUCTURE_FILE, folder / WEIGHTS_FILE)
    tensors = {
        name: _Steps(format=q.format.name, scales=q.scales, zero_points=q.zero_points, axis=q.axis)
        for name, q in quantised.quantisations.items()
    }
    origins = dict(quantised.origins)
    record = _Quantisations(network=quantised.network.structure_hash, tensors=tensors, origins=origins)
    record.save(folder / QUANTISATIONS_FILE)


def load_quantised(folder: str | Path) -> QuantisedNetwork:
    """Read what `save_quantised` wrote; every operator's accumulators are proven again.

    Raises:
        BadFile: a file is missing or damaged, or the files do not belong together.
    """
    folder = Path(folder)
    network = load_network(folder / STRUCTURE_FILE, folder / WEIGHTS_FILE)
    path = folder / QUANTISATIONS_FILE
    record = _Quantisations.load(path)
    if record.network != network.structure_hash:
        raise BadFile(f"{path} belongs to another network than {STRUCTURE_FILE}; take both from one folder")
    try:
        quantisations = {name: _read(steps) for name, steps in record.tensors.items()}
        quantised = QuantisedNetwork(network, quantisations, record.origins)
        IntegerExecutor(network)
    except (ConfigError, UnsupportedModel, AccumulatorTooNarrow) as error:
        raise BadFile(f"{folder} does not hold an integer network ({error}); restore it or make it again") from None
    return quantised


def _read(steps: _Steps) -> Quantisation:
    return Quantisation(IntegerFormat.of(steps.format), steps.scales, steps.zero_points, steps.axis)
