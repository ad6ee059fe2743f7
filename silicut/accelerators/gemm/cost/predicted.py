"""The time that a network is predicted to take, from sizes alone, for many builds at once.

A layer takes as long as its busiest unit, with the passes and the traffic of the loop nests that the compiler chooses
(`silicut.accelerators.gemm.cost.walks`); layers overlap so well that a network takes the sum of its products, each with
the windows of the vector unit that follow it. What units lose by waiting for each other is left out, so small builds take a
little longer; `bench/design_search` says how much. The prediction is never below `silicut.accelerators.gemm.cost.bound`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import DspCore, GemmConfig, LutCore
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
    windows_cycles,
    windows_fit,
)
from silicut.accelerators.gemm.cost.work import Kind, LayerWork

Ints = NDArray[np.int64]
_MAX_ELEMENTS = 2**20  # of one array: builds are taken in parts


@dataclass(frozen=True, eq=False)
class Prediction:
    """What layers are predicted to take.

    Attributes:
        cycles: of each layer with its best split, array (builds, layers); infinite where a buffer is too small for it, and
            0 for windows of the vector unit, which are part of the layer before them.
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
    slots = slots_of(layers)
    found = predicted_with(Options([[slot] for slot in slots]), configs)
    first = [next(i for i, layer in enumerate(layers) if layer is slot.layers[0]) for slot in slots]
    cycles, n_lut = np.zeros((len(configs), len(layers))), np.zeros((len(configs), len(layers)), np.int64)
    cycles[:, first], n_lut[:, first] = found.cycles, found.n_lut
    return Prediction(cycles, n_lut, found.network)


def predicted_with(options: Options, configs: Sequence[GemmConfig]) -> Prediction:
    """Return what slots are predicted to take on builds; with options that were made once, for many calls."""
    size = max(1, _MAX_ELEMENTS // max(1, options.n))
    parts = [_predicted(options, configs[i : i + size]) for i in range(0, len(configs), size)]
    return Prediction(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _predicted(options: Options, configs: Sequence[GemmConfig]) -> tuple[Floats, Ints, Floats]:
    shared = shared_columns(configs)
    lut = options.on_lut([config.lut for config in configs], shared)
    dsp = options.on_dsp([config.dsp for config in configs], shared)
    cycles = options.times(lut, dsp, options.vector(shared), memory_columns(configs))
    best = options.best(cycles, lut.cycles + dsp.cycles)
    return np.take_along_axis(cycles, best, axis=1), options.n_lut[best], options.network(cycles)


@dataclass(frozen=True)
class Slot:
    """Layers that run at the same time: one on the cores, and windows in the vector unit that follow it.

    Attributes:
        layers: a product or depthwise layer first; windows alone where no other layer comes before them.
    """

    layers: tuple[LayerWork, ...]

    @property
    def windows(self) -> tuple[LayerWork, ...]:
        """Those of the vector unit."""
        return tuple(layer for layer in self.layers if layer.kind is Kind.WINDOWS)


def slots_of(layers: Sequence[LayerWork]) -> tuple[Slot, ...]:
    """Return the layers of a network by what runs at the same time."""
    slots: list[list[LayerWork]] = []
    for layer in layers:
        if slots and layer.kind is Kind.WINDOWS:
            slots[-1].append(layer)
        else:
            slots.append([layer])
    return tuple(Slot(tuple(slot)) for slot in slots)


def memory_columns(configs: Sequence[GemmConfig]) -> Any:
    """Return the memories of builds, as columns (builds, 1)."""
    names = ("n_ports", "refresh_every", "refresh_cycles", "has_core_ports")
    numbers = {name: np.array([[getattr(c.memory, name)] for c in configs], np.float64) for name in names}
    return SimpleNamespace(**numbers)


class Options:
    """All that may be chosen for slots once the build is known: the last axis of the arrays of a prediction.

    An option of a slot is a legal split of its filters; where a slot has alternatives (other bits), a split of one of them.

    Args:
        groups: for each slot its alternatives.
        penalties: for each slot what each alternative costs besides its cycles; nothing by default.
        counts: how often each slot is there; once by default.

    Attributes:
        layers: numbers of the layer on the cores, for each option.
        n_lut, n_dsp: filters of each core.
        alternative: of its slot, for each option.
        groups: as given.
        starts: the first option of each slot.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Slot]],
        penalties: Sequence[Sequence[float]] | None = None,
        counts: Sequence[int] | None = None,
    ) -> None:
        flat = [(slot, g, a) for g, group in enumerate(groups) for a, slot in enumerate(group)]
        splits = [_splits(slot.layers[0]) for slot, _, _ in flat]
        self.groups = groups
        self._slot_of = of = np.repeat(np.arange(len(flat)), [len(split) for split in splits])
        self.n, self.n_slots = len(of), len(groups)
        self.layers = _taken(layer_columns([slot.layers[0] for slot, _, _ in flat]), of)
        self.n_lut: Ints = np.concatenate([*splits, np.zeros(0, np.int64)]).astype(np.int64)
        self.n_dsp: Ints = np.where(self.layers.is_product, self.layers.out_channels - self.n_lut, 0)
        group_of = np.array([g for _, g, _ in flat], np.int64)[of]
        self.alternative = np.array([a for _, _, a in flat], np.int64)[of]
        self.starts = np.searchsorted(group_of, np.arange(len(groups)))
        self._counts = np.ones(len(groups)) if counts is None else np.array(counts, np.float64)
        given = [[0.0] * len(group) for group in groups] if penalties is None else penalties
        self._penalty = np.array([given[g][a] for _, g, a in flat])[of]
        self._windows = layer_columns([layer for slot, _, _ in flat for layer in slot.windows])
        members = [np.full(len(slot.windows), i) for i, (slot, _, _) in enumerate(flat)]
        self._slot_of_windows = np.concatenate([*members, np.zeros(0, np.int64)]).astype(np.int64)

    @classmethod
    def merged(cls, groups: Sequence[Sequence[Slot]], penalties: Sequence[Sequence[float]] | None = None) -> Options:
        """Return the options of slots of which equal ones are looked at once; `Prediction.cycles` then has fewer columns."""
        numbers: dict[Any, list[int]] = {}
        for i, group in enumerate(groups):
            key = (tuple(map(_nameless, group)), None if penalties is None else tuple(penalties[i]))
            numbers.setdefault(key, []).append(i)
        first = [own[0] for own in numbers.values()]
        chosen = None if penalties is None else [penalties[i] for i in first]
        return cls([groups[i] for i in first], chosen, [len(own) for own in numbers.values()])

    def on_lut(self, cores: Sequence[LutCore | None], shared: Any) -> CoreWalk:
        """Return what bit-serial cores do with each option."""
        return product_walk(self.layers, self.n_lut, lut_columns(cores, self.layers), shared)

    def on_dsp(self, cores: Sequence[DspCore | None], shared: Any) -> CoreWalk:
        """Return what DSP cores do with each option."""
        core = dsp_columns(cores, self.layers)
        found = product_walk(self.layers, self.n_dsp, core, shared)
        if not self.layers.is_depthwise.any():
            return found
        own = depthwise_walk(self.layers, core, shared)
        names = ("cycles", "words", "walks", "shares")
        return CoreWalk(*(np.where(self.layers.is_depthwise, getattr(own, n), getattr(found, n)) for n in names))

    def vector(self, shared: Any) -> Floats:
        """Return what the vector unit does beside each option, infinite where its buffers are too small."""
        cycles = np.where(windows_fit(self._windows, shared), windows_cycles(self._windows, shared), np.inf)
        slots = [cycles[:, self._slot_of_windows == slot].sum(1) for slot in range(int(self._slot_of[-1]) + 1)]
        return np.stack(slots, axis=1)[:, self._slot_of]

    @cached_property
    def _map_words(self) -> tuple[Any, Any]:
        """Return the words of one fetch of the map, and of all else that cores do not move alone."""
        (fetched, written), (read, made) = map_words(self.layers), map_words(self._windows)
        beside = np.bincount(self._slot_of_windows, read + made, int(self._slot_of[-1]) + 1)[self._slot_of]
        is_windows = self.layers.is_windows
        return np.where(is_windows, 0, fetched), np.where(is_windows, 0, written) + beside

    def times(self, lut: CoreWalk, dsp: CoreWalk, vector: Floats, memory: Any) -> Floats:
        """Return the cycles of each option: of its busiest unit. Cores and memories broadcast."""
        fetched, rest = self._map_words
        moved = fetched * np.where(lut.shares & dsp.shares, 1, lut.walks + dsp.walks) + rest
        words = moved + lut.words + dsp.words
        if np.any(memory.has_core_ports):
            own = moved + 2 * np.maximum(lut.words, dsp.words)
            words = np.where(memory.has_core_ports, np.maximum(words, own), words)
        beats = -(-words // memory.n_ports)
        if np.any(memory.refresh_every):
            pauses = np.where(memory.refresh_every > 0, beats // np.maximum(memory.refresh_every, 1), 0)
            beats = beats + memory.refresh_cycles * pauses
        found: Floats = np.maximum(np.maximum(lut.cycles, dsp.cycles), np.maximum(beats, vector))
        return found

    def best(self, cycles: Floats, work: Floats) -> Ints:
        """Return the option of each layer that costs least; among equals the one with the least work of both cores."""
        stops, columns = [*self.starts[1:], self.n], []
        cost = cycles + self._penalty
        for start, stop in zip(self.starts, stops, strict=True):
            ties = cost[:, start:stop] <= cost[:, start:stop].min(axis=1, keepdims=True)
            columns.append(start + np.where(ties, work[:, start:stop], np.inf).argmin(axis=1))
        return np.stack(columns, axis=1)

    def network(self, cycles: Floats) -> Floats:
        """Return what all slots together cost at least, array (builds,)."""
        found: Floats = np.minimum.reduceat(cycles + self._penalty, self.starts, axis=-1) @ self._counts
        return found


def _nameless(slot: Slot) -> tuple[LayerWork, ...]:
    return tuple(replace(layer, name="") for layer in slot.layers)


def _splits(layer: LayerWork) -> list[int]:
    if layer.kind is not Kind.PRODUCT:
        return [0]
    return [*range(0, layer.out_channels, SPLIT_STEP), layer.out_channels]


def _taken(columns: Any, of: Ints) -> Any:
    """Return the numbers of layers for each option."""
    return SimpleNamespace(**{name: array[of] for name, array in vars(columns).items()})
