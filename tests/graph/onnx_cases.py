"""Small networks for the ONNX writer, each for some kinds of operators."""

from dataclasses import dataclass

import awkward_networks as awkward
import torch
import torch.nn.functional as F
from graph_checks import Net
from torch import nn

IMAGE = (4, 6, 6)


@dataclass(frozen=True)
class Case:
    """One small network; `kinds` are the operator kinds that it is there for."""

    kinds: str
    module: nn.Module
    inputs: tuple[tuple[int, ...], ...] = (IMAGE,)
    batches: tuple[int | None, ...] = (None, 1, 3)

    def example(self, batch=2, seed=3):
        generator = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(batch, *shape, generator=generator) * 2 for shape in self.inputs)


def of(function):
    return Net(lambda s, *inputs: function(*inputs))


def small(x):
    return x.abs() + 0.5


def weights(*shapes):
    return {name: nn.Parameter(torch.zeros(shape)) for name, shape in zip("abc", shapes, strict=False)}


def _convolutions(s, x):
    return s.b(s.a(x)), s.d(s.c(x))


def _computed_weights(s, x):
    w = s.w - s.w.mean((1, 2, 3), keepdim=True)
    return F.conv2d(x, w), F.linear(F.linear(x, s.m), s.m.permute(1, 0))


def _linear_of_more_axes(s, x):
    return s.b(s.a(x)), s.a(s.a(x).flatten(1).view(-1, 24, 6)) + s.a(x[:, 0, 0]).sum()


def _activations(x):
    return F.relu(x) + F.hardtanh(x, -2, 1.5) + F.relu6(x * 4) + F.leaky_relu(x, 0.3) + F.elu(x, 0.7)


def _smooth_activations(x):
    gates = F.hardswish(x) + F.hardsigmoid(x) + F.mish(x) + F.silu(x)
    return gates + F.softplus(x * 20) + F.gelu(x) + F.gelu(x, approximate="tanh")


def _clamps(x):
    return x.clamp(-1, 1) + x.clamp(min=0.5) + x.clamp_min(-0.5) + x.clamp_max(0.25)


def _sums(x, y):
    return torch.sub(torch.add(x, y, alpha=2), y[:, :1], alpha=0.5) + 3 - 0.25


def _products(x, y):
    return torch.maximum(x * y, x / small(y)) + torch.minimum(x, y) / 3 * 2


def _max_pools(x):
    return F.max_pool2d(x, 3, 2, 1), F.max_pool2d(x, 2, dilation=2, stride=1, padding=1), F.max_pool2d(x, (2, 3))


def _rounded_up_max_pools(x):
    return F.max_pool2d(x, (2, 3), ceil_mode=True), F.max_pool2d(x, 3, 2, 1, ceil_mode=True)


def _average_pools(x):
    return F.avg_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), F.avg_pool2d(x, 6)


def _rounded_up_average_pools(x):
    inside = F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False)
    return inside, F.avg_pool2d(x, 3, 2, ceil_mode=True), F.avg_pool2d(x, 3, 2, 1, ceil_mode=True)


def _adaptive_pools(x):
    average = F.adaptive_avg_pool2d(x, (2, 3)), F.adaptive_avg_pool2d(x, 1)
    return *average, F.adaptive_max_pool2d(x, (2, 3)), F.adaptive_max_pool2d(x, (None, 1)), F.adaptive_max_pool2d(x, 1)


def _pads(x):
    constant = F.pad(x, (1, 2, 0, 1, 1, 0), value=-1.5), torch.constant_pad_nd(x, (1, 0, -1, 2), 0.5)
    return *constant, *(F.pad(x, (1, 2, 2, 1), mode=mode) for mode in ("reflect", "replicate", "circular"))


def _matrices(s, x):
    return torch.bmm(x[:, 0], x[:, -1]) @ s.w @ torch.mm(s.w, s.w)


def _reductions(x):
    whole = x.mean(), x.sum(), x.amax(), x.amin()
    some = x.mean((2, 3)), x.mean((2, 3), keepdim=True), x.mean(1), x.sum((3, 2)), x.amax((-1, -2)), x.amin(3)
    return *whole, *some


def _joins(s, x):
    parts = torch.cat([*x.split([1, 3], 1)[::-1], *x.chunk(3, -3)], 1)
    return parts, x * torch.cat([s.a, s.b], -1)[:, None, None]


def _slices(x):
    return x[:, 1:3, ::2, -4:], x[:, 2:, 1::2, :-2], x[..., 3], x.select(1, -1)


def _expansions(x):
    return x[:, :1].expand(-1, 4, -1, -1) + x.mean((1, 2, 3))[:, None, None, None].expand_as(x)


def _resized(x):
    sizes = F.interpolate(x, (9, 11)), F.interpolate(x, (9, 4), mode="bilinear"), F.interpolate(x, (9, 4), mode="bicubic")
    return *sizes, F.interpolate(x, scale_factor=2), F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def _spreads(x):
    norms = torch.linalg.vector_norm(x, dim=1), torch.linalg.vector_norm(x, 1, (1, 3), keepdim=True)
    return x.var((1, 2)), x.var(1, correction=0, keepdim=True), *norms


def _choices(x):
    y = torch.where(x > 0.5, x, -x) + torch.where(x <= x.mean(1, keepdim=True), x, 2.0)
    return y.masked_fill(x < 0, 3.0) + (x >= 1).to(torch.float32) + (x == 0).to(torch.float32)


def _unbound(x):
    a, b, c, d = x.unbind(1)
    return torch.stack([a, d, b], 1) + torch.stack([c, a + b, c], -3)


def _shuffles(x):
    return F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2), F.channel_shuffle(x, 2)


def _products_of_matrices(x):
    a, b = x[:, 0], x[:, 1]
    return torch.baddbmm(x[:, 2], a, b, beta=0.5, alpha=2), torch.einsum("bchw,bcvw->bchv", x, x * 2)


def _attentions(x):
    attend = F.scaled_dot_product_attention
    mask = (torch.arange(5) < 3)[None]
    plain = attend(x, x * 2, x + 1), attend(x, x, x, scale=0.3), attend(x, x, x, is_causal=True)
    return *plain, attend(x, x, x, mask), attend(x, x, x, mask.float()), attend(x, x[:, :2], x[:, 2:], enable_gqa=True)


CASES = [
    Case("conv1d", nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), ((4, 9),)),
    Case(
        "conv2d",
        Net(
            _convolutions,
            a=nn.Conv2d(4, 6, (3, 1), stride=(1, 2), padding=(2, 0)),
            b=nn.Conv2d(6, 6, 3, groups=6, bias=False),
            c=nn.Conv2d(4, 6, 4, padding="same", dilation=(1, 2)),
            d=nn.Conv2d(6, 2, 2, padding="valid"),
        ),
    ),
    Case(
        "conv2d linear mean permute",
        Net(_computed_weights, w=nn.Parameter(torch.zeros(2, 4, 3, 3)), m=nn.Parameter(torch.zeros(5, 6))),
    ),
    Case("conv3d", nn.Conv3d(2, 3, 3, padding=(0, 1, 1)), ((2, 4, 4, 4),)),
    Case("linear", nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3, bias=False)), ((5,),)),
    Case("linear", Net(_linear_of_more_axes, a=nn.Linear(6, 6), b=nn.Linear(6, 3, bias=False))),
    Case("batch_norm", nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False))),
    Case("batch_norm", nn.BatchNorm1d(5), ((5,),)),
    Case("relu hardtanh relu6 leaky_relu elu", of(_activations)),
    Case("hardswish hardsigmoid mish silu softplus gelu", of(_smooth_activations)),
    Case("clamp clamp_min clamp_max", of(_clamps)),
    Case("sigmoid tanh abs neg exp", of(lambda x: torch.sigmoid(x) + torch.tanh(x) + x.abs() + (-x) + torch.exp(x))),
    Case("sqrt pow", of(lambda x: torch.sqrt(small(x)) + x**2 + small(x) ** torch.sigmoid(x))),
    Case("reciprocal log", of(lambda x: 1 / small(x) + small(x).log())),
    Case("prelu", nn.Sequential(nn.PReLU(4), nn.PReLU())),
    Case("prelu", nn.PReLU(5), ((5,),)),
    Case("add sub", of(_sums), (IMAGE, IMAGE)),
    Case("mul div maximum minimum", of(_products), (IMAGE, IMAGE)),
    Case("max_pool2d", of(_max_pools)),
    Case("max_pool2d", of(_rounded_up_max_pools), ((2, 6, 8),)),
    Case("max_pool2d", of(_rounded_up_max_pools), ((2, 5, 7),)),
    Case("avg_pool2d", of(_average_pools)),
    Case("avg_pool2d", of(_rounded_up_average_pools), ((2, 6, 8),)),
    Case("avg_pool2d", of(_rounded_up_average_pools), ((2, 5, 7),)),
    Case("adaptive_avg_pool2d adaptive_max_pool2d", of(_adaptive_pools)),
    Case("reshape flatten", of(lambda x: x.flatten(1).view(-1, 2, 72).reshape(x.size(0), 8, 18).flatten(0, 1))),
    Case("squeeze unsqueeze", of(lambda x: x.mean(1, keepdim=True).squeeze(1).unsqueeze(2).unsqueeze(-1).squeeze((2, 4)))),
    Case("squeeze", of(lambda x: x.mean(1, keepdim=True).squeeze()), batches=(None, 3)),
    Case("permute transpose", of(lambda x: x.permute(0, -1, 1, 2).transpose(1, -1).transpose(0, 2))),
    Case("pad constant_pad_nd", of(_pads)),
    Case("clone contiguous detach", of(lambda x: x.clone().permute(0, 2, 3, 1).contiguous().detach() + 1)),
    Case("dropout feature_dropout", nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5), nn.ReLU())),
    Case("alias", Net(lambda s, x: (s.a, x * s.a), **weights((4, 1, 1)))),
    Case("", of(lambda x: x * torch.tensor([1.0, 2, 3, 4])[:, None, None])),
    Case("conv_transpose1d", nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), ((4, 9),)),
    Case("conv_transpose2d", nn.ConvTranspose2d(4, 3, (2, 3), stride=2, padding=(0, 1), dilation=(1, 2), bias=False)),
    Case("conv_transpose3d", nn.ConvTranspose3d(2, 3, 2, stride=2), ((2, 3, 3, 3),)),
    Case("upsample_nearest2d upsample_bilinear2d upsample_bicubic2d", of(_resized)),
    Case("adaptive_avg_pool1d", of(lambda x: (F.adaptive_avg_pool1d(x, 1), F.adaptive_avg_pool1d(x, 3))), ((4, 9),)),
    Case("repeat", of(lambda x: x.repeat(1, 2, 1, 3))),
    Case("embedding", Net(lambda s, x: x + s.e(torch.arange(6)), e=nn.Embedding(9, 6))),
    Case(
        "layer_norm", Net(lambda s, x: s.a(x) + s.b(x), a=nn.LayerNorm(6), b=nn.LayerNorm((6, 6), elementwise_affine=False))
    ),
    Case(
        "rms_norm", Net(lambda s, x: s.a(x) + s.b(x), a=nn.RMSNorm(6), b=nn.RMSNorm((6, 6), 0.1, elementwise_affine=False))
    ),
    Case("group_norm", Net(lambda s, x: s.a(x) + s.b(x), a=nn.GroupNorm(2, 4), b=nn.GroupNorm(4, 4, affine=False))),
    Case("instance_norm", nn.Sequential(nn.InstanceNorm2d(4), nn.InstanceNorm2d(4, affine=True))),
    Case("var linalg_vector_norm", of(_spreads)),
    Case("rsqrt square erf", of(lambda x: (x.square() + 1).rsqrt() + torch.erf(x))),
    Case("glu", of(lambda x: F.glu(x, 1) + F.glu(x.transpose(1, 2), 2).transpose(1, 2))),
    Case("gt ge lt le eq where masked_fill", of(_choices)),
    Case("max min", of(lambda x: x.max(1)[0] + x.min(1, keepdim=True)[0][:, 0] + torch.max(x, -x).min() + x.max())),
    Case("expand", Net(lambda s, x: torch.cat([s.a.expand(x.shape[0], -1, -1), x.mean(1)], 1), **weights((1, 2, 6)))),
    Case("to arange", of(lambda x: x * (torch.arange(x.shape[0])[:, None, None, None].to(torch.float32) + 1).to(x))),
    Case("stack unbind", of(_unbound)),
    Case("index roll", of(lambda x: x[:, torch.tensor([3, 0, 1])] + x.roll((1, -2), (2, 3))[:, 1:])),
    Case("pixel_shuffle pixel_unshuffle channel_shuffle", of(_shuffles), ((4, 6, 4),)),
    Case("addmm", Net(lambda s, x: torch.addmm(s.a, x, s.b, beta=2, alpha=0.5), **weights((4,), (5, 4))), ((5,),)),
    Case("baddbmm einsum", of(_products_of_matrices)),
    Case("scaled_dot_product_attention", of(_attentions), ((4, 5, 6),)),
    Case("matmul mm bmm", Net(_matrices, w=nn.Parameter(torch.zeros(6, 6)))),
    Case("mean sum amax amin", of(_reductions)),
    Case("softmax log_softmax", of(lambda x: F.softmax(x, 1) + F.log_softmax(x, -1))),
    Case("cat split_with_sizes", Net(_joins, **weights((1,), (3,)))),
    Case("slice select", of(_slices)),
    Case("slice expand", of(_expansions)),
    Case("slice", awkward.SIAMESE.module, awkward.SIAMESE.inputs, (1, 3)),
    Case("", of(lambda x: (x, x + 1, x))),
    *(
        Case("", case.module, case.inputs)
        for case in (awkward.OPTION_A, awkward.DENSE, awkward.SQUEEZE_EXCITE, awkward.PARAMETERS, awkward.IN_PLACE)
    ),
    *(Case("", case.module, case.inputs) for case in (awkward.TUPLE, awkward.LIST, awkward.SHARED)),
]
