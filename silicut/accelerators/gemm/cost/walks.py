"""How the cores walk over layers, from sizes alone: passes, traffic, busy cycles, for many layers and builds at once.

The compiler plans one layer of one build; this restates its rules as arithmetic on arrays, so that thousands of builds can
be compared in a second. It is no bound: it follows the loop nests that the compiler would choose, and leaves out only what
units lose by waiting for each other.

An *option* is a layer with a number of filters for each core. Options are the last axis of every array; what differs
between builds comes as columns (builds, 1), so results have the shape (builds, options).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import GRANULE, DspCore, GemmConfig, LutCore

Floats = NDArray[np.float64]

_WORD_BITS = 64
_PAD = 8  # channels of a slab are filled up to a multiple of it
_CHUNKS_HELD = 4
_ADDED_CHANNELS = 64  # of a slab that is added later
_MOST_ROWS = 128


@dataclass(frozen=True)
class CoreWalk:
    """What one core does with its filters of each option.

    Attributes:
        cycles: that its busiest stage takes; infinite where a buffer is too small, 0 where it has no filters.
        words: of 64 bits that it alone moves: weights, and what it adds.
        walks: how often it fetches the map; 0 where it has no filters.
        shares: whether one fetch may serve the other core as well.
    """

    cycles: Floats
    words: Floats
    walks: Floats
    shares: Any

    def at(self, rows: Any) -> CoreWalk:
        """Return those of some builds."""
        return CoreWalk(self.cycles[rows], self.words[rows], self.walks[rows], self.shares[rows])


def shared_columns(configs: Sequence[GemmConfig]) -> Any:
    """Return what builds have besides their cores, as columns (builds, 1)."""
    return SimpleNamespace(
        lanes=_column([config.n_lanes for config in configs]),
        vector_lanes=_column([config.n_vector_lanes for config in configs]),
        vector_word_bits=_column([config.vector_word_bits for config in configs]),
        fill_bits=_column([config.fill_bits for config in configs]),
        feature_words=_column([config.buffers.feature_words for config in configs]),
        residual_words=_column([config.buffers.residual_words for config in configs]),
        output_words=_column([config.buffers.output_words for config in configs]),
        entries=_column([config.buffers.table_entries for config in configs]),
    )


def lut_columns(cores: Sequence[LutCore | None], layers: Any) -> Any:
    """Return the bit-serial cores in the terms that both kinds share; a core that is not there has no rows."""
    numbers = _numbers(cores, "n_rows n_columns word_bits lhs_depth rhs_depth n_accumulator_banks latency_cycles")
    return SimpleNamespace(
        **numbers,
        tile=numbers["n_columns"],
        word=numbers["word_bits"],
        planes=layers.a_bits,
        lines=layers.w_bits,
        word_cycles=layers.a_bits * layers.w_bits,
        weight_bits=layers.w_bits,
        buffer_bits=layers.a_bits,
        fill_planes=layers.a_bits,
        fill_element=1,
        line_words=_ceil(numbers["n_columns"] * numbers["word_bits"], _WORD_BITS),
        line_bits=numbers["word_bits"],
    )


def dsp_columns(cores: Sequence[DspCore | None], layers: Any) -> Any:
    """Return the DSP cores in the terms that both kinds share; a core that is not there has no rows."""
    names = "n_rows n_outputs n_inputs n_passes n_columns lhs_depth rhs_depth n_accumulator_banks latency_cycles"
    numbers = _numbers(cores, names)
    cycles = {bits: _column([core.n_tile_cycles(bits) if core else 1 for core in cores]) for bits in (4, 8)}
    return SimpleNamespace(
        **numbers,
        tile=numbers["n_outputs"],
        word=numbers["n_inputs"] * 8 / layers.dsp_bits,
        planes=1,
        lines=numbers["n_passes"],
        word_cycles=np.where(layers.dsp_bits == 4, cycles[4], cycles[8]),
        weight_bits=layers.dsp_bits,
        buffer_bits=layers.dsp_bits,
        fill_planes=1,
        fill_element=layers.dsp_bits,
        line_words=_ceil(numbers["n_columns"] * numbers["n_inputs"] * 8, _WORD_BITS),
        line_bits=numbers["n_inputs"] * 8 / numbers["n_passes"],
    )


def _numbers(cores: Sequence[Any], names: str) -> dict[str, Floats]:
    """Return attributes of cores as columns; 1 for a core that is not there, but 0 rows."""
    absent = {"n_rows": 0}
    return {
        name: _column([getattr(core, name) if core else absent.get(name, 1) for core in cores]) for name in names.split()
    }


def _column(numbers: Sequence[float]) -> Floats:
    return np.array(numbers, np.float64)[:, None]


def _ceil(a: Any, b: Any) -> Any:
    return -(-a // b)


def product_walk(layers: Any, n: Any, core: Any, shared: Any) -> CoreWalk:
    """Return what a core does with `n` filters of products.

    Args:
        layers: columns of numbers (options,), see `silicut.accelerators.gemm.cost.bound.layer_columns`.
        n: filters, array (options,).
        core: of `lut_columns` or `dsp_columns`.
        shared: of `shared_columns`.
    """
    nest = _nest(layers, n, core, shared)
    rings = _Rings(layers, core, shared, nest)
    fills = _fill_cycles(layers, core, shared)
    whole, rest = n // core.tile, n % core.tile
    result = layers.m * (whole * _ceil(core.tile, shared.lanes) + _ceil(rest, shared.lanes))
    execute = nest.n_tiles * nest.n_stripes * nest.n_words * core.word_cycles
    in_turn = (execute + result + nest.n_tiles * nest.n_stripes * core.latency_cycles) // core.n_accumulator_banks
    cycles = np.maximum.reduce(np.broadcast_arrays(execute, result, in_turn, nest.passes * layers.m * fills))
    lines = nest.n_words * core.lines * np.where(nest.is_reloaded, nest.n_stripes, 1)
    weights = lines * (whole * core.line_words + _ceil(rest * core.line_bits, _WORD_BITS))
    words = weights + n + rings.residual_words
    is_used = n > 0
    fits = rings.fit & nest.fits & (core.n_rows > 0)
    return CoreWalk(
        cycles=np.where(is_used, np.where(fits, cycles, np.inf), 0.0),
        words=np.where(is_used, words, 0.0),
        walks=np.where(is_used, rings.walks, 0.0),
        shares=~is_used | rings.shares,
    )


def _nest(layers: Any, n: Any, core: Any, shared: Any) -> Any:
    """Return the loop nests: tiles, stripes, words of a row, whether rows are cut, chunks of tiles, passes over the map."""
    rows = np.maximum(core.n_rows, 1)
    n_tiles, n_stripes, n_words = _ceil(n, core.tile), _ceil(layers.m, rows), _ceil(layers.k, core.word)
    tile_lines = n_words * core.lines
    stripe_words = n_words * core.planes
    fits_whole = (stripe_words <= core.lhs_depth) & (tile_lines <= core.rhs_depth)
    fits_table = _ceil(n, _PAD) * _PAD <= shared.entries
    fits_rhs = (n_tiles * tile_lines <= core.rhs_depth) & fits_table
    fits_lhs = n_stripes * stripe_words <= core.lhs_depth
    weight_bits = n * n_words * core.word * core.weight_bits
    map_bits = layers.in_height * layers.in_width * layers.in_channels * layers.a_bits
    keeps = fits_lhs & (n_tiles > 1) & ~(fits_rhs & (weight_bits < map_bits))
    chunk = _chunk_tiles(layers, n, core, shared, (n_tiles, np.maximum(tile_lines, 1), fits_table, keeps, fits_rhs))
    one_stripe = (2 * stripe_words > core.lhs_depth) & (layers.m > rows)
    one_tile = (2 * tile_lines > core.rhs_depth) & (n > core.tile)
    is_cut = ~fits_whole | (~keeps & (chunk <= 1) & (one_stripe | one_tile) & (n_words > 1))
    n_chunks = np.where(is_cut, n_tiles, _ceil(n_tiles, chunk))
    return SimpleNamespace(
        n=n,
        n_tiles=n_tiles,
        n_stripes=n_stripes,
        n_words=n_words,
        is_reloaded=is_cut & (tile_lines > core.rhs_depth),
        n_chunks=n_chunks,
        chunk_filters=np.minimum(np.where(is_cut, 1, chunk) * core.tile, n),
        keeps=keeps & ~is_cut,
        passes=np.where(keeps & ~is_cut, 1, n_chunks),
        fits=(np.minimum(core.tile, n) <= shared.entries) & (core.planes <= core.lhs_depth) & (core.lines <= core.rhs_depth),
    )


def _chunk_tiles(layers: Any, n: Any, core: Any, shared: Any, nest: tuple[Any, Any, Any, Any, Any]) -> Any:
    """Return the tiles whose weights lie in the banks together, where rows are whole."""
    n_tiles, tile_lines, fits_table, keeps, fits_rhs = nest
    few = np.maximum(1, core.rhs_depth // _CHUNKS_HELD // tile_lines)
    added = _ceil(layers.out_width * _added_channels(np.minimum(few * core.tile, n), n), GRANULE) * layers.added_bits
    held = np.where(added * layers.out_height > shared.residual_words, 2, _CHUNKS_HELD)
    most = np.where(fits_table, n_tiles, np.maximum(1, shared.entries // 2 // core.tile))
    half = np.maximum(1, np.minimum(most, core.rhs_depth // 2 // tile_lines))
    group = _PAD / np.gcd(_PAD, core.tile.astype(np.int64))
    grouped = np.where(half >= group, half // group * group, np.where(group <= core.rhs_depth // tile_lines, group, half))
    few = np.minimum(n_tiles, np.maximum(1, core.rhs_depth // held // tile_lines))
    return np.maximum(1, np.where(keeps, few, np.where(fits_rhs, n_tiles, grouped)))


class _Rings:
    """Rows that the buffers hold, and what is fetched again because they do not hold all.

    Attributes:
        fit: whether every buffer holds the rows that are needed at least.
        walks: how often the map is fetched.
        shares: whether one fetch may serve both cores: no second walk, nor a core that needs all rows early.
        residual_words: words of the tensor that is added, as often as they are fetched.
    """

    def __init__(self, layers: Any, core: Any, shared: Any, nest: Any) -> None:
        rows = _rows_of_stripe(layers, np.maximum(core.n_rows, 1))
        needed, height, words = _feature_rows(layers, rows, core.buffer_bits)
        most = shared.feature_words // words
        held = np.where((nest.n_chunks > 1) & ~nest.keeps & (most >= height), height, 0)
        again = (nest.passes > 1) & (np.maximum(held, _half(most, needed, height)) < height)
        self.walks = np.where(again, nest.passes, 1)
        out_fits = _output_fits(layers, shared, nest, rows)
        channels = _added_channels(nest.chunk_filters, nest.n)
        added = _ceil(layers.out_width * channels, GRANULE) * layers.added_bits
        most_added = shared.residual_words // np.maximum(added, 1)
        again = (nest.n_chunks > 1) & (most_added < layers.out_height)
        once = _ceil(layers.out_width * _padded(nest.n), GRANULE) * layers.added_bits
        self.residual_words = layers.out_height * np.where(again, np.maximum(nest.n_chunks * added, once), once)
        self.fit = (most >= needed) & out_fits & ((layers.added_bits == 0) | (most_added >= rows))
        is_ahead = nest.keeps & (nest.n_chunks > 1) & (most < 2 * height)
        self.shares = (self.walks <= 1) & ~is_ahead


def _half(most: Any, needed: Any, every: Any) -> Any:
    """Return the rows of a ring that shares its buffer with the next layer's."""
    return np.minimum(every, np.maximum(needed, np.minimum(most // 2, _MOST_ROWS)))


def _added_channels(chunk_filters: Any, n: Any) -> Any:
    """Return the channels of the slabs that hold what is added to a chunk of filters."""
    return np.minimum(_padded(n), np.maximum(_ADDED_CHANNELS, _padded(chunk_filters)))


def _padded(n: Any) -> Any:
    return _ceil(n, _PAD) * _PAD


def _rows_of_stripe(layers: Any, pixels: Any) -> Any:
    """Return over how many output rows a stripe of pixels spreads at most, stripes beginning at multiples of it."""
    step = np.gcd(pixels.astype(np.int64), layers.out_width)
    return np.minimum(layers.out_height, 1 + _ceil(np.maximum(pixels - step, 0), layers.out_width))


def _feature_rows(layers: Any, out_rows: Any, bits: Any, n_slabs: int = 1) -> tuple[Any, Any, Any]:
    """Return the input rows that some output rows need, all rows, and the words of one; of an input as the host packs it.

    Layers channel by channel take one slab after the other; two slabs, those of both cores, are taken to be equal.
    """
    packed = layers.may_be_unrolled
    height = np.where(packed, layers.out_height, layers.in_height)
    channels = _padded(_ceil(layers.in_channels, n_slabs))
    elements = layers.in_width * np.where(packed, layers.in_channels * layers.kernel_height, channels)
    needed = np.where(packed, out_rows, (out_rows - 1) * layers.stride_x + layers.kernel_height)
    return np.minimum(height, needed), height, _ceil(elements, GRANULE) * bits


def _output_fits(layers: Any, shared: Any, nest: Any, rows: Any) -> Any:
    """Return whether the output buffer holds a chunk's rows: of a stripe, or of the whole map where chunks follow."""
    words = _ceil(layers.out_width * _padded(nest.chunk_filters), GRANULE) * (layers.out_bits + layers.copy_bits)
    return words * rows <= shared.output_words


def _fill_cycles(layers: Any, core: Any, shared: Any) -> Any:
    """Return the cycles in which the window unit makes one row of the matrix."""
    channels = layers.in_channels // layers.n_groups
    segment = layers.kernel_width * channels * core.fill_element
    by_rows = layers.kernel_height * _ceil(segment, shared.fill_bits)
    at_once = _ceil(layers.kernel_height * segment, shared.fill_bits)
    return core.fill_planes * np.where(layers.may_be_unrolled, at_once, by_rows)


def depthwise_walk(layers: Any, core: Any, shared: Any) -> CoreWalk:
    """Return what DSP cores do with depthwise layers."""
    columns, kh, kw = np.maximum(core.n_columns, 1), layers.kernel_height, layers.kernel_width
    lanes = core.n_inputs * 8 // layers.dsp_bits
    taps = kh * _ceil(kw, columns)
    blocks = _ceil(layers.out_channels, lanes)
    per_block = np.minimum(core.rhs_depth // taps, shared.entries // np.minimum(lanes, layers.out_channels))
    n_chunks = _ceil(blocks, np.maximum(per_block, 1))
    needed, height, words = _feature_rows(layers, 1, layers.dsp_bits, n_slabs=2)
    most = shared.feature_words // words
    rows = np.maximum(1, np.minimum(core.n_rows, (most - kh) // layers.stride_x + 1))
    steps = _ceil(layers.out_height, rows)
    n_columns = (layers.out_width - 1) * layers.stride_x + kw
    fills = _ceil(layers.out_channels * layers.dsp_bits, shared.fill_bits)
    window = layers.out_height * n_columns * kh * fills
    result = layers.m * _ceil(layers.out_channels, shared.lanes)
    execute = steps * blocks * n_columns * taps
    tiles = steps * blocks * layers.out_width
    in_turn = (execute + result + tiles * core.latency_cycles) // core.n_accumulator_banks
    out_words = _ceil(layers.out_width * _padded(_ceil(layers.out_channels, n_chunks)), GRANULE) * layers.out_bits
    fits = (per_block >= 1) & (kh * kw <= core.lhs_depth) & (most >= needed) & (out_words <= shared.output_words)
    fits = fits & (core.n_rows > 0)
    cycles = np.maximum.reduce(np.broadcast_arrays(execute, result, in_turn, window))
    again = (n_chunks > 1) & (most < height)
    added = layers.out_height * _ceil(layers.out_width * layers.out_channels, GRANULE) * layers.added_bits
    weights = blocks * taps * core.line_words
    return CoreWalk(
        cycles=np.where(fits, cycles, np.inf),
        words=weights + layers.out_channels + added + np.zeros_like(cycles),
        walks=np.where(again, n_chunks, 1) + np.zeros_like(cycles),
        shares=np.ones_like(cycles, bool),
    )


def map_words(layers: Any) -> Any:
    """Return the words of one fetch of the map and those of what is written."""
    plain = layers.n_rows_read * _ceil(layers.in_width * layers.in_channels, GRANULE)
    packed = layers.out_height * _ceil(layers.in_width * layers.in_channels * layers.kernel_height, GRANULE)
    fetched = np.where(layers.may_be_unrolled, packed, plain) * layers.a_bits
    return fetched, layers.out_height * _ceil(layers.out_width * layers.out_channels, GRANULE) * (
        layers.out_bits + layers.copy_bits
    )


def windows_fit(layers: Any, shared: Any) -> Any:
    """Return whether the vector unit's buffers hold the rows of one output row."""
    needed, _, words = _feature_rows(layers, 1, np.where(layers.a_bits <= 4, 4, 8), n_slabs=2)
    granules = _ceil(layers.out_width * _padded(_ceil(layers.out_channels, 2)), GRANULE)
    out_fits = granules * (layers.out_bits + layers.copy_bits) <= shared.output_words
    return (needed * words <= shared.feature_words) & out_fits


def windows_cycles(layers: Any, shared: Any) -> Any:
    """Return what windows keep the vector unit busy."""
    n_words = _ceil(layers.out_channels * np.where(layers.a_bits <= 4, 4, 8), shared.vector_word_bits)
    taps = layers.kernel_height * layers.kernel_width * n_words
    return layers.m * np.maximum(taps, _ceil(layers.out_channels, shared.vector_lanes))
