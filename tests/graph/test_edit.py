"""Neutral edits: kept channels, dropped operators, folded batch norms, bypassed tensors."""

import awkward_networks as awkward
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graph_checks import Net, assert_same_outputs, random_inputs, randomised
from torch import nn

from silicut import zoo
from silicut.graph import (
    bypass,
    capture,
    drop_dead,
    find_channels,
    fold_batch_norm,
    keep_channels,
    network_with_weights,
    to_module,
)


def captured(module, *shape, batch=2):
    return capture(randomised(module), torch.zeros(batch, *(shape or (3, 6, 6))))


# Kept channels.


def test_every_tensor_and_parameter_gets_its_new_shape():
    network = capture(randomised(awkward.OPTION_A.module), awkward.OPTION_A.example())
    channels = find_channels(network)
    smaller = keep_channels(network, channels, {"stem": [0, 3], "conv1": [1, 2, 6], "conv2": [0, 1, 2]})
    shapes = {name: array.shape for name, array in smaller.parameters.items()}
    assert shapes == {
        "stem.weight": (2, 3, 3, 3),
        "stem.bias": (2,),
        **{f"bn0.{n}": (2,) for n in ("weight", "bias", "running_mean", "running_var")},
        "bn0.num_batches_tracked": (),
        "conv1.weight": (3, 2, 3, 3),
        "conv1.bias": (3,),
        **{f"bn1.{n}": (3,) for n in ("weight", "bias", "running_mean", "running_var")},
        "bn1.num_batches_tracked": (),
        "conv2.weight": (5, 3, 3, 3),
        "conv2.bias": (5,),
        **{f"bn2.{n}": (5,) for n in ("weight", "bias", "running_mean", "running_var")},
        "bn2.num_batches_tracked": (),
        "head.2.weight": (3, 5),
        "head.2.bias": (3,),
    }
    kept = [2, 5]  # stem channels 0 and 3 lie at 2 and 5 of the wider layer, whose own are 0, 1, 6, 7
    positions = sorted([*kept, 0, 1, 6])
    whole = network.parameters["conv2.weight"]
    assert np.array_equal(smaller.parameters["conv2.weight"], whole[positions][:, [1, 2, 6]])
    pad = next(o for o in smaller.operators if o.kind == "pad")
    assert pad.arguments["pad"] == (0, 0, 0, 0, 2, 1)
    assert smaller.tensors["conv2"].shape == (-1, 5, 3, 3)
    assert smaller.structure_hash != network.structure_hash
    for name, value in to_module(smaller).state_dict().items():
        assert tuple(value.shape) == shapes[name]


def test_arguments_that_name_channels_follow():
    cases = [
        (awkward.DEPTHWISE, "b", "groups", 2, {"a": [1, 3]}),
        (awkward.SHUFFLE, "view", "shape", ("batch", 2, 3, 6, 6), {"c": [0]}),
        (awkward.SPLIT, "split_with_sizes", "split_sizes", (1, 2), {"stem": [2], "stem#2": [0, 4]}),
        (awkward.EXPANDED, "expand", "size", ("batch", 3, 6, 6), {"a": [0, 1, 3]}),
        (awkward.TOKENS, "unflatten", "shape", ("batch", 2, 6, 6), {"lin": [0, 4]}),
    ]
    for case, name, argument, expected, kept in cases:
        network = capture(randomised(case.module), case.example())
        smaller = keep_channels(network, find_channels(network), kept)
        assert {o.name: o for o in smaller.operators}[name].arguments[argument] == expected
        with torch.no_grad():
            to_module(smaller)(*case.example(3))


def test_negative_axes_are_followed_too():
    module = Net(lambda s, x: s.b(s.a(x).narrow(-3, 0, 3)) + s.c(torch.ops.aten.slice(s.a(x), -3, 3, 6)),
                 a=nn.Conv2d(3, 6, 1), b=nn.Conv2d(3, 2, 1), c=nn.Conv2d(3, 2, 1))  # fmt: skip
    network = captured(module)
    channels = find_channels(network)
    kept = {group.name: np.arange(1, group.n_channels) for group in channels.groups}
    with torch.no_grad():
        to_module(keep_channels(network, channels, kept))(torch.zeros(2, 3, 6, 6))


def test_keeping_all_changes_nothing():
    network = captured(zoo.network("digits-resnet"), 1, 32, 32)
    channels = find_channels(network)
    same = keep_channels(network, channels, {g.name: np.arange(g.n_channels) for g in channels.groups})
    assert same.structure_hash == network.structure_hash
    assert same.weights_hash == network.weights_hash


def test_the_original_stays_as_it_is():
    network = captured(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)))
    before = network.weights_hash
    keep_channels(network, find_channels(network), {"0": [0]})
    fresh = type(network)(**{k: v for k, v in vars(network).items() if k in network.__dataclass_fields__})
    assert fresh.weights_hash == before


def test_a_group_may_not_lose_all_its_channels():
    network = captured(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)))
    with pytest.raises(AssertionError, match="group 0 must keep a channel"):
        keep_channels(network, find_channels(network), {"0": []})


def test_shared_weights_shrink_under_all_their_names():
    module = Net(lambda s, x: s.out(s.b(s.a(s.stem(x)))),
                 stem=nn.Conv2d(3, 4, 1), a=nn.Conv2d(4, 4, 1), b=nn.Conv2d(4, 4, 1), out=nn.Conv2d(4, 2, 1))  # fmt: skip
    module.b.weight = module.a.weight
    network = captured(module)
    channels = find_channels(network)
    assert [(g.name, g.n_channels) for g in channels.groups] == [("stem", 4)]
    state = to_module(keep_channels(network, channels, {"stem": [0, 2]})).state_dict()
    assert state["a.weight"].shape == state["b.weight"].shape == (2, 2, 1, 1)


# Dropped operators.


def test_what_nothing_reads_is_dropped_with_its_parameters():
    module = Net(lambda s, x: (s.bn(s.dead(x)), s.a(x))[1], a=nn.Conv2d(3, 4, 1), dead=nn.Conv2d(3, 4, 1),
                 bn=nn.BatchNorm2d(4), spare=nn.Linear(2, 2))  # fmt: skip
    network = captured(module)
    live = drop_dead(network)
    assert [o.name for o in live.operators] == ["a"]
    # The unused layer was the user's own choice; the dead one goes with its counter of batches.
    assert set(live.parameters) == {"a.weight", "a.bias", "spare.weight", "spare.bias"}
    assert live.trainable == set(live.parameters)
    assert set(live.tensors) == {*network.inputs, "a"}
    assert_same_outputs(to_module(live)(torch.ones(2, 3, 6, 6)), module(torch.ones(2, 3, 6, 6)))


def test_shared_and_constant_parameters_go_with_what_reads_them():
    module = Net(lambda s, x: (s.b(x) + s.k, s.c(x))[1], a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 4, 1), c=nn.Conv2d(3, 4, 1),
                 k=torch.ones(4, 1, 1))  # fmt: skip
    module.a.weight = module.b.weight
    live = drop_dead(captured(module))
    assert live.aliases == {}
    assert live.constants == frozenset()
    assert set(to_module(live).state_dict()) == {"c.weight", "c.bias"}


# Folded batch norms.


def folded_equals(module, *shape, n_left=0, tolerance=1e-5):
    shape = shape or (3, 6, 6)
    network = captured(module, *shape)
    folded = fold_batch_norm(network)
    assert sum(o.kind == "batch_norm" for o in folded.operators) == n_left
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = module(x), to_module(folded)(x)
    assert float((expected - found).abs().max() / expected.abs().max()) < tolerance
    assert folded.outputs[0] in {o.outputs[0] for o in folded.operators}
    return folded


@pytest.mark.parametrize("has_bias", [True, False])
def test_layers_with_and_without_bias(has_bias):
    folded = folded_equals(nn.Sequential(nn.Conv2d(3, 4, 3, bias=has_bias), nn.BatchNorm2d(4), nn.ReLU()))
    assert set(folded.parameters) == folded.trainable == {"0.weight", "0.bias"}
    assert [o.name for o in folded.operators] == ["0", "2"]
    folded_equals(nn.Sequential(nn.Linear(3, 4, bias=has_bias), nn.BatchNorm1d(4)), 3)
    folded_equals(nn.Sequential(nn.Conv1d(3, 4, 2, bias=has_bias), nn.BatchNorm1d(4)), 3, 6)
    folded_equals(nn.Sequential(nn.Conv3d(3, 4, 2, bias=has_bias), nn.BatchNorm3d(4)), 3, 4, 4, 4)


@pytest.mark.parametrize("n_groups", [1, 2, 4])
@pytest.mark.parametrize("has_bias", [True, False])
def test_transposed_convolutions(n_groups, has_bias):
    layer = nn.ConvTranspose2d(4, 8, 3, 2, groups=n_groups, bias=has_bias)
    folded_equals(nn.Sequential(layer, nn.BatchNorm2d(8), nn.ReLU()), 4, 5, 5)
    folded_equals(nn.Sequential(nn.ConvTranspose1d(4, 8, 3, groups=n_groups, bias=has_bias), nn.BatchNorm1d(8)), 4, 5)


def test_grouped_depthwise_affine_free_and_repeated_norms():
    folded_equals(nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8)), 4, 6, 6)
    folded_equals(nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6, affine=False)), 4, 6, 6)
    folded_equals(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4, eps=0.1), nn.ReLU()))


@pytest.mark.parametrize(
    "body",
    [
        lambda s, x: s.bn(s.a(x)) + s.a(x),
        lambda s, x: (lambda y: s.bn(y) + y)(s.a(x)),  # noqa: PLC3002
        lambda s, x: s.bn(F.relu(s.a(x))),
        lambda s, x: s.bn(x) + s.a(x),
        lambda s, x: s.bn(F.conv2d(x, s.a.weight * 2)),
        lambda s, x: s.bn(F.conv2d(x, s.a.weight, s.a.bias * 2)),
        lambda s, x: s.bn(s.a(x)) + s.a.bias[:, None, None],
        lambda s, x: F.batch_norm(s.a(x), s.bn.running_mean, s.bn.running_var, s.bn.weight * 2, s.bn.bias),
        lambda s, x: s.always(s.a(x)),
    ],
    ids="shared_layer read_twice between no_layer computed_weight computed_bias bias_read computed_scale batch".split(),
)
def test_what_must_not_be_folded_is_not(body):
    parts = {"a": nn.Conv2d(3, 3, 1), "bn": nn.BatchNorm2d(3), "always": nn.BatchNorm2d(3, track_running_stats=False)}
    folded_equals(Net(body, **parts), n_left=1)


def test_a_linear_layer_whose_norm_is_over_another_axis_is_not_folded():
    folded_equals(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), 4, 4, n_left=1)


def test_layers_that_are_outputs_are_not_folded():
    network = captured(Net(lambda s, x: (lambda y: (y, s.bn(y)))(s.a(x)), a=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4)))  # noqa: PLC3002
    assert sum(o.kind == "batch_norm" for o in fold_batch_norm(network).operators) == 1


def test_functional_layers_get_biases_of_their_own():
    def body(s, x):
        y = F.relu(s.bn1(F.conv2d(x, s.one)))
        return s.bn2(F.conv2d(y, s.two)) + s.bias[:, None, None]

    weights = {"one": nn.Parameter(torch.zeros(4, 3, 1, 1)), "two": nn.Parameter(torch.zeros(2, 4, 1, 1))}
    module = Net(body, **weights, bias=nn.Parameter(torch.zeros(2)), bn1=nn.BatchNorm2d(4), bn2=nn.BatchNorm2d(2))
    folded = folded_equals(module)
    assert set(folded.parameters) == {"one", "two", "bias", "bias_1", "bias_2"}


def test_biases_of_frozen_layers_are_frozen():
    module = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    module[0].weight.requires_grad_(False)
    assert folded_equals(module).trainable == frozenset()


@pytest.mark.parametrize("name", ["resnet20", "vgg16-bn-cifar"])
def test_zoo_networks_fold_completely(name):
    folded_equals(zoo.network(name), 3, 32, 32, tolerance=1e-4)


def test_folding_twice_is_folding_once():
    folded = fold_batch_norm(captured(zoo.network("resnet20"), 3, 8, 8))
    again = fold_batch_norm(folded)
    assert again.structure_hash == folded.structure_hash
    assert again.weights_hash == folded.weights_hash


def test_groups_of_a_folded_network_are_those_of_the_network():
    network = captured(zoo.network("resnet20"), 3, 8, 8)
    groups = {g.name: g.n_channels for g in find_channels(network).groups}
    assert {g.name: g.n_channels for g in find_channels(fold_batch_norm(network)).groups} == groups


# Bypassed tensors.


def test_readers_read_the_other_tensor():
    module = Net(lambda s, x: (s.c(F.relu(s.b(s.a(x)))), s.b(s.a(x)))[0],
                 a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(4, 4, 1), c=nn.Conv2d(4, 2, 1))  # fmt: skip
    network = captured(module)
    edited = bypass(network, "b", "a")
    assert [o.name for o in edited.operators] == ["a", "relu", "c"]
    assert set(edited.parameters) == {"a.weight", "a.bias", "c.weight", "c.bias"}
    x = torch.randn(2, 3, 6, 6)
    assert_same_outputs(to_module(edited)(x), module.c(F.relu(module.a(x))))


def test_outputs_are_redirected():
    network = captured(Net(lambda s, x: s.b(s.a(x)), a=nn.Conv2d(3, 3, 1), b=nn.Conv2d(3, 3, 1)))
    assert bypass(network, "b", "a").outputs == ("a",)
    identity = bypass(network, "b", network.inputs[0])
    assert identity.operators == ()
    x = torch.randn(2, 3, 6, 6)
    assert_same_outputs(to_module(identity)(x), x)


def test_a_rectifier_after_a_rectifier_goes_but_no_other():
    def body(s, x):
        y = F.relu(s.a(x))
        z = F.relu(s.b(y))
        own = F.relu(y)  # the user's own, which was there before
        return s.c(z) + F.relu6(z) + own

    module = Net(body, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(4, 4, 1), c=nn.Conv2d(4, 4, 1))
    network = captured(module)
    edited = bypass(network, "b", network.producer["b"].arguments["input"].name)
    assert sum(o.kind == "relu" for o in edited.operators) == 2
    x = torch.randn(2, 3, 6, 6)
    y = F.relu(module.a(x))
    assert_same_outputs(to_module(edited)(x), module.c(y) + F.relu6(y) + y)


def test_shapes_must_agree():
    network = captured(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)))
    with pytest.raises(AssertionError):
        bypass(network, "1", "0")


def test_edits_of_a_trained_module_start_from_its_weights():
    module = to_module(captured(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))))
    with torch.no_grad():
        module.get_submodule("2").bias.fill_(7)
    network = network_with_weights(module)
    smaller = keep_channels(network, find_channels(network), {"0": [0, 1]})
    assert (smaller.parameters["2.bias"] == 7).all()
    assert_same_outputs(to_module(network)(*random_inputs(network)), module(*random_inputs(network)))
