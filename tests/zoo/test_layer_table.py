"""The table of layers that comes with the package against the networks themselves."""

import csv

import pytest

from silicut.records import ConfigError
from silicut.zoo import ENTRIES
from silicut.zoo.layer_table import _FILE, captured_rows, known_layers


def rows_of(name):
    with _FILE.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["network"] == name]


@pytest.mark.parametrize("name", ["lenet5", "resnet8", "resnet20", "resnet18", "squeezenet-1.1"])
def test_the_table_is_what_is_captured(name):
    assert rows_of(name) == [{key: str(value) for key, value in row.items()} for row in captured_rows(name)]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_network_is_there_whole(entry):
    layers = known_layers(entry.name)
    known = {"x", *(layer.name for layer in layers)}
    assert layers[0].in_shape == entry.input_shape
    assert layers[-1].out_shape[0] == entry.n_classes
    assert all(set(layer.inputs) <= known for layer in layers)


def test_an_unknown_name_gets_near_ones():
    with pytest.raises(ConfigError, match=r"^network must be a known name such as 'resnet18' or .*, not 'resnet19'$"):
        known_layers("resnet19")
