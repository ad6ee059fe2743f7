"""Bytes between engines and memory, and the tiles that keep them few.

A layer is computed tile by tile of its map, for every tile Tm outputs at a time, for these Tn inputs at a time. So inputs
are read anew for every Tm outputs, weights for every tile, and outputs are written once (Zhang et al., FPGA 2015):

    inputs   ceil(R / Tr) ceil(C / Tc) ceil(M / Tm) N ((Tr - 1) S + K) ((Tc - 1) S + K)
    weights  ceil(R / Tr) ceil(C / Tc) N M K K
    outputs  M R C

Tiles at the rim are read as whole as all others, padding included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.multi_engine.config import EngineConfig, MultiEngineConfig, PlacedLayer, Precision
from silicut.accelerators.multi_engine.cost.arrays import useful_sizes
from silicut.accelerators.multi_engine.cost.buffers import input_tile_words
from silicut.accelerators.multi_engine.layers import ConvLayer, by_name


def layer_words(layer: ConvLayer, placed: PlacedLayer, n_outputs: int) -> int:
    """Return the words that a layer moves for one image on an engine of Tm = `n_outputs`.

    Example:
        >>> layer = ConvLayer(name="x", in_channels=8, out_channels=32, height=8, width=8, kernel=(3, 3))
        >>> layer_words(layer, PlacedLayer(name="x", tile_rows=4, tile_columns=8), 16)
        8576
    """
    n_tiles = -(-layer.height // placed.tile_rows) * -(-layer.width // placed.tile_columns)
    n_passes = -(-layer.out_channels // n_outputs)
    inputs = n_passes * layer.in_channels * int(input_tile_words(layer, placed.tile_rows, placed.tile_columns))
    return n_tiles * (inputs + layer.n_weights) + layer.out_channels * layer.n_pixels


def engine_bytes(engine: EngineConfig, layers: Sequence[ConvLayer], precision: Precision) -> int:
    """Return the bytes that an engine moves for each image."""
    known = by_name(layers)
    return precision.n_bytes * sum(layer_words(known[p.name], p, engine.n_outputs) for p in engine.layers)


def bytes_per_image(config: MultiEngineConfig, layers: Sequence[ConvLayer], precision: Precision) -> int:
    """Return the bytes that all engines move for each image."""
    return sum(engine_bytes(engine, layers, precision) for engine in config.engines)


@dataclass(frozen=True)
class Tiles:
    """Tiles of one layer that are worth having: smaller ones would be more, larger ones no fewer.

    Attributes:
        rows, columns: of each tile.
        n_inputs, n_sums: words of one channel that it reads, and that it makes.
        n_input_words: words that one input channel reads over the whole map, for each pass.
        n_tiles: how many the map has.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    n_inputs: NDArray[np.int64]
    n_sums: NDArray[np.int64]
    n_input_words: NDArray[np.int64]
    n_tiles: NDArray[np.int64]

    @classmethod
    def of(cls, layer: ConvLayer) -> Tiles:
        """Return the tiles of a layer."""
        sides = (useful_sizes([side], side) for side in (layer.height, layer.width))
        rows, columns = (side.ravel() for side in np.meshgrid(*sides, indexing="ij"))
        n_tiles = -(-layer.height // rows) * -(-layer.width // columns)
        n_inputs = input_tile_words(layer, rows, columns)
        return cls(rows, columns, n_inputs, rows * columns, n_tiles * n_inputs, n_tiles)

    def within(self, input_depth: int, sum_depth: int) -> NDArray[np.intp]:
        """Return the indices of the tiles that fit into banks of some depths and move least for some number of passes."""
        fits = np.flatnonzero((self.n_inputs <= input_depth) & (self.n_sums <= sum_depth))
        order = fits[np.lexsort((self.n_tiles[fits], self.n_input_words[fits]))]
        if not len(order):
            return order
        fewest = np.minimum.accumulate(self.n_tiles[order])
        is_first = np.concatenate(([True], fewest[1:] < fewest[:-1]))
        return np.asarray(order[is_first])

    def words(self, layer: ConvLayer, tiles: NDArray[np.intp], n_passes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the words that a layer moves for each number of passes (rows) and each tile (columns)."""
        inputs = np.multiply.outer(n_passes * layer.in_channels, self.n_input_words[tiles])
        moved: NDArray[np.int64] = inputs + layer.n_weights * self.n_tiles[tiles] + layer.out_channels * layer.n_pixels
        return moved
