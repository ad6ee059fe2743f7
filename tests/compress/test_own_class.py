"""The user's own class: returned where it computes the pruned network, None elsewhere, and never changed."""

import copy

import pytest
import small_networks as nets
import torch
from torch import nn

from silicut.compress import pruned
from silicut.compress.own_class import smaller_own_class
from silicut.graph import capture, find_channels, to_module

SHAPE = (1, 3, 16, 16)


def pruned_pair(module, shape, kept, removed=()):
    """Return the user's class made smaller (or None), and the generated module."""
    network = pruned(capture(module, torch.zeros(shape)), kept, removed)
    return smaller_own_class(module, network, removed), to_module(network)


def test_a_class_that_takes_sizes_from_its_layers():
    module = copy.deepcopy(nets.module(nets.projected)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    kept = {"conv1": range(3, 11), "layer1.1.conv1": (0, 5), "layer3.0.conv2": range(10)}
    own, generated = pruned_pair(module, SHAPE, kept, ("layer2.1",))
    assert type(own) is type(module)
    assert isinstance(own.layer2[1], nn.Identity)
    assert not own.training
    x = torch.randn(4, *SHAPE[1:])
    torch.testing.assert_close(own(x), generated(x), rtol=1e-4, atol=1e-4)
    assert (own.conv1.out_channels, own.layer1[1].conv1.in_channels, own.layer1[1].conv1.out_channels) == (8, 8, 2)
    assert (own.bn1.num_features, own.linear.in_features, own.linear.out_features) == (8, 10, 10)
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_its_weights_train_and_save_under_the_users_names():
    module = nets.module(nets.projected)
    own, generated = pruned_pair(module, SHAPE, {"layer1.1.conv1": (0, 5)})
    assert list(own.state_dict()) == list(module.state_dict())
    own(torch.randn(2, *SHAPE[1:])).sum().backward()
    assert own.layer1[1].conv1.weight.grad.shape == (2, 16, 3, 3)
    generated.load_state_dict(own.state_dict())


def test_a_block_with_a_projection_cannot_be_an_identity():
    own, generated = pruned_pair(nets.module(nets.projected), SHAPE, {}, ("layer2.0",))
    assert own is None
    assert generated(torch.randn(2, *SHAPE[1:])).shape == (2, 10)


def test_a_shortcut_padded_to_a_fixed_width_cannot_shrink():
    """Option A pads by the widths the class was built with; where all increments stay it still computes the same."""
    module = nets.module(nets.padded)
    assert pruned_pair(module, SHAPE, {"layer3.0.conv2": range(8)})[0] is None
    own, _ = pruned_pair(module, SHAPE, {"layer3.0.conv1": range(8)})
    assert type(own) is type(module)


class Viewed(nn.Module):
    """Flattens by a number written down."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 16, 5)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).view(-1, 8 * 16))


def test_a_class_with_written_down_sizes_cannot_shrink():
    own, generated = pruned_pair(Viewed(), (1, 3, 4, 4), {"conv": (1, 2, 5)})
    assert own is None
    assert generated(torch.randn(6, 3, 4, 4)).shape == (6, 5)


def test_flattening_by_the_batch_works():
    own, generated = pruned_pair(nets.module(nets.lenet), (1, 1, 28, 28), {"conv2": range(4), "fc1": range(7)})
    x = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(own(x), generated(x), rtol=1e-4, atol=1e-4)
    assert (own.fc1.in_features, own.fc1.out_features) == (100, 7)


def test_depthwise_and_transposed_layers():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, affine=False)
            self.depthwise = nn.Conv2d(8, 16, 3, padding=1, groups=8)
            self.last, self.act, self.up = nn.Conv2d(16, 6, 1), nn.PReLU(6), nn.ConvTranspose2d(6, 4, 2)

        def forward(self, x):
            return self.up(self.act(self.last(torch.relu(self.depthwise(self.norm(self.stem(x)))))))

    own, generated = pruned_pair(Net().eval(), (1, 3, 8, 8), {"stem": (0, 3, 4)})
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(own(x), generated(x), rtol=1e-4, atol=1e-5)
    layer = own.depthwise
    assert (layer.groups, layer.in_channels, layer.out_channels, own.norm.num_features) == (3, 3, 6, 3)
    assert (own.up.in_channels, own.up.out_channels, own.act.num_parameters) == (6, 4, 6)


def test_shared_weights_stay_shared():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
            self.b.weight = self.a.weight
            self.head = nn.Conv2d(8, 2, 1)

        def forward(self, x):
            x = torch.relu(self.stem(x))
            return self.head(torch.relu(self.b(torch.relu(self.a(x)))))

    module = Twice().eval()
    network = capture(module, torch.zeros(1, 3, 4, 4))
    group = find_channels(network).groups[0]
    smaller = pruned(network, {group.name: (0, 2, 7)}, ())
    own = smaller_own_class(module, smaller)
    assert own is not None
    assert own.a.weight is own.b.weight
    assert own.a.weight.shape == (3, 3, 1, 1)


def test_parts_that_the_network_does_not_hold_are_no_longer_right():
    """A second head that only training uses would not fit the pruned features any more."""

    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x):
            x = torch.relu(self.conv(x))
            return (self.head(x), self.second(x)) if self.training else self.head(x)

    own, _ = pruned_pair(TwoHeads().eval(), (1, 3, 4, 4), {"conv": (0, 2, 7)})
    assert own is None


def test_outputs_are_compared_at_their_own_scale():
    """Large outputs whose rounding differs are the same; a class whose tiny outputs differ is not."""

    class Scaled(nn.Module):
        def __init__(self, scale, is_wrong):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
            self.scale, self.is_wrong = scale, is_wrong

        def forward(self, x):
            x = self.head(torch.relu(self.conv(x))) * self.scale
            return x * 1.5 if self.is_wrong and self.conv.out_channels < 8 else x

    for scale in (1e-8, 1.0, 1e8):
        assert pruned_pair(Scaled(scale, False).eval(), (1, 3, 4, 4), {"conv": (0, 2, 7)})[0] is not None
        assert pruned_pair(Scaled(scale, True).eval(), (1, 3, 4, 4), {"conv": (0, 2, 7)})[0] is None


@pytest.mark.parametrize("structure", [tuple, list, dict])
def test_several_outputs(structure):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1), nn.Conv2d(8, 1, 1)

        def forward(self, x):
            x = torch.relu(self.conv(x))
            return {"a": self.a(x), "b": self.b(x)} if structure is dict else structure([self.a(x), self.b(x)])

    assert pruned_pair(Net().eval(), (1, 3, 4, 4), {"conv": (0, 2, 7)})[0] is not None
