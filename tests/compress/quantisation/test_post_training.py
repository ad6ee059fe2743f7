"""Post-training quantisation from end to end: every combination of options, on small networks."""

import itertools

import numpy as np
import pytest
import torch
from small_cnns import SmallCnn, random_images, signal_to_noise_db

from silicut.compress.quantisation import BitPlan, LayerBits, find_sites, quantisable
from silicut.compress.quantisation.adaptive_rounding import RoundingOptions
from silicut.compress.quantisation.post_training import ROUNDINGS, PostTraining, quantise_trained
from silicut.compress.quantisation.ranges import RANGES, WEIGHT_SCALES
from silicut.graph import capture, to_module
from silicut.numerics import dequantise, quantise, run_integer
from silicut.records import ConfigError

QUICK, STEADY = RoundingOptions(n_iterations=10), RoundingOptions(n_iterations=150)


def signal_to_noise(seed, plan, options):
    """Return the signal-to-noise ratio of a random network's integers on images that were not calibrated on."""
    sites = find_sites(quantisable(capture(SmallCnn(seed), random_images(seed, 1))))
    quantised = quantise_trained(sites, plan, [random_images(100 + seed, 64)], options)
    fresh = random_images(200 + seed, 64)
    with torch.no_grad():
        exact = to_module(sites.network)(fresh).numpy()
    integers = run_integer(quantised.network, {"x": quantise(fresh.numpy(), quantised.inputs[0])})
    return signal_to_noise_db(exact, dequantise(integers[quantised.network.outputs[0]], quantised.outputs[0]))


@pytest.mark.parametrize(("ranges", "scales", "rounding"), list(itertools.product(RANGES, WEIGHT_SCALES, ROUNDINGS)))
def test_all_options_work_at_8_bits(ranges, scales, rounding):
    options = PostTraining(ranges=ranges, scales=scales, rounding=rounding, is_equalised=True, rounding_options=QUICK)
    least = 20 if ranges in ("min-max", "mse") else 10  # of values without tails the other two cut too much
    assert signal_to_noise(3, BitPlan(default=LayerBits(8, 8)), options) > least


def test_on_average_each_step_helps_at_3_bits():
    plan = BitPlan(default=LayerBits(3, 8))
    means = [
        np.mean([signal_to_noise(seed, plan, PostTraining(rounding=rounding)) for seed in range(4)])
        for rounding in ROUNDINGS
    ]
    assert means == sorted(means)
    assert means[-1] > means[0] + 3


def test_unknown_names_are_refused_together():
    with pytest.raises(ConfigError) as caught:
        PostTraining(ranges="minmax", scales="mean", rounding="Adaptive")
    assert caught.value.problems == (
        "ranges must be one of min-max, percentile, mse, kl, not 'minmax'; did you mean 'min-max'?",
        "scales must be one of max, mse, not 'mean'",
        "rounding must be one of nearest, corrected, adaptive, not 'Adaptive'; did you mean 'adaptive'?",
    )
