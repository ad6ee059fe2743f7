"""A `Network` on disk: its structure as JSON, its parameters as safetensors. Reading one never executes code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from silicut.graph.network import Network, Operator, Ref, Tensor
from silicut.records import BadFile, load_tensors, read_json, save_tensors, write_atomically

_SCHEMA = "network/1"


def save_network(network: Network, structure_path: str | Path, weights_path: str | Path) -> None:
    """Write the structure (JSON) and the parameters (safetensors, state-dict names) of a network, atomically each."""
    save_tensors(weights_path, network.parameters, {"network": network.structure_hash})
    document = {"schema": _SCHEMA, **network.structure(), "sources": {o.name: o.source for o in network.operators}}
    write_atomically(Path(structure_path), json.dumps(document, indent=1, allow_nan=False).encode())


def load_network(structure_path: str | Path, weights_path: str | Path) -> Network:
    """Read what `save_network` wrote.

    Raises:
        BadFile: a file is missing or damaged, or the two do not belong together.
    """
    document = read_json(Path(structure_path))
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        raise BadFile(f"{structure_path} must be a {_SCHEMA!r} file; make it again with this version")
    parameters = load_tensors(weights_path)
    shapes = {name: [list(array.shape), str(array.dtype)] for name, array in parameters.items()}
    try:
        if shapes == document["parameters"]:
            return _network(document, {name: parameters[name] for name in document["parameters"]})
    except (AttributeError, KeyError, TypeError, ValueError, AssertionError) as error:
        raise BadFile(f"{structure_path} is damaged ({error}); restore it or make it again") from None
    raise BadFile(f"{weights_path} does not hold the parameters that {structure_path} names; take both from one folder")


def _network(document: Mapping[str, Any], parameters: Mapping[str, Any]) -> Network:
    structure = document["output_structure"]
    return Network(
        inputs=tuple(document["inputs"]),
        outputs=tuple(document["outputs"]),
        output_structure=structure if isinstance(structure, str) else tuple(structure),
        tensors={name: Tensor(tuple(shape), dtype) for name, (shape, dtype) in document["tensors"].items()},
        operators=tuple(_operator(entry, document["sources"]) for entry in document["operators"]),
        parameters=parameters,
        trainable=frozenset(document["trainable"]),
        aliases=document["aliases"],
        constants=frozenset(document["constants"]),
    )


def _operator(entry: Mapping[str, Any], sources: Mapping[str, str]) -> Operator:
    arguments = {key: _value(value) for key, value in entry["arguments"].items()}
    return Operator(entry["name"], entry["target"], arguments, tuple(entry["outputs"]), sources.get(entry["name"], ""))


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        ((kind, text),) = value.items()
        return {"ref": Ref, "float": float, "complex": complex}[kind](text)
    return tuple(_value(item) for item in value) if isinstance(value, list) else value
