"""Channel groups and blocks of every network of the zoo, proved in float64 with random weights and statistics."""

import copy

import numpy as np
import pytest
import torch
from graph_checks import assert_proved, assert_same_outputs, randomised
from torch.nn import functional

from silicut import zoo
from silicut.graph import capture, find_blocks, find_channels, remove_blocks, to_module

# Left out for their size: deeper ones of a kind that is tested, and AlexNet, which is a plain chain. Transformers differ.
LARGE = {f"resnet{depth}{kind}" for depth in (44, 110) for kind in ("", "-projection")}
LARGE |= {"resnet101", "resnet152", "alexnet", "vit-ti", "vit-s", "vit-b"}
NAMES = [entry.name for entry in zoo.ENTRIES if entry.name not in LARGE]
# Small images where the network takes any: the groups are the same.
SIZES = {"lenet5": 28} | {entry.name: 32 for entry in zoo.ENTRIES if entry.n_classes == 1000}
SIZES |= {"lenet5-32": 32, "vgg16-bn-cifar": 32}


@pytest.fixture(scope="module", params=NAMES)
def subject(request):
    size = SIZES.get(request.param, 8)
    module = randomised(zoo.network(request.param))
    shape = (zoo.network_entry(request.param).input_shape[0], size, size)
    network = capture(module, torch.zeros(2, *shape))
    return module, network, find_channels(network)


def test_the_network_equals_the_users_at_any_batch_size(subject):
    module, network, _ = subject
    captured = to_module(network)
    assert list(captured.state_dict()) == list(module.state_dict())
    for batch in (1, 3):
        x = torch.randn(network.tensors[network.inputs[0]].sizes(batch), generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            assert_same_outputs(captured(x), module(x))


def test_every_layer_but_the_last_can_be_pruned(subject):
    _, network, channels = subject
    made = {m.operator for group in channels.groups for m in group.producers()}
    layers = [o.name for o in network.operators if o.kind in ("conv2d", "linear") and o.arguments.get("groups", 1) == 1]
    assert made == set(layers[:-1])
    assert [(f.operators, f.reason) for f in channels.frozen] == [((layers[-1],), "it is an output of the network")]


def test_groups_are_proved(subject):
    _, network, channels = subject
    assert_proved(network, channels, n_single=5, n_all=1, batch=1)


def residual_blocks(module):
    """Residual blocks by the path that their layers share, which in MobileNetV2 lies one deeper."""
    parts = dict(module.named_modules())
    found = {n: part for n, part in parts.items() if type(part).__name__ in ("BasicBlock", "Bottleneck", "_Block")}
    return found | {f"{n}.conv": part for n, part in parts.items() if getattr(part, "_has_shortcut", False)}


def shortcut_only(block):
    """Return the forward of a residual block without its branch."""
    if hasattr(block, "_has_shortcut"):
        return lambda x: x
    project = block.downsample
    if project is None and hasattr(block, "_shortcut"):
        project = block._shortcut
    return lambda x: functional.relu(x if project is None else project(x))


def test_the_blocks_are_the_residual_blocks(subject):
    module, network, channels = subject
    blocks = find_blocks(network, channels)
    expected = residual_blocks(module)
    assert [block.name for block in blocks] == list(expected)
    for block in blocks:
        convolutions = [o for o in network.operators if o.kind == "conv2d" and ".downsample" not in o.name]
        own = [o for o in convolutions if o.name.startswith(f"{block.name}.")]
        assert {o.name for o in own} < block.operators
        assert block.last == own[-1].name
        assert set(block.inner_groups) == {o.name for o in own[:-1] if o.arguments["groups"] == 1}


def test_removed_blocks_leave_their_shortcuts(subject):
    module, network, channels = subject
    blocks = find_blocks(network, channels)
    if not blocks:
        pytest.skip("it has no residual blocks")
    drawn = np.random.default_rng(3).random(len(blocks)) < 0.5
    removed = [block for block, is_removed in zip(blocks, drawn, strict=True) if is_removed]
    smaller = remove_blocks(network, removed)
    reference = copy.deepcopy(module)
    for name, part in residual_blocks(reference).items():
        if name in {block.name for block in removed}:
            part.forward = shortcut_only(part)
    x = torch.randn(network.tensors[network.inputs[0]].sizes(3), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert_same_outputs(to_module(smaller)(x), reference(x))
    assert_proved(smaller, find_channels(smaller), n_single=0, n_all=1, batch=1)
