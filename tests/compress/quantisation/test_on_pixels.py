"""Integer networks on images of 0..255: what they compute of each pixel, and what becomes of borders."""

import numpy as np
import pytest
import torch
from torch import nn

from silicut.compress.quantisation import BitPlan, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.compress.quantisation.on_pixels import on_pixels
from silicut.graph import capture
from silicut.numerics import quantise, run_integer
from silicut.records import ConfigError
from silicut.training import Normalisation

IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
OTHERS = [
    IMAGENET,
    Normalisation(mean=(0.0,) * 3, std=(1 / 255,) * 3),
    Normalisation(mean=(0.9, 0.1, 0.47), std=(0.97, 0.31, 0.113)),
]


def lowered(normalisation, widths="8/8"):
    """A padded convolution of normalised noise as an integer network."""
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (8, 3, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    images = normalisation.images(pixels)
    network = quantisable(capture(nn.Conv2d(3, 4, 3, padding=1).eval(), images))
    sites, plan = find_sites(network), BitPlan.parse(widths)
    found = histograms(network, sites.limits, [images])
    return lower(sites, plan, activation_quantisations(sites, plan, found)), pixels, images


@pytest.mark.parametrize("normalisation", OTHERS)
@pytest.mark.parametrize("widths", ["8/8", "4/3"])
def test_every_pixel_is_what_its_normalised_number_is(normalisation, widths):
    quantised = lowered(normalisation, widths)[0]
    network = on_pixels(quantised, normalisation)
    (name,), (former,) = network.network.inputs, quantised.network.inputs
    pixels = np.tile(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), (1, 3, 1, 1))
    wanted = quantise(normalisation.images(torch.from_numpy(pixels)).numpy(), quantised.inputs[0])
    found = run_integer(network.network, {name: pixels})[former]
    difference = np.abs(found.astype(int) - wanted)
    assert difference.max() <= 1
    assert (difference > 0).sum() <= 4  # of 768: those next to a half


@pytest.mark.parametrize("normalisation", OTHERS)
def test_the_rest_of_the_network_is_as_before_borders_included(normalisation):
    quantised, pixels, images = lowered(normalisation)
    network = on_pixels(quantised, normalisation)
    (name,), (former,), (output,) = network.network.inputs, quantised.network.inputs, quantised.network.outputs
    assert name == f"{former}.pixels"
    values = run_integer(network.network, {name: pixels.numpy()})
    again = run_integer(quantised.network, {former: values[former]})
    np.testing.assert_array_equal(values[output], again[output])
    assert (values[former] != quantise(images.numpy(), quantised.inputs[0])).mean() < 0.01
    assert network.origins == quantised.origins


def test_what_does_not_fit_is_said():
    quantised = lowered(IMAGENET)[0]
    with pytest.raises(ConfigError, match="a normalisation must have 3 channels as the network's images, not 1"):
        on_pixels(quantised, Normalisation(mean=(0.5,), std=(0.5,)))
    flat = quantisable(capture(nn.Linear(3, 4).eval(), torch.ones(2, 3)))
    sites, plan = find_sites(flat), BitPlan.parse("8/8")
    found = histograms(flat, sites.limits, [torch.ones(2, 3)])
    with pytest.raises(ConfigError, match=r"the network must have images \(n, channels, height, width\) for its one input"):
        on_pixels(lower(sites, plan, activation_quantisations(sites, plan, found)), IMAGENET)
