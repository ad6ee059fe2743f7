"""Blocks of memory (BRAM18) of engines, by corner rules that are ours.

An engine has banks for what it multiplies in a cycle: Tn of inputs, Tn x Tm of weights, Tm of sums. Every bank is there
twice, so that one half is filled or emptied while the other is used. A block has 512 words of 36 bits, one port to write and
one to read.

- A half of at most 10 words is held in look-up tables and takes no block.
- Both halves share a block where they fit; otherwise each takes ceil(words / 512) blocks.
- Sums are read and written in the same cycle while the other half is emptied: a bank of them takes at least two blocks.
- Numbers of 16 bits lie in pairs in the 36 bits: two banks take the blocks of one.

With these rules the published engines for AlexNet in floating point, <7, 64> and <9, 64> with input tiles of 39 x 39 words
and outputs of 8 x 8, take 618 and 758 blocks; these are also the paper's figures, as we recall them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.multi_engine.config import EngineConfig, MultiEngineConfig, PlacedLayer, Precision
from silicut.accelerators.multi_engine.layers import ConvLayer, by_name

BLOCK_WORDS = 512
"""Words of 36 bits of a BRAM18."""
LUT_WORDS = 10
"""Words of a half bank that look-up tables hold."""


def n_bank_blocks(n_words: Any, is_of_sums: bool = False) -> Any:
    """Return the blocks of a bank whose halves have some words each; of an array, element by element.

    Example:
        >>> [int(n_bank_blocks(n)) for n in (9, 121, 256, 257, 513)], int(n_bank_blocks(64, is_of_sums=True))
        ([0, 1, 1, 2, 4], 2)
    """
    words = np.asarray(n_words)
    apart = 2 * -(-words // BLOCK_WORDS)
    shared = 2 if is_of_sums else 1
    return np.where(words <= LUT_WORDS, 0, np.where(2 * words <= BLOCK_WORDS, shared, apart))


def n_blocks_of_banks(n_banks: Any, blocks_of_one: Any, precision: Precision) -> Any:
    """Return the blocks of several banks, as many of them side by side as a block has room for."""
    return -(-n_banks // precision.n_banks_per_block) * blocks_of_one


def input_tile_words(layer: ConvLayer, rows: Any, columns: Any) -> Any:
    """Return the words of one input channel that a tile of the output reads."""
    return ((rows - 1) * layer.strides[0] + layer.kernel[0]) * ((columns - 1) * layer.strides[1] + layer.kernel[1])


def engine_bram18(engine: EngineConfig, layers: Sequence[ConvLayer], precision: Precision) -> int:
    """Return the blocks of an engine, whose banks are as deep as the tiles of its layers need."""
    known = by_name(layers)
    inputs = max(int(input_tile_words(known[p.name], p.tile_rows, p.tile_columns)) for p in engine.layers)
    sums = max(_sums(placed) for placed in engine.layers)
    taps = max(known[placed.name].n_taps for placed in engine.layers)
    blocks = (
        n_blocks_of_banks(engine.n_inputs, n_bank_blocks(inputs), precision),
        n_blocks_of_banks(engine.n_macs_per_cycle, n_bank_blocks(taps), precision),
        n_blocks_of_banks(engine.n_outputs, n_bank_blocks(sums, is_of_sums=True), precision),
    )
    return int(sum(blocks))


def _sums(placed: PlacedLayer) -> int:
    return placed.tile_rows * placed.tile_columns


def n_bram18(config: MultiEngineConfig, layers: Sequence[ConvLayer], precision: Precision) -> int:
    """Return the blocks of all engines."""
    return sum(engine_bram18(engine, layers, precision) for engine in config.engines)


def depth_levels(layers: Sequence[ConvLayer]) -> NDArray[np.int64]:
    """Return the depths of half banks that are worth having for any tile of some layers.

    These are what look-up tables hold, half a block, and 1, 2, 3, 4, 6, 8, 12, 16, 24 ... whole blocks, up to the first that
    holds the whole map of every layer.
    """
    most = max(int(input_tile_words(layer, layer.height, layer.width)) for layer in layers)
    levels = [LUT_WORDS, BLOCK_WORDS // 2, BLOCK_WORDS]
    doubled = [2, 3]
    while levels[-1] < most:
        levels += [BLOCK_WORDS * n for n in doubled]
        doubled = [2 * n for n in doubled]
    return np.array(levels, np.int64)
