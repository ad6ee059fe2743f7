"""Profiles against an engine whose times are known: right tables, honest checks, nothing measured twice."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import small_networks as nets
import torch
from synthetic_engine import Formula, SyntheticEngine
from torch import nn

from silicut.graph import capture
from silicut.graph.onnx_writer import to_onnx
from silicut.records import Cache, ConfigError, NothingToPrune
from silicut.targets import profile as profile_module
from silicut.targets.isolated import IsolatedLayers
from silicut.targets.profile import Profile, ProfileOptions, line_through, profile_network
from silicut.targets.samples import Bench
from silicut.targets.staircase import probe_widths

QUICK = ProfileOptions(n_samples=8, n_samples_max=24, n_validation=4)


def made(build, folder, engine=None, options=QUICK):
    """Return the profile and the engine it was made on."""
    engine = engine or SyntheticEngine()
    return profile_network(nets.network(build), engine, cache=Cache(folder), options=options), engine


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return made(nets.Chain, tmp_path_factory.mktemp("chain"))


def random_levels(profile, n, seed=0):
    """Yield random legal widths, the smallest and the largest first."""
    rng = np.random.default_rng(seed)
    yield {v.name: v.levels[0] for v in profile.variables}
    yield {v.name: v.levels[-1] for v in profile.variables}
    for _ in range(n - 2):
        yield {v.name: int(rng.choice(v.levels)) for v in profile.variables}


def bench_of(build, engine, folder):
    return Bench.open(nets.network(build), engine, Cache(folder))


# What a profile finds


def test_tables_of_a_chain_are_the_formula(chain):
    profile, engine = chain
    conv2 = next(layer for layer in profile.layers if layer.name == "conv2")
    assert conv2.table.variables == ("conv1", "conv2")
    truth = [[engine.formula.conv_us(9, 256, a, b) for b in profile.levels["conv2"]] for a in profile.levels["conv1"]]
    np.testing.assert_allclose(conv2.table.array * 1e3, truth, rtol=1e-6)
    assert conv2.dense_ms * 1e3 == pytest.approx(engine.formula.conv_us(9, 256, 64, 64))


def test_steps_cliffs_and_legal_widths_of_a_chain(chain):
    profile, _ = chain
    stairs = {s.group: s for s in profile.staircases}
    assert {name: s.step for name, s in stairs.items()} == {"conv1": 4, "conv2": 4, "conv3": 16}  # conv3: output side only
    assert {63, 62, 31, 30} <= set(stairs["conv1"].cliffs)
    assert not {w for s in stairs.values() for w in s.cliffs if w % 4 == 0}
    assert profile.levels["conv1"] == tuple(range(4, 65, 4))
    assert profile.levels["conv3"] == (8, 16, 32, 48, 64)  # below 16 only pooling and the linear layer save, 8 just enough


def test_steps_of_blocks_of_16_on_both_sides(tmp_path):
    engine = SyntheticEngine(Formula(block_in=16, cliff=1.0))
    profile, _ = made(nets.Chain, tmp_path, engine)
    assert {s.step for s in profile.staircases} == {16}
    assert {v.levels for v in profile.variables[:2]} == {(16, 32, 48, 64)}


@pytest.mark.parametrize("build", [nets.lenet, nets.Joined, nets.Separable, nets.padded, nets.projected])
def test_layers_add_up_to_the_truth_at_legal_widths(build, tmp_path):
    """Sums of groups, flattened maps and depthwise layers included; 1 % for every layer, and for whole networks."""
    profile, engine = made(build, tmp_path)
    bench = bench_of(build, engine, tmp_path)
    for widths in random_levels(profile, 12):
        model = to_onnx(bench.network_at(widths), batch=1)
        truth, found = engine.formula.node_times_us(model), profile.layer_ms(widths)
        for name, ms in found.items():
            us = truth.get(name, 0.0) + truth.get(f"{name}/pooled", 0.0)
            assert ms * 1e3 == pytest.approx(us, rel=0.01), (name, widths)
        whole = profile.overhead_ms + sum(found.values())
        assert whole * 1e3 == pytest.approx(engine.formula.network_us(model), rel=0.01)


@pytest.mark.parametrize("build", [nets.lenet, nets.projected])
def test_noise_of_2_per_cent_is_averaged_out(build, tmp_path):
    profile, engine = made(build, tmp_path, SyntheticEngine(noise_frac=0.02), replace(QUICK, n_samples=24))
    bench = bench_of(build, engine, tmp_path)
    dense_us = engine.formula.network_us(to_onnx(bench.network_at(bench.dense_widths), batch=1))
    errors = []
    for widths in random_levels(profile, 12):
        predicted = (profile.overhead_ms + sum(profile.layer_ms(widths).values())) / profile.dense_ms
        errors.append(
            abs(predicted / (engine.formula.network_us(to_onnx(bench.network_at(widths), batch=1)) / dense_us) - 1)
        )
    assert max(errors) < 0.03
    assert profile.validation.max_error_frac < 0.06  # the fresh networks are noisy too


def test_a_flattened_map_counts_each_channel_25_times(tmp_path):
    profile, engine = made(nets.lenet, tmp_path)
    fc1 = next(layer for layer in profile.layers if layer.name == "fc1")
    assert fc1.table.variables == ("25*conv2", "fc1")
    assert profile.levels["25*conv2"] == tuple(25 * w for w in profile.levels["conv2"])
    truth = engine.formula.node_us + engine.formula.mac_us * 25 * 16 * 120
    assert fc1.table.array[-1, -1] * 1e3 == pytest.approx(truth, rel=1e-4)


def test_joined_channels_are_one_axis(tmp_path):
    profile, _ = made(nets.Joined, tmp_path)
    both = next(layer for layer in profile.layers if layer.name == "both")
    assert both.table.variables == ("left + right", "both")
    assert [s.name for s in profile.sums] == ["left + right"]


def test_pooling_written_as_two_nodes_is_charged_to_its_operator(chain):
    """`x.mean((2, 3))` becomes a global pooling "mean/pooled" and a flattening "mean"."""
    profile, engine = chain
    pooling = next(layer for layer in profile.layers if layer.name.startswith("mean"))
    element_us = engine.formula.element_us
    assert pooling.dense_ms * 1e3 == pytest.approx(engine.formula.node_us + element_us * 64 * 256)


def test_what_a_call_costs_is_kept_apart_from_layers(tmp_path):
    engine = SyntheticEngine(Formula(call_us=500.0))
    profile, _ = made(nets.Chain, tmp_path, engine)
    assert profile.overhead_ms * 1e3 == pytest.approx(500.0, rel=1e-6)
    assert profile.scale == pytest.approx(1.0, rel=0.01)


def test_a_line_is_found_among_outliers():
    sums = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    measured = 0.3 + 1.1 * sums
    measured[[2, 5]] *= (1.5, 0.7)
    assert line_through(sums, measured) == pytest.approx((0.3, 1.1), rel=1e-6)
    assert line_through(np.array([2.0]), np.array([3.0]))[1] >= 0


def test_group_cost_is_that_of_the_layers_that_touch_it(chain):
    profile, engine = chain
    dense = {v.name: v.levels[-1] for v in profile.variables}
    us = engine.formula.conv_us(9, 256, 3, 64) + engine.formula.conv_us(9, 256, 64, 64)
    assert profile.group_ms("conv1", dense) * 1e3 == pytest.approx(us, rel=1e-6)


def test_groups_are_probed_where_they_say(chain):
    profile, _ = chain
    for stairs in profile.staircases:
        assert stairs.widths == probe_widths(64)
        assert all(cost > 0 for cost in stairs.costs_ms)


def test_one_filter_is_offered_when_asked_for(tmp_path):
    profile, _ = made(nets.Joined, tmp_path, options=replace(QUICK, least_width=1))
    assert min(v.levels[0] for v in profile.variables) == 1


# How it is checked


def test_every_other_network_of_the_check_lacks_blocks(tmp_path):
    profile, _ = made(nets.projected, tmp_path, options=replace(QUICK, n_validation=8))
    check = profile.validation
    assert len(check.measured_ms) == len(check.predicted_ms) == len(check.isolated_ms) == len(check.n_removed_blocks) == 8
    assert check.n_removed_blocks[::2] == (0,) * 4
    assert max(check.n_removed_blocks) > 0
    np.testing.assert_allclose(check.predicted_ms, check.measured_ms, rtol=0.01)
    assert check.r2 > 0.999
    assert check.isolated_mean_error_frac > 0.05  # every isolated layer pays the call


def test_figures_of_the_check():
    figures = profile_module.validation([1.0, 2.0, 4.0], [1.1, 2.0, 3.8], [2.0, 2.0, 4.0], [0, 1, 0])
    assert figures.mean_error_frac == pytest.approx(0.05)
    assert figures.max_error_frac == pytest.approx(0.1)
    assert figures.r2 == pytest.approx(1 - (0.01 + 0.04) / (16 / 9 + 1 / 9 + 25 / 9))
    assert (figures.isolated_mean_error_frac, figures.isolated_max_error_frac) == (pytest.approx(1 / 3), pytest.approx(1.0))
    assert profile_module.validation([1.0], [1.0], []).isolated_max_error_frac == 0


def test_networks_of_the_check_are_fresh(tmp_path):
    profile, engine = made(nets.projected, tmp_path)
    n_checked = QUICK.n_validation
    before, checked = engine.profiled[: -3 * n_checked], engine.profiled[-3 * n_checked :]
    assert not set(before) & set(checked)
    assert len(set(checked)) == n_checked
    assert profile.n_measured == len(set(engine.profiled))


def test_isolated_layers_without_call_and_noise_add_up(tmp_path):
    engine = SyntheticEngine(Formula(call_us=0.0))
    bench = bench_of(nets.projected, engine, tmp_path)
    widths = bench.dense_widths | {"layer1.1.conv1": 8, "layer2.1.conv1": 0}
    bench.sample(widths)
    truth = engine.formula.network_us(to_onnx(bench.network_at(widths), batch=1))
    assert IsolatedLayers(bench).sum_ms(widths) * 1e3 == pytest.approx(truth)
    n_loaded = len(engine.loaded)
    again = bench_of(nets.projected, engine, tmp_path)
    again.sample(widths)
    assert IsolatedLayers(again).sum_ms(widths) * 1e3 == pytest.approx(truth)
    assert len(engine.loaded) == n_loaded  # all of them were known


# What is kept


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A profile made without interruption, and the models it measured."""
    profile, engine = made(nets.projected, tmp_path_factory.mktemp("whole"))
    return profile, engine.profiled


@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 0.97])
def test_an_interrupted_profile_goes_on_where_it_stopped(place, whole, tmp_path):
    """Stopped at the first network, in the probes, in the samples, in the check."""
    profile, models = whole
    fails_at = int(place * len(models))
    first = SyntheticEngine(fails_at=fails_at)
    with pytest.raises(KeyboardInterrupt):
        made(nets.projected, tmp_path, first)
    resumed, second = made(nets.projected, tmp_path)
    assert resumed == profile
    n_finished = fails_at // 3 * 3  # a network is profiled three times
    assert first.profiled[:n_finished] + second.profiled == models


def test_a_profile_is_made_once(tmp_path):
    profile, _ = made(nets.Joined, tmp_path)
    again, engine = made(nets.Joined, tmp_path)
    assert again == profile
    assert engine.profiled == engine.loaded == []


def test_other_options_measure_only_what_is_new(tmp_path):
    made(nets.Joined, tmp_path)
    _, engine = made(nets.Joined, tmp_path, options=replace(QUICK, n_validation=5))
    assert len(set(engine.profiled)) == 1


def test_another_version_shares_nothing(tmp_path):
    _, first = made(nets.Joined, tmp_path)
    _, other = made(nets.Joined, tmp_path, SyntheticEngine(version="2"))
    assert other.profiled == first.profiled
    bench = bench_of(nets.Joined, SyntheticEngine(version="3"), tmp_path)
    assert not bench.points(bench.layers[0].shape.key)


def test_layers_of_equal_shape_share_points_across_networks(chain, tmp_path):
    made(nets.Chain, tmp_path)
    longer = capture(nn.Sequential(*[nn.Sequential(nn.Conv2d(c, 64, 3, padding=1), nn.ReLU()) for c in (3, 64, 64, 64)]),
                     torch.zeros(1, 3, 16, 16))  # fmt: skip
    bench = Bench.open(longer, SyntheticEngine(), Cache(tmp_path))
    same = next(layer for layer in bench.layers if layer.name == "1.0")
    points = dict(bench.points(same.shape.key))
    _, engine = chain
    assert points[64, 64] * 1e3 == pytest.approx(engine.formula.conv_us(9, 256, 64, 64))
    assert len(points) > 20
    assert bench.samples() == ()


@pytest.mark.parametrize("damage", ["not JSON", '{"value": 3}', '{"value": {"schema": "profile/0"}}', ""])
def test_a_damaged_cached_profile_is_made_again_from_its_samples(damage, tmp_path):
    profile, _ = made(nets.Joined, tmp_path)
    (cached,) = tmp_path.glob("*.json")
    cached.write_text(damage)
    again, engine = made(nets.Joined, tmp_path)
    assert again == profile
    assert engine.profiled == []


def test_damaged_lines_of_the_samples_are_measured_again(tmp_path):
    profile, _ = made(nets.Joined, tmp_path)
    (cached,) = tmp_path.glob("*.json")
    cached.unlink()
    journal = next(path for path in tmp_path.glob("*.jsonl") if "layers_frac" in path.read_text())
    lines = journal.read_text().splitlines()
    event = json.loads(lines[3])
    del event["ratio"]
    journal.write_text("\n".join([lines[0], lines[1][:50], json.dumps(event), '{"network": 3}', "[]", *lines[4:]]))
    again, second = made(nets.Joined, tmp_path)
    assert len(set(second.profiled)) == 3
    assert again == profile


def test_records_survive_saving(chain, tmp_path):
    profile, _ = chain
    assert Profile.load(profile.save(tmp_path / "profile.json")) == profile
    assert ProfileOptions.from_json(QUICK.to_json()) == QUICK


# What is refused


def test_networks_without_groups_are_refused_with_the_reason(tmp_path):
    network = capture(nn.Linear(4, 2), torch.zeros(1, 4))
    with pytest.raises(NothingToPrune, match="output of the network"):
        profile_network(network, SyntheticEngine(), cache=Cache(tmp_path))


def test_wrong_options_are_named_at_once():
    message = "n_samples_max must be >= 30, not 20; n_validation must be >= 1, not 0; least_width must be >= 1, not 0"
    with pytest.raises(ConfigError) as caught:
        ProfileOptions(n_samples=30, n_samples_max=20, n_validation=0, least_width=0)
    assert str(caught.value) == message


def test_progress_names_every_stage(tmp_path):
    events = []
    profile_network(
        nets.network(nets.Joined), SyntheticEngine(), cache=Cache(tmp_path), options=QUICK, progress=events.append
    )
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages[:2] == ["probe staircases", "sample widths"]
    assert stages[-2:] == ["validate on fresh networks", "sum isolated layers"]
    assert all(event.n_done <= event.n_total for event in events)
    assert math.isfinite(events[-1].left_s)
