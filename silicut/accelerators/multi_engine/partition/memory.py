"""Tiles of the engines of a partition: fewest bytes moved for blocks of memory.

Banks of an engine may have few depths (`depth_levels`); for each pair of depths, of inputs and of sums, every layer takes
the tile that moves least. So an engine has a list of choices, more blocks against fewer bytes, and those of all engines are
merged: the best choice within any number of blocks is exact over these depths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.multi_engine.config import EngineConfig, MultiEngineConfig, PlacedLayer
from silicut.accelerators.multi_engine.partition.problem import Engine, Partition, PartitionProblem


@dataclass(frozen=True)
class MemoryChoices:
    """What an engine may take of memory: each choice has more blocks and fewer bytes than the one before.

    Attributes:
        n_blocks: BRAM18.
        n_bytes: moved for each image.
        depths: indices into the depth levels, of inputs and of sums, for each choice.
    """

    n_blocks: NDArray[np.int64]
    n_bytes: NDArray[np.float64]
    depths: NDArray[np.int64]


def memory_choices(problem: PartitionProblem, engine: Engine) -> MemoryChoices:
    """Return the choices of an engine."""
    tables, layers = problem.tables, list(engine.layers)
    _, size = tables.indices(engine.n_inputs, engine.n_outputs)
    sizes = np.array([engine.n_inputs]), np.array([engine.n_outputs])
    n_blocks = tables.blocks(*sizes, int(tables.taps[layers].max()))[0]
    n_bytes = tables.traffic[layers, size].sum(0)
    chosen = fewer_for_more(n_blocks.ravel(), n_bytes.ravel())
    depths = np.stack(np.unravel_index(chosen, n_blocks.shape), 1)
    return MemoryChoices(n_blocks.ravel()[chosen], n_bytes.ravel()[chosen], depths)


def fewer_for_more(n_blocks: NDArray[np.int64], n_bytes: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the indices of the choices that no other one dominates, by ascending blocks; infinite bytes are none."""
    order = np.lexsort((n_bytes, n_blocks))
    least = np.minimum.accumulate(n_bytes[order])
    is_better = np.concatenate((np.isfinite(least[:1]), least[1:] < least[:-1]))
    return np.asarray(order[is_better])


@dataclass(frozen=True)
class MemoryUse:
    """What all engines take of memory.

    Attributes:
        n_bram18: blocks.
        n_bytes: moved for each image.
        depths: of each engine, words of a half bank of inputs and of sums.
    """

    n_bram18: int
    n_bytes: int
    depths: tuple[tuple[int, int], ...]

    def least_cycles(self, bytes_per_cycle: float | None) -> int:
        """Return the cycles in which a memory moves the bytes of an image; 0 for any number of bytes a cycle."""
        return 0 if bytes_per_cycle is None else math.ceil(self.n_bytes / bytes_per_cycle)


def least_traffic(problem: PartitionProblem, partition: Partition, n_bram18: int | None) -> MemoryUse:
    """Return the choice of all engines that moves fewest bytes within some blocks.

    Args:
        problem: that the partition belongs to.
        partition: engines.
        n_bram18: blocks at most; None for any number. If no choice has so few, the one with fewest blocks is returned.
    """
    choices = [memory_choices(problem, engine) for engine in partition]
    blocks, moved, picks = _merged(choices, n_bram18)
    fits = np.flatnonzero(blocks <= n_bram18) if n_bram18 is not None else np.arange(len(blocks))
    best = int(fits[-1]) if len(fits) else 0
    levels = problem.tables.depths
    depths = tuple(
        (int(levels[i]), int(levels[o]))
        for each, pick in zip(choices, picks[best], strict=True)
        for i, o in [each.depths[pick]]
    )
    return MemoryUse(int(blocks[best]), int(moved[best]), depths)


def _merged(
    choices: Sequence[MemoryChoices], n_bram18: int | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return blocks and bytes of all sums of choices that none dominates, and the choice of each engine (columns)."""
    blocks, moved, picks = np.zeros(1, np.int64), np.zeros(1), np.zeros((1, 0), np.int64)
    least_left = sum(int(each.n_blocks[0]) for each in choices)
    for each in choices:
        least_left -= int(each.n_blocks[0])
        sums = np.add.outer(blocks, each.n_blocks).ravel()
        kept = fewer_for_more(sums, np.add.outer(moved, each.n_bytes).ravel())
        if n_bram18 is not None:  # what can be completed, and the smallest in case that nothing can
            kept = kept[: max(1, int((sums[kept] + least_left <= n_bram18).sum()))]
        before, new = np.divmod(kept, len(each.n_blocks))
        blocks, moved = sums[kept], moved[before] + each.n_bytes[new]
        picks = np.concatenate((picks[before], new[:, None]), 1)
    return blocks, moved, picks


def with_tiles(problem: PartitionProblem, partition: Partition, use: MemoryUse) -> tuple[EngineConfig, ...]:
    """Return the engines of a partition with the tiles of their layers."""
    return tuple(
        EngineConfig(
            n_inputs=engine.n_inputs,
            n_outputs=engine.n_outputs,
            layers=tuple(_placed(problem, engine, layer, *depths) for layer in engine.layers),
        )
        for engine, depths in zip(partition, use.depths, strict=True)
    )


def _placed(problem: PartitionProblem, engine: Engine, layer: int, input_depth: int, sum_depth: int) -> PlacedLayer:
    rows, columns = problem.tables.best_tile(layer, engine.n_outputs, input_depth, sum_depth)
    return PlacedLayer(name=problem.layers[layer].name, tile_rows=rows, tile_columns=columns)


def configured(
    problem: PartitionProblem, partition: Partition, use: MemoryUse, *, network: str, precision: str, clock_hz: float
) -> MultiEngineConfig:
    """Return the configuration of a partition."""
    engines = with_tiles(problem, partition, use)
    return MultiEngineConfig(network=network, precision=precision, clock_hz=clock_hz, engines=engines)
