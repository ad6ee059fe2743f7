"""Cycles and multiplier slices of engines.

A layer of N inputs, M outputs and R x C pixels keeps an engine <Tn, Tm> busy for R C K K ceil(N / Tn) ceil(M / Tm) cycles
(Zhang et al., FPGA 2015). Every engine works on an image of its own, so one image leaves in an *epoch*: the longest sum of
cycles over the layers of one engine (Shen et al., arXiv 1607.00064).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.multi_engine.config import EngineConfig, MultiEngineConfig, Precision
from silicut.accelerators.multi_engine.layers import ConvLayer, by_name


def layer_cycles(layer: ConvLayer, n_inputs: Any, n_outputs: Any) -> Any:
    """Return the cycles of a layer on engines; of arrays, shape by shape.

    Example:
        >>> layer = ConvLayer(name="conv1a", in_channels=3, out_channels=48, height=55, width=55, kernel=(11, 11))
        >>> layer_cycles(layer, 7, 64), layer_cycles(layer, 2, 24)
        (366025, 1464100)
    """
    return layer.n_pixels * layer.n_taps * -(-layer.in_channels // n_inputs) * -(-layer.out_channels // n_outputs)


def engine_cycles(engine: EngineConfig, layers: Sequence[ConvLayer]) -> int:
    """Return the cycles that an engine computes in for each image."""
    known = by_name(layers)
    return sum(layer_cycles(known[placed.name], engine.n_inputs, engine.n_outputs) for placed in engine.layers)


def epoch_cycles(config: MultiEngineConfig, layers: Sequence[ConvLayer]) -> int:
    """Return the cycles between one image and the next, where memory keeps nobody waiting."""
    return max(engine_cycles(engine, layers) for engine in config.engines)


def n_dsps(config: MultiEngineConfig, precision: Precision) -> int:
    """Return the multiplier slices of all engines."""
    return precision.n_dsps_per_mac * sum(engine.n_macs_per_cycle for engine in config.engines)


def utilisation_frac(config: MultiEngineConfig, layers: Sequence[ConvLayer]) -> float:
    """Return the share of all multiply-accumulate units times cycles in which a product is needed."""
    n_macs = sum(layer.n_macs for layer in layers)
    return n_macs / (epoch_cycles(config, layers) * sum(engine.n_macs_per_cycle for engine in config.engines))


def useful_sizes(totals: Sequence[int], at_most: int) -> NDArray[np.int64]:
    """Return the sizes t that are worth having: a smaller one would need more steps ceil(total / t) for some total.

    Rounding any size down to one of these changes no number of steps, so that a search over them misses nothing.

    Args:
        totals: numbers of channels.
        at_most: the greatest size.

    Example:
        >>> useful_sizes([10], 100).tolist()
        [1, 2, 3, 4, 5, 10]
    """
    found = {-(-total // n) for total in totals for n in range(1, total + 1)}
    return np.array(sorted(size for size in found if size <= at_most), np.int64)
