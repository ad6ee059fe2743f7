"""Integer networks that take images of 0..255 as they are: what normalised them becomes the first integer layer.

It is a depthwise convolution of size 1, so it is exact behind a border of zeros too: the convolution after it pads with the
integer that stands for a normalised 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from silicut.compress.quantisation.affine import affine_layer
from silicut.graph import Network, Tensor
from silicut.numerics import ACCUMULATOR, IntegerFormat, Quantisation, QuantisedNetwork, Requantise, to_network_operator
from silicut.records import ConfigError
from silicut.training import Normalisation

PIXEL = Quantisation.per_tensor(IntegerFormat(8, is_signed=False), 1.0)
"""What the integers of an image stand for: themselves."""
LAYER = "normalise"


def on_pixels(quantised: QuantisedNetwork, normalisation: Normalisation) -> QuantisedNetwork:
    """Return an integer network whose input "<input>.pixels" is the image, uint8, and that computes its former input.

    The former input is what `normalisation` gives, rounded as before, but for the error of an integer factor: a number that
    lies almost at a half may come out one step away.

    Args:
        quantised: a network of one input (n, channels, height, width).
        normalisation: what its images were normalised by.

    Raises:
        ConfigError: the network has several inputs, no images, or another number of channels.
    """
    check_takes_pixels(quantised.network, normalisation)
    (name,), (made,), network = quantised.network.inputs, quantised.inputs, quantised.network
    pixels, sums = f"{name}.pixels", f"{name}.accumulators"
    std = np.array(normalisation.std)
    layer, scales = affine_layer(1 / (255 * std), -np.array(normalisation.mean) / std, PIXEL, made)
    step = Requantise.by(
        scales / made.scales[0],
        input_format=ACCUMULATOR,
        output_format=made.format,
        output_zero_point=made.zero_points[0],
    )
    normalise, weights = to_network_operator(layer, LAYER, [pixels], sums)
    requantise, factors = to_network_operator(step, f"{name}.requantise", [sums], name)
    shape = network.tensors[name].shape
    tensors = {pixels: Tensor(shape, PIXEL.format.name), sums: Tensor(shape, ACCUMULATOR.name)}
    network = replace(
        network,
        inputs=(pixels,),
        tensors={**tensors, **network.tensors},
        operators=(normalise, requantise, *network.operators),
        parameters={**weights, **factors, **network.parameters},
    )
    known = {pixels: PIXEL, sums: Quantisation.per_channel(ACCUMULATOR, scales, axis=1), **quantised.quantisations}
    return QuantisedNetwork(network, known, quantised.origins)


def check_takes_pixels(network: Network, normalisation: Normalisation) -> None:
    """Check that a network, in float or in integers, has images that a normalisation fits for its one input.

    Raises:
        ConfigError: it has not.
    """
    first, *others = (network.tensors[name].shape for name in network.inputs)
    if others or len(first) != 4:
        raise ConfigError("the network must have images (n, channels, height, width) for its one input to take pixels")
    if len(normalisation.mean) != first[1]:
        raise ConfigError(
            f"a normalisation must have {first[1]} channels as the network's images, not {len(normalisation.mean)}"
        )
