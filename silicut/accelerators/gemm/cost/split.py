"""How many filters of each layer the bit-serial core gets: an exact scan, since there are few of them.

The released search of N3H-Core steps through whole per cents of the filters; here every number is tried that the layout of
tensors allows, a multiple of eight filters or all of them, so the result is optimal for the time that is minimised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.cost.bound import layer_columns, machine_columns, roofs
from silicut.accelerators.gemm.cost.work import Kind, LayerWork

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
    options = [legal_splits(layer, config) for layer in layers]
    n_options = max(map(len, options))
    table = np.array([(*split, *[split[-1]] * (n_options - len(split))) for split in options]).T
    found = roofs(layer_columns(layers), table, machine_columns([config]))
    order = np.lexsort((table, found.lut + found.dsp, found.layer), axis=0)
    best: NDArray[np.int64] = np.take_along_axis(table, order[:1], axis=0)[0]
    return best


def best_split_by(layer: LayerWork, config: GemmConfig, cycles: Callable[[int], float]) -> int:
    """Return the legal number of filters of the bit-serial core for which a function gives the fewest cycles.

    Args:
        layer: a product.
        config: of the machine.
        cycles: maps a number of filters to the layer's time, such as the exact one.
    """
    return min(legal_splits(layer, config), key=cycles)
