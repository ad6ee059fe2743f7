"""Where the channels of a group lie: parameters, axes, roles and positions, worked out by hand."""

from pathlib import Path

import awkward_networks as awkward
import numpy as np
import pytest
import torch
from graph_checks import Net, randomised
from torch import nn

from silicut.graph import capture, find_channels


def channels_of(case):
    network = capture(randomised(case.module), case.example())
    return network, find_channels(network)


def members(group):
    return {(m.parameter, m.axis): (m.role, m.operator, m.positions.tolist()) for m in group.members}


def rows(*positions):
    return [[position] for position in positions]


def test_option_a_ties_the_stem_to_the_middle_of_the_wider_layer():
    network, channels = channels_of(awkward.OPTION_A)
    stem, inner, rest = channels.groups
    whole, middle = rows(0, 1, 2, 3), rows(2, 3, 4, 5)
    assert members(stem) == {
        ("stem.weight", 0): ("out", "stem", whole),
        ("stem.bias", 0): ("along", "stem", whole),
        **{(f"bn0.{n}", 0): ("along", "bn0", whole) for n in ("weight", "bias", "running_mean", "running_var")},
        ("conv1.weight", 1): ("in", "conv1", whole),
        ("conv2.weight", 0): ("out", "conv2", middle),
        ("conv2.bias", 0): ("along", "conv2", middle),
        **{(f"bn2.{n}", 0): ("along", "bn2", middle) for n in ("weight", "bias", "running_mean", "running_var")},
        ("head.2.weight", 1): ("in", "head.2", middle),
    }
    assert [m.parameter for m in stem.producers()] == ["stem.weight", "conv2.weight"]
    assert [m.parameter for m in stem.consumers()] == ["conv1.weight", "head.2.weight"]
    assert members(rest)["conv2.weight", 0] == ("out", "conv2", rows(0, 1, 6, 7))
    assert members(inner)["conv2.weight", 1] == ("in", "conv2", rows(*range(7)))
    assert channels.composition("conv2") == (0, {"stem": 1, "conv2": 1})
    assert channels.composition("stem") == (0, {"stem": 1})
    assert channels.composition(network.inputs[0]) == (3, {})
    assert channels.composition("head.2") == (3, {})


def test_concatenation_puts_each_branch_at_its_offset():
    _, channels = channels_of(awkward.DENSE)
    assert members(channels.group("layers.1"))["layers.2.weight", 1] == ("in", "layers.2", rows(6, 7, 8))
    assert members(channels.group("layers.1"))["head.2.weight", 1] == ("in", "head.2", rows(6, 7, 8))
    assert members(channels.group("stem"))["head.2.weight", 1] == ("in", "head.2", rows(0, 1, 2, 3))


def test_a_split_tensor_is_joined_in_another_order():
    _, channels = channels_of(awkward.SPLIT)
    assert members(channels.group("stem"))["inner.weight", 1] == ("in", "inner", rows(0, 1, 2))
    assert members(channels.group("stem#2"))["head.2.weight", 1] == ("in", "head.2", rows(0, 1, 2, 3, 4))
    assert members(channels.group("inner"))["head.2.weight", 1] == ("in", "head.2", rows(5, 6, 7, 8))


def test_a_flattened_map_gives_every_channel_its_pixels():
    _, channels = channels_of(awkward.FLATTEN)
    pixels = [list(range(9 * c, 9 * c + 9)) for c in range(4)]
    assert members(channels.group("stem"))["out.weight", 1] == ("in", "out", pixels)
    assert channels.composition("flatten") == (0, {"stem": 9})


def test_grouped_convolutions_lose_the_same_position_in_every_group():
    _, channels = channels_of(awkward.GROUPED)
    a, b = members(channels.group("a")), members(channels.group("b"))
    assert a["a.weight", 0] == ("out", "a", [[0, 2, 4, 6], [1, 3, 5, 7]])
    assert a["b.weight", 1] == ("in", "b", rows(0, 1))
    assert b["b.weight", 0] == ("out", "b", [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]])
    assert b["head.2.weight", 1] == ("in", "head.2", [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]])


def test_depthwise_filters_follow_their_channel():
    _, channels = channels_of(awkward.DEPTHWISE)
    a = members(channels.group("a"))
    pairs = [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert a["b.weight", 0] == ("along", "b", rows(0, 1, 2, 3))
    assert a["c.weight", 0] == ("along", "c", pairs)
    assert a["d.weight", 1] == ("in", "d", pairs)
    assert ("c.weight", 1) not in a


def test_a_shared_layer_is_tied_to_itself():
    _, channels = channels_of(awkward.SHARED)
    shared = members(channels.group("a"))
    assert shared["b.weight", 0] == ("out", "b", rows(0, 1, 2, 3))
    assert shared["b.weight", 1] == ("in", "b", rows(0, 1, 2, 3))


def test_parameters_that_are_no_layers_follow_their_channels():
    _, channels = channels_of(awkward.PARAMETERS)
    a = members(channels.group("a"))
    for key in (("scale", 0), ("shift", 1), ("position", 1)):
        assert a[key][0] == "along"
        assert a[key][2] == rows(0, 1, 2, 3)
    assert not any(parameter == "gain" for parameter, _ in a)


def test_every_removable_channel_has_one_number():
    for case in (awkward.OPTION_A, awkward.GROUPED, awkward.SPLIT, awkward.DEPTHWISE):
        _, channels = channels_of(case)
        atoms = sorted(atom for group in channels.groups for atom in group.atoms)
        assert atoms == list(range(channels.n_atoms))
        for group in channels.groups:
            for member in group.members:
                line = channels.axes[member.parameter][member.axis]
                found = line[member.positions]
                assert (found == np.array(group.atoms)[:, None]).all()


def test_an_unknown_group_is_a_key_error():
    _, channels = channels_of(awkward.FLATTEN)
    with pytest.raises(KeyError):
        channels.group("none")


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 1)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        y = self.a(x)
        y = torch.cumsum(y, dim=1)  # the line that the reason names
        return self.out(y.mean((2, 3)))


def test_the_reason_names_the_operator_and_the_users_line():
    network = capture(Recurrent(), torch.randn(2, 3, 4, 4))
    frozen = find_channels(network).frozen
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    line = next(i for i, text in enumerate(lines, 1) if "# the line that the reason names" in text)
    reasons = {f.operators: f.reason for f in frozen}
    assert reasons["a",] == f"cumsum (test_group_members.py:{line}): operator cumsum is not known"
    assert reasons["out",] == "it is an output of the network"


def test_groups_by_one_operator_get_distinct_names():
    _, channels = channels_of(awkward.SLICES)
    assert [group.name for group in channels.groups] == ["stem", "stem#2", "stem#3", "a"]


def test_channels_are_found_for_other_rules_too():
    network = capture(Net(lambda s, x: s.b(s.a(x)), a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(4, 2, 1)), torch.randn(1, 3, 4, 4))
    channels = find_channels(network, rules={})
    assert channels.groups == ()
    assert channels.n_atoms == 0
    assert [(f.operators, f.n_channels) for f in channels.frozen] == [(("a",), 4), (("b",), 2)]
    assert channels.frozen[0].reason.endswith("operator conv2d is not known")
