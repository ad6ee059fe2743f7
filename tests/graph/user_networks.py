"""Small networks of the kinds that people prune, each as its authors write it, with the groups that a person would find.

`groups`, `frozen` and `statistics` are as in `awkward_networks`: complete, but for what the network returns.
"""

import torch
import torch.nn.functional as F
from awkward_networks import IMAGE, Case, conv, head
from graph_checks import Net
from torch import nn


class Conv(nn.Sequential):
    """Convolution, batch norm, activation."""

    def __init__(self, n_in, n_out, size=3, activation=nn.ReLU, **settings):
        super().__init__(conv(n_in, n_out, size, bias=False, **settings), nn.BatchNorm2d(n_out), activation())


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = Conv(3, 4), Conv(4, 6)
        self.up = nn.ConvTranspose2d(6, 5, 2, 2)
        self.join = Conv(9, 7)
        self.out = nn.Conv2d(7, 2, 1)

    def forward(self, x):
        skip = self.down1(x)
        x = self.up(self.down2(F.max_pool2d(skip, 2)))
        return self.out(self.join(torch.cat([skip, x], 1)))


U_NET = Case(
    "U-Net: transposed convolution joined with a skip",
    UNet(),
    {"down1.0": 4, "down2.0": 6, "up": 5, "join.0": 7},
)


class ShuffleUnit(nn.Module):
    """ShuffleNet V2: half the channels pass by, then both halves are interleaved."""

    def __init__(self, n):
        super().__init__()
        half = n // 2
        self.branch = nn.Sequential(
            Conv(half, half, 1), conv(half, half, 3, groups=half, bias=False), nn.BatchNorm2d(half), Conv(half, half, 1)
        )

    def forward(self, x):
        passed, worked = x.chunk(2, 1)
        x = torch.cat([passed, self.branch(worked)], 1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


SHUFFLE_NET = Case(
    "ShuffleNet V2 units",
    nn.Sequential(Conv(3, 12), ShuffleUnit(12), ShuffleUnit(12), head(12)),
    {"0.0": 3, "0.0#2": 3, "0.0#3": 6, "1.branch.0.0": 6, "2.branch.0.0": 6},
    may_change_kind=True,
)


class SqueezeExcite(nn.Module):
    def __init__(self, n, n_inner):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(n, n_inner, 1), nn.Conv2d(n_inner, n, 1)

    def forward(self, x):
        gate = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(gate))))


def _inverted(s, x):
    x = s.stem(x)
    y = s.project(s.gate(s.depthwise(s.expand(x))))
    return s.head(x + y)


INVERTED = Case(
    "MobileNetV3 block: inverted residual with squeeze and excitation",
    Net(
        _inverted,
        stem=Conv(3, 4, activation=nn.Hardswish),
        expand=Conv(4, 10, 1, nn.Hardswish),
        depthwise=Conv(10, 10, 5, nn.Hardswish, groups=10),
        gate=SqueezeExcite(10, 3),
        project=nn.Sequential(conv(10, 4, 1, bias=False), nn.BatchNorm2d(4)),
        head=head(4),
    ),
    {"stem.0": 4, "expand.0": 10, "gate.reduce": 3},
)

ESPCN = Case(
    "ESPCN: super-resolution that ends in a pixel shuffle",
    nn.Sequential(conv(3, 5, 5), nn.Tanh(), conv(5, 6, 3), nn.Tanh(), conv(6, 12, 3), nn.PixelShuffle(2), conv(3, 2)),
    {"0": 5, "2": 6, "4": 3},
)

UNSHUFFLED = Case(
    "pixels unshuffled into channels and back",
    Net(
        lambda s, x: s.out(F.pixel_shuffle(s.c(s.b(F.pixel_unshuffle(s.a(x), 2))), 2)),
        a=conv(3, 4, 3),
        b=conv(16, 6, 3),
        c=conv(6, 8),
        out=conv(2, 1),
    ),
    {"a": 4, "b": 6, "c": 2},
)


class ConvNeXtBlock(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.dwconv = conv(n, n, 7, groups=n)
        self.norm = nn.LayerNorm(n, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(n, 2 * n), nn.Linear(2 * n, n)
        self.gamma = nn.Parameter(torch.zeros(n))

    def forward(self, x):
        y = self.dwconv(x).permute(0, 2, 3, 1)
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class ChannelsFirstNorm(nn.Module):
    """ConvNeXt's layer norm over axis 1, written by hand."""

    def __init__(self, n):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(n)), nn.Parameter(torch.zeros(n))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


CONV_NEXT = Case(
    "ConvNeXt blocks: layer norms in both memory orders, layer scale",
    nn.Sequential(conv(3, 6, 2, stride=2), ChannelsFirstNorm(6), ConvNeXtBlock(6), ConvNeXtBlock(6), head(6)),
    {"0": 6, "2.pwconv1": 12, "3.pwconv1": 12},
    statistics={"0": ("1.mean", "1.mean_1", "2.norm", "3.norm")},
)


def _group_norm_net(s, x):
    x = F.relu(s.n0(s.stem(x)))
    y = s.n2(s.b(F.relu(s.n1(s.a(x)))))
    return s.head(s.n3(s.wide(F.relu(x + y))))


GROUP_NORMS = Case(
    "group norms: whole groups go where there are many, equal positions of all where they are wide",
    Net(
        _group_norm_net,
        stem=conv(3, 8, 3, bias=False),
        n0=nn.GroupNorm(4, 8),
        a=conv(8, 12, 3),
        n1=nn.GroupNorm(6, 12),
        b=conv(12, 8, 3),
        n2=nn.GroupNorm(4, 8),
        wide=conv(8, 10),
        n3=nn.GroupNorm(2, 10),
        head=head(10),
    ),
    {"stem": 4, "a": 6, "wide": 5},
    statistics={"wide": ("n3",)},
    may_change_kind=True,
)

INSTANCE_NORMS = Case(
    "style transfer: instance norms and up-sampling",
    Net(
        lambda s, x: s.out(s.n2(s.b(F.interpolate(F.relu(s.n1(s.a(x))), scale_factor=2)))),
        a=conv(3, 5, 3, padding_mode="reflect"),
        n1=nn.InstanceNorm2d(5, affine=True),
        b=conv(5, 4, 3),
        n2=nn.InstanceNorm2d(4),
        out=conv(4, 3),
    ),
    {"a": 5, "b": 4},
)


class Attention(nn.Module):
    """timm's attention: one layer for queries, keys and values, fused or step by step."""

    def __init__(self, n, n_heads, is_fused):
        super().__init__()
        self.n_heads, self.is_fused, self.scale = n_heads, is_fused, (n // n_heads) ** -0.5
        self.qkv, self.proj = nn.Linear(n, 3 * n), nn.Linear(n, n)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.n_heads, c // self.n_heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.is_fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(x.transpose(1, 2).reshape(b, n, c))


class ViTBlock(nn.Module):
    def __init__(self, n, n_heads, is_fused):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(n), nn.LayerNorm(n)
        self.attn = Attention(n, n_heads, is_fused)
        self.mlp = nn.Sequential(nn.Linear(n, 10), nn.GELU(), nn.Linear(10, n))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 3, 3)
        self.cls_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, 12)), nn.Parameter(torch.zeros(1, 5, 12))
        self.blocks = nn.Sequential(ViTBlock(12, 3, True), ViTBlock(12, 4, False))
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


VIT = Case(
    "vision transformer: class token, position embedding, both ways to attend",
    ViT(),
    {"patches": 12, "blocks.0.attn.qkv": 3, "blocks.0.mlp.0": 10, "blocks.1.attn.qkv": 4, "blocks.1.mlp.0": 10},
    statistics={"patches": ("blocks.0.norm1", "blocks.0.norm2", "blocks.1.norm1", "blocks.1.norm2", "norm")},
)

ENCODER = Case(
    "nn.TransformerEncoder, pre-norm and post-norm",
    Net(
        lambda s, x: s.out(s.b(s.a(s.inp(x))).mean(1)),
        inp=nn.Linear(5, 8),
        a=nn.TransformerEncoderLayer(8, 2, 6, batch_first=True, norm_first=True, activation="gelu"),
        b=nn.TransformerEncoderLayer(8, 4, 6, batch_first=True),
        out=nn.Linear(8, 3),
    ),
    {"inp": 8, "a.self_attn.in_proj": 2, "a.linear1": 6, "b.self_attn.in_proj": 4, "b.linear1": 6},
    statistics={"inp": ("a.norm1", "a.norm2", "b.norm1", "b.norm2")},
    inputs=((4, 5),),
)


def _with_weights(s, x):
    tokens = s.inp(x).transpose(0, 1)
    y, weights = s.mha(tokens, tokens, tokens)
    return s.out(y.transpose(0, 1)), weights


WITH_WEIGHTS = Case(
    "nn.MultiheadAttention over (length, batch, channels) that also returns its weights",
    Net(
        _with_weights,
        inp=nn.Linear(5, 8),
        mha=nn.MultiheadAttention(8, 4),
        out=nn.Linear(8, 3),
    ),
    {"inp": 8, "mha.in_proj": 4, "mha.out_proj": 8},
    statistics={"mha.in_proj": ("mha.mean",)},
    inputs=((4, 5),),
)


class C2f(nn.Module):
    """YOLOv8's block: halves, each bottleneck's output joined to all before it."""

    def __init__(self, n_in, n_out, n_inner):
        super().__init__()
        self.cv1, self.cv2 = Conv(n_in, 2 * n_inner, 1, nn.SiLU), Conv(4 * n_inner, n_out, 1, nn.SiLU)
        self.m = nn.ModuleList(nn.Sequential(Conv(n_inner, 3), Conv(3, n_inner)) for _ in range(2))

    def forward(self, x):
        parts = list(self.cv1(x).chunk(2, 1))
        for layer in self.m:
            parts.append(parts[-1] + layer(parts[-1]))
        return self.cv2(torch.cat(parts, 1))


C2F = Case(
    "YOLOv8: C2f and spatial pyramid pooling",
    Net(
        lambda s, x: s.head(s.cv(torch.cat([y := s.c2f(s.stem(x)), p := s.pool(y), s.pool(p)], 1))),
        stem=Conv(3, 6),
        c2f=C2f(6, 5, 4),
        pool=nn.MaxPool2d(3, 1, 1),
        cv=Conv(15, 7, 1),
        head=head(7),
    ),
    {"stem.0": 6, "c2f.cv1.0": 4, "c2f.cv1.0#2": 4, "c2f.m.0.0.0": 3, "c2f.m.1.0.0": 3, "c2f.cv2.0": 5, "cv.0": 7},
)


class Detector(nn.Module):
    """Two scales, heads of boxes and classes flattened and joined, returned in a nested dict."""

    def __init__(self):
        super().__init__()
        self.stem, self.down = Conv(3, 4), Conv(4, 6, stride=2)
        self.lateral = nn.ModuleList([nn.Conv2d(4, 5, 1), nn.Conv2d(6, 5, 1)])
        self.box, self.cls = nn.Sequential(Conv(5, 4), nn.Conv2d(4, 4, 1)), nn.Sequential(Conv(5, 3), nn.Conv2d(3, 2, 1))

    def forward(self, x):
        p1 = self.stem(x)
        p2 = self.lateral[1](self.down(p1))
        p1 = self.lateral[0](p1) + F.interpolate(p2, scale_factor=2, mode="nearest")
        boxes = torch.cat([self.box(p).flatten(2) for p in (p1, p2)], 2)
        scores = torch.cat([self.cls(p).flatten(2) for p in (p1, p2)], 2)
        return {"boxes": boxes.transpose(1, 2), "scores": {"raw": scores, "soft": scores.sigmoid()}}


DETECTOR = Case(
    "detector: feature pyramid, heads shared over scales, nested dict",
    Detector(),
    {"stem.0": 4, "down.0": 6, "lateral.1": 5, "box.0.0": 4, "cls.0.0": 3},
)


def _siamese(s, x, y):
    a, b = s.net(x), s.net(y)
    return {"distance": (a - b).pow(2).sum(1), "joined": s.head(torch.cat([a, b, a * b], 1))}


SIAMESE_TWICE = Case(
    "Siamese: one network called twice, distance and joined head",
    Net(_siamese, net=nn.Sequential(Conv(3, 4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 6)), head=nn.Linear(18, 2)),
    {"net.0.0": 4, "net.3": 6},
    statistics={"net.3": ("sum",)},
    inputs=(IMAGE, IMAGE),
)


def _recurrent(s, x):
    features = s.conv(x).mean(2).transpose(1, 2)
    y, _ = s.lstm(features)
    return s.out(F.relu(s.fc(y[:, -1])))


RECURRENT = Case(
    "convolutions, an LSTM on top",
    Net(
        _recurrent,
        conv=nn.Sequential(Conv(3, 4), Conv(4, 5)),
        lstm=nn.LSTM(5, 6, batch_first=True),
        fc=nn.Linear(6, 4),
        out=nn.Linear(4, 2),
    ),
    {"conv.0.0": 4, "fc": 4},
    {"conv.1.0": (5, "recurrent layers stay whole")},
)


class RMSNorm(nn.Module):
    """LLaMA's, written by hand."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))


class GroupedQueryAttention(nn.Module):
    """Six query heads, two of keys and values; rotated by constants, norms on queries and keys."""

    def __init__(self, n, size, is_fused):
        super().__init__()
        self.size, self.is_fused = size, is_fused
        self.q, self.k, self.v = nn.Linear(n, 6 * size), nn.Linear(n, 2 * size), nn.Linear(n, 2 * size)
        self.o = nn.Linear(6 * size, n, bias=False)
        self.q_norm, self.k_norm = RMSNorm(size), nn.RMSNorm(size)

    def _rotated(self, x):
        angle = torch.arange(x.shape[-2])[:, None] / torch.arange(1, self.size // 2 + 1)
        cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = (f(x).view(b, n, -1, self.size).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = self._rotated(self.q_norm(q)), self._rotated(self.k_norm(k))
        if not self.is_fused:
            k, v = (y[:, :, None].expand(-1, -1, 3, -1, -1).reshape(b, 6, n, self.size) for y in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.is_fused)
        return self.o(y.transpose(1, 2).reshape(b, n, -1))


class SwiGLU(nn.Module):
    def __init__(self, n, n_hidden):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(n, n_hidden), nn.Linear(n, n_hidden), nn.Linear(n_hidden, n)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


def _llama(s, x):
    x = s.inp(x)
    for attention, mlp in zip(s.attentions, s.mlps, strict=True):
        x = x + attention(s.norm1(x))
        x = x + mlp(s.norm2(x))
    return s.out(F.rms_norm(x, (x.shape[-1],))[:, -1])


LLAMA = Case(
    "LLaMA: RMS norms, grouped queries, rotations, SwiGLU, norms shared by layers",
    Net(
        _llama,
        inp=nn.Linear(5, 8),
        attentions=nn.ModuleList([GroupedQueryAttention(8, 4, True), GroupedQueryAttention(8, 4, False)]),
        mlps=nn.ModuleList([SwiGLU(8, 7), SwiGLU(8, 9)]),
        norm1=RMSNorm(8),
        norm2=nn.RMSNorm(8),
        out=nn.Linear(8, 3),
    ),
    {"inp": 8, "attentions.0.q": 2, "mlps.0.gate": 7, "attentions.1.q": 2, "mlps.1.gate": 9},
    statistics={"inp": ("norm1.mean", "norm2", "norm1.mean_1", "norm2_1", "rms_norm")},
    inputs=((4, 5),),
)


def _rep_conv(s, x):
    x = s.stem(x)
    return s.head(F.relu(s.three(x) + s.one(x) + s.identity(x)))


REP_CONV = Case(
    "RepVGG: three branches added",
    Net(
        _rep_conv,
        stem=Conv(3, 6),
        three=nn.Sequential(conv(6, 6, 3, bias=False), nn.BatchNorm2d(6)),
        one=nn.Sequential(conv(6, 6, 1, bias=False), nn.BatchNorm2d(6)),
        identity=nn.BatchNorm2d(6),
        head=head(6),
    ),
    {"stem.0": 6},
)

GAN = Case(
    "DCGAN generator: grouped and depthwise transposed convolutions",
    nn.Sequential(
        nn.Linear(4, 24),
        nn.Unflatten(1, (6, 2, 2)),
        nn.ConvTranspose2d(6, 8, 2, 2, groups=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 16, 3, 2, 1, output_padding=1, groups=8),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 3, 1),
    ),
    {"0": 3, "2": 4},
    inputs=((4,),),
    may_change_kind=True,
)

MIXER = Case(
    "MLP-Mixer: channels shrink, what mixes positions stays",
    Net(
        lambda s, x: s.head((y := (z := s.patches(x).flatten(2)) + s.t2(F.gelu(s.t1(z)))).transpose(1, 2).add(
            s.c2(F.gelu(s.c1(s.norm(y.transpose(1, 2)))))).mean(1)),
        patches=nn.Conv2d(3, 8, 3, 3),
        t1=nn.Linear(4, 5),
        t2=nn.Linear(5, 4),
        norm=nn.LayerNorm(8),
        c1=nn.Linear(8, 6),
        c2=nn.Linear(6, 8),
        head=nn.Linear(8, 3),
    ),
    {"patches": 8, "c1": 6},
    {"t1": (5, "it mixes positions, not channels"), "t2": (4, "it mixes positions, not channels")},
    statistics={"patches": ("norm",)},
)  # fmt: skip

CBAM = Case(
    "CBAM: gates from means and maxima over the image and over the channels",
    Net(
        lambda s, x: s.head((y := (z := s.stem(x)) * s.up(F.relu(s.down(z.amax((2, 3), keepdim=True)))).sigmoid())
                            * s.map(torch.cat([y.mean(1, keepdim=True), y.max(1, keepdim=True)[0]], 1)).sigmoid()),
        stem=Conv(3, 6),
        down=conv(6, 2),
        up=conv(2, 6),
        map=conv(2, 1, 3),
        head=head(6),
    ),
    {"stem.0": 6, "down": 2},
    {"map": (1, "spreads it over other channels")},
    statistics={"stem.0": ("mean", "max")},
)  # fmt: skip

GATED = Case(
    "gated linear units, L2-normalised features, einsum over heads",
    Net(
        lambda s, x: s.out(F.normalize(torch.einsum(
            "bnhd,bmhd->bhnm", s.q(y := F.glu(s.inp(x), -1)).unflatten(-1, (3, 2)), s.k(y).unflatten(-1, (3, 2))
        ).softmax(-1).matmul(s.v(y).unflatten(-1, (3, 2)).transpose(1, 2)).transpose(1, 2).flatten(2), dim=-1)),
        inp=nn.Linear(5, 14),
        q=nn.Linear(7, 6),
        k=nn.Linear(7, 6),
        v=nn.Linear(7, 6),
        out=nn.Linear(6, 3),
    ),
    {"inp": 7, "q": 3},
    statistics={"q": ("linalg_vector_norm",)},
    inputs=((4, 5),),
)  # fmt: skip

CASES = [value for value in globals().values() if isinstance(value, Case)]
