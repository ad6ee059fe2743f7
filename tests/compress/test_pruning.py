"""Options, ties, kept channels, and plans: what may be chosen, and what a choice does to a network."""

import numpy as np
import pytest
import residual
import small_networks as nets
import torch
from torch import nn

from silicut.compress import (
    GroupScore,
    Plan,
    Restrictions,
    apply_plan,
    kept_channels,
    options,
    pruned,
    removable_blocks,
    removed_by,
    sp_lamp,
    ties,
    value_tables,
)
from silicut.flows.pruning_problem import Subject
from silicut.graph import Block, capture, find_blocks, find_channels, fold_batch_norm, to_module
from silicut.records import BadFile, ConfigError
from silicut.search import Variable


def parts(build):
    network = fold_batch_norm(nets.network(build))
    channels = find_channels(network)
    variables = [Variable(g.name, tuple(sorted({1, g.n_channels // 2, g.n_channels}))) for g in channels.groups]
    return channels, find_blocks(network, channels), variables


def levels_of(variables):
    return {v.name: v.levels for v in variables}


# Options


def test_groups_inside_blocks_may_have_no_channel():
    channels, blocks, variables = parts(nets.projected)
    found, before = levels_of(options(variables, channels, blocks, Restrictions())), levels_of(variables)
    inner = {name for block in blocks for name in block.inner_groups}
    assert "layer1.1.conv1" in inner
    for name, levels in before.items():
        assert found[name] == ((0, *levels) if name in inner else levels)


def test_no_block_is_removed_when_none_may_be():
    channels, blocks, variables = parts(nets.projected)
    restrictions = Restrictions(may_remove_blocks=False)
    assert removable_blocks(blocks, restrictions) == ()
    assert list(options(variables, channels, blocks, restrictions)) == variables
    assert ties(removable_blocks(blocks, restrictions), variables) == ()


def test_kept_blocks_stay_and_are_still_narrowed():
    channels, blocks, variables = parts(nets.projected)
    restrictions = Restrictions(keep=("layer1.*", "layer2.1"))
    assert [b.name for b in removable_blocks(blocks, restrictions)] == ["layer2.0", "layer3.0", "layer3.1"]
    found = levels_of(options(variables, channels, blocks, restrictions))
    assert found["layer1.1.conv1"] == (1, 8, 16)
    assert found["layer3.1.conv1"] == (0, 1, 32, 64)


def test_frozen_layers_keep_all_channels_and_their_block():
    channels, blocks, variables = parts(nets.projected)
    restrictions = Restrictions(freeze=("layer1.1.conv1", "layer2.0.conv2"))
    found = levels_of(options(variables, channels, blocks, restrictions))
    assert found["layer1.1.conv1"] == (16,)
    assert found["layer2.0.conv2"] == (32,)  # the stream: also made by the shortcut and the other block
    assert found["layer2.0.conv1"] == (1, 16, 32)  # inside a block that stays
    assert found["layer2.1.conv1"] == (0, 1, 16, 32)


def test_freezing_the_reader_of_a_group_does_not_freeze_the_group():
    channels, blocks, variables = parts(nets.Chain)
    found = levels_of(options(variables, channels, blocks, Restrictions(freeze=("conv2",))))
    assert found == {"conv1": (1, 32, 64), "conv2": (64,), "conv3": (1, 32, 64)}


def test_freezing_a_depthwise_layer_freezes_its_channels():
    channels, blocks, variables = parts(nets.Separable)
    assert levels_of(options(variables, channels, blocks, Restrictions(freeze=("depthwise",))))["stem"] == (16,)


def test_freezing_everything_leaves_full_widths():
    channels, blocks, variables = parts(nets.projected)
    found = options(variables, channels, blocks, Restrictions(freeze=("*",)))
    assert all(len(v.levels) == 1 for v in found)


def test_patterns_that_match_nothing_are_all_named():
    channels, blocks, variables = parts(nets.projected)
    with pytest.raises(ConfigError) as caught:
        options(variables, channels, blocks, Restrictions(freeze=("layr1*", "conv1", "linear"), keep=("layer9",)))
    assert caught.value.problems == (
        "freeze pattern 'layr1*' must match a layer, such as 'conv1'",
        "keep pattern 'layer9' must match a residual block, such as 'layer1.0'",
    )


def test_keep_pattern_without_blocks():
    channels, blocks, variables = parts(nets.Chain)
    with pytest.raises(ConfigError, match=r"such as '\(there is none\)'"):
        options(variables, channels, blocks, Restrictions(keep=("*",)))


# Ties and nested blocks


def test_inner_groups_of_a_bottleneck_are_tied():
    channels, blocks, variables = parts(nets.bottlenecks)
    chosen = options(variables, channels, blocks, Restrictions(keep=("layer1.0",)))
    found = ties(removable_blocks(blocks, Restrictions(keep=("layer1.0",))), chosen)
    assert len(blocks) == 6
    assert ("layer1.1.conv1", "layer1.1.conv2") in found
    assert len(found) == 5
    assert not any("layer1.0.conv1" in tie for tie in found)


def test_basic_blocks_need_no_ties():
    channels, blocks, variables = parts(nets.projected)
    assert ties(blocks, options(variables, channels, blocks, Restrictions())) == ()


class Nested(nn.Module):
    """A residual block of which one part is a residual block."""

    def __init__(self):
        super().__init__()
        self.stem, self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.inner = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1))
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        y = torch.relu(self.first(x))
        y = torch.relu(y + self.inner(y))
        return self.head(torch.relu(x + self.last(y)).mean((2, 3)))


def test_of_nested_blocks_only_the_inner_one_may_go():
    subject = Subject.of(capture(Nested(), torch.zeros(1, 3, 4, 4)))
    both = find_blocks(subject.folded, subject.channels)
    assert both[0].name == "inner"
    assert set(both[0].inner_groups) < set(both[1].inner_groups)
    assert [b.name for b in subject.blocks] == ["inner"]
    variables = [Variable(g.name, (1, g.n_channels)) for g in subject.channels.groups]
    found = levels_of(options(variables, subject.channels, subject.blocks, Restrictions()))
    assert [name for name, levels in found.items() if levels[0] == 0] == ["inner.0"]
    assert removed_by({"stem": 8, "first": 8, "inner.0": 0}, both) == ("inner",)
    assert sp_lamp(subject.folded, subject.channels, subject.blocks)["inner.0"].values[0] < 0


def test_only_blocks_whose_groups_are_all_gone_are_removed():
    def block(name, *groups):
        return Block(name, f"{name}.add", "x", frozenset(), groups, f"{name}.last")

    blocks = [block("a", "1"), block("b", "2", "3"), block("c", "4", "5")]
    assert removed_by({"1": 0, "2": 4, "3": 4, "4": 0, "5": 0}, blocks) == ("a", "c")


# Values and kept channels


def test_values_are_those_of_the_levels():
    score = GroupScore(np.array([2, 0, 1]), np.array([-1.0, 1.0, 1.5, 1.75]))
    (table,) = value_tables({"a": score}, [Variable("a", (0, 2, 3))])
    assert (table.variables, table.entries) == (("a",), (-1.0, 1.5, 1.75))


def test_the_best_channels_are_kept_in_order_of_position():
    score = GroupScore(np.array([2, 3, 0, 1]), np.zeros(5))
    scores = dict.fromkeys("abcd", score)
    assert kept_channels({"a": 2, "b": 3, "c": 4, "d": 0}, scores) == {"a": (2, 3), "b": (0, 2, 3)}


def test_the_pruned_network_holds_the_best_filters():
    network, channels, blocks = residual.parts(residual.captured())
    scores = sp_lamp(network, channels, blocks)
    smaller = pruned(network, kept_channels({"stem": 2, "block.0": 1}, scores), ())
    order = scores["stem"].order[:2]
    np.testing.assert_array_equal(smaller.parameters["stem.weight"], network.parameters["stem.weight"][np.sort(order)])
    energy = (network.parameters["block.0.weight"] ** 2).sum((1, 2, 3))
    assert smaller.parameters["block.0.bias"] == network.parameters["block.0.bias"][[energy.argmax()]]


# Plans


def plan_for(network, kept, removed=()):
    widths = {name: len(indices) for name, indices in kept.items()}
    return Plan(
        widths=widths,
        kept=kept,
        removed_blocks=removed,
        value=("sp-lamp", 1.5),
        solver="coupled",
        predicted_ms=1.0,
        target_ms=1.1,
        bound=1.5,
        hashes={"network": network.structure_hash, "weights": network.weights_hash},
    )


def test_plan_survives_json(tmp_path):
    plan = plan_for(residual.captured(), {"stem": (0, 2), "block.0": (1,)})
    assert Plan.load(plan.save(tmp_path / "plan.json")) == plan
    assert Plan.from_json(plan.to_json()).hash == plan.hash


def test_a_plan_with_unknown_fields_is_refused():
    data = plan_for(residual.captured(), {}).to_json() | {"ratio": 0.5}
    with pytest.raises(BadFile, match="ratio"):
        Plan.from_json(data, "plan.json")


def test_a_plan_is_applied_to_another_checkpoint():
    network = residual.captured()
    plan = plan_for(network, {"stem": (0, 2), "block.0": (1,)})
    other = network.with_parameters({name: array + 1 for name, array in network.parameters.items()})
    smaller = apply_plan(other, plan)
    np.testing.assert_array_equal(smaller.parameters["stem.weight"], network.parameters["stem.weight"][[0, 2]] + 1)
    assert smaller.structure_hash == apply_plan(network, plan).structure_hash


def test_a_plan_removes_blocks():
    network = residual.captured()
    smaller = apply_plan(network, plan_for(network, {"stem": (1, 3)}, ("block",)))
    assert not any(name.startswith("block") for name in smaller.parameters)
    x = torch.randn(2, 2, 4, 4)
    module = residual.module()
    expected = module.head.weight[:, [1, 3]] @ torch.relu(module.stem(x))[:, [1, 3]].mean((2, 3)).T
    torch.testing.assert_close(to_module(smaller)(x), expected.T + module.head.bias)


def test_a_plan_of_folded_groups_fits_the_network_as_captured():
    """Plans are made on the network with folded batch normalisation and applied to the one with it."""
    network = nets.network(nets.projected)
    kept = {"layer1.1.conv1": (0, 3), "layer2.0.conv2": tuple(range(5, 21))}
    smaller = apply_plan(network, plan_for(network, kept, ("layer3.1",)))
    assert smaller.parameters["layer1.1.bn1.running_var"].shape == (2,)
    assert smaller.parameters["layer2.0.downsample.1.weight"].shape == (16,)
    assert not any(name.startswith("layer3.1.") for name in smaller.parameters)
    x = torch.randn(2, 3, 16, 16)
    folded = pruned(fold_batch_norm(network), kept, ("layer3.1",))
    torch.testing.assert_close(to_module(smaller)(x), to_module(folded)(x), rtol=1e-4, atol=1e-4)


def test_a_plan_for_another_network_is_refused():
    plan = plan_for(nets.network(nets.Chain), {})
    network = residual.captured()
    with pytest.raises(ConfigError) as caught:
        apply_plan(network, plan)
    assert str(caught.value) == (
        f"the plan must be for this network (structure {network.structure_hash}), not for {plan.hashes['network']}; "
        "capture it with the same inputs as when the plan was made"
    )
