"""Post-training quantisation from end to end, on small networks."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_cnns import SmallCnn, random_images, signal_to_noise_db

from silicut.compress.quantisation import BitPlan, LayerBits, quantisable
from silicut.compress.quantisation.post_training import Methods, quantise_after_training
from silicut.compress.quantisation.ranges import RANGES, WEIGHT_SCALES
from silicut.graph import capture, to_module
from silicut.numerics import dequantise, quantise, run_integer
from silicut.records import ConfigError


def signal_to_noise(seed, plan, methods):
    """Return the signal-to-noise ratio of a random network's integers on images that were not calibrated on."""
    network = quantisable(capture(SmallCnn(seed), random_images(seed, 1)))
    images = [random_images(100 + seed + i, 32) for i in range(2)]
    quantised = quantise_after_training(network, plan, images, methods).quantised
    fresh = random_images(200 + seed, 64)
    with torch.no_grad():
        exact = to_module(network)(fresh).numpy()
    integers = run_integer(quantised.network, {"x": quantise(fresh.numpy(), quantised.inputs[0])})
    return signal_to_noise_db(exact, dequantise(integers[quantised.network.outputs[0]], quantised.outputs[0]))


@pytest.mark.parametrize(("ranges", "scales"), list(itertools.product(RANGES, WEIGHT_SCALES)))
def test_all_ranges_and_scales_work_at_8_bits(ranges, scales):
    least = 20 if ranges in ("min-max", "mse") else 10  # of values without tails the other two cut too much
    methods = Methods(ranges=ranges, scales=scales, equalises=True)
    assert signal_to_noise(3, BitPlan(default=LayerBits(8, 8)), methods) > least


def test_on_average_each_step_helps_at_3_bits():
    plan = BitPlan(default=LayerBits(3, 8))
    plain = Methods(ranges="min-max", scales="max")
    steps = (plain, replace(plain, corrects_biases=True), replace(plain, rounding="adaptive"))
    means = [np.mean([signal_to_noise(seed, plan, methods) for seed in (0, 2)]) for methods in steps]
    assert means == sorted(means)
    assert means[-1] > means[0] + 3


def test_unknown_names_are_refused_together():
    with pytest.raises(ConfigError) as caught:
        Methods(ranges="minmax", scales="mean", rounding="up")
    assert caught.value.problems == (
        "ranges must be one of min-max, percentile, mse, kl, not 'minmax'",
        "scales must be one of max, mse, not 'mean'",
        "rounding must be one of nearest, adaptive, not 'up'",
    )
