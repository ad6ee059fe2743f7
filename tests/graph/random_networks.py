"""Random networks of the operators that move channels about, for proofs that nobody thought of."""

import random

import torch
import torch.nn.functional as F
from torch import nn

MOVES = {}


def move(function):
    """Register a way to make a new value: it returns the forward of one step, or None where it does not fit."""
    MOVES[function.__name__] = function
    return function


class RandomNetwork(nn.Module):
    """Some random steps from a convolution on, each on an earlier value; all loose ends meet in a linear layer."""

    def __init__(self, seed, n_steps=14):
        super().__init__()
        self.random = random.Random(seed)
        self.parts, self.scales = nn.ModuleList(), nn.ParameterList()
        self.steps, self.moves, self.read = [], set(), set()
        self.values = [torch.zeros(1, 8, 8, 8)]
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        for _ in range(n_steps):
            self._add(self.random.choice(sorted(MOVES)))
        self.ends = [i for i in range(len(self.values)) if i not in self.read]
        self.flattens = self.random.random() < 0.3
        self.out = nn.Linear(sum(self._end(self.values[i]).shape[1] for i in self.ends), 3)

    def _add(self, name):
        source = self.random.randrange(len(self.values)) if self.random.random() < 0.4 else len(self.values) - 1
        step = MOVES[name](self, source)
        if step is not None:
            self.read.add(source)
            self.steps.append(step)
            self.moves.add(name)
            self.values.extend(step(self.values))

    def part(self, module):
        """Keep a layer and return how to call it."""
        self.parts.append(module)
        return self.parts[-1]

    def scale(self, *shape):
        self.scales.append(nn.Parameter(torch.zeros(shape)))
        n = len(self.scales) - 1
        return lambda: self.scales[n]

    def another(self, fits):
        """Return the number of a value that fits; there is always one."""
        chosen = self.random.choice([i for i, value in enumerate(self.values) if fits(value)])
        self.read.add(chosen)
        return chosen

    def _end(self, value):
        return value.flatten(1) if self.flattens else value.mean((2, 3))

    def forward(self, x):
        values = [self.stem(x)]
        for step in self.steps:
            values.extend(step(values))
        return self.out(torch.cat([self._end(values[i]) for i in self.ends], 1))


def _unary(function, source):
    return lambda values: [function(values[source])]


@move
def convolve(net, source):
    n_in, n_out = net.values[source].shape[1], net.random.choice([1, 2, 4, 6, 8])
    return _unary(net.part(nn.Conv2d(n_in, n_out, 3, padding=1, bias=net.random.random() < 0.5)), source)


@move
def convolve_in_groups(net, source):
    n_in = net.values[source].shape[1]
    n_groups = net.random.choice([n for n in (1, 2, 3, 4, n_in) if n_in % n == 0])
    return _unary(net.part(nn.Conv2d(n_in, n_groups * net.random.choice([1, 2, 3]), 1, groups=n_groups)), source)


@move
def convolve_again(net, source):
    known = [p for p in net.parts if isinstance(p, nn.Conv2d) and p.in_channels == net.values[source].shape[1]]
    return _unary(net.random.choice(known), source) if known else None


@move
def normalise(net, source):
    return _unary(net.part(net.random.choice([nn.BatchNorm2d, nn.PReLU])(net.values[source].shape[1])), source)


@move
def rectify(net, source):
    return _unary(net.random.choice([F.relu, F.silu, lambda x: x - x.mean((2, 3), keepdim=True)]), source)


@move
def combine(net, source):
    shape = net.values[source].shape
    other = net.another(lambda v: v.shape == shape or (v.shape[2:] == shape[2:] and v.shape[1] == 1))
    combined = net.random.choice([torch.add, torch.mul])
    return lambda values: [combined(values[source], values[other])]


@move
def concatenate(net, source):
    shape = net.values[source].shape
    others = [net.another(lambda v: v.shape[2:] == shape[2:]) for _ in range(net.random.choice([1, 2]))]
    if sum(net.values[i].shape[1] for i in (source, *others)) > 40:
        return None
    return lambda values: [torch.cat([values[i] for i in (source, *others)], 1)]


@move
def split(net, source):
    n = net.values[source].shape[1]
    first = net.random.randrange(1, n) if n > 1 else 0
    return (lambda values: values[source].split([first, n - first], 1)) if first else None


@move
def halve(net, source):
    return (lambda values: values[source].chunk(2, 1)) if net.values[source].shape[1] % 2 == 0 else None


@move
def cut(net, source):
    start = net.random.randrange(net.values[source].shape[1])
    end = net.random.randrange(start, net.values[source].shape[1]) + 1
    return _unary(lambda x: x[:, start:end], source)


@move
def pad(net, source):
    before, after, step = net.random.randrange(3), net.random.randrange(3), net.random.choice([1, 2])
    return _unary(lambda x: F.pad(x[:, :, ::step, ::step], (0, 0, 0, 0, before, after), value=0.3), source)


@move
def resize(net, source):
    size = net.values[source].shape[2]
    if size <= 2:
        return _unary(lambda x: F.interpolate(x, scale_factor=2), source)
    return _unary(lambda x: F.max_pool2d(x, 2), source)


@move
def shuffle(net, source):
    n = net.random.choice([n for n in (1, 2, 3, 4) if net.values[source].shape[1] % n == 0])
    return _unary(lambda x: x.unflatten(1, (n, -1)).transpose(1, 2).flatten(1, 2), source)


@move
def mix_last(net, source):
    linear = net.part(nn.Linear(net.values[source].shape[1], net.random.choice([2, 4, 6])))
    return _unary(lambda x: linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), source)


@move
def rescale(net, source):
    shape = net.values[source].shape[1:]
    scale = net.scale(*(shape if net.random.random() < 0.5 else (shape[0], 1, 1)))
    return _unary(lambda x: x * scale() + scale(), source)


@move
def attend(net, source):
    conv = net.part(nn.Conv2d(net.values[source].shape[1], 1, 1))
    return _unary(lambda x: x * conv(x).expand_as(x) if x.shape[1] % 2 else x * conv(x), source)


@move
def excite(net, source):
    n = net.values[source].shape[1]
    down, up = net.part(nn.Linear(n, max(n // 2, 1))), net.part(nn.Linear(max(n // 2, 1), n))
    return _unary(lambda x: x * up(down(x.mean((2, 3))).relu()).sigmoid()[:, :, None, None], source)


@move
def fold_pixels(net, source):
    n, size = net.values[source].shape[1:3]
    return _unary(lambda x: F.pixel_unshuffle(x, 2), source) if size % 2 == 0 and n <= 4 else None


@move
def stop(net, source):
    """Do what no rule follows, now and then."""
    if net.random.random() < 0.6:
        return None
    kinds = [lambda x: x.cumsum(1), lambda x: x.softmax(1), lambda x: x.flip(1), lambda x: x[:, ::2]]
    return _unary(net.random.choice(kinds), source)


@move
def normalise_over_channels(net, source):
    n = net.values[source].shape[1]
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    groups = nn.GroupNorm(net.random.choice(divisors), n)
    kind = net.random.choice(["group", "layer", "rms", "instance", "by hand"])
    if kind in ("group", "instance"):
        return _unary(net.part(groups if kind == "group" else nn.InstanceNorm2d(n, affine=True)), source)
    if kind == "by hand":
        return _unary(lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 0.1).sqrt(), source)
    norm = net.part(nn.LayerNorm(n) if kind == "layer" else nn.RMSNorm(n, 0.1))
    return _unary(lambda x: norm(x.movedim(1, -1)).movedim(-1, 1), source)


@move
def attend_in_heads(net, source):
    n, height, width = net.values[source].shape[1:]
    n_heads, size = net.random.choice([1, 2, 3]), net.random.choice([1, 2])
    qkv, out = net.part(nn.Linear(n, 3 * n_heads * size)), net.part(nn.Linear(n_heads * size, n))
    is_fused, is_split_first = net.random.random() < 0.5, net.random.random() < 0.5

    def forward(x):
        y = qkv(x.flatten(2).transpose(1, 2))
        if is_split_first:
            q, k, v = (part.unflatten(-1, (n_heads, size)).transpose(1, 2) for part in y.chunk(3, -1))
        else:
            q, k, v = y.unflatten(-1, (3, n_heads, size)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v) if is_fused else (q @ k.mT).softmax(-1) @ v
        return x + out(y.transpose(1, 2).flatten(2)).transpose(1, 2).unflatten(2, (height, width))

    return _unary(forward, source)


@move
def convolve_back(net, source):
    n = net.values[source].shape[1]
    n_groups = net.random.choice([d for d in (1, 2, n) if n % d == 0])
    layer = nn.ConvTranspose2d(n, n_groups * net.random.choice([1, 2]), 3, padding=1, groups=n_groups)
    return _unary(net.part(layer), source)


@move
def unfold_pixels(net, source):
    n, size = net.values[source].shape[1:3]
    return _unary(lambda x: F.pixel_shuffle(x, 2), source) if n % 4 == 0 and size <= 8 else None


@move
def gate_halves(net, source):
    return _unary(lambda x: F.glu(x, 1), source) if net.values[source].shape[1] % 2 == 0 else None


@move
def stack_and_part(net, source):
    shape = net.values[source].shape
    other = net.another(lambda v: v.shape == shape)
    return lambda values: list(torch.stack([values[source], values[other]], 2).unbind(2))


@move
def look_over_channels(net, source):
    kind = net.random.choice(
        [lambda x: x.max(1, keepdim=True)[0], lambda x: x.sum(1, keepdim=True), lambda x: F.normalize(x, dim=1)]
    )
    return _unary(kind, source)
