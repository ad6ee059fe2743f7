"""What the tests of this room share: random weights, random kept channels, and the comparison with the user's module."""

import numpy as np
import torch
from torch import nn

from silicut.graph import prove_group


def randomised(module, seed=0):
    """Give every parameter and statistic a random value, so that equal or zero values cannot hide an error."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in {**dict(module.named_parameters()), **dict(module.named_buffers())}.items():
            if value.is_floating_point():
                drawn = torch.rand(value.shape, generator=generator, dtype=torch.float64)
                is_scale = "var" in name or value.dim() < 2
                n_read = max(value[0].numel(), 1) if value.dim() > 1 else 1
                value.copy_(drawn + 0.5 if is_scale else (drawn * 2 - 0.9) * (1 / n_read) ** 0.5)
    return module.eval()


def random_inputs(network, batch=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(network.tensors[n].sizes(batch), generator=generator) for n in network.inputs)


def random_kept(groups, generator):
    """Some channels of each group in order, at least one; one group in four keeps a single channel."""
    kept = {}
    for group in groups:
        n = 1 if generator.random() < 0.25 else int(generator.integers(1, group.n_channels + 1))
        kept[group.name] = np.sort(generator.choice(group.n_channels, n, replace=False))
    return kept


def assert_proved(network, channels, seed=0, n_single=None, n_all=3, batch=3):
    """Prove groups one by one (all, or some drawn by chance), and all groups at once for several kept sets."""
    generator = np.random.default_rng(seed)
    inputs = random_inputs(network, batch)
    singles = list(channels.groups)
    if n_single is not None and n_single < len(singles):
        singles = [singles[i] for i in generator.choice(len(singles), n_single, replace=False)]
    sets = [random_kept([group], generator) for group in singles]
    sets += [random_kept(channels.groups, generator) for _ in range(n_all)]
    for kept in sets:
        error = prove_group(network, channels, kept, inputs)
        assert error <= 1e-9, f"groups {list(kept)} are wrong: {error}"


def outputs_of(result):
    if isinstance(result, torch.Tensor):
        return [result]
    return list(result.values() if isinstance(result, dict) else result)


def assert_same_outputs(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
    for a, b in zip(outputs_of(one), outputs_of(other), strict=True):
        assert a.shape == b.shape
        assert torch.equal(a, b)


class Net(nn.Module):
    """A network in one line: named parts, and a function of the module and its inputs."""

    def __init__(self, body, **parts):
        super().__init__()
        self._body = body
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self._body(self, *inputs)
