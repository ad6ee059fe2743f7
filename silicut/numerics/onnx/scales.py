"""What integers stand for in files whose tensors have powers of two for scales.

Runtimes multiply by input scale x weight scale / output scale in float32, which is multiplier / 2^shift to the bit where all
but the weights have powers of two. Inside of a file they have; what tensors really stand for is noted beside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from silicut.numerics.onnx.steps import SCALES, read_notes
from silicut.numerics.quantised import QuantisedNetwork
from silicut.records import BadFile


def power_of_two(scale: float) -> float:
    """Return the power of two next to a scale, by which float32 multiplies and divides exactly.

    Example:
        >>> power_of_two(0.3), power_of_two(6.0)
        (0.25, 8.0)
    """
    return float(2.0 ** round(math.log2(scale)))


def noted_scales(model: Any) -> dict[str, float]:
    """Return the scales that a file notes for tensors, by name.

    Raises:
        BadFile: one is no positive number.
    """
    found = {}
    for name, text in (read_notes(model, SCALES) or {}).items():
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = math.nan
        if not 0 < found[name] < math.inf:
            raise BadFile(f"the model's metadata {SCALES!r} must map {name!r} to a positive number, not {text!r}; remove it")
    return found


def with_scales(quantised: QuantisedNetwork, scales: Mapping[str, float]) -> QuantisedNetwork:
    """Return an integer network as read, with the scales that its file notes; accumulators take those of their reader."""
    if not scales:
        return quantised
    network, found, ratios = quantised.network, dict(quantised.quantisations), dict[str, float]()
    for name in reversed([*network.inputs, *network.producer]):
        if name in scales:
            found[name] = replace(found[name], scales=(scales[name],))
            ratios[name] = scales[name] / power_of_two(scales[name])
        elif network.consumers.get(name):
            ratio = ratios.get(network.consumers[name][0].outputs[0], 1.0)
            found[name] = replace(found[name], scales=tuple(scale * ratio for scale in found[name].scales))
            ratios[name] = ratio
    return QuantisedNetwork(network, found, quantised.origins)
