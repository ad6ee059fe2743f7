"""Integer networks on disk: they come back equal; what is damaged or mixed up is refused."""

import dataclasses
import json
import re

import numpy as np
import pytest
from test_execute import images, network

from silicut.numerics import (
    IntegerFormat,
    Quantisation,
    QuantisedNetwork,
    load_quantised,
    run_integer,
    save_quantised,
)
from silicut.records import BadFile

FILES = ("integer.json", "integer.safetensors", "quantisations.json")


def quantised(step=0.1):
    whole = network()
    steps = {n: Quantisation.per_tensor(IntegerFormat.of(t.dtype), step) for n, t in whole.tensors.items()}
    steps["sums"] = Quantisation.per_channel(IntegerFormat(16), [1 / 3, 2e-7, 3.0], axis=1)
    steps["x"] = Quantisation.per_tensor(IntegerFormat.of("uint4"), np.float32(0.1), 2)
    return QuantisedNetwork(whole, steps, {"scaled": "relu"})


def test_it_comes_back_equal(tmp_path):
    save_quantised(quantised(), tmp_path / "made" / "here")
    again = load_quantised(tmp_path / "made" / "here")
    assert sorted(p.name for p in (tmp_path / "made" / "here").iterdir()) == sorted(FILES)
    assert again.quantisations == quantised().quantisations
    assert again.origins == {"scaled": "relu"}
    for name, values in run_integer(network(), images()).items():
        np.testing.assert_array_equal(run_integer(again.network, images())[name], values)


def edit(folder, name, change):
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))


def _narrow(document):
    document["operators"][0]["arguments"]["output_format"] = "int9"
    document["tensors"]["sums"][1] = "int9"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("quantisations.json", lambda d: d["tensors"]["x"].update(scale=1), "quantisations.json is not a valid"),
        ("quantisations.json", lambda d: d["tensors"].pop("y"), "does not hold an integer network (quantisations must"),
        ("quantisations.json", lambda d: d["tensors"]["x"].update(scales=[-1.0]), "(scales must be positive"),
        ("quantisations.json", lambda d: d["tensors"]["x"].update(format="byte"), "(a format must be named like int4"),
        ("quantisations.json", lambda d: d["tensors"]["x"].update(format="uint5"), "(quantisations[x] must be of uint4"),
        ("quantisations.json", lambda d: d.update(network="0"), "belongs to another network than integer.json"),
        ("integer.json", _narrow, "belongs to another network than integer.json"),
        ("integer.json", lambda d: d.update(operators=1), "is damaged ("),
    ],
)
def test_damage_is_named(tmp_path, name, change, message):
    save_quantised(quantised(), tmp_path)
    edit(tmp_path, name, change)
    with pytest.raises(BadFile, match=re.escape(message)):
        load_quantised(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_missing_and_cut_off_files_are_named(tmp_path, name):
    save_quantised(quantised(), tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadFile, match=name):
        load_quantised(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BadFile, match=f"{name} does not exist"):
        load_quantised(tmp_path)


def test_accumulators_are_proven_again(tmp_path):
    """A file whose accumulators could overflow is refused even where its hashes agree."""
    whole = quantised()
    operators = list(whole.network.operators)
    operators[0] = operators[0].with_arguments(output_format="int9")
    tensors = {**whole.network.tensors, "sums": dataclasses.replace(whole.network.tensors["sums"], dtype="int9")}
    narrow = dataclasses.replace(whole.network, operators=tuple(operators), tensors=tensors)
    steps = {**whole.quantisations, "sums": dataclasses.replace(whole.quantisations["sums"], format=IntegerFormat(9))}
    save_quantised(QuantisedNetwork(narrow, steps), tmp_path)
    with pytest.raises(BadFile, match="conv2d0: accumulator: channel"):
        load_quantised(tmp_path)
