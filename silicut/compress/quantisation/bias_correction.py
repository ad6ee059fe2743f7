"""Bias correction: what quantisation shifts the mean of a channel by is taken from its bias.

Rounding errors of a filter's weights do not cancel where its inputs have a mean other than 0, as they have after ReLU
(Nagel et al. 2019, arXiv 1906.04721, section 4.2, the empirical form).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from silicut.compress.quantisation.bits import BitPlan
from silicut.compress.quantisation.calibration import Images
from silicut.compress.quantisation.moments import mean_outputs
from silicut.compress.quantisation.simulated import simulated
from silicut.compress.quantisation.sites import Site, Sites
from silicut.compress.quantisation.walk import Change, LayerInput, layer_by_layer, with_biases, with_changed_biases
from silicut.compress.quantisation.weights import IntegerWeights
from silicut.numerics import Quantisation


def corrected_biases(
    sites: Sites,
    plan: BitPlan,
    activations: Mapping[Site, Quantisation],
    weights: Mapping[str, IntegerWeights],
    images: Images,
) -> Sites:
    """Return the float network with biases for which every layer's channels have the means of the float network.

    Layers are corrected in order of execution, each on what the quantised and corrected layers before it give, so a layer
    also takes back what saturation and rounding of activations shifted.

    Args:
        sites: where the float network is rounded.
        plan: the widths.
        activations: the quantisation of each site of the plan.
        weights: by the layer's name; layers without an entry keep their float ones.
        images: calibration batches; all are in memory at once.
    """
    sites = replace(sites, network=with_biases(sites.network))
    changes: dict[str, Change] = {}
    quantised = simulated(sites, plan, activations, {})
    for read in layer_by_layer(sites.network, quantised, images, changes):
        weight = weights[read.layer.name].floats if read.layer.name in weights else read.weight
        changes[read.layer.name] = corrected(read, weight)
    return replace(sites, network=with_changed_biases(sites.network, changes))


def corrected(read: LayerInput, weight: np.ndarray) -> Change:
    """Return a layer's new weight with the bias for which its channels have the means of the float network."""
    before, after = mean_outputs(read.layer, read.weight, read.exact), mean_outputs(read.layer, weight, read.quantised)
    return Change(weight, (read.bias + (before - after)).astype(read.bias.dtype))
