"""What each layer's widths cost in accuracy, measured one at a time: the values from which bits are searched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from silicut.compress.quantisation.bias_correction import corrected
from silicut.compress.quantisation.bits import MAX_BITS, BitPlan, LayerBits
from silicut.compress.quantisation.calibration import Images, activation_quantisations
from silicut.compress.quantisation.ranges import Histogram, RangeFunction, min_max
from silicut.compress.quantisation.simulated import simulated
from silicut.compress.quantisation.sites import Sites
from silicut.compress.quantisation.walk import LayerInput, Walk, in_memory, with_biases
from silicut.compress.quantisation.weights import Candidates, IntegerWeights
from silicut.graph import Network
from silicut.records import Record
from silicut.records.progress import Progress, Tracker, silent


@dataclass(frozen=True, kw_only=True)
class Sensitivity(Record):
    """How much a network's outputs change when one thing alone has fewer bits.

    More bits never lose more: what was measured so is noise, and the larger loss is taken for the smaller width.

    Attributes:
        bits: the widths that were tried, increasing.
        weights: by layer, the loss at each width of its weights.
        activations: by tensor that layers read, the loss at each width of it.
        loss: "kl" (mean divergence of class probabilities) or "squared error" (relative to the outputs' own squares).
        n_images: over which losses are means.
    """

    schema: ClassVar[str] = "bit-sensitivity/1"
    bits: tuple[int, ...]
    weights: dict[str, tuple[float, ...]]
    activations: dict[str, tuple[float, ...]]
    loss: str
    n_images: int


def read_by_layers(sites: Sites) -> dict[str, str]:
    """Return by layer the tensor whose rounding it reads: layers that read the same one share its width."""
    inputs = {o.name: o.arguments["input"].name for o in sites.network.operators if o.name in sites.layers}
    return {layer: sites.of[inputs[layer]] for layer in sites.layers}


def measure_sensitivity(
    sites: Sites,
    weights: Candidates,
    found: Mapping[str, Histogram],
    images: Images,
    range_of: RangeFunction = min_max,
    progress: Progress = silent,
) -> Sensitivity:
    """Return the loss of every layer's weights and of every tensor that layers read, each alone at each width.

    Everything else stays in float, but for the bias of a layer with changed weights, which keeps the means of its channels.
    What lies before a changed layer is computed once.

    Args:
        sites: where the float network is rounded.
        weights: by width, the integer weights of all layers; these are the widths that are tried.
        found: histograms of all tensors that round.
        images: calibration batches; all are in memory at once.
        range_of: which part of a histogram integers reach.
        progress: told after each layer.
    """
    bits = tuple(sorted(weights))
    inputs = in_memory(images)
    loss = _Loss(sites, inputs)
    tracker = Tracker(progress, "measure sensitivity", 2 * len(sites.layers))
    lost_weights: dict[str, tuple[float, ...]] = {}
    lost_activations: dict[str, tuple[float, ...]] = {}
    walk = Walk(with_biases(sites.network), inputs)
    while not walk.is_over():
        layer = walk.operator.name
        if layer in sites.layers:
            changes = [_weights_alone(walk, weights[b][layer]) for b in bits]
            lost_weights[layer] = _monotone([loss.of(walk.outputs(change)) for change in changes])
            tracker.step()
        walk.step()
    for layer, tensor in read_by_layers(sites).items():
        if tensor not in lost_activations:
            alone = (_rounded_alone(sites, tensor, b, found, range_of) for b in bits)
            lost_activations[tensor] = _monotone([loss.of(Walk(network, inputs).outputs({})) for network in alone])
        tracker.step(layer)
    return Sensitivity(
        bits=bits, weights=lost_weights, activations=lost_activations, loss=loss.name, n_images=len(inputs[0])
    )


def _weights_alone(walk: Walk, weights: IntegerWeights) -> dict[str, Tensor]:
    """Return the next layer's weight as integers have it, and the bias that keeps the mean of each channel."""
    layer, values = walk.operator, walk.values
    names = [layer.arguments[argument].name for argument in ("weight", "bias")]
    read = values[layer.arguments["input"].name]
    change = corrected(LayerInput(layer, read, read, *(values[name].numpy() for name in names)), weights.floats)
    return dict(zip(names, map(torch.from_numpy, (change.weight, change.bias)), strict=True))


def _rounded_alone(sites: Sites, tensor: str, bits: int, found: Mapping[str, Histogram], range_of: RangeFunction) -> Network:
    """Return the network in which only the layers that read a tensor read it rounded."""
    layers = {layer: LayerBits(MAX_BITS, bits) for layer, read in read_by_layers(sites).items() if read == tensor}
    plan = BitPlan(default=LayerBits(MAX_BITS, MAX_BITS), layers=layers)
    chosen = activation_quantisations(sites, plan, found, range_of)
    alone = {site: steps for site, steps in chosen.items() if site.tensor == tensor and site.bits == bits}
    return simulated(sites, plan, alone, {})


class _Loss:
    """Compares outputs with those of the float network."""

    def __init__(self, sites: Sites, inputs: Sequence[Tensor]) -> None:
        self._exact = Walk(sites.network, inputs).outputs({})
        is_classifier = len(self._exact) == 1 and self._exact[0].ndim == 2 and self._exact[0].shape[1] > 1
        self.name = "kl" if is_classifier else "squared error"

    def of(self, outputs: Sequence[Tensor]) -> float:
        """Return the loss of some outputs, infinite where they are not finite."""
        if self.name == "kl":
            exact, found = (functional.log_softmax(t[0].double(), 1) for t in (self._exact, outputs))
            loss = float(functional.kl_div(found, exact, reduction="batchmean", log_target=True))
        else:
            pairs = [(e.double(), o.double()) for e, o in zip(self._exact, outputs, strict=True)]
            total = sum(float((e**2).sum()) for e, _ in pairs)
            loss = sum(float(((e - o) ** 2).sum()) for e, o in pairs) / max(total, 1e-300)
        return max(0.0, loss) if math.isfinite(loss) else math.inf


def _monotone(losses: Sequence[float]) -> tuple[float, ...]:
    """Return losses by increasing width so that more bits never lose more; infinite ones become finite.

    Example:
        >>> _monotone([4.0, 1.0, 2.0, 0.5])
        (4.0, 2.0, 2.0, 0.5)
    """
    largest = max((loss for loss in losses if math.isfinite(loss)), default=1.0)
    finite = np.nan_to_num(np.array(losses), posinf=2.0 * largest)
    return tuple(np.maximum.accumulate(finite[::-1])[::-1].tolist())
