"""The layers of a network as sizes."""

import torch
from torch import nn

from silicut.graph import capture
from silicut.graph.layer_shapes import layer_shapes, readers


class Awkward(nn.Module):
    """Pads, strides, groups, a join, a normalisation behind it, pools of all kinds."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, (5, 3), stride=(2, 1), padding="valid")
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.dilated = nn.Conv2d(8, 6, 3, padding=2, dilation=2)
        self.joined_norm = nn.BatchNorm2d(14)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.same = nn.Conv2d(14, 4, 4, padding="same")
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.cat([self.depthwise(x), self.dilated(x).clamp(0, 6)], 1)
        x = self.same(self.pool(self.joined_norm(x)))
        x = nn.functional.pad(x, (1, 2, 3, 0))
        x = x[:, :, ::2, ::2] + 1.0
        return self.head(x.mean((2, 3)).flatten(1))


def test_every_layer_of_an_awkward_network():
    network = capture(Awkward().eval(), torch.zeros(1, 3, 21, 20))
    shapes = {shape.name: shape for shape in layer_shapes(network)}
    kinds = [shape.kind for shape in shapes.values()]
    assert kinds == [
        "conv2d", "conv2d", "conv2d", "cat", "batch_norm", "max_pool2d", "conv2d", "pad", "slice", "slice", "add", "mean",
        "linear",
    ]  # fmt: skip
    stem, depthwise, dilated, same = shapes["stem"], shapes["depthwise"], shapes["dilated"], shapes["same"]
    assert (stem.in_shape, stem.out_shape, stem.kernel, stem.strides) == ((3, 21, 20), (8, 9, 18), (5, 3), (2, 1))
    assert stem.padding == (0, 0)
    assert (depthwise.inputs, depthwise.n_groups, depthwise.padding) == (("stem",), 8, (1, 1))
    assert (dilated.inputs, dilated.dilation, dilated.padding) == (("stem",), (2, 2), (2, 2))
    assert (same.padding, same.out_shape) == ((1, 1), (4, 5, 9))
    assert shapes["joined_norm"].inputs == ("cat",)
    assert (shapes["pool"].kernel, shapes["pool"].strides) == ((3, 3), (2, 2))
    assert (shapes["pad"].padding, shapes["pad"].out_shape) == ((3, 1), (4, 8, 12))
    assert [shape.strides for shape in shapes.values() if shape.kind == "slice"] == [(2, 1), (1, 2)]
    assert (shapes["mean"].kernel, shapes["mean"].in_shape, shapes["head"].in_shape) == ((4, 6), (4, 4, 6), (4,))
    assert shapes["head"].inputs == ("mean",)


def test_a_normalisation_that_others_see_stays():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y

    shapes = layer_shapes(capture(Shared().eval(), torch.zeros(1, 3, 4, 4)))
    assert [(shape.name, shape.inputs) for shape in shapes] == [
        ("conv", ("x",)), ("norm", ("conv",)), ("add", ("norm", "conv"))
    ]  # fmt: skip
    assert readers(shapes) == {"x": ["conv"], "conv": ["norm", "add"], "norm": ["add"]}
