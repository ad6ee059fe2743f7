"""Cycles and traffic of layers on all engines that are worth having, as arrays: what every solver looks up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.multi_engine.config import Precision
from silicut.accelerators.multi_engine.cost.arrays import layer_cycles, useful_sizes
from silicut.accelerators.multi_engine.cost.buffers import depth_levels, n_bank_blocks, n_blocks_of_banks
from silicut.accelerators.multi_engine.cost.traffic import Tiles
from silicut.accelerators.multi_engine.layers import ConvLayer


class Tables:
    """Arrays over layers (axis 0) and sizes of engines.

    Attributes:
        inputs, outputs: sizes Tn and Tm worth having for some layer; others behave as the next smaller one.
        cycles: of each layer for each pair of them.
        depths: of half banks, `depth_levels`.
        taps: of the kernel of each layer.
    """

    def __init__(self, layers: Sequence[ConvLayer], precision: Precision, max_macs: int) -> None:
        self._layers, self._precision = tuple(layers), precision
        self.inputs = useful_sizes([layer.in_channels for layer in layers], max_macs)
        self.outputs = useful_sizes([layer.out_channels for layer in layers], max_macs)
        self.cycles = np.stack([layer_cycles(layer, self.inputs[:, None], self.outputs[None, :]) for layer in layers])
        self.depths = depth_levels(layers)
        self.taps = np.array([layer.n_taps for layer in layers])

    def engine_cycles(self, n_inputs: int, n_outputs: int, layers: Sequence[int]) -> int:
        """Return the cycles of some layers on an engine of any size."""
        i, o = self.indices(n_inputs, n_outputs)
        return int(self.cycles[list(layers), i, o].sum())

    def indices(self, n_inputs: int, n_outputs: int) -> tuple[int, int]:
        """Return the indices of the sizes that an engine of any size behaves as."""
        i = int(np.searchsorted(self.inputs, n_inputs, "right")) - 1
        return i, int(np.searchsorted(self.outputs, n_outputs, "right")) - 1

    @cached_property
    def tiles(self) -> tuple[Tiles, ...]:
        """The tiles of every layer that are worth having."""
        return tuple(map(Tiles.of, self._layers))

    @cached_property
    def traffic(self) -> NDArray[np.float64]:
        """Bytes of each layer in its best tiles, by output size, depth of inputs, depth of sums; infinite if none fits."""
        shape = (len(self._layers), len(self.outputs), len(self.depths), len(self.depths))
        found = np.full(shape, np.inf)
        for number, (layer, tiles) in enumerate(zip(self._layers, self.tiles, strict=True)):
            passes = -(-layer.out_channels // self.outputs)
            for i, o in np.ndindex(shape[2:]):
                fitting = tiles.within(int(self.depths[i]), int(self.depths[o]))
                if len(fitting):
                    found[number, :, i, o] = tiles.words(layer, fitting, passes).min(1)
        return found * self._precision.n_bytes

    @cached_property
    def whole_map_levels(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """For each layer, the first depth that holds its whole map, of inputs and of sums; deeper banks save it nothing."""
        words = [(tiles.n_inputs.max(), tiles.n_sums.max()) for tiles in self.tiles]
        inputs, sums = np.searchsorted(self.depths, np.array(words).T)
        return inputs, sums

    def best_tile(self, layer: int, n_outputs: int, input_depth: int, sum_depth: int) -> tuple[int, int]:
        """Return rows and columns of the tile that moves least of those that fit into banks of some depths."""
        tiles, shape = self.tiles[layer], self._layers[layer]
        fitting = tiles.within(input_depth, sum_depth)
        words = tiles.words(shape, fitting, np.array([-(-shape.out_channels // n_outputs)]))[0]
        best = fitting[int(words.argmin())]
        return int(tiles.rows[best]), int(tiles.columns[best])

    def blocks(self, n_inputs: NDArray[np.int64], n_outputs: NDArray[np.int64], n_taps: int) -> NDArray[np.int64]:
        """Return the blocks of engines (axis 0) by depth of inputs and depth of sums.

        Args:
            n_inputs, n_outputs: of each engine.
            n_taps: the greatest kernel of its layers.
        """
        n_in, n_out = np.asarray(n_inputs), np.asarray(n_outputs)
        weights = n_blocks_of_banks(n_in * n_out, n_bank_blocks(n_taps), self._precision)
        inputs = n_blocks_of_banks(n_in[:, None], n_bank_blocks(self.depths), self._precision)
        sums = n_blocks_of_banks(n_out[:, None], n_bank_blocks(self.depths, is_of_sums=True), self._precision)
        found: NDArray[np.int64] = weights[:, None, None] + inputs[:, :, None] + sums[:, None, :]
        return found
