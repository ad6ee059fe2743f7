"""A residual network of two groups, small enough to score by hand."""

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from silicut.graph import Network, capture, find_blocks, find_channels


class Residual(nn.Module):
    """stem -> relu -> + conv2(relu(conv1)) -> relu -> mean -> head, in 1x1 convolutions.

    Groups: "stem" (stream, made by stem and conv2) and "block.0" (inner); one block, "block".
    """

    def __init__(self, n_stream: int = 4, n_inner: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, n_stream, 1)
        self.block = nn.Sequential(nn.Conv2d(n_stream, n_inner, 1), nn.ReLU(), nn.Conv2d(n_inner, n_stream, 1))
        self.head = nn.Linear(n_stream, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.block(x))
        return self.head(x.mean((2, 3)))


@cache
def module() -> Residual:
    """Return the module with fixed random weights; do not change it."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Residual().eval()


@cache
def captured() -> Network:
    """Return the captured module."""
    return capture(module(), torch.zeros(1, 2, 4, 4))


def with_energies(**energies: list[float]) -> Network:
    """Return the network with the given squared norms of the filters of some layers ("stem", "block_0", "block_2")."""
    network = captured()
    parameters = dict(network.parameters)
    for name, values in energies.items():
        key = f"{name.replace('_', '.')}.weight"
        weight = np.zeros_like(parameters[key])
        weight[:, 0, 0, 0] = np.sqrt(values)
        parameters[key] = weight
    return network.with_parameters(parameters)


def parts(network: Network):
    """Return a network with its channels and blocks, as scores take them."""
    channels = find_channels(network)
    return network, channels, find_blocks(network, channels)
