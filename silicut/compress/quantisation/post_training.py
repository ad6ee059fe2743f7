"""Post-training quantisation: from a trained network and a few hundred images to an integer network, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from silicut.compress.quantisation.adaptive_rounding import adaptively_rounded
from silicut.compress.quantisation.bias_correction import corrected_biases
from silicut.compress.quantisation.bits import BitPlan
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.equalisation import equalise
from silicut.compress.quantisation.lowering import lower
from silicut.compress.quantisation.ranges import RANGES, WEIGHT_SCALES, Histogram
from silicut.compress.quantisation.short_factors import short_scales
from silicut.compress.quantisation.sites import Site, Sites, find_sites
from silicut.compress.quantisation.weights import IntegerWeights, quantise_weights
from silicut.graph import Network
from silicut.numerics import Quantisation, QuantisedNetwork
from silicut.records import ConfigError
from silicut.records.progress import Progress, silent

ADAPTIVE, NEAREST = "adaptive", "nearest"


@dataclass(frozen=True, kw_only=True)
class Methods:
    """How numbers become integers where nothing is trained.

    Ranges and scales of least squared error are the defaults: with "min-max" and "max" one outlier widens every step of its
    tensor or filter.

    Attributes:
        ranges: of activations: "min-max", "percentile", "mse" or "kl".
        scales: of weights: "max" (nothing saturates) or "mse".
        rounding: of weights: "nearest", or "adaptive" (up or down for the least error of the layer's output; biases are
            corrected along with it).
        equalises: whether channels are brought to equal ranges first, without changing what the network computes.
        corrects_biases: whether biases take back what quantisation shifts the means of channels by.

    Raises:
        ConfigError: a name is not known; all such are listed.
    """

    ranges: str = "mse"
    scales: str = "mse"
    rounding: str = NEAREST
    equalises: bool = False
    corrects_biases: bool = False

    def __post_init__(self) -> None:
        known = {"ranges": tuple(RANGES), "scales": tuple(WEIGHT_SCALES), "rounding": (NEAREST, ADAPTIVE)}
        problems = [
            f"{name} must be one of {', '.join(names)}, not {getattr(self, name)!r}"
            for name, names in known.items()
            if getattr(self, name) not in names
        ]
        if problems:
            raise ConfigError(*problems)

    @property
    def changes_weights(self) -> bool:
        """Whether more is done to weights and biases than rounding to the nearest."""
        return self.rounding != NEAREST or self.equalises or self.corrects_biases


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A network quantised after training.

    Attributes:
        sites: where the float network is rounded; its network is the one that integers stand for, with equalised channels
            and corrected biases.
        found: what each rounded tensor held on the calibration images.
        activations: the quantisation of each site.
        quantised: the integer network.
    """

    sites: Sites
    found: Mapping[str, Histogram]
    activations: Mapping[Site, Quantisation]
    quantised: QuantisedNetwork


def quantise_after_training(
    network: Network, plan: BitPlan, images: Sequence[Tensor], methods: Methods | None = None, progress: Progress = silent
) -> Calibrated:
    """Return a trained network as an integer one.

    Args:
        network: what `quantisable` gave.
        plan: the widths.
        images: calibration batches; a network of one input.
        methods: how; rounding to the nearest by default.
        progress: told after each batch of calibration.

    Raises:
        ConfigError: the plan names what the network lacks, or there are no images.
        AccumulatorTooNarrow: the sums of a layer could overflow 32 bits.
    """
    methods = methods or Methods()
    sites = find_sites(equalise(network).network if methods.equalises else network)
    plan.check(sites.layers)
    weights = nearest_weights(sites, plan, methods.scales)
    found = histograms(sites.network, sites.limits, images, progress=progress)
    activations = activation_quantisations(sites, plan, found, RANGES[methods.ranges])
    weights = with_short_factors(weights, sites, plan, activations)
    if methods.rounding == ADAPTIVE:
        rounded = adaptively_rounded(sites, plan, activations, weights, images)
        sites, weights = rounded.sites, dict(rounded.weights)
    elif methods.corrects_biases:
        sites = corrected_biases(sites, plan, activations, weights, images)
    return Calibrated(sites, found, activations, lower(sites, plan, activations, weights))


def nearest_weights(sites: Sites, plan: BitPlan, scales: str = "max") -> dict[str, IntegerWeights]:
    """Return the weights of every layer rounded to the nearest integers, by its name.

    Args:
        sites: where the float network is rounded.
        plan: the widths.
        scales: a name of `WEIGHT_SCALES`.
    """
    made = {}
    for operator in sites.network.operators:
        if operator.name in sites.layers:
            weight = sites.network.parameters[operator.arguments["weight"].name]
            bits = plan.filter_bits(operator.name, len(weight))
            made[operator.name] = quantise_weights(weight, bits, WEIGHT_SCALES[scales](weight, bits))
    return made


def with_short_factors(
    weights: Mapping[str, IntegerWeights], sites: Sites, plan: BitPlan, activations: Mapping[Site, Quantisation]
) -> dict[str, IntegerWeights]:
    """Return weights rounded again at scales that make short factors (`short_scales`) with the activations around them."""
    made, around = {}, sites.around(plan)
    for operator in sites.network.operators:
        if operator.name in weights:
            weight = sites.network.parameters[operator.arguments["weight"].name]
            read, end = (activations[site] for site in around[operator.name])
            scales = short_scales(weights[operator.name].scales, read, end)
            made[operator.name] = quantise_weights(weight, plan.filter_bits(operator.name, len(weight)), scales)
    return made


def with_edges(plan: BitPlan, sites: Sites, bits: int) -> BitPlan:
    """Return a plan with its first and last layer at `bits` for weights and activations, unless the plan names them."""
    ends = BitPlan.uniform(bits, bits, edges=bits, first=sites.layers[0], last=sites.layers[-1]).layers
    return replace(plan, layers={**ends, **plan.layers})
