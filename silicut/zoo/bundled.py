"""Weights that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silicut.records import ConfigError, read_json
from silicut.zoo.names import unknown_name

_FOLDER = Path(__file__).resolve().parent / "weights"


def bundled_weights(name: str) -> Path:
    """Return the safetensors file of a network's trained weights; `bundled_record` says where they come from.

    Raises:
        ConfigError: there are none for this network; the nearest names are given.
    """
    return _FOLDER / _entry(name)[0]


def bundled_record(name: str) -> dict[str, Any]:
    """Return what made a network's bundled weights: data, recipe, command, and `n_correct` of `n` unseen images.

    Raises:
        ConfigError: there are none for this network; the nearest names are given.
    """
    return _entry(name)[1]


def bundled_names() -> list[str]:
    """Return the names of the networks that have bundled weights."""
    return sorted(_index())


def _entry(name: str) -> tuple[str, dict[str, Any]]:
    index = _index()
    if name not in index:
        raise ConfigError(unknown_name("network with bundled weights", name, index))
    return index[name]


def _index() -> dict[str, tuple[str, dict[str, Any]]]:
    """Files and entries of weights.json by the name of the network."""
    path = _FOLDER / "weights.json"
    files: dict[str, dict[str, Any]] = read_json(path) if path.exists() else {}
    return {entry["network"]: (file, entry) for file, entry in files.items()}
