"""Small networks with everything that makes channel groups hard, each with the groups that a person would find.

`groups` gives the width of each group by name; `frozen` gives, by the operator that makes the channels, their number and a
part of the reason. Both are complete, except that channels which the network returns are left out. `statistics` gives, by
the group, the operators whose statistics change when its channels go.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from graph_checks import Net
from torch import nn

IMAGE = (3, 6, 6)


@dataclass(frozen=True)
class Case:
    name: str
    module: nn.Module
    groups: dict[str, int]
    frozen: dict[str, tuple[int, str]] = field(default_factory=dict)
    statistics: dict[str, tuple[str, ...]] = field(default_factory=dict)
    inputs: tuple[tuple[int, ...], ...] = (IMAGE,)
    batches: tuple[int, ...] = (1, 2, 5)
    may_change_kind: bool = False  # a grouped convolution may become depthwise, a group norm have one group

    def example(self, batch=2, seed=3):
        generator = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(batch, *shape, generator=generator) for shape in self.inputs)


def conv(n_in, n_out, size=1, **settings):
    return nn.Conv2d(n_in, n_out, size, **{"padding": size // 2, **settings})


def head(n_in, n_out=3):
    """Ends a network: everything before it may be pruned."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, n_out))


# Shortcuts and joins.


def _option_a(s, x):
    x = F.relu(s.bn0(s.stem(x)))
    y = s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x)))))
    return s.head(F.relu(y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))))


OPTION_A = Case(
    "option A shortcut: strided slice and padded channels",
    Net(
        _option_a,
        stem=conv(3, 4, 3),
        bn0=nn.BatchNorm2d(4),
        conv1=conv(4, 7, 3, stride=2),
        bn1=nn.BatchNorm2d(7),
        conv2=conv(7, 8, 3),
        bn2=nn.BatchNorm2d(8),
        head=head(8),
    ),
    {"stem": 4, "conv1": 7, "conv2": 4},
)


def _dense_net(s, x):
    x = s.stem(x)
    for layer in s.layers:
        x = torch.cat([x, layer(F.relu(x))], 1)
    return s.head(x)


DENSE = Case(
    "concatenation that grows",
    Net(_dense_net, stem=conv(3, 4), layers=nn.ModuleList([conv(4, 2, 3), conv(6, 3, 3), conv(9, 5, 3)]), head=head(14)),
    {"stem": 4, "layers.0": 2, "layers.1": 3, "layers.2": 5},
)

BRANCHES = Case(
    "concatenation of three branches of different widths",
    Net(
        lambda s, x: s.head(s.join(torch.cat([s.a(x), F.max_pool2d(s.b(x), 3, 1, 1), F.relu(s.c(x))], 1))),
        a=conv(3, 2),
        b=conv(3, 3, 3),
        c=conv(3, 5, 5),
        join=nn.Sequential(nn.BatchNorm2d(10), conv(10, 6)),
        head=head(6),
    ),
    {"a": 2, "b": 3, "c": 5, "join.1": 6},
)


def _unequal_split(s, x):
    a, b = s.stem(x).split([3, 5], dim=1)
    return s.head(torch.cat([F.relu(b), s.inner(a)], 1))


SPLIT = Case(
    "unequal split, one part worked on, joined in another order",
    Net(_unequal_split, stem=conv(3, 8), inner=conv(3, 4), head=head(9)),
    {"stem": 3, "stem#2": 5, "inner": 4},
)


def _parts_without_weights(s, x):
    a, b = torch.split(s.stem(x), [2, 6], -3)
    return s.head(torch.cat([F.relu(a), F.avg_pool2d(b, 3, 1, 1)], -3))


PARTS = Case(
    "parts that no weight tells apart: neither may lose all its channels",
    Net(_parts_without_weights, stem=conv(3, 8), head=head(8)),
    {"stem": 2, "stem#2": 6},
)


def _gated(s, x):
    a, b = s.stem(x).chunk(2, 1)
    return s.head(a * torch.sigmoid(b))


CHUNKS = Case("chunks multiplied with each other", Net(_gated, stem=conv(3, 8), head=head(4)), {"stem": 4})


def _slices(s, x):
    y = s.stem(x)
    return s.head(torch.cat([s.a(y[:, :5]), y[:, -2:]], 1))


SLICES = Case(
    "slices of channels",
    Net(_slices, stem=conv(3, 8), a=conv(5, 4), head=head(6)),
    {"stem": 5, "stem#2": 1, "stem#3": 2, "a": 4},
)

EVERY_SECOND = Case(
    "every second channel",
    Net(lambda s, x: s.head(s.stem(x)[:, ::2]), stem=conv(3, 8), head=head(4)),
    {},
    {"stem": (8, "it takes every n-th channel")},
)

SELECTED = Case(
    "one channel by its number",
    Net(lambda s, x: s.head(s.stem(x) * s.stem(x)[:, 2].unsqueeze(1)), stem=conv(3, 4), head=head(4)),
    {},
    {"stem": (4, "it takes one channel by its number")},
)

BROADCAST_ADD = Case(
    "sum with a pooled map",
    Net(lambda s, x: s.head(s.a(x) + s.b(F.adaptive_avg_pool2d(x, 1))), a=conv(3, 4, 3), b=conv(3, 4), head=head(4)),
    {"a": 4},
)

# Layers that are not plain convolutions.

FLATTEN = Case(
    "map flattened into a linear layer",
    Net(lambda s, x: s.out(torch.flatten(F.max_pool2d(s.stem(x), 2), 1)), stem=conv(3, 4), out=nn.Linear(36, 3)),
    {"stem": 4},
)

VIEW_MINUS_ONE = Case(
    "view(-1, C * H * W)",
    Net(lambda s, x: s.out(F.max_pool2d(s.stem(x), 2).view(-1, 36)), stem=conv(3, 4), out=nn.Linear(36, 3)),
    {"stem": 4},
)

VIEW_SIZE = Case(
    "view(x.size(0), -1), then batch norm",
    Net(
        lambda s, x: s.out(s.bn(F.max_pool2d(s.stem(x), 2).view(x.size(0), -1))),
        stem=conv(3, 4),
        bn=nn.BatchNorm1d(36),
        out=nn.Linear(36, 3),
    ),
    {"stem": 4},
)

GROUPED = Case(
    "grouped convolution: every group loses the same position",
    Net(lambda s, x: s.head(s.b(s.a(x))), a=conv(3, 8), b=conv(8, 12, 3, groups=4), head=head(12)),
    {"a": 2, "b": 3},
    may_change_kind=True,
)

SHUFFLE = Case(
    "grouped convolutions with a channel shuffle between",
    Net(
        lambda s, x: s.head(s.c(s.b(s.a(x)).view(-1, 2, 3, 6, 6).transpose(1, 2).reshape(-1, 6, 6, 6))),
        a=conv(3, 4),
        b=conv(4, 6, 3, groups=2),
        c=conv(6, 8, groups=2),
        head=head(8),
    ),
    {"a": 2, "b": 1, "c": 4},
    may_change_kind=True,
)

DEPTHWISE = Case(
    "depthwise convolutions, one with two filters a channel",
    Net(
        lambda s, x: s.head(s.d(s.c(F.relu6(s.b(s.a(x)))))),
        a=conv(3, 4),
        b=conv(4, 4, 3, groups=4),
        c=conv(4, 8, 3, groups=4, bias=False),
        d=conv(8, 5),
        head=head(5),
    ),
    {"a": 4, "d": 5},
)

ONE_CHANNEL = Case(
    "a convolution of one channel is not depthwise",
    Net(lambda s, x: s.head(s.b(s.a(x))), a=conv(3, 1), b=conv(1, 6, 3), head=head(6)),
    {"a": 1, "b": 6},
)

SHARED = Case(
    "one convolution used twice",
    Net(lambda s, x: s.head(s.b(F.relu(s.b(s.a(x))))), a=conv(3, 4), b=conv(4, 4, 3), head=head(4)),
    {"a": 4},
)

SHARED_NORM = Case(
    "one batch norm after two convolutions",
    Net(
        lambda s, x: s.head(torch.cat([s.bn(s.a(x)), s.bn(s.b(x))], 1)),
        a=conv(3, 4),
        b=conv(3, 4, 3),
        bn=nn.BatchNorm2d(4),
        head=head(8),
    ),
    {"a": 4},
)

FUNCTIONAL = Case(
    "functional calls with parameters of modules and of the network",
    Net(
        lambda s, x: s.head(F.conv2d(F.conv2d(x, s.a.weight, s.a.bias, padding=1), s.w, None, 1, "same")),
        a=conv(3, 4, 3),
        w=nn.Parameter(torch.zeros(5, 4, 3, 3)),
        head=head(5),
    ),
    {"a": 4, "conv2d": 5},
)

STANDARDISED = Case(
    "weight computed on the fly",
    Net(
        lambda s, x: s.head(F.conv2d(s.a(x), s.b.weight - s.b.weight.mean((1, 2, 3), keepdim=True), s.b.bias)),
        a=conv(3, 4),
        b=conv(4, 5, 3),
        head=head(5),
    ),
    {},
    {"a": (4, "its weight is computed"), "conv2d": (5, "its weight is computed")},
)

WEIGHT_READ_EARLIER = Case(
    "a weight that is also read as a tensor, before its layer",
    Net(lambda s, x: s.head(s.b(x * s.b.weight.mean())), b=conv(3, 5, 3), head=head(5)),
    {},
    {"b": (5, "it reduces over all axes")},
)

TIED = Case(
    "a linear layer and its transpose",
    Net(
        lambda s, x: s.out(F.linear(F.relu(F.linear(s.a(x), s.w)), s.w.t())),
        a=nn.Linear(5, 4),
        w=nn.Parameter(torch.zeros(6, 4)),
        out=nn.Linear(4, 3),
    ),
    {},
    {
        "a": (4, "operator t is not known"),
        "linear": (6, "its weight is computed"),
        "linear_1": (4, "its weight is computed"),
    },
    inputs=((5,),),
)

VOLUME = Case(
    "three-dimensional convolutions",
    Net(
        lambda s, x: s.b(F.relu(s.bn(s.a(x)))).mean((2, 3, 4)) @ s.w,
        a=nn.Conv3d(2, 4, 3),
        bn=nn.BatchNorm3d(4),
        b=nn.Conv3d(4, 3, 1),
        w=nn.Parameter(torch.zeros(3, 2)),
    ),
    {"a": 4, "b": 3},
    inputs=((2, 4, 4, 4),),
)

SEQUENCE = Case(
    "one-dimensional convolutions and pools",
    Net(
        lambda s, x: s.out(F.avg_pool1d(F.relu(s.bn(s.a(x))), 2).flatten(1)),
        a=nn.Conv1d(3, 4, 3),
        bn=nn.BatchNorm1d(4),
        out=nn.Linear(12, 2),
    ),
    {"a": 4},
    inputs=((3, 8),),
)

# Element-wise operators.


def _parameters(s, x):
    return s.head((s.a(x) * s.scale + s.shift) * s.gain + s.position)


PARAMETERS = Case(
    "bare parameters: scale, shift, gain, position map",
    Net(
        _parameters,
        a=conv(3, 4),
        scale=nn.Parameter(torch.zeros(4, 1, 1)),
        shift=nn.Parameter(torch.zeros(1, 4, 1, 1)),
        gain=nn.Parameter(torch.zeros(())),
        position=nn.Parameter(torch.zeros(1, 4, 6, 6)),
        head=head(4),
    ),
    {"a": 4},
)


def _spatial_attention(s, x):
    y = s.a(x)
    return s.head(y * torch.sigmoid(s.map(y)))


SPATIAL_ATTENTION = Case(
    "spatial attention: one map for all channels",
    Net(_spatial_attention, a=conv(3, 4), map=conv(4, 1, 3), head=head(4)),
    {"a": 4},
    {"map": (1, "mul spreads it over other channels")},
)


def _squeeze_excite(s, x):
    y = s.a(x)
    z = torch.sigmoid(s.up(F.relu(s.down(y.mean((2, 3))))))
    return s.head(y * z[:, :, None, None])


SQUEEZE_EXCITE = Case(
    "squeeze and excitation",
    Net(_squeeze_excite, a=conv(3, 6), down=nn.Linear(6, 2), up=nn.Linear(2, 6), head=head(6)),
    {"a": 6, "down": 2},
)

PRELU = Case(
    "PReLU of one slope a channel, and of one for all",
    Net(lambda s, x: s.head(s.q(s.b(s.p(s.a(x))))), a=conv(3, 4), p=nn.PReLU(4), b=conv(4, 5), q=nn.PReLU(), head=head(5)),
    {"a": 4, "b": 5},
)

TENSOR_EXPONENT = Case(
    "exponent and bounds that are tensors",
    Net(
        lambda s, x: s.head(torch.clamp(s.a(x).abs() ** s.b(x).sigmoid(), min=s.c(x))),
        a=conv(3, 4),
        b=conv(3, 4),
        c=conv(3, 4),
        head=head(4),
    ),
    {"a": 4},
)


def _in_place(s, x):
    y = s.bn(s.a(x))
    y.add_(s.b(x))
    F.relu_(y)
    z = F.hardtanh(s.c(y), inplace=True)
    y += 1
    return s.head(torch.cat([z.mul_(2), y], 1))


IN_PLACE = Case(
    "in-place operators on tensors that are read later",
    Net(_in_place, a=conv(3, 4), bn=nn.BatchNorm2d(4), b=conv(3, 4), c=conv(4, 3), head=head(7)),
    {"a": 4, "c": 3},
)


def _views_in_place(s, x):
    y = s.a(x)
    view = y.flatten(2)
    y.relu_()
    return s.out(s.bn(view).mean(2))


VIEWS_IN_PLACE = Case(
    "a view of a tensor that is changed in place",
    Net(_views_in_place, a=conv(3, 4), bn=nn.BatchNorm1d(4), out=nn.Linear(4, 3)),
    {"a": 4},
)


def _no_grad(s, x):
    y = s.a(x)
    with torch.no_grad():
        scale = y.abs().amax((2, 3), keepdim=True)
        half = scale / 2
    return s.head(y / scale + half)


NO_GRAD = Case("a block without gradients", Net(_no_grad, a=conv(3, 4), head=head(4)), {"a": 4})

# Shapes.

TRANSPOSED = Case(
    "channels last and back",
    Net(
        lambda s, x: s.head(s.b(s.lin(s.a(x).permute(0, 2, 3, 1)).permute(0, 3, -3, 2))),
        a=conv(3, 4),
        lin=nn.Linear(4, 5),
        b=conv(5, 6),
        head=head(6),
    ),
    {"a": 4, "lin": 5, "b": 6},
)

TOKENS = Case(
    "an image as tokens and back",
    Net(
        lambda s, x: s.head(s.lin(s.a(x).flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (6, 6))),
        a=conv(3, 4),
        lin=nn.Linear(4, 5),
        head=head(5),
    ),
    {"a": 4, "lin": 5},
)

MEANS = Case(
    "means and maxima over the image",
    Net(
        lambda s, x: s.out(torch.cat([s.a(x).mean([2, 3]), s.b(x).amax((-2, -1)), s.c(x).sum(3).mean(-1)], 1)),
        a=conv(3, 4),
        b=conv(3, 5),
        c=conv(3, 2),
        out=nn.Linear(11, 3),
    ),
    {"a": 4, "b": 5, "c": 2},
)

WHOLE_MAXIMUM = Case(
    "the maximum of a whole tensor",
    Net(lambda s, x: s.head(s.a(x) / s.a(x).abs().amax()), a=conv(3, 4), head=head(4)),
    {},
    {"a": (4, "it reduces over all axes")},
)

CHANNEL_MEAN = Case(
    "mean over channels",
    Net(lambda s, x: s.head(s.a(x) - s.a(x).mean(1, keepdim=True)), a=conv(3, 4), head=head(4)),
    {"a": 4},
    statistics={"a": ("mean",)},
)

SQUEEZES = Case(
    "squeeze and unsqueeze; pruning to one channel squeezes nothing more",
    Net(
        lambda s, x: s.out(s.bn(F.adaptive_avg_pool2d(s.a(x), 1).squeeze(3).squeeze(2).unsqueeze(1).squeeze(1))),
        a=conv(3, 4),
        bn=nn.BatchNorm1d(4),
        out=nn.Linear(4, 3),
    ),
    {"a": 4},
)

BARE_SQUEEZE = Case(
    "squeeze without axes",
    Net(lambda s, x: s.out(F.adaptive_avg_pool2d(s.a(x), 1).squeeze()), a=conv(3, 4), out=nn.Linear(4, 3)),
    {"a": 4},
)

STACKED = Case(
    "stack",
    Net(lambda s, x: s.head(torch.stack([s.a(x), s.b(x)], 1).sum(1)), a=conv(3, 4), b=conv(3, 4), head=head(4)),
    {"a": 4},
)


def _expanded(s, x):
    y = s.a(x)
    return s.head(torch.cat([y, y.mean((2, 3), keepdim=True).expand(-1, 4, 6, 6)], 1))


EXPANDED = Case(
    "a pooled map expanded",
    Net(
        _expanded,
        a=conv(3, 4),
        head=head(8),
    ),
    {"a": 4},
)


def _repeated_map(s, x):
    y = s.a(x)
    return s.head(y * s.b(y).expand_as(y))


REPEATED_MAP = Case(
    "one map expanded to all channels",
    Net(_repeated_map, a=conv(3, 4), b=conv(4, 1), head=head(4)),
    {"a": 4},
    {"b": (1, "expand_as repeats it")},
)

PADDED = Case(
    "padding of all kinds",
    Net(
        lambda s, x: s.head(s.c(s.b(F.pad(s.a(x), (1, 2, 0, 1), mode="replicate")))),
        a=conv(3, 4),
        b=nn.Conv2d(4, 5, 3, padding=1, padding_mode="circular"),
        c=nn.Conv2d(5, 2, 3, padding=1, padding_mode="reflect"),
        head=head(2),
    ),
    {"a": 4, "b": 5, "c": 2},
)

RESIZED = Case(
    "interpolation",
    Net(
        lambda s, x: s.head(
            s.b(F.interpolate(s.a(x), scale_factor=2)) + F.interpolate(s.c(x), (12, 12), mode="bilinear", align_corners=True)
        ),
        a=conv(3, 4),
        b=conv(4, 5),
        c=conv(3, 5),
        head=head(5),
    ),
    {"a": 4, "b": 5},
)

SPATIAL_JOIN = Case(
    "concatenation side by side, and of vectors",
    Net(
        lambda s, x: s.head(s.c(torch.cat([s.a(x), s.b(x)], 3)) + torch.cat([s.v, s.w]).view(1, -1, 1, 1)),
        a=conv(3, 4),
        b=conv(3, 4),
        c=conv(4, 5),
        v=nn.Parameter(torch.zeros(2)),
        w=nn.Parameter(torch.zeros(3)),
        head=head(5),
    ),
    {"a": 4, "c": 2, "c#2": 3},
)

MAXOUT = Case(
    "maximum of pairs of channels",
    Net(lambda s, x: s.head(s.a(x).view(-1, 4, 2, 6, 6).amax(2)), a=conv(3, 8), head=head(4)),
    {"a": 4},
)

IMAGES_OF_CHANNELS = Case(
    "every channel treated as an image",
    Net(
        lambda s, x: s.head(s.blur(s.a(x).view(-1, 1, 6, 6)).view(-1, 4, 6, 6)),
        a=conv(3, 4),
        blur=conv(1, 1, 3),
        head=head(4),
    ),
    {},
    {"a": (4, "it mixes channels with images"), "blur": (1, "it mixes channels with images")},
)

UNBATCHED_POOL = Case(
    "a pool that takes channels for rows",
    Net(lambda s, x: s.out(F.max_pool2d(s.a(x), (2, 1)).flatten(1)), a=nn.Conv1d(3, 4, 1), out=nn.Linear(12, 3)),
    {},
    {"a": (4, "its input has no batch axis")},
    inputs=((3, 6),),
)


def _indices(s, x):
    y, where = F.adaptive_max_pool2d(s.a(x), 2, return_indices=True)
    return s.head(y * (where > 3))


INDICES = Case(
    "a pool that also returns where its maxima were",
    Net(
        _indices,
        a=conv(3, 4),
        head=head(4),
    ),
    {"a": 4},
)

# What no rule follows.

SOFTMAX = Case(
    "softmax over channels, and over the image",
    Net(
        lambda s, x: s.head(s.a(x).softmax(1) * s.b(s.c(x).flatten(2).softmax(-1).view(-1, 2, 6, 6))),
        a=conv(3, 4),
        c=conv(3, 2),
        b=conv(2, 4),
        head=head(4),
    ),
    {"c": 2},
    {"a": (4, "it normalises over channels"), "b": (4, "it normalises over channels")},
)

LAYER_NORM = Case(
    "layer norm over channels",
    Net(
        lambda s, x: s.head(s.b(s.ln(s.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))),
        a=conv(3, 4),
        ln=nn.LayerNorm(4),
        b=conv(4, 5),
        head=head(5),
    ),
    {"a": 4, "b": 5},
    statistics={"a": ("ln",)},
)

GROUP_NORM = Case(
    "group norm",
    Net(lambda s, x: s.head(s.gn(s.a(x))), a=conv(3, 4), gn=nn.GroupNorm(2, 4), head=head(4)),
    {"a": 2},
    may_change_kind=True,
)

UNKNOWN = Case(
    "an unknown operator in the middle",
    Net(
        lambda s, x: s.head(s.b(torch.fft.fft(s.c(s.a(x)).cumsum(1)).real)),
        a=conv(3, 4),
        c=conv(4, 5),
        b=conv(5, 6),
        head=head(6),
    ),
    {"a": 4, "b": 6},
    {"c": (5, "operator cumsum is not known")},
)

PIXELS = Case(
    "pixel shuffle and transposed convolution",
    Net(lambda s, x: s.head(s.up(F.pixel_shuffle(s.a(x), 2))), a=conv(3, 8), up=nn.ConvTranspose2d(2, 4, 2), head=head(4)),
    {"a": 2, "up": 4},
)

ATTENTION = Case(
    "a transformer layer: its stream, heads and hidden layer may shrink",
    Net(
        lambda s, x: s.out(s.layer(s.inp(x)).mean(1)),
        inp=nn.Linear(5, 8),
        layer=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        out=nn.Linear(8, 3),
    ),
    {"inp": 8, "layer.self_attn.in_proj": 2, "layer.linear1": 16},
    statistics={"inp": ("layer.norm1", "layer.norm2")},
    inputs=((4, 5),),
)

# Inputs and outputs.

TWO_INPUTS = Case(
    "two inputs",
    Net(lambda s, x, y: s.head(s.a(x) + s.b(y)), a=conv(3, 4), b=conv(2, 4, 3), head=head(4)),
    {"a": 4},
    inputs=(IMAGE, (2, 6, 6)),
)


def _siamese(s, x, y):
    z, n = s.b(s.a(torch.cat([x, y]))), x.shape[0]
    return s.head(z[:n] - z[n:])


SIAMESE = Case(
    "two inputs through one network, by joining and parting the batch",
    Net(_siamese, a=conv(3, 4), b=conv(4, 5), head=head(5)),
    {"a": 4, "b": 5},
    inputs=(IMAGE, IMAGE),
)


def _tuple(s, x):
    y = s.a(x)
    return s.head(y), y, s.head2(s.b(y))


TUPLE = Case(
    "parallel heads in a tuple, one of them in the middle",
    Net(_tuple, a=conv(3, 4), b=conv(4, 5), head=head(4), head2=head(5)),
    {"b": 5},
)


def _dict(s, x):
    y = s.a(x)
    return {"one": s.head(y), "two": s.head2(F.relu(y))}


DICT = Case(
    "heads in a dict",
    Net(_dict, a=conv(3, 4), head=head(4), head2=head(4)),
    {"a": 4},
)


def _list(s, x):
    return [s.head(s.a(x)), x]


LIST = Case(
    "heads in a list, the input among them",
    Net(_list, a=conv(3, 4), head=head(4)),
    {"a": 4},
)

CONSTANTS = Case(
    "constants of the network and of its forward",
    Net(
        lambda s, x: s.head(s.a(x - s.mean) + torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1)),
        a=conv(3, 4),
        mean=torch.full((3, 1, 1), 0.5),
        head=head(4),
    ),
    {"a": 4},
)

LEARNED_MAP = Case(
    "a learned map beside the input",
    Net(
        lambda s, x: s.head(s.a(x) + s.b(s.query)),
        a=conv(3, 4),
        b=conv(2, 4),
        query=nn.Parameter(torch.zeros(1, 2, 6, 6)),
        head=head(4),
    ),
    {"a": 4},
)

CASES = [value for value in globals().values() if isinstance(value, Case)]
