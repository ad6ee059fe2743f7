"""Devices elsewhere: predictions from a profile, for networks that are built; nothing is run."""

import tempfile
from functools import cache

import numpy as np
import pytest
import small_networks as nets
from synthetic_engine import SyntheticEngine

from silicut.records import Cache, ConfigError
from silicut.targets import MeasureOptions, measure
from silicut.targets.elsewhere import Device, Elsewhere
from silicut.targets.engine import EngineSettings
from silicut.targets.profile import ProfileOptions, profile_network, remember
from silicut.targets.samples import Bench

QUICK = ProfileOptions(n_samples=8, n_samples_max=24, n_validation=4)
NETWORKS = [nets.lenet, nets.Joined, nets.Separable, nets.padded, nets.projected]


@cache
def known_of(build):
    """Return a network, its profile, the device of it, and a bench that builds the network at other widths."""
    network, engine, cache = nets.network(build), SyntheticEngine(), Cache(tempfile.mkdtemp())
    profile = profile_network(network, engine, cache=cache, options=QUICK)
    return network, profile, Device.of(profile, network), Bench.open(network, engine, cache)


@pytest.fixture(params=NETWORKS, ids=lambda build: build.__name__)
def known(request):
    """What is known of a network."""
    return known_of(request.param)


def test_predictions_of_built_networks_are_the_profiles(known):
    """Group widths are read off the network's own sizes, whatever was added up, joined or flattened."""
    _, profile, device, bench = known
    rng = np.random.default_rng(0)
    for _ in range(8):
        widths = {v.name: int(rng.choice(v.levels)) for v in profile.variables}
        expected = profile.overhead_ms + sum(profile.layer_ms(widths).values())
        assert device.predicted_ms(bench.network_at(widths)) == pytest.approx(expected)


def test_removed_blocks_take_nothing():
    _, profile, device, bench = known_of(nets.projected)
    block = bench.blocks[0]
    gone = bench.network_at(bench.dense_widths | dict.fromkeys(block.inner_groups, 0))
    costs = profile.layer_ms(bench.dense_widths)
    expected = profile.overhead_ms + sum(ms for name, ms in costs.items() if name not in block.operators)
    assert device.predicted_ms(gone) == pytest.approx(expected)


def test_between_legal_widths_a_layer_takes_what_it_does_at_the_larger():
    _, profile, device, bench = known_of(nets.Chain)
    between, larger = bench.dense_widths | {"conv3": 33}, bench.dense_widths | {"conv3": 48}
    assert 33 not in profile.levels["conv3"]
    assert device.predicted_ms(bench.network_at(between)) == device.predicted_ms(bench.network_at(larger))


def test_measurements_say_that_they_are_predictions(known):
    _, profile, device, bench = known
    dense = bench.network_at(bench.dense_widths)
    smallest = bench.network_at({v.name: v.levels[0] for v in profile.variables})
    found = measure(device, {"dense": dense, "pruned": smallest}, "dense", MeasureOptions(n_rounds=5))
    assert found.settings.is_predicted
    assert not profile.settings.is_predicted
    assert found.warnings == (
        "nothing was measured: latencies are predicted from the profile of a device that is not this machine",
    )
    assert found.timings["pruned"].ratio == pytest.approx(device.predicted_ms(smallest) / device.predicted_ms(dense))
    assert found.fingerprint == profile.fingerprint


def test_its_profile_is_found_without_measuring(known, tmp_path):
    network, profile, device, _ = known
    remember(profile, Cache(tmp_path / "other"))
    assert profile_network(network, device, cache=Cache(tmp_path / "other"), options=QUICK) == profile


def test_nothing_is_run_here(known):
    network, _, device, bench = known
    with device.load(bench.network) as session:
        assert session.input_names == network.inputs
        with pytest.raises(Elsewhere, match="networks must be run on the device itself, not here"):
            session.run({})
    with pytest.raises(Elsewhere, match="networks must be profiled on the device itself"):
        device.node_times(network)
    with pytest.raises(Elsewhere, match="models must be run on the device itself"):
        device.load(b"a file")
    with pytest.raises(Elsewhere, match="models must be run on the device itself"):
        Device(EngineSettings(engine="onnxruntime")).load(network)


def test_profiles_of_other_networks_are_refused(known):
    _, profile, _, _ = known
    with pytest.raises(ConfigError, match="profile must be of this network, not of another"):
        Device.of(profile, nets.network(nets.Chain))
