"""What is said about a network, against what pruning it does."""

import dataclasses

import numpy as np
import pytest
import small_networks as nets
import torch
from random_networks import RandomNetwork
from synthetic_engine import SyntheticEngine
from torch import nn

from silicut.flows.inspect import explain, inspect
from silicut.graph import capture, find_channels, keep_channels
from silicut.graph.counting import macs_by_operator, n_macs
from silicut.records import Cache, ConfigError
from silicut.report.inspection import Explanation, Inspection
from silicut.targets.profile import ProfileOptions, cached_profile, profile_network

OPTIONS = ProfileOptions(n_samples=8, n_samples_max=16, n_validation=2)
BUILDS = (nets.Chain, nets.Joined, nets.Separable, nets.lenet, nets.padded, nets.projected, nets.bottlenecks)


class Frozen(nn.Module):
    """The channels of `first` cannot be followed; those of `second` can."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.Linear(16, 5)

    def forward(self, x):
        x = self.first(x).cumsum(1)
        return self.head(torch.relu(self.second(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def profiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")
    return lambda build: profile_network(nets.network(build), SyntheticEngine(), cache=Cache(folder), options=OPTIONS)


@pytest.mark.parametrize("build", BUILDS)
def test_what_lies_on_a_group_is_what_goes_with_its_channels(build):
    """What lies on no channel of a group is the same before and after the group is narrowed."""
    network = nets.network(build)
    inspection, channels = inspect(network), find_channels(network)
    assert [group.name for group in inspection.groups] == [group.name for group in channels.groups]
    for group in inspection.groups[:4]:
        kept = keep_channels(network, channels, {group.name: np.arange(group.n_channels)[1::2]})
        after = inspect(kept)
        narrowed = next(g for g in after.groups if g.name == group.name)
        assert narrowed.n_channels == group.n_channels // 2
        assert kept.n_parameters() - narrowed.n_parameters == network.n_parameters() - group.n_parameters
        assert abs((n_macs(kept) - narrowed.n_macs) - (n_macs(network) - group.n_macs)) <= 2
        assert 0 < group.n_parameters < network.n_parameters()


def test_macs_by_operator_are_those_of_the_definition():
    macs = macs_by_operator(nets.network(nets.Separable))
    assert macs == {"stem": 27 * 16 * 64, "depthwise": 9 * 16 * 64, "pointwise": 16 * 32 * 64, "head": 32 * 5}


def test_streams_have_their_layers_ties_and_lines():
    inspection = inspect(nets.network(nets.projected))
    stream = inspection.groups[0]
    assert (stream.name, stream.n_channels, stream.block) == ("conv1", 16, "")
    assert [place.name for place in stream.producers] == ["conv1", "layer1.0.conv2", "layer1.1.conv2"]
    assert [place.name for place in stream.ties] == ["layer1.0.add", "layer1.1.add"]
    assert [place.name for place in stream.followers] == ["bn1", "layer1.0.bn2", "layer1.1.bn2"]
    assert {"layer1.0.conv1", "layer2.0.downsample.0"} <= {place.name for place in stream.consumers}
    assert all(place.source.startswith("resnet.py:") for place in (*stream.producers, *stream.ties))
    inner = inspection.groups[1]
    assert (inner.name, inner.block, inner.ties) == ("layer1.0.conv1", "layer1.0", ())
    assert [block.name for block in inspection.blocks] == [f"layer{i}.{j}" for i in (1, 2, 3) for j in (0, 1)]
    block = inspection.blocks[0]
    assert (block.addition.name, block.groups) == ("layer1.0.add", ("layer1.0.conv1",))
    assert block.n_parameters == 2 * (16 * 16 * 9 + 32)
    assert block.n_macs == 2 * 16 * 16 * 9 * 256


def test_groups_that_are_joined_are_neighbours():
    inspection = inspect(nets.network(nets.Joined))
    assert {group.name: group.neighbours for group in inspection.groups} == {
        "left": ("right",),
        "right": ("left",),
        "both": (),
    }


def test_frozen_channels_have_a_reason_with_the_line():
    network = capture(Frozen().eval(), torch.zeros(1, 3, 8, 8))
    inspection = inspect(network)
    first = next(f for f in inspection.frozen if f.layers[0].name == "first")
    assert first.n_channels == 8
    assert first.reason.startswith("cumsum (test_inspect.py:")
    explanation = explain(network, "first")
    assert explanation.frozen == (first,)
    assert explanation.roles == ()
    assert [role.verb for role in explain(network, "second").roles] == ["makes"]
    passes = explain(network, "cumsum")
    assert (passes.frozen, passes.roles) == ((first,), ())
    assert explain(network, "relu").frozen == ()


@pytest.mark.parametrize("seed", range(6))
def test_every_operator_of_a_random_network_is_explained(seed):
    network = capture(RandomNetwork(seed).eval(), torch.zeros(2, 3, 8, 8))
    inspection = inspect(network)
    makers = {place.name for group in inspection.groups for place in group.producers}
    stay = {place.name for frozen in inspection.frozen for place in frozen.layers}
    for operator in network.operators:
        explanation = explain(network, operator.name)
        assert (operator.name in makers) == any(role.verb == "makes" for role in explanation.roles)
        assert (operator.name in stay) == any(explanation.place in frozen.layers for frozen in explanation.frozen)


def test_parameters_that_are_read_elsewhere_too_do_not_go_with_a_block():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Linear(8, 5)
            self.inner = nn.Conv2d(8, 4, 1)
            self.outer = nn.Conv2d(4, 8, 1)

        def forward(self, x):
            x = self.conv(self.stem(x))
            x = x + self.outer(torch.relu(self.inner(self.conv(x))))
            return self.head(x.mean((2, 3)))

    (block,) = inspect(capture(Shared().eval(), torch.zeros(1, 3, 4, 4))).blocks
    assert block.n_parameters == (8 * 4 + 4) + (4 * 8 + 8)


def test_a_profile_adds_milliseconds_and_stairs(profiled):
    network, profile = nets.network(nets.projected), profiled(nets.projected)
    inspection = inspect(network, profile)
    dense = {v.name: v.levels[-1] for v in profile.variables}
    for group in inspection.groups:
        stairs = next(s for s in profile.staircases if s.group == group.name)
        assert (group.timing.step, group.timing.cliffs) == (stairs.step, stairs.cliffs)
        assert group.timing.widths == profile.levels[group.name]
        assert group.timing.ms == pytest.approx(profile.group_ms(group.name, dense))
    costs = profile.layer_ms(dense)
    for block in inspection.blocks:
        assert block.ms == pytest.approx(sum(ms for name, ms in costs.items() if name.startswith(f"{block.name}.conv")))
    assert inspection.dense_ms == profile.dense_ms
    assert inspection.settings == profile.settings
    without = dataclasses.replace(
        inspection, settings=None, dense_ms=None, parts=None, findings=(), groups=(), blocks=(), frozen=()
    )
    assert without == dataclasses.replace(inspect(network), groups=(), blocks=(), frozen=())


def test_a_profile_of_another_network_is_refused(profiled):
    with pytest.raises(ConfigError, match=r"^the profile must be of this network \(structure \w+\), not of \w+$"):
        inspect(nets.network(nets.Chain), profiled(nets.projected))


def test_cached_profiles_are_found_and_nothing_is_measured(tmp_path):
    network, engine = nets.network(nets.Joined), SyntheticEngine()
    assert cached_profile(network, engine, cache=Cache(tmp_path), options=OPTIONS) is None
    assert engine.profiled == []
    made = profile_network(network, engine, cache=Cache(tmp_path), options=OPTIONS)
    n = len(engine.profiled)
    assert cached_profile(network, engine, cache=Cache(tmp_path), options=OPTIONS) == made
    assert cached_profile(network, engine, cache=Cache(tmp_path)) is None  # other options
    assert len(engine.profiled) == n


def test_records_are_saved_and_loaded(profiled, tmp_path):
    network = nets.network(nets.projected)
    inspection = inspect(network, profiled(nets.projected))
    inspection.save(tmp_path / "inspection.json")
    assert Inspection.load(tmp_path / "inspection.json") == inspection
    explanation = explain(network, "layer1.0.conv2")
    explanation.save(tmp_path / "explanation.json")
    assert Explanation.load(tmp_path / "explanation.json") == explanation


def test_an_operator_is_explained_by_what_it_does():
    network = nets.network(nets.projected)
    made, read = explain(network, "layer1.0.conv2").roles
    assert (made.group, made.verb, made.n_channels) == ("conv1", "makes", 16)
    assert [(tie.layer.name, [place.name for place in tie.by]) for tie in made.ties] == [
        ("conv1", ["layer1.0.add"]),
        ("layer1.1.conv2", ["layer1.0.add", "layer1.1.add"]),
    ]
    assert (read.group, read.verb, read.ties, read.consumers) == ("layer1.0.conv1", "reads", (), ())
    assert explain(network, "layer1.0.conv2").block == "layer1.0"
    assert [role.verb for role in explain(network, "bn1").roles] == ["follows"]
    passes = explain(network, "layer1.0.add").roles
    assert [(role.group, role.verb) for role in passes] == [("conv1", "passes")]
    assert [tie.layer.name for tie in passes[0].ties] == ["conv1", "layer1.0.conv2", "layer1.1.conv2"]


@pytest.mark.parametrize(
    ("name", "near"),
    [("layer1.0.cnv2", "layer1.0.conv2"), ("CONV1", "conv1"), ("layer3", "layer3.")],
)
def test_unknown_layers_have_near_ones(name, near):
    with pytest.raises(ConfigError) as caught:
        explain(nets.network(nets.projected), name)
    assert str(caught.value).startswith("layer must be an operator of the network, such as ")
    assert str(caught.value).endswith(f", not {name!r}")
    assert near in str(caught.value)
