"""Random small networks of all that has an integer form, and their integer networks at random widths."""

import functools
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from silicut.compress.quantisation import BitPlan, LayerBits, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.graph import capture

CLAMPS = (functional.relu, functional.relu6, functional.hardtanh, lambda x: x)
FUNCTIONS = (functional.silu, functional.hardswish, torch.sigmoid, functional.gelu, torch.tanh, functional.leaky_relu)
STEPS = {}


def step(function):
    """Register a way to make a new map: it returns what maps all earlier ones to it, or None where it does not fit."""
    STEPS[function.__name__] = function
    return function


class SmallCnn(nn.Module):
    """A stem, some random steps each on an earlier map, and a linear layer on all loose ends."""

    def __init__(self, seed, n_steps=7):
        super().__init__()
        torch.manual_seed(seed)
        self.random = random.Random(seed)
        self.parts, self.steps, self.read, self.taken = nn.ModuleList(), [], set(), set()
        self.others = set()
        self.stem = self.part(nn.Conv2d(3, 4, 3, padding=1))
        self.maps = [torch.zeros(1, 4, 8, 8)]
        for _ in range(n_steps):
            self._add(self.random.choice(sorted(STEPS)))
        self.ends = [i for i in range(len(self.maps)) if i not in self.read]
        self.head = nn.Linear(sum(self.maps[i].shape[1] for i in self.ends), 3)
        self.eval()

    def _add(self, name):
        self.others = set()
        source = self.random.randrange(len(self.maps)) if self.random.random() < 0.4 else len(self.maps) - 1
        made = STEPS[name](self, source)
        if made is not None:
            self.read |= {source, *self.others}
            self.taken.add(name)
            self.steps.append(made)
            self.maps.append(made(self.maps).detach())

    def part(self, module):
        """Keep a layer, in evaluation mode."""
        self.parts.append(module.eval())
        return module

    def norm(self, n):
        """Return a batch norm with statistics as after training."""
        norm = self.part(nn.BatchNorm2d(n))
        for tensor, low, high in ((norm.running_mean, -0.5, 0.5), (norm.running_var, 0.3, 2), (norm.weight, -1.5, 1.5)):
            nn.init.uniform_(tensor, low, high)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
        return norm

    def another(self, fits):
        """Return the number of a map that fits; there is always one."""
        chosen = self.random.choice([i for i, values in enumerate(self.maps) if fits(values)])
        self.others.add(chosen)
        return chosen

    def forward(self, x):
        maps = [functional.relu(self.stem(x))]
        for make in self.steps:
            maps.append(make(maps))
        return self.head(torch.cat([maps[i].mean((2, 3)) for i in self.ends], 1))


def _layer(net, source, conv):
    net.part(conv)
    norm = net.norm(conv.out_channels) if net.random.random() < 0.5 else nn.Identity()
    clamp = net.random.choice(CLAMPS)
    return lambda maps: clamp(norm(conv(maps[source])))


@step
def convolve(net, source):
    n_in = net.maps[source].shape[1]
    groups = net.random.choice([n for n in (1, 1, 2) if n_in % n == 0])
    geometry = net.random.choice(
        [(1, 1, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 2, 2), ((1, 3), 1, "same", 1), (2, 1, 0, 1), (1, 2, 0, 1)]
    )
    n_out = groups * net.random.choice([1, 2, 3])
    return _layer(net, source, nn.Conv2d(n_in, n_out, *geometry, groups, bias=net.random.random() < 0.5))


@step
def convolve_again(net, source):
    return convolve(net, source)


@step
def convolve_each_channel(net, source):
    n = net.maps[source].shape[1]
    return _layer(net, source, nn.Conv2d(n, n * net.random.choice([1, 2]), 3, padding=1, groups=n)) if n <= 8 else None


@step
def normalise(net, source):
    norm, clamp = net.norm(net.maps[source].shape[1]), net.random.choice(CLAMPS)
    return lambda maps: clamp(norm(maps[source]))


@step
def clamp(net, source):
    clamp = net.random.choice(CLAMPS[:3])
    return lambda maps: clamp(maps[source])


@step
def look_up(net, source):
    function = net.random.choice(FUNCTIONS)
    return lambda maps: function(maps[source])


def _pairwise(net, source, combine):
    shape = net.maps[source].shape
    other, clamp = net.another(lambda values: values.shape == shape), net.random.choice(CLAMPS)
    return lambda maps: clamp(combine(maps[source], maps[other]))


@step
def add(net, source):
    return _pairwise(net, source, torch.add)


@step
def add_branch(net, source):
    n = net.maps[source].shape[1]
    conv, clamp = net.part(nn.Conv2d(n, n, 3, padding=1)), net.random.choice(CLAMPS)
    return lambda maps: clamp(maps[source] + conv(maps[source]))


@step
def multiply(net, source):
    return _pairwise(net, source, torch.mul)


@step
def concatenate(net, source):
    size = net.maps[source].shape[2:]
    others = [net.another(lambda values: values.shape[2:] == size) for _ in range(net.random.choice([1, 2]))]
    if sum(net.maps[i].shape[1] for i in (source, *others)) > 20:
        return None
    return lambda maps: torch.cat([maps[i] for i in (source, *others)], 1)


@step
def pool_maximum(net, source):
    size, kernel = net.maps[source].shape[2], net.random.choice([2, 3])
    padding, is_ceiled = net.random.choice([0, 1]), net.random.random() < 0.5
    return (lambda maps: functional.max_pool2d(maps[source], kernel, 2, padding, 1, is_ceiled)) if size >= 4 else None


@step
def pool_average(net, source):
    size, padding = net.maps[source].shape[2], net.random.choice([0, 1])
    if size % 2 or size < 4:
        return lambda maps: functional.avg_pool2d(maps[source], 3, 1, 1)
    halve = net.random.choice(
        [lambda x: functional.avg_pool2d(x, 2, 2, padding), lambda x: functional.adaptive_avg_pool2d(x, size // 2)]
    )
    return lambda maps: halve(maps[source])


@step
def shift_channels(net, source):
    n, size = net.maps[source].shape[1:3]
    stride, before, after = net.random.choice([1, 2]) if size >= 4 else 1, net.random.randrange(3), net.random.randrange(2)
    start = net.random.randrange(n)
    return lambda maps: functional.pad(maps[source][:, start:, ::stride, ::stride], (0, 0, 0, 0, before, after))


@step
def excite(net, source):
    n = net.maps[source].shape[1]
    down, up = net.part(nn.Linear(n, 2)), net.part(nn.Linear(2, n))
    return lambda maps: maps[source] * up(down(maps[source].mean((2, 3))).relu()).sigmoid()[:, :, None, None]


@step
def shuffle(net, source):
    n = net.random.choice([n for n in (1, 2, 3) if net.maps[source].shape[1] % n == 0])
    return lambda maps: maps[source].unflatten(1, (n, -1)).transpose(1, 2).flatten(1, 2)


@step
def part_and_swap(net, source):
    n = net.maps[source].shape[1]
    if n < 2:
        return None
    first = net.random.randrange(1, n)
    return lambda maps: torch.cat(maps[source].split([first, n - first], 1)[::-1], 1)


def random_plan(sites, seed):
    """Return random widths of everything, 2..8 bits."""
    rng = random.Random(seed)
    bits = {layer: LayerBits(rng.randint(2, 8), rng.randint(2, 8)) for layer in sites.layers}
    return BitPlan(default=LayerBits(8, 8), layers=bits, inner_bits=rng.randint(2, 8), output_bits=rng.randint(2, 8))


def random_images(seed, n=4):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


@functools.cache
def random_sites(seed):
    """Return a random network, and where it is rounded."""
    module = SmallCnn(seed)
    return module, find_sites(quantisable(capture(module, random_images(seed)[:1])))


def random_quantised(seed, plan_of=random_plan):
    """Return a random network's sites, plan and integer network, and the module it came from."""
    module, sites = random_sites(seed)
    plan = plan_of(sites, seed)
    found = histograms(sites.network, sites.limits, [random_images(seed)], n_bins=64)
    return module, sites, plan, lower(sites, plan, activation_quantisations(sites, plan, found))


def signal_to_noise_db(expected, found):
    """Return the signal-to-noise ratio of an approximation in dB."""
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    return 10 * np.log10((expected**2).sum() / max(((expected - found) ** 2).sum(), 1e-30))
