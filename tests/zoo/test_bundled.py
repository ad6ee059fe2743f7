import pytest

from silicut.records import ConfigError
from silicut.training import Recipe
from silicut.zoo import assign_weights, bundled_names, bundled_record, bundled_weights, load_weights, network


def test_bundled_weights_fit_their_networks_and_say_what_made_them():
    for name in bundled_names():
        assign_weights(network(name), load_weights(bundled_weights(name)))
        record = bundled_record(name)
        assert record["network"] == name
        assert 0.8 < record["n_correct"] / record["n"] < 1
        assert name in record["command"]
        assert Recipe.from_json(record["recipe"]).epochs >= 1


def test_networks_without_bundled_weights_are_named():
    with pytest.raises(ConfigError, match=r"network with bundled weights must be .*, not 'resnet34'"):
        bundled_weights("resnet34")
