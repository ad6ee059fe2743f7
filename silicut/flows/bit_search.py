"""Bits for every layer of a network within a budget: sensitivity measured on calibration images, then the solver."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from silicut.compress.quantisation import BitPlan, LayerBits, Sites
from silicut.compress.quantisation.adaptive_rounding import RoundingOptions, each_rounded_alone
from silicut.compress.quantisation.bit_search import BitSearch, bit_operations, search_bits, weight_bits
from silicut.compress.quantisation.bits import MAX_BITS, MIN_BITS, RESOURCES, BitBudget
from silicut.compress.quantisation.calibration import histograms
from silicut.compress.quantisation.post_training import ADAPTIVE, Methods, nearest_weights, with_edges
from silicut.compress.quantisation.ranges import RANGES
from silicut.compress.quantisation.sensitivity import Sensitivity, measure_sensitivity
from silicut.records import DoesNotFit, Progress, silent
from silicut.training import TrainingData

N_IMAGES = 256
"""Images on which sensitivities are measured."""

_MOST_ADAPTIVE_BITS = 5  # beyond, either rounding loses next to nothing
_QUICK = RoundingOptions(n_iterations=100, learning_rate=0.04)  # losses are wanted here, not the last gain

_BATCH = 64
_COSTS = {"bops": bit_operations, "size": weight_bits}


def sensitivity_images(data: TrainingData) -> list[Tensor]:
    """Return the training images on which sensitivities are measured, in batches."""
    return [x for x, _ in itertools.islice(data.training_batches(0, _BATCH, 0), N_IMAGES // _BATCH)]


def measured_sensitivity(
    sites: Sites, images: Sequence[Tensor], methods: Methods, progress: Progress = silent
) -> Sensitivity:
    """Return what every width of every layer loses alone, by the ranges, scales and rounding of the methods.

    Rounding matters: at 3 bits adaptively rounded weights lose several times less than those rounded to the nearest, so
    bits that the latter would need go to activations.

    Args:
        sites: where the float network is rounded.
        images: calibration batches, of which the first `N_IMAGES` images are taken.
        methods: how numbers become integers.
        progress: told after each layer.
    """
    few = list(_first(images, N_IMAGES))
    found = histograms(sites.network, sites.limits, few)
    weights = {b: nearest_weights(sites, BitPlan.uniform(b, b), methods.scales) for b in range(MIN_BITS, MAX_BITS + 1)}
    if methods.rounding == ADAPTIVE:
        narrow = {bits: layers for bits, layers in weights.items() if bits <= _MOST_ADAPTIVE_BITS}
        weights |= each_rounded_alone(sites, narrow, few, _QUICK)
    return measure_sensitivity(sites, weights, found, few, RANGES[methods.ranges], progress)


def _first(images: Sequence[Tensor], n: int) -> Iterator[Tensor]:
    starts = itertools.accumulate(map(len, images), initial=0)
    for batch, start in zip(images, starts, strict=False):
        if start < n:
            yield batch[: n - start]


def searched_bits(sites: Sites, sensitivity: Sensitivity, budget: BitBudget, edge_bits: int | None = None) -> BitSearch:
    """Return the widths that lose least within a budget.

    Args:
        sites: where the float network is rounded.
        sensitivity: measured on it.
        budget: the most that they may cost.
        edge_bits: fixes the first and the last layer, in the uniform plan of the budget too; None searches them as well.

    Raises:
        DoesNotFit: nothing is so cheap; the message says what is.
    """
    uniform = BitPlan(default=budget.uniform)
    fixed: dict[str, LayerBits] = {}
    if edge_bits is not None:
        uniform = with_edges(uniform, sites, edge_bits)
        fixed = dict(uniform.layers)
    limit = budget.frac * _COSTS[budget.resource](sites, uniform)
    resource = RESOURCES[budget.resource]
    cheapest = with_edges(BitPlan.uniform(MIN_BITS, MIN_BITS), sites, edge_bits or MIN_BITS)
    least = _COSTS[budget.resource](sites, cheapest)
    if least > limit:
        whole = with_edges(BitPlan.uniform(MAX_BITS, MAX_BITS), sites, edge_bits or MAX_BITS)
        percent = math.ceil(1e4 * least / _COSTS[budget.resource](sites, whole)) / 100
        raise DoesNotFit(f"the smallest reachable cost is {budget.resource}:{percent}%, above its budget; raise it to that")
    return search_bits(sites, sensitivity, {resource: limit}, fixed)
