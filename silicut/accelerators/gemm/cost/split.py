"""How many filters of each layer the bit-serial core gets: an exact scan, since there are few of them.

The released search of N3H-Core steps through whole per cents of the filters; here every number is tried that the layout of
tensors allows, a multiple of eight filters or all of them, so the result is optimal for the time that is minimised.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.cost.bound import UNITS, layer_columns, machine_columns, roofs
from silicut.accelerators.gemm.cost.work import Kind, LayerWork

_N_WEIGHTS = 101  # of the means of both cores that are tried

SPLIT_STEP = 8
"""Filters of the bit-serial core come in multiples of this: channels of a slab are padded to it."""


def legal_splits(layer: LayerWork, config: GemmConfig) -> tuple[int, ...]:
    """Return the numbers of filters that the bit-serial core may get, increasing.

    Example:
        >>> from silicut.accelerators.gemm.config import BISMO_PYNQ, N3H
        >>> layer = LayerWork(name="fc", kind=Kind.PRODUCT, in_channels=64, in_height=1, in_width=1, out_channels=10,
        ...                   out_height=1, out_width=1, n_rows_read=1, a_bits=4, w_bits=4, out_bits=8)
        >>> legal_splits(layer, N3H), legal_splits(layer, BISMO_PYNQ)
        ((0, 8, 10), (10,))
    """
    n = layer.out_channels
    if layer.kind is not Kind.PRODUCT or config.lut is None:
        return (0,)
    return (n,) if config.dsp is None else (*range(0, n, SPLIT_STEP), n)


def best_splits(layers: Sequence[LayerWork], config: GemmConfig) -> NDArray[np.int64]:
    """Return, for each layer, the legal number of filters of the bit-serial core whose highest roof is lowest.

    Among equals it is the one with the least work of both cores together, then the smallest.

    Returns:
        Array (layers,).
    """
    if not layers:
        return np.zeros(0, np.int64)
    table = _options(layers, config)
    found = roofs(layer_columns(layers), table, machine_columns([config]))
    order = np.lexsort((table, found.lut + found.dsp, found.layer), axis=0)
    best: NDArray[np.int64] = np.take_along_axis(table, order[:1], axis=0)[0]
    return best


def _options(layers: Sequence[LayerWork], config: GemmConfig) -> NDArray[np.int64]:
    """Return the legal splits of all layers as array (options, layers); where there are fewer, the last is repeated."""
    options = [legal_splits(layer, config) for layer in layers]
    n_options = max(map(len, options))
    return np.array([(*split, *[split[-1]] * (n_options - len(split))) for split in options], np.int64).T


def bound_of_any_split(layers: Sequence[LayerWork], config: GemmConfig) -> float:
    """Return cycles below which no network of overlapping layers comes, however its filters are split.

    The longer of two sums is no less than any weighted mean of both, and a mean splits into layers:

        min of max(sum of LUT, sum of DSP) >= max over p of sum over layers of min (p LUT + (1 - p) DSP),  min over splits

    Every other unit has at least its least work of each layer to do.
    """
    if not layers:
        return 0.0
    found = roofs(layer_columns(layers), _options(layers, config), machine_columns([config]))
    least = max(float(found.of(unit).min(0).sum()) for unit in UNITS)
    means = (p * found.lut_execute + (1 - p) * found.dsp_execute for p in np.linspace(0, 1, _N_WEIGHTS))
    return max(least, *(float(mean.min(0).sum()) for mean in means))
