"""What has no integer form is refused before any work: all of it, with the user's line and what would be accepted."""

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional

from silicut.compress.quantisation import find_sites, quantisable
from silicut.graph import capture, to_module
from silicut.records import UnsupportedModel
from silicut.zoo.networks.vit import EncoderBlock


class Calls(nn.Module):
    """A layer and a user's function of its map."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 3, padding=1), function
        self.constant = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        return self.function(self, self.conv(x))


def refused(module, *shape):
    with pytest.raises(UnsupportedModel) as caught:
        quantisable(capture(module.eval(), torch.randn(1, *(shape or (3, 8, 8)))))
    return caught.value


REFUSED = {
    "softmax": (lambda m, y: y.softmax(1), "has no integer form (leave it out, the largest logit decides)"),
    "mean": (lambda m, y: y.mean(1), "has no integer form (take an average pool, or a mean over the axes of maps)"),
    "group norm": (lambda m, y: functional.group_norm(y, 2), "has no integer form (take a batch norm)"),
    "sine": (
        lambda m, y: y.sin(),
        "has no integer form (convolutions, linear layers, additions, products, concatenations, pools and elementwise "
        "functions are accepted)",
    ),
    "constant": (
        lambda m, y: y + m.constant,
        "has no integer form here: one of its operands is a constant (take a layer with a bias, or a batch norm)",
    ),
    "subtraction": (
        lambda m, y: torch.add(y, y.relu(), alpha=-1),
        "has no integer form here: it subtracts (negate the weights of the layer before it and add)",
    ),
    "clamp": (
        lambda m, y: y.clamp(0.5, 1.0),
        "has no integer form here: its limits 0.5..1 leave out 0 (take limits around 0)",
    ),
    "uneven windows": (
        lambda m, y: functional.adaptive_avg_pool2d(y, 3),
        "has no integer form here: its windows have several sizes ((8, 8) to (3, 3)) (take output sizes that divide the "
        "map)",
    ),
    "edges of windows": (
        lambda m, y: functional.avg_pool2d(y, 3, 1, 1, count_include_pad=False),
        "has no integer form here: its windows at the edge have other sizes (count_include_pad=False) (include the padding)",
    ),
    "padding": (
        lambda m, y: functional.pad(y, (1, 1), value=1.0),
        "has no integer form here: it pads with other numbers than 0 (pad with 0)",
    ),
    "computed weights": (
        lambda m, y: functional.conv2d(y, m.conv.weight.relu().transpose(0, 1)),
        "has no integer form here: its weight is computed (make it a parameter)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("function", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refusals_name_the_line_and_the_alternative(function, sentence):
    error = refused(Calls(function))
    line = inspect.getsourcelines(Calls.forward)[1] + 1
    (offender,) = [text for text in error.offenders if sentence in text]
    assert f" at test_sites.py:{line} {sentence}" in offender
    assert error.advice == "Change these, or quantise the part of the network without them"


def test_attention_is_refused_with_all_its_offenders():
    class OneBlock(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = EncoderBlock(64)

        def forward(self, x):
            return self.block(x)

    offenders = refused(OneBlock(), 5, 64).offenders
    assert sum("(layer_norm)" in text and "take a batch norm" in text for text in offenders) == 2
    assert any("(scaled_dot_product_attention)" in t and "networks with attention stay in float" in t for t in offenders)
    assert all("vit.py:" in text for text in offenders)


def test_idle_operators_are_left_out_and_means_become_pools():
    def ends(module, y):
        return functional.dropout(y, 0.5, False).contiguous().mean((2, 3))

    module, x = Calls(ends).eval(), torch.randn(2, 3, 8, 8)
    network = quantisable(capture(module, x))
    assert [operator.kind for operator in network.operators] == ["conv2d", "adaptive_avg_pool2d", "flatten"]
    torch.testing.assert_close(to_module(network)(x), module(x))


def test_a_clamp_that_others_pass_by_is_rounded_on_its_own():
    alone = find_sites(quantisable(capture(Calls(lambda m, y: y.relu()), torch.randn(1, 3, 8, 8))))
    assert len(alone.limits) == 2  # the input, and the layer together with its clamp
    shared = find_sites(quantisable(capture(Calls(lambda m, y: y.relu() + y), torch.randn(1, 3, 8, 8))))
    assert len(shared.limits) == 4
    assert (0.0, float("inf")) in shared.limits.values()
