"""Layers: their widths as functions of groups, and which of them count as equal."""

import pytest
import small_networks as nets
import torch
from torch import nn

from silicut.graph import capture, find_channels, fold_batch_norm, keep_channels
from silicut.targets.layers import Width, layers_of
from silicut.targets.profile import axis_name, sum_variable


def layers(build, batch=1):
    network = fold_batch_norm(nets.network(build))
    return {layer.name: layer for layer in layers_of(network, find_channels(network), batch)}


def test_widths_of_a_chain():
    found = layers(nets.Chain)
    assert (found["conv1"].inputs, found["conv1"].outputs) == (Width(3, ()), Width(0, ("conv1",)))
    assert (found["conv2"].inputs, found["conv2"].outputs) == (Width(0, ("conv1",)), Width(0, ("conv2",)))
    assert (found["head"].inputs, found["head"].outputs) == (Width(0, ("conv3",)), Width(5, ()))
    assert found["conv2"].groups == ("conv1", "conv2")


def test_each_channel_counts_as_often_as_its_map_has_places_after_flattening():
    found = layers(nets.lenet)
    assert found["fc1"].inputs == Width(0, ("conv2",) * 25)
    assert found["fc1"].inputs.at({"conv2": 3}) == 75
    assert axis_name(found["fc1"].inputs) == "25*conv2"
    assert sum_variable(found["fc1"].inputs).parts == ("conv2",) * 25


def test_joined_channels_are_a_sum():
    found = layers(nets.Joined)
    assert found["both"].inputs == Width(0, ("left", "right"))
    assert axis_name(found["both"].inputs) == "left + right"
    assert found["both"].cell({"left": 4, "right": 8, "both": 32})[1:] == (12, 32)


def test_padded_streams_are_sums_of_increments():
    outputs = layers(nets.padded)["layer2.0.conv2"].outputs
    assert outputs.constant == 0
    assert outputs.parts == ("conv1", "layer2.0.conv2")


def test_depthwise_layers_have_one_width():
    found = layers(nets.Separable)
    assert found["depthwise"].shape.grouping == "depthwise"
    assert found["depthwise"].inputs == found["depthwise"].outputs == Width(0, ("stem",))
    assert found["pointwise"].shape.grouping == "dense"


@pytest.mark.parametrize("build", [nets.Chain, nets.lenet, nets.Joined, nets.Separable, nets.padded, nets.projected])
def test_widths_are_the_sizes_of_the_pruned_network(build):
    network = fold_batch_norm(nets.network(build))
    channels = find_channels(network)
    widths = {group.name: 1 + (i * 3) % group.n_channels for i, group in enumerate(channels.groups)}
    pruned = keep_channels(network, channels, {name: range(n) for name, n in widths.items()})
    operators = {operator.name: operator for operator in pruned.operators}
    for layer in layers_of(network, channels, 1):
        operator = operators[layer.name]
        source = next(name for name in operator.refs() if name in pruned.tensors)
        assert layer.inputs.at(widths) == pruned.tensors[source].shape[1]
        assert layer.outputs.at(widths) == pruned.tensors[operator.outputs[0]].shape[1]


def test_shapes_are_equal_where_costs_are():
    found = layers(nets.projected)
    same = [found[f"layer1.{i}.conv1"].shape.key for i in range(2)]
    assert same[0] == same[1]
    assert found["layer2.0.conv1"].shape.key != found["layer2.1.conv1"].shape.key  # stride 2 and 1
    assert found["layer1.1.conv1"].shape.key != found["layer1.1.conv2"].shape.key  # an addition follows


def test_shapes_in_words():
    found = layers(nets.projected)
    assert found["layer2.0.conv1"].shape.describe() == "conv2d 3x3/2 on 16x16 + relu"
    assert found["layer1.1.conv2"].shape.describe() == "conv2d 3x3 on 16x16 + add + relu"
    assert layers(nets.Separable)["depthwise"].shape.describe() == "conv2d 3x3 depthwise on 8x8 + relu"


def test_settings_tell_layers_apart():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.plain = nn.Conv2d(3, 4, 3, padding=1)
            self.dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
            self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
            self.tall = nn.Conv2d(4, 4, (3, 1), stride=(2, 1), padding=(1, 0))

        def forward(self, x):
            return self.tall(self.grouped(self.dilated(self.plain(x))))

    network = capture(Net(), torch.zeros(1, 3, 8, 8))
    found = {layer.name: layer.shape for layer in layers_of(network, find_channels(network), 1)}
    assert [found[n].settings for n in ("plain", "dilated", "grouped", "tall")] == ["3x3", "3x3 dilated 2", "3x3", "3x1/2x1"]
    assert [found[n].grouping for n in ("plain", "grouped")] == ["dense", "g2"]
    assert len({shape.key for shape in found.values()}) == 4


def test_tokens_carry_their_channels_on_the_last_axis():
    block = nn.Sequential(nn.Linear(8, 24), nn.GELU(), nn.Linear(24, 8))
    network = fold_batch_norm(capture(block, torch.randn(2, 5, 8)))
    first, gelu, last = layers_of(network, find_channels(network), 2)
    assert (first.shape.in_map, first.shape.out_map) == ((5,), (5,))
    assert (first.inputs.constant, first.outputs.parts) == (8, ("0",))
    assert (last.inputs.parts, last.outputs.constant) == (("0",), 8)
    assert gelu.shape.in_map == (5,)
