"""Adaptive rounding: each weight goes up or down so that the layer's output, not the weight, errs least.

AdaRound (Nagel et al. 2020, arXiv 2004.10568) relaxes the choice of each weight to a rectified sigmoid h(v) in 0..1 and
adds a regulariser that drives h to 0 or 1. Here the error of a layer is taken over all windows of the calibration images
at once: in the mean square it depends only on second moments of what the layer reads, so an iteration is one matrix
product and sees no sampling noise, and afterwards single weights are flipped while that helps. Layers are rounded in
order of execution, each on what the quantised layers before it give; the mean of the error is left to the bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from silicut.compress.quantisation.bias_correction import corrected
from silicut.compress.quantisation.bits import BitPlan
from silicut.compress.quantisation.calibration import Images
from silicut.compress.quantisation.moments import Moments, moments
from silicut.compress.quantisation.simulated import simulated
from silicut.compress.quantisation.sites import Site, Sites
from silicut.compress.quantisation.walk import Change, Walk, in_memory, layer_by_layer, with_biases, with_changed_biases
from silicut.compress.quantisation.weights import Candidates, IntegerWeights, largest_levels
from silicut.numerics import Quantisation

_STRETCH = 1.2  # h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1), as in the paper
_WARM_FRAC = 0.2  # of the iterations without the regulariser
_MOST_WEIGHTS = 8192  # of a filter
_LEAST_GAIN = 1e-5  # of a flip, in squared steps: above what float32 loses
_BETA = (20.0, 2.0)  # the regulariser's exponent, at first and at last


@dataclass(frozen=True, kw_only=True)
class RoundingOptions:
    """How long and how hard rounding is optimised.

    Attributes:
        n_iterations: of Adam for each layer.
        learning_rate: of Adam.
        regularisation: weight of the regulariser beside the error in units of squared steps.
    """

    n_iterations: int = 300
    learning_rate: float = 0.02
    regularisation: float = 0.02


@dataclass(frozen=True, eq=False)
class Rounded:
    """What adaptive rounding gives.

    Attributes:
        sites: as given, the float network's biases changed so that they take back the means of the errors.
        weights: the rounded weights by the layer's name.
    """

    sites: Sites
    weights: Mapping[str, IntegerWeights]


def adaptively_rounded(
    sites: Sites,
    plan: BitPlan,
    activations: Mapping[Site, Quantisation],
    weights: Mapping[str, IntegerWeights],
    images: Images,
    options: RoundingOptions | None = None,
) -> Rounded:
    """Return weights on the same steps as the given ones, rounded up or down for the least error of each layer's output.

    Args:
        sites: where the float network is rounded.
        plan: the widths.
        activations: the quantisation of each site of the plan.
        weights: scales by the layer's name, with any rounding; layers without an entry keep their float weights, and those
            with more than 8,192 weights a filter the given rounding, since their moments would not fit the memory.
        images: calibration batches; all are in memory at once.
        options: how long and how hard.
    """
    sites = replace(sites, network=with_biases(sites.network))
    found: dict[str, IntegerWeights] = {}
    changes: dict[str, Change] = {}
    quantised = simulated(sites, plan, activations, {})
    for read in layer_by_layer(sites.network, quantised, images, changes):
        name, weight = read.layer.name, read.weight
        if name in weights:
            found[name] = weights[name]
            if weight[0].size <= _MOST_WEIGHTS:
                known = moments(sites.network, read.layer, read.exact, read.quantised)
                limits = largest_levels(plan.filter_bits(name, len(weight)))
                found[name] = _rounded(weight, known, weights[name], limits, options or RoundingOptions())
            weight = found[name].floats
        changes[name] = corrected(read, weight)
    return Rounded(replace(sites, network=with_changed_biases(sites.network, changes)), found)


def each_rounded_alone(
    sites: Sites, weights: Candidates, images: Images, options: RoundingOptions | None = None
) -> dict[int, dict[str, IntegerWeights]]:
    """Return the weights of every layer at several widths, rounded as if nothing else in the network were.

    Args:
        sites: where the float network is rounded.
        weights: scales by width and layer, with any rounding, which layers with more than 8,192 weights a filter keep.
        images: calibration batches; all are in memory at once.
        options: how long and how hard.
    """
    found = {bits: dict(layers) for bits, layers in weights.items()}
    walk = Walk(sites.network, in_memory(images))
    while not walk.is_over():
        layer = walk.operator
        if layer.name in sites.layers:
            weight, read = (walk.values[layer.arguments[argument].name] for argument in ("weight", "input"))
            if weight[0].numel() <= _MOST_WEIGHTS:
                known = moments(sites.network, layer, read, read)
                for bits, layers in found.items():
                    limits = largest_levels(np.full(len(weight), bits))
                    given = layers[layer.name]
                    layers[layer.name] = _rounded(weight.numpy(), known, given, limits, options or RoundingOptions())
        walk.step()
    return found


def _rounded(
    weight: np.ndarray, known: Moments, given: IntegerWeights, limits: np.ndarray, options: RoundingOptions
) -> IntegerWeights:
    groups = len(known.quantised)

    def apart(array: np.ndarray) -> Tensor:
        """Return weights, or one number for each filter, as an array (groups, n_filters, k or 1)."""
        return torch.from_numpy(array).double().reshape(groups, len(array) // groups, -1)

    integers = best_rounding(apart(weight) / apart(given.scales), known, apart(limits), options)
    return replace(given, values=integers.reshape(weight.shape).numpy().astype(given.values.dtype))


def best_rounding(exact: Tensor, known: Moments, limit: Tensor, options: RoundingOptions) -> Tensor:
    """Return integers, each a neighbour of the exact number within -limit..limit, with a small error of the output.

    The error of one filter in steps is n' Q n - 2 n' X e + constant, for integers n, exact weights e, and the moments Q
    (quantised) and X (cross). It is never greater than that of rounding to nearest.

    Args:
        exact: weights in steps, array (groups, n_filters, k), float64.
        known: moments of what the filters of each group read.
        limit: of the integers of each filter, array (groups, n_filters, 1).
        options: how long and how hard.
    """
    size = known.quantised.diagonal(dim1=1, dim2=2).mean().clamp(min=1e-30)
    quadratic, linear = (known.quantised / size).float(), (exact @ (known.cross / size).mT).float()
    below = exact.floor().clamp(-limit, limit - 1).float()
    nearest = exact.round().clamp(-limit, limit).float()
    found = below + _optimised(exact.float(), below, quadratic, linear, options)
    found, nearest = (_flipped(start, below, quadratic, linear) for start in (found, nearest))
    better = _error(found, quadratic, linear) < _error(nearest, quadratic, linear)
    return torch.where(better[..., None], found, nearest).to(torch.int64)


def _error(integers: Tensor, quadratic: Tensor, linear: Tensor) -> Tensor:
    return ((integers @ quadratic - 2.0 * linear) * integers).sum(-1)


def _flipped(integers: Tensor, below: Tensor, quadratic: Tensor, linear: Tensor) -> Tensor:
    """Return integers of which no single one is better rounded the other way: each filter's best flip, again and again."""
    integers, diagonal = integers.clone(), quadratic.diagonal(dim1=1, dim2=2)[:, None]
    slope = 2.0 * (integers @ quadratic - linear)
    for _ in range(integers.shape[-1]):
        flip = 1.0 - 2.0 * (integers - below)
        gain, at = (flip * slope + diagonal).min(-1, keepdim=True)
        flip = flip.gather(-1, at) * (gain < -_LEAST_GAIN)
        if not flip.any():
            break
        integers.scatter_add_(-1, at, flip)
        slope += 2.0 * flip * _rows(quadratic, at)
    return integers


def _rows(quadratic: Tensor, at: Tensor) -> Tensor:
    """Return row at[g, f] of each group's matrix, array (groups, filters, k)."""
    return quadratic.gather(1, at.expand(-1, -1, quadratic.shape[-1]))


def _optimised(exact: Tensor, below: Tensor, quadratic: Tensor, linear: Tensor, options: RoundingOptions) -> Tensor:
    """Return 0 or 1 for each weight: whether it goes up."""
    start = ((exact - below).clamp(0.01, 0.99) + (_STRETCH - 1) / 2) / _STRETCH
    free = torch.logit(start).requires_grad_()
    adam = torch.optim.Adam([free], lr=options.learning_rate)
    for i in range(options.n_iterations):
        soft = (torch.sigmoid(free) * _STRETCH - (_STRETCH - 1) / 2).clamp(0.0, 1.0)
        with torch.no_grad():
            slope = 2.0 * ((below + soft) @ quadratic - linear)
            slope += options.regularisation * _pull(soft, i / options.n_iterations)
        adam.zero_grad()
        soft.backward(slope)  # type: ignore[no-untyped-call]
        adam.step()
    return (free > 0).float()


def _pull(soft: Tensor, done_frac: float) -> Tensor:
    """Return the slope of the regulariser 1 - |2h - 1|^beta."""
    if done_frac < _WARM_FRAC:
        return torch.zeros_like(soft)
    left = (1.0 - done_frac) / (1.0 - _WARM_FRAC)
    beta = _BETA[1] + (_BETA[0] - _BETA[1]) * left
    away = 2.0 * soft - 1.0
    return -2.0 * beta * away.sign() * away.abs() ** (beta - 1.0)
