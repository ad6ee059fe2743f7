"""What ties layers, on networks whose ties a person can see."""

import pytest
import torch
import torch.nn.functional as F
from awkward_networks import CASES, conv, head
from graph_checks import Net
from random_networks import RandomNetwork
from torch import nn

from silicut.graph import capture, find_channels
from silicut.graph.ties import carried_groups, makers, ties


def found(network, group, start):
    channels = find_channels(network)
    return ties(network, carried_groups(network, channels), channels.group(group), start)


def captured(module, *shapes):
    return capture(module.eval(), tuple(torch.zeros(2, *shape) for shape in shapes or ((3, 6, 6),)))


def test_a_stream_is_tied_by_the_additions_on_the_way():
    def forward(s, x):
        x = s.a(x)
        x = F.relu(x + s.b(x))
        x = F.relu(x * s.c(x))
        return s.head(x)

    network = captured(Net(forward, a=conv(3, 4), b=conv(4, 4), c=conv(4, 4), head=head(4)))
    assert found(network, "a", "a") == {"b": ("add",), "c": ("add", "mul")}
    assert found(network, "a", "c") == {"a": ("mul", "add"), "b": ("mul", "add")}
    assert found(network, "a", "relu") == {"a": ("add",), "b": ("add",), "c": ("mul",)}


def test_a_layer_that_reads_and_makes_a_group_is_no_way():
    """b reads the stream and makes it: c is tied to a by the last addition, not through b."""

    def forward(s, x):
        x = s.a(x)
        return s.head(s.c(s.b(x)) + x)

    network = captured(Net(forward, a=conv(3, 4), b=conv(4, 4), c=conv(4, 4), head=head(4)))
    assert found(network, "a", "a") == {"c": ("add",)}
    assert found(network, "b", "b") == {}


def test_shared_filters_are_a_tie():
    network = captured(
        Net(
            lambda s, x: s.head(torch.cat([s.one(s.shared(x)), s.two(s.shared(x + 1))], 1)),
            shared=conv(3, 4),
            one=conv(4, 5),
            two=conv(4, 6),
            head=head(11),
        )
    )
    shared = next(operator.name for operator in network.operators if operator.kind == "conv2d")
    (other,) = set(makers(network, find_channels(network).group(shared))) - {shared}
    assert found(network, shared, shared) == {other: ("shared.weight",)}


def test_depthwise_layers_pass_a_group_on():
    network = captured(
        Net(
            lambda s, x: s.head(s.wise(s.a(x)) + s.b(x)),
            a=conv(3, 4),
            wise=conv(4, 4, 3, groups=4),
            b=conv(3, 4),
            head=head(4),
        )
    )
    assert found(network, "a", "a") == {"b": ("add",)}


@pytest.mark.parametrize("network", [*(case.name for case in CASES), *range(8)])
def test_every_layer_of_a_group_has_a_tie(network):
    """Removing all named operators from the network would part the layers; here: there is at least one, and it is tied."""
    if isinstance(network, str):
        case = next(case for case in CASES if case.name == network)
        module, example = case.module.eval(), case.example()
    else:
        module, example = RandomNetwork(network).eval(), (torch.randn(2, 3, 8, 8),)
    captured_network = capture(module, example)
    channels = find_channels(captured_network)
    carried = carried_groups(captured_network, channels)
    names = {operator.name: operator for operator in captured_network.operators}
    for group in channels.groups:
        made_by = makers(captured_network, group)
        way = ties(captured_network, carried, group, made_by[0])
        assert way.keys() == set(made_by[1:])
        for by in way.values():
            assert len(set(by)) == len(by)
            for name in by:
                read = set(names[name].refs()) if name in names else set()
                assert name in captured_network.parameters or sum(group.name in carried.get(r, ()) for r in read) > 1


def test_a_plain_chain_has_no_ties():
    network = captured(nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 5), nn.ReLU(), head(5)))
    channels = find_channels(network)
    carried = carried_groups(network, channels)
    assert all(ties(network, carried, group, makers(network, group)[0]) == {} for group in channels.groups)
