"""Multiply-accumulates of a network: what others report, beside what we measure."""

from __future__ import annotations

import math

from silicut.graph.network import Network

_LAYERS = ("linear", *(f"conv{transposed}{n}d" for transposed in ("", "_transpose") for n in (1, 2, 3)))


def n_macs(network: Network) -> int:
    """Return the multiply-accumulates of all convolutions and linear layers for one input.

    n_macs = elements of the output times the weights that make one of them; of a transposed convolution, elements of the
    input times the weights that read one of them.
    """
    return sum(macs_by_operator(network).values())


def macs_by_operator(network: Network) -> dict[str, int]:
    """Return the multiply-accumulates of each convolution and linear layer for one input, by operator name."""
    shapes = [network.tensors[name].shape for name in network.inputs]
    n_images = next((abs(shape[0]) for shape in shapes if shape), 1)  # as captured, where the batch is not free
    macs = {}
    for operator in network.operators:
        if operator.kind in _LAYERS:
            weight = network.parameters.get(operator.arguments["weight"].name)
            if weight is not None:
                counted = operator.arguments["input"].name if "transpose" in operator.kind else operator.outputs[0]
                n_counted = math.prod(network.tensors[counted].sizes(1))
                macs[operator.name] = n_counted * math.prod(weight.shape[1:]) // n_images
    return macs
