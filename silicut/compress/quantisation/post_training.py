"""Post-training quantisation from a float network to an integer one: everything that needs no labels and no training."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from silicut.compress.quantisation.adaptive_rounding import RoundingOptions, adaptively_rounded
from silicut.compress.quantisation.bias_correction import corrected_biases
from silicut.compress.quantisation.bits import BitPlan
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.equalisation import equalise
from silicut.compress.quantisation.lowering import lower
from silicut.compress.quantisation.ranges import RANGES, WEIGHT_SCALES
from silicut.compress.quantisation.sites import Sites
from silicut.compress.quantisation.weights import IntegerWeights, quantise_weights
from silicut.numerics import QuantisedNetwork
from silicut.records import ConfigError

ROUNDINGS = {
    "nearest": "to the nearest step",
    "corrected": "to the nearest step, biases keep the means of all channels",
    "adaptive": "up or down as the layer's output errs least (AdaRound), biases keep the means of all channels",
}
"""How weights are rounded, by name, in a line each."""


@dataclass(frozen=True, kw_only=True)
class PostTraining:
    """How a network is quantised after training.

    Attributes:
        ranges: a name of `RANGES`: which part of activations integers reach.
        scales: a name of `WEIGHT_SCALES`.
        rounding: a name of `ROUNDINGS`.
        is_equalised: whether ranges of weights are equalised across layers first.
        rounding_options: of adaptive rounding.

    Raises:
        ConfigError: a name is unknown; the nearest one is given.
    """

    ranges: str = "mse"
    scales: str = "mse"
    rounding: str = "adaptive"
    is_equalised: bool = False
    rounding_options: RoundingOptions = field(default_factory=RoundingOptions)

    def __post_init__(self) -> None:
        known = {"ranges": list(RANGES), "scales": list(WEIGHT_SCALES), "rounding": list(ROUNDINGS)}
        problems = []
        for option, names in known.items():
            given = getattr(self, option)
            if given not in names:
                near = difflib.get_close_matches(given, names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                problems.append(f"{option} must be one of {', '.join(names)}, not {given!r}{hint}")
        if problems:
            raise ConfigError(*problems)


def integer_weights(sites: Sites, plan: BitPlan, scales: str = "mse") -> dict[str, IntegerWeights]:
    """Return the weights of all layers, rounded to the nearest steps, by the layer's name.

    Args:
        sites: where the float network is rounded.
        plan: the widths.
        scales: a name of `WEIGHT_SCALES`.
    """
    found = {}
    for operator in sites.network.operators:
        if operator.name in sites.layers:
            weight = sites.network.parameters[operator.arguments["weight"].name]
            bits = plan.filter_bits(operator.name, len(weight))
            found[operator.name] = quantise_weights(weight, bits, WEIGHT_SCALES[scales](weight, bits))
    return found


def quantise_trained(
    sites: Sites, plan: BitPlan, images: Sequence[Tensor], options: PostTraining | None = None
) -> QuantisedNetwork:
    """Return the integer network of a trained float one.

    Args:
        sites: where the float network is rounded.
        plan: the widths.
        images: calibration inputs, one array of images for each input of the network; all are in memory at once.
        options: how; adaptive rounding by default.

    Raises:
        ConfigError: the plan names layers or filters that the network lacks, or there are no images.
        AccumulatorTooNarrow: the sums of a layer could overflow 32 bits.
    """
    options = options or PostTraining()
    if options.is_equalised:
        sites = replace(sites, network=equalise(sites.network).network)
    found = histograms(sites.network, sites.limits, [tuple(images)])
    activations = activation_quantisations(sites, plan, found, RANGES[options.ranges])
    weights = integer_weights(sites, plan, options.scales)
    if options.rounding == "adaptive":
        rounded = adaptively_rounded(sites, plan, activations, weights, images, options.rounding_options)
        return lower(rounded.sites, plan, activations, rounded.weights)
    if options.rounding == "corrected":
        sites = corrected_biases(sites, plan, activations, weights, images)
    return lower(sites, plan, activations, weights)
