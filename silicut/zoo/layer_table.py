"""The layers of the zoo's networks as a table that comes with the package, so that asking for sizes needs no PyTorch.

`layers.csv` holds what `silicut.graph.layer_shapes` finds in each captured network; a test compares the two. After a change
of a network it is written anew with

    python -m silicut.zoo.layer_table
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from silicut.graph.layer_shapes import LayerShape
from silicut.records import ConfigError
from silicut.zoo.names import unknown_name

_FILE = Path(__file__).with_name("layers.csv")
_SIZES = ("in_shape", "out_shape", "kernel", "strides", "padding", "dilation")
_COLUMNS = ("network", "name", "kind", "inputs", *_SIZES, "n_groups")


def known_layers(network: str) -> tuple[LayerShape, ...]:
    """Return the layers of a network of the zoo, in order of execution.

    Raises:
        ConfigError: no such network; the nearest names are given.

    Example:
        >>> known_layers("lenet5")[0].out_shape
        (6, 28, 28)
    """
    table = _table()
    if network not in table:
        raise ConfigError(unknown_name("network", network, table))
    return tuple(map(_shape, table[network]))


@functools.cache
def _table() -> dict[str, list[dict[str, str]]]:
    rows: dict[str, list[dict[str, str]]] = {}
    with _FILE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["network"], []).append(row)
    return rows


def _shape(row: dict[str, str]) -> LayerShape:
    sizes: dict[str, Any] = {name: tuple(map(int, row[name].split("x"))) if row[name] else () for name in _SIZES}
    inputs = tuple(row["inputs"].split())
    return LayerShape(name=row["name"], kind=row["kind"], inputs=inputs, n_groups=int(row["n_groups"]), **sizes)


def _row(network: str, shape: LayerShape) -> dict[str, Any]:
    sizes = {name: "x".join(map(str, getattr(shape, name))) for name in _SIZES}
    return {"network": network, "name": shape.name, "kind": shape.kind, "inputs": " ".join(shape.inputs)} | {
        **sizes,
        "n_groups": shape.n_groups,
    }


def captured_rows(name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a network, captured now."""
    import torch

    from silicut.graph import capture
    from silicut.graph.layer_shapes import layer_shapes
    from silicut.zoo.registry import network, network_entry

    captured = capture(network(name).eval(), torch.zeros(1, *network_entry(name).input_shape))
    yield from (_row(name, shape) for shape in layer_shapes(captured))


def write_table() -> None:
    """Write the table of all networks of the zoo."""
    from silicut.zoo.registry import ENTRIES

    with _FILE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for entry in ENTRIES:
            writer.writerows(captured_rows(entry.name))


if __name__ == "__main__":
    write_table()
