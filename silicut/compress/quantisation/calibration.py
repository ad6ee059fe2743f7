"""Which numbers a network's tensors hold: histograms over calibration images, and the quantisations chosen from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from silicut.compress.quantisation.bits import BitPlan
from silicut.compress.quantisation.ranges import Histogram, RangeFunction, min_max
from silicut.compress.quantisation.sites import Site, Sites
from silicut.graph import Network, to_module
from silicut.numerics import IntegerFormat, Quantisation
from silicut.records import ConfigError
from silicut.records.progress import Progress, Tracker, silent

N_BINS = 2048
_LEAST_EVEN_BITS = 6
Images = Sequence[Tensor | tuple[Tensor, ...]]
"""Batches of what the network reads: a tensor, or a tuple with one for each input. They are read more than once."""


def tensor_values(network: Network, tensors: Iterable[str], images: Images) -> Iterator[dict[str, Tensor]]:
    """Yield for each batch the values of some tensors of a float network by name.

    Args:
        network: the float network.
        tensors: names of activations, inputs among them if wanted.
        images: batches.
    """
    names = tuple(dict.fromkeys(tensors))
    module = to_module(replace(network, outputs=names, output_structure="list"))
    with torch.no_grad():
        for batch in images:
            given = (batch,) if isinstance(batch, Tensor) else batch
            yield dict(zip(names, module(*given), strict=True))


def histograms(
    network: Network, tensors: Iterable[str], images: Images, n_bins: int = N_BINS, progress: Progress = silent
) -> dict[str, Histogram]:
    """Return the histograms of some tensors of a float network, by name.

    The images pass twice: once for the ends, once for the counts, so that bins are as narrow as they can be.

    Args:
        network: the float network.
        tensors: names of activations.
        images: calibration batches.
        n_bins: bins of each histogram.
        progress: told after each batch.

    Raises:
        ConfigError: there are no images, or a tensor holds numbers that are not finite.
    """
    names = tuple(dict.fromkeys(tensors))
    tracker = Tracker(progress, "calibrate", 2 * len(images))
    lows, highs = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
    for values in tensor_values(network, names, images):
        for name, tensor in values.items():
            low, high = (float(end) for end in tensor.aminmax())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise ConfigError(f"tensor {name} must hold finite numbers on the calibration images, not {low}..{high}")
            lows[name], highs[name] = min(lows[name], low), max(highs[name], high)
        tracker.step()
    if not len(images):
        raise ConfigError("calibration images must be at least one batch, not none")
    counts = {name: np.zeros(n_bins, np.int64) for name in names}
    for values in tensor_values(network, names, images):
        for name, tensor in values.items():
            counts[name] += _counts(tensor, lows[name], highs[name], n_bins)
        tracker.step()
    return {name: Histogram(lows[name], highs[name], counts[name]) for name in names}


def _counts(values: Tensor, low: float, high: float, n_bins: int) -> NDArray[np.int64]:
    if low == high:
        return np.bincount([0], [values.numel()], n_bins).astype(np.int64)
    bins = ((values.flatten() - low) * (n_bins / (high - low))).int().clamp_(0, n_bins - 1)
    counted: NDArray[np.int64] = torch.bincount(bins, minlength=n_bins).numpy()
    return counted


def quantisation_of(low: float, high: float, bits: int, is_even: bool = False) -> Quantisation:
    """Return the unsigned quantisation that reaches from `low` to `high`, both moved to 0 where they leave it out.

    Scales are float32 numbers, so that every engine computes with the same ones; a tensor that is 0 throughout gets 1. The
    zero point is 0 where nothing is negative.

    Args:
        low, high: the smallest and the largest number.
        bits: of the integers.
        is_even: whether formats of 6 bits or more get an even zero point, for one level. Programs that add the zero point
            before they round halves to even then round as those that add it behind.

    Example:
        >>> quantisation_of(0.0, 510.0, 8).scales, quantisation_of(-1.0, 3.0, 2).zero_points
        ((2.0,), (1,))
        >>> quantisation_of(-5.0, 249.0, 8, is_even=True).zero_points
        (6,)
    """
    low, high = min(low, 0.0), max(high, 0.0)
    format = IntegerFormat(bits, is_signed=False)
    is_even = is_even and bits >= _LEAST_EVEN_BITS and low < 0
    scale = float(np.float32((high - low) / (format.max - is_even)))
    if scale < float(np.finfo(np.float32).tiny):
        scale = 1.0
    zero_point = 2 * round(-low / scale / 2 + 0.25) if is_even else round(-low / scale)
    return Quantisation.per_tensor(format, scale, min(zero_point, format.max - is_even))


def activation_quantisations(
    sites: Sites, plan: BitPlan, found: Mapping[str, Histogram], range_of: RangeFunction = min_max
) -> dict[Site, Quantisation]:
    """Return the quantisation of every site of a plan.

    What is concatenated takes the quantisation of the result where that costs it at most one bit (its range is at least
    half as wide), so that long chains of concatenations do not round again and again.

    Args:
        sites: where the network is rounded.
        plan: the widths.
        found: histograms of all tensors that round (`sites.limits` names them).
        range_of: which part of a histogram the integers shall reach.
    """
    chosen = {}
    for site in sites.at(plan):
        low, high = range_of(found[site.tensor], site.bits)
        least, most = sites.limits[site.tensor]
        # Inputs are quantised by themselves, and where a clamp ends, the ends of the format are its own.
        is_sum = site.tensor not in sites.network.inputs and bool(np.isinf(least) and np.isinf(most))
        chosen[site] = quantisation_of(max(low, least), min(high, most), site.bits, is_even=is_sum)
    widths = sites.widths(plan)
    for tensor, result in reversed(sites.joined):
        own, joint = Site(tensor, widths[tensor][0]), Site(result, widths[result][0])
        if own.bits == joint.bits and 2 * chosen[own].scales[0] >= chosen[joint].scales[0] >= chosen[own].scales[0]:
            chosen[own] = chosen[joint]
    return chosen
