"""The time that a network is predicted to take, from sizes alone, for many builds at once.

A layer takes as long as its busiest unit, with the passes and the traffic of the loop nests that the compiler chooses
(`silicut.accelerators.gemm.cost.walks`); layers overlap so well that a network takes the sum of its products, and windows of
the vector unit hide behind their neighbours. What units lose by waiting for each other is left out, so small builds take a
little longer; `bench/design_search` says how much. The prediction is never below `silicut.accelerators.gemm.cost.bound`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.cost.bound import layer_columns
from silicut.accelerators.gemm.cost.split import SPLIT_STEP
from silicut.accelerators.gemm.cost.walks import (
    CoreWalk,
    Floats,
    depthwise_walk,
    dsp_columns,
    lut_columns,
    map_words,
    product_walk,
    shared_columns,
    windows_fit,
)
from silicut.accelerators.gemm.cost.work import Kind, LayerWork

Ints = NDArray[np.int64]
_MAX_ELEMENTS = 2**20  # of one array: builds are taken in parts


@dataclass(frozen=True, eq=False)
class Prediction:
    """What layers are predicted to take.

    Attributes:
        cycles: of each layer with its best split, array (builds, layers); infinite where a buffer is too small for it.
        n_lut: filters of the bit-serial core at which that is so, array (builds, layers).
        network: of all layers together, array (builds,).
    """

    cycles: Floats
    n_lut: Ints
    network: Floats


def predicted(layers: Sequence[LayerWork], configs: Sequence[GemmConfig]) -> Prediction:
    """Return what layers are predicted to take on builds, each with the best legal split of its filters.

    Args:
        layers: of one network, or any (`Prediction.network` then means nothing).
        configs: the builds. Depthwise layers need a DSP core.
    """
    options = Options(layers)
    size = max(1, _MAX_ELEMENTS // max(1, options.n))
    parts = [_predicted(options, configs[i : i + size]) for i in range(0, len(configs), size)]
    return Prediction(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _predicted(options: Options, configs: Sequence[GemmConfig]) -> tuple[Floats, Ints, Floats]:
    shared = shared_columns(configs)
    memory = memory_columns(configs)
    lut, dsp = options.on_lut(configs, shared), options.on_dsp(configs, shared)
    found = options.times(lut, dsp, options.vector(shared), memory)
    best = options.best(found.cycles, lut.cycles + dsp.cycles)
    chosen = [np.take_along_axis(array, best, axis=1) for array in (found.cycles, found.memory, found.vector)]
    chosen_cycles, chosen_memory, chosen_vector = chosen
    network = np.maximum.reduce([chosen_cycles.sum(1), chosen_memory.sum(1), chosen_vector.sum(1)])
    return np.where(options.is_windows, chosen_vector, chosen_cycles), options.n_lut[best], network


def memory_columns(configs: Sequence[GemmConfig]) -> Any:
    """Return the memories of builds, as columns (builds, 1)."""
    names = ("n_ports", "refresh_every", "refresh_cycles", "has_core_ports")
    numbers = {name: np.array([[getattr(c.memory, name)] for c in configs], np.float64) for name in names}
    return SimpleNamespace(**numbers)


@dataclass(frozen=True, eq=False)
class Times:
    """Cycles of each option: of the busiest unit, of the memory, of the vector unit. Arrays (builds, options)."""

    cycles: Floats
    memory: Floats
    vector: Floats


class Options:
    """All legal splits of all layers, the last axis of the arrays of a prediction.

    Attributes:
        layers: numbers of the layer of each option.
        n_lut, n_dsp: filters of each core.
        starts: the first option of each layer.
        is_windows: of each layer, whether it runs in the vector unit.
    """

    def __init__(self, layers: Sequence[LayerWork]) -> None:
        splits = [_splits(layer) for layer in layers]
        of = np.repeat(np.arange(len(layers)), [len(split) for split in splits])
        self.n = len(of)
        self.layers = _taken(layer_columns(layers), of)
        self.n_lut: Ints = np.concatenate([*splits, np.zeros(0, np.int64)]).astype(np.int64)
        self.n_dsp: Ints = np.where(self.layers.is_product, self.layers.out_channels - self.n_lut, 0)
        self.starts = np.searchsorted(of, np.arange(len(layers)))
        self.is_windows = np.array([layer.kind is Kind.WINDOWS for layer in layers])

    def on_lut(self, configs: Sequence[GemmConfig], shared: Any) -> CoreWalk:
        """Return what the bit-serial cores do with each option."""
        return product_walk(self.layers, self.n_lut, lut_columns(configs, self.layers), shared)

    def on_dsp(self, configs: Sequence[GemmConfig], shared: Any) -> CoreWalk:
        """Return what the DSP cores do with each option."""
        core = dsp_columns(configs, self.layers)
        found = product_walk(self.layers, self.n_dsp, core, shared)
        if not self.layers.is_depthwise.any():
            return found
        own = depthwise_walk(self.layers, core, shared)
        names = ("cycles", "words", "walks")
        return CoreWalk(*(np.where(self.layers.is_depthwise, getattr(own, n), getattr(found, n)) for n in names))

    def vector(self, shared: Any) -> Floats:
        """Return what the vector unit does, infinite where its buffers are too small."""
        layers = self.layers
        taps = layers.kernel_height * layers.kernel_width
        cycles = layers.m * -(-layers.out_channels // shared.lanes) * taps
        return np.where(layers.is_windows, np.where(windows_fit(layers, shared), cycles, np.inf), 0.0)

    @cached_property
    def _map_words(self) -> tuple[Any, Any]:
        return map_words(self.layers)

    def times(self, lut: CoreWalk, dsp: CoreWalk, vector: Floats, memory: Any) -> Times:
        """Return what each option takes; cores and memory broadcast."""
        fetched, written = self._map_words
        shares = (lut.walks <= 1) & (dsp.walks <= 1)
        walks = np.where(shares, 1, lut.walks + dsp.walks)
        words = fetched * walks + written + lut.words + dsp.words
        own = fetched * walks + written + 2 * np.maximum(lut.words, dsp.words)
        beats = -(-np.where(memory.has_core_ports, np.maximum(words, own), words) // memory.n_ports)
        pauses = np.where(memory.refresh_every > 0, beats // np.maximum(memory.refresh_every, 1), 0)
        moved = beats + pauses * memory.refresh_cycles
        busiest = np.maximum(np.maximum(lut.cycles, dsp.cycles), moved)
        cycles = np.where(self.layers.is_windows, np.where(np.isfinite(vector), 0.0, np.inf), busiest)
        return Times(*np.broadcast_arrays(cycles, moved, vector))

    def best(self, cycles: Floats, work: Floats) -> Ints:
        """Return the option of each layer that takes least; among equals the one with the least work of both cores."""
        stops = [*self.starts[1:], self.n]
        columns = []
        for start, stop in zip(self.starts, stops, strict=True):
            ties = cycles[:, start:stop] <= cycles[:, start:stop].min(axis=1, keepdims=True)
            columns.append(start + np.where(ties, work[:, start:stop], np.inf).argmin(axis=1))
        return np.stack(columns, axis=1)

    def sums(self, cycles: Floats) -> Floats:
        """Return the least that all layers together take, array (builds,)."""
        return np.minimum.reduceat(cycles, self.starts, axis=-1).sum(axis=-1)


def _splits(layer: LayerWork) -> list[int]:
    if layer.kind is not Kind.PRODUCT:
        return [0]
    return [*range(0, layer.out_channels, SPLIT_STEP), layer.out_channels]


def _taken(columns: Any, of: Ints) -> Any:
    """Return the numbers of layers for each option."""
    return SimpleNamespace(**{name: array[of] for name, array in vars(columns).items()})
