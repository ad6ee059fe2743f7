"""Multiply-accumulates of a network: what others report, beside what we measure."""

from __future__ import annotations

import math

from silicut.graph.network import Network


def n_macs(network: Network) -> int:
    """Return the multiply-accumulates of all convolutions and linear layers for one input.

    n_macs = elements of the output times the weights that make one of them.
    """
    shapes = [network.tensors[name].shape for name in network.inputs]
    n_images = next((abs(shape[0]) for shape in shapes if shape), 1)  # as captured, where the batch is not free
    total = 0
    for operator in network.operators:
        if operator.kind in ("conv1d", "conv2d", "conv3d", "linear"):
            weight = network.parameters.get(operator.arguments["weight"].name)
            if weight is not None:
                n_outputs = math.prod(network.tensors[operator.outputs[0]].sizes(1))
                total += n_outputs * math.prod(weight.shape[1:])
    return total // n_images
