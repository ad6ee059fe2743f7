"""The proof itself: it must fail where a group is wrong, and say nan or inf rather than nothing."""

import dataclasses

import awkward_networks as awkward
import numpy as np
import pytest
import torch
from graph_checks import Net, random_inputs, randomised
from torch import nn

from silicut.graph import capture, find_channels, prove_group, to_module
from silicut.graph.kept_statistics import with_kept_statistics


@pytest.fixture(scope="module")
def plain():
    module = Net(
        lambda s, x: s.c(torch.relu(s.b(torch.relu(s.a(x))))),
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 5, 3),
        c=nn.Conv2d(5, 2, 1),
    )
    network = capture(randomised(module), torch.zeros(2, 3, 8, 8))
    return network, find_channels(network)


def without(group, parameter):
    return dataclasses.replace(group, members=tuple(m for m in group.members if m.parameter != parameter))


def with_group(channels, group):
    return dataclasses.replace(channels, groups=tuple(group if g.name == group.name else g for g in channels.groups))


def test_right_groups_give_rounding_errors(plain):
    network, channels = plain
    error = prove_group(network, channels, {"a": np.array([0, 2]), "b": np.array([4])}, random_inputs(network))
    assert 0 <= error < 1e-12


def test_nothing_removed_is_no_difference(plain):
    network, channels = plain
    assert prove_group(network, channels, {}, random_inputs(network)) == 0
    assert prove_group(network, channels, {"a": np.arange(4)}, random_inputs(network)) == 0


def test_a_forgotten_consumer_is_found(plain):
    network, channels = plain
    wrong = with_group(channels, without(channels.group("a"), "b.weight"))
    assert prove_group(network, wrong, {"a": np.array([0, 2])}, random_inputs(network)) > 1e-3


def test_a_wrong_position_is_found(plain):
    network, channels = plain
    group = channels.group("a")
    moved = tuple(
        dataclasses.replace(m, positions=np.roll(m.positions, 1, 0)) if m.role == "in" else m for m in group.members
    )
    wrong = with_group(channels, dataclasses.replace(group, members=moved))
    assert prove_group(network, wrong, {"a": np.array([0, 2, 3])}, random_inputs(network)) > 1e-3


def test_a_wrong_axis_of_a_parameter_is_found(plain):
    network, channels = plain
    axes = {name: dict(by_axis) for name, by_axis in channels.axes.items()}
    axes["b.weight"][1] = axes["b.weight"][1][::-1]
    wrong = dataclasses.replace(channels, axes=axes)
    assert prove_group(network, wrong, {"a": np.array([0, 1])}, random_inputs(network)) > 1e-3


def test_float32_inside_the_network_does_not_blur_the_proof():
    module = Net(
        lambda s, x: s.b(s.a(x.float()).to(torch.float32)) + torch.ones(2, 1, 1, dtype=torch.float32),
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(4, 2, 1),
    )
    network = capture(randomised(module), torch.zeros(2, 3, 8, 8))
    channels = find_channels(network)
    assert prove_group(network, channels, {"a": np.array([1, 3])}, random_inputs(network)) < 1e-12


def test_inputs_may_be_one_tensor_or_several():
    network = capture(randomised(awkward.TWO_INPUTS.module), awkward.TWO_INPUTS.example())
    channels = find_channels(network)
    assert prove_group(network, channels, {"a": np.array([1])}, awkward.TWO_INPUTS.example(4)) < 1e-12


def test_outputs_that_are_not_finite_prove_nothing(plain):
    network, channels = plain
    parameters = {**network.parameters, "c.bias": np.array([np.nan, 0], np.float32)}
    assert np.isnan(prove_group(network.with_parameters(parameters), channels, {"a": np.array([1])}, random_inputs(network)))


def test_complex_and_several_outputs_are_compared():
    module = Net(
        lambda s, x: {"one": torch.fft.fft(s.b(s.a(x))), "two": s.c(s.a(x)).argmax(1)},
        a=nn.Conv2d(3, 4, 1),
        b=nn.Conv2d(4, 2, 1),
        c=nn.Conv2d(4, 2, 1),
    )
    network = capture(randomised(module), torch.zeros(2, 3, 8, 8))
    channels = find_channels(network)
    assert [group.name for group in channels.groups] == ["a"]
    assert prove_group(network, channels, {"a": np.array([1, 2])}, random_inputs(network)) < 1e-12


STATISTICS = {
    "layer norm": lambda s, x: s.c(s.ln(s.a(x).transpose(1, 3)).transpose(1, 3)),
    "wide group norm": lambda s, x: s.c(s.gn(s.a(x))),
    "rms norm": lambda s, x: s.c(s.rms(s.a(x).transpose(1, 3)).transpose(1, 3)),
    "mean": lambda s, x: s.c(s.a(x) - s.a(x).mean(1, keepdim=True)),
    "variance": lambda s, x: s.c(s.a(x) / s.a(x).var(1, keepdim=True)),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_over_all_channels_would_prove_nothing(name, monkeypatch):
    parts = {"ln": nn.LayerNorm(8), "gn": nn.GroupNorm(2, 8), "rms": nn.RMSNorm(8)}
    module = Net(STATISTICS[name], a=nn.Conv2d(3, 8, 1), c=nn.Conv2d(8, 2, 1), **parts)
    network = capture(randomised(module), torch.zeros(2, 3, 8, 8))
    channels = find_channels(network)
    (group,) = channels.groups
    assert len(group.changed_statistics) == 1
    kept = {"a": np.array([0, 2])}
    assert prove_group(network, channels, kept, random_inputs(network)) < 1e-12
    monkeypatch.setattr("silicut.graph.proof.with_kept_statistics", lambda whole, masks: whole)
    assert prove_group(network, channels, kept, random_inputs(network)) > 1e-3


def test_kept_statistics_are_those_of_the_norm_of_the_kept_channels():
    module = Net(lambda s, x: s.ln(s.a(x)), a=nn.Linear(4, 6), ln=nn.LayerNorm(6))
    network = capture(randomised(module), torch.zeros(2, 4))
    mask = np.array([True, False, True, True, False, True])
    whole = to_module(with_kept_statistics(network, {"a": {1: mask}}))
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    y = module.a(x)
    mean, variance = y[:, mask].mean(1, keepdim=True), y[:, mask].var(1, correction=0, keepdim=True)
    expected = (y - mean) / (variance + module.ln.eps).sqrt() * module.ln.weight + module.ln.bias
    assert torch.allclose(whole(x), expected, atol=1e-5)
