"""Residual blocks: what qualifies, and that removing one leaves its shortcut, against modules written without the branch."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graph_checks import Net, assert_proved, assert_same_outputs, randomised
from torch import nn

from silicut.graph import capture, find_blocks, find_channels, keep_channels, remove_blocks, to_module

X = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """Two convolutions and a shortcut: identity, projection, or option A; `is_removed` leaves the shortcut alone."""

    def __init__(self, n_in, n_out, shortcut, activation=F.relu):
        super().__init__()
        stride = 1 if shortcut == "identity" else 2
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.project = (
            nn.Sequential(nn.Conv2d(n_in, n_out, 1, 2), nn.BatchNorm2d(n_out)) if shortcut == "projection" else None
        )
        self.shortcut, self.n_new, self.activation = shortcut, n_out - n_in, activation
        self.is_removed = False

    def forward(self, x):
        if self.shortcut == "projection":
            kept = self.project(x)
        elif self.shortcut == "padded":
            kept = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.n_new // 2, self.n_new - self.n_new // 2))
        else:
            kept = x
        if self.is_removed:
            return self.activation(kept)
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return self.activation(y + kept)


class Residual(nn.Module):
    def __init__(self, activation=F.relu):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.ModuleList(
            Block(n_in, n_out, shortcut, activation)
            for n_in, n_out, shortcut in (
                (4, 4, "identity"), (4, 6, "projection"), (6, 6, "identity"), (6, 9, "padded"), (9, 9, "identity"),
            )
        )  # fmt: skip
        self.head = nn.Linear(9, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module", params=[F.relu, F.silu, torch.tanh], ids=["relu", "silu", "tanh"])
def residual(request):
    module = randomised(Residual(request.param))
    network = capture(module, X)
    channels = find_channels(network)
    return module, network, channels, find_blocks(network, channels)


def test_blocks_are_found_with_their_parts(residual):
    _, network, _, blocks = residual
    assert [block.name for block in blocks] == [f"blocks.{i}" for i in range(5)]
    assert [block.inner_groups for block in blocks] == [(f"blocks.{i}.conv1",) for i in range(5)]
    assert [block.last for block in blocks] == [f"blocks.{i}.conv2" for i in range(5)]
    makers = [network.producer[block.shortcut] for block in blocks]
    assert [maker.kind for maker in makers][1:4:2] == ["batch_norm", "pad"]
    assert makers[1].name == "blocks.1.project.1"
    own = {f"blocks.1.{part}" for part in ("conv1", "bn1", "relu", "conv2", "bn2", "add")}
    assert own <= blocks[1].operators <= own | {"blocks.1.relu_1"}
    assert blocks[1].addition == "blocks.1.add"


@pytest.mark.parametrize("removed", [c for n in (1, 2, 5) for c in itertools.combinations(range(5), n)], ids=str)
def test_removed_blocks_leave_the_network_without_their_branches(residual, removed):
    module, network, _, blocks = residual
    smaller = remove_blocks(network, [blocks[i] for i in removed])
    for i, block in enumerate(module.blocks):
        block.is_removed = i in removed
    with torch.no_grad():
        assert_same_outputs(to_module(smaller)(X), module(X))
    for block in module.blocks:
        block.is_removed = False
    assert not any(name.startswith(f"blocks.{i}.conv") for i in removed for name in smaller.parameters)


def test_the_order_in_which_blocks_are_given_does_not_matter(residual):
    _, network, _, blocks = residual
    hashes = {
        remove_blocks(network, chosen).structure_hash for chosen in itertools.permutations([blocks[i] for i in (0, 2, 4)])
    }
    assert len(hashes) == 1


def test_what_goes_with_a_block_is_what_its_record_says(residual):
    _, network, _, blocks = residual
    for block in blocks:
        stays = {o.name for o in remove_blocks(network, [block]).operators}
        assert {o.name for o in network.operators} - stays == block.operators


def test_blocks_can_go_after_channels_went(residual):
    _, network, channels, blocks = residual
    kept = {group.name: np.arange(0, group.n_channels, 2) for group in channels.groups}
    smaller = remove_blocks(keep_channels(network, channels, kept), [blocks[1], blocks[4]])
    other = remove_blocks(network, [blocks[1], blocks[4]])
    rest = find_channels(other)
    assert_proved(other, rest)
    with torch.no_grad():
        to_module(smaller)(X)


def test_removing_nothing_is_the_network(residual):
    _, network, _, _ = residual
    assert remove_blocks(network, []) is network


# Other shapes of residual networks.


def blocks_of(module, x=X):
    network = capture(randomised(module), x)
    return network, find_blocks(network, find_channels(network))


def test_two_branches_in_one_module_have_names_of_their_own():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)
            self.c, self.d = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)

        def forward(self, x):
            x = x + self.b(F.relu(self.a(x)))
            return x + self.d(F.relu(self.c(x)))

    module = nn.Sequential(nn.Conv2d(3, 3, 1), Twice(), nn.Conv2d(3, 2, 1))
    network, blocks = blocks_of(module)
    assert [block.name for block in blocks] == ["1", "1#2"]
    smaller = remove_blocks(network, blocks[1:])
    part = module[1]
    y = module[0](X)
    assert_same_outputs(to_module(smaller)(X), module[2](y + part.b(F.relu(part.a(y)))))


def test_blocks_within_blocks():
    parts = {name: nn.Conv2d(3, 3, 1) for name in ("stem", "a", "b", "c", "d", "out")}

    def body(s, x):
        x = s.stem(x)
        y = s.a(x)
        y = y + s.c(F.relu(s.b(y)))
        return s.out(x + s.d(y))

    module = Net(body, **parts)
    network, blocks = blocks_of(module)
    assert len(blocks) == 2
    inner, outer = sorted(blocks, key=lambda block: len(block.operators))
    x = module.stem(X)
    assert_same_outputs(to_module(remove_blocks(network, [inner]))(X), module.out(x + module.d(module.a(x))))
    assert_same_outputs(to_module(remove_blocks(network, [outer]))(X), module.out(x))
    assert_same_outputs(to_module(remove_blocks(network, [inner, outer]))(X), module.out(x))


def test_the_larger_of_two_branches_is_the_one_that_goes():
    def body(s, x):
        x = F.relu(s.stem(x))
        return s.out(s.small(x) + s.large2(F.relu(s.large1(x))))

    names = ("stem", "small", "large1", "large2", "out")
    module = Net(body, **{name: nn.Conv2d(3, 3, 1) for name in names})
    network, (block,) = blocks_of(module)
    assert block.shortcut == "small"
    assert_same_outputs(to_module(remove_blocks(network, [block]))(X), module.out(module.small(F.relu(module.stem(X)))))


def test_pre_activation_and_last_blocks():
    def body(s, x):
        x = s.stem(x)
        x = x + s.b(F.relu(s.bn(s.a(F.relu(x)))))
        return x + s.d(F.relu(s.c(F.relu(x))))

    names = ("stem", "a", "b", "c", "d")
    module = Net(body, **{name: nn.Conv2d(3, 3, 1) for name in names}, bn=nn.BatchNorm2d(3))
    network, blocks = blocks_of(module)
    assert len(blocks) == 2
    assert_same_outputs(to_module(remove_blocks(network, blocks))(X), module.stem(X))
    last = remove_blocks(network, blocks[1:])
    x = module.stem(X)
    assert_same_outputs(to_module(last)(X), x + module.b(F.relu(module.bn(module.a(F.relu(x))))))


@pytest.mark.parametrize(
    "body",
    [
        lambda s, x: s.out(s.a(x) + s.a(x)),
        lambda s, x: s.out(torch.add(s.a(x), s.c(F.relu(s.b(s.a(x)))), alpha=2)),
        lambda s, x: s.out(s.a(x) * s.c(F.relu(s.b(s.a(x))))),
        lambda s, x: s.out(s.a(x) + s.c(F.relu(s.b(s.a(x)))).mean((2, 3), keepdim=True)),
        lambda s, x: s.out(s.a(x) + 1),
        lambda s, x: s.out(F.relu(s.a(x)) + s.a(x)),
        lambda s, x: s.out(s.a(x) + s.c(s.a(x).cumsum(1))),
        lambda s, x: (lambda y: (s.out(s.a(x) + s.c(y)), s.b(y)))(F.relu(s.b(s.a(x)))),  # noqa: PLC3002
    ],
    ids="twice weighted product broadcast number no_layer no_inner_group branch_read_elsewhere".split(),
)
def test_what_is_no_block(body):
    module = Net(body, a=nn.Conv2d(3, 3, 1), b=nn.Conv2d(3, 3, 1), c=nn.Conv2d(3, 3, 1), out=nn.Conv2d(3, 2, 1))
    assert blocks_of(module)[1] == ()
