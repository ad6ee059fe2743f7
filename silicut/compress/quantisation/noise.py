"""How much of a signal the integers lose: per tensor, against the float network on the same images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from silicut.compress.quantisation.calibration import tensor_values
from silicut.compress.quantisation.sites import Sites
from silicut.numerics import QuantisedModule, QuantisedNetwork


def signal_to_noise_db(sites: Sites, quantised: QuantisedNetwork, images: Tensor) -> dict[str, float]:
    """Return the signal-to-quantisation-noise ratio of every rounded tensor and layer in dB, by its float name.

    10 log10(sum x^2 / sum (x - q)^2) over all images, where q has passed through all integers before it; infinite where
    nothing is lost.

    Args:
        sites: where the float network is rounded.
        quantised: its integer network.
        images: of the network's one input.
    """
    module = QuantisedModule(quantised)
    integers = module.tensors(images)
    names = [name for name in dict.fromkeys((*sites.limits, *sites.ends.values())) if name in integers]
    (floats,) = tensor_values(sites.network, names, [images])
    return {name: _ratio_db(values.double(), integers[name].double()) for name, values in floats.items()}


def _ratio_db(exact: Tensor, found: Tensor) -> float:
    signal, noise = float(torch.sum(exact**2)), float(torch.sum((exact - found) ** 2))
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal else -math.inf
