"""How a layer is executed: its loop nests as numbers, computed from shapes alone, before any weight is looked at.

A core executes its filters of a layer as one of three nests, all made of *steps*, one instruction of COMPUTE each:

    for chunk of tiles:                          # filters whose weights lie in the RHS banks together, loaded once
        for group of stripes:                    # pixels that are expanded together
            for tiles of the chunk: step

With `keeps_lhs` all stripes are expanded once, with the first chunk, and stay for the others. Where a stripe or a tile does
not fit its banks, or only one of many does, so that the array would wait for the next, rows are cut into chunks of k:

    for tile: for stripe: for chunk of k: step

Everything here is a frozen record: the cost model reads it without a program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from silicut.accelerators.gemm.compile.geometry import Geometry
from silicut.accelerators.gemm.program import Unit


@dataclass(frozen=True, kw_only=True)
class KChunk:
    """Part of the rows of both matrices.

    Attributes:
        first_segment, n_segments: of the windows.
        first_element, n_elements: of a row.
        n_words: words that they take in the banks.
    """

    first_segment: int
    n_segments: int
    first_element: int
    n_elements: int
    n_words: int


@dataclass(frozen=True)
class Step:
    """One instruction of COMPUTE, and what must have been done for it.

    Attributes:
        chunk: number of the chunk of tiles.
        tiles: which are computed.
        pixels: for which output pixels.
        k: number of the chunk of k.
        pass_: how often the map has been walked over before.
        is_expanded: whether its pixels are expanded for it; else they lie in the LHS banks from before.
        completes: whether all filters of the chunk are finished for its pixels when it is.
    """

    chunk: int
    tiles: range
    pixels: range
    k: int
    pass_: int
    is_expanded: bool
    completes: bool


@dataclass(frozen=True, kw_only=True)
class ProductSchedule:
    """The filters of one core in a layer that multiplies.

    Attributes:
        unit: LUT or DSP.
        n_filters: elements of the output's pixels that it makes.
        tile_filters: filters of a tile.
        stripe_pixels: pixels of a stripe, the rows of the core.
        lhs_planes: words of LHS banks for each word of a row: bits of activations in the LUT core, 1 in the DSP core.
        element_bits: width of what the window unit moves: bits of activations in the LUT core, 4 or 8 in the DSP core.
        weight_bits: bits of weights; 4 or 8 in the DSP core.
        rhs_lines: lines of RHS banks for each word of a row of a tile: bits of weights, or passes of the DSP core.
        word_cycles: cycles of execution for each word of a row of a tile.
        segments: elements of each segment of a window.
        k_chunks: one, where stripes and tiles fit.
        chunk_tiles: tiles of a chunk.
        piece_tiles: tiles of a step of the first and of the last group.
        group_pixels: pixels of a group at most, a multiple of stripe_pixels.
        group_rows: output rows that a group may touch.
        keeps_lhs: whether all stripes stay in the LHS banks.
        joins_groups: whether chunks behind the first take all pixels in one step; only with keeps_lhs.
        geometry: of the layer's windows.
        longest_segment: parts of the slab table are cut so that no segment has more elements; 0 for never.
    """

    unit: Unit
    n_filters: int
    tile_filters: int
    stripe_pixels: int
    lhs_planes: int
    element_bits: int
    weight_bits: int
    rhs_lines: int
    word_cycles: int
    segments: tuple[int, ...]
    k_chunks: tuple[KChunk, ...]
    chunk_tiles: int
    piece_tiles: int
    group_pixels: int
    group_rows: int
    keeps_lhs: bool
    joins_groups: bool
    geometry: Geometry
    longest_segment: int = 0

    @property
    def n_pixels(self) -> int:
        """Output pixels of the layer."""
        return self.geometry.n_pixels

    @cached_property
    def groups(self) -> tuple[range, ...]:
        """The pixels of each group: small ones first, so that the array need not wait long for the first of them."""
        groups: list[range] = []
        width, start, size = self.geometry.output_size[1], 0, self.stripe_pixels
        while start < self.n_pixels:
            limit = (start // width + self.group_rows) * width - start
            fitting = limit if start + limit >= self.n_pixels else limit // self.stripe_pixels * self.stripe_pixels
            stop = min(start + min(size, fitting), self.n_pixels)
            groups.append(range(start, stop))
            start, size = stop, min(2 * size, self.group_pixels)
        return tuple(groups)

    @property
    def n_tiles(self) -> int:
        """How many tiles the filters make."""
        return -(-self.n_filters // self.tile_filters)

    @property
    def chunks(self) -> tuple[range, ...]:
        """The tiles of each chunk."""
        starts = range(0, self.n_tiles, self.chunk_tiles)
        return tuple(range(start, min(start + self.chunk_tiles, self.n_tiles)) for start in starts)

    @property
    def n_words(self) -> int:
        """Words of a row, all chunks of k."""
        return sum(chunk.n_words for chunk in self.k_chunks)

    @property
    def tile_lines(self) -> int:
        """Lines of the RHS banks that a tile takes, all chunks of k."""
        return self.n_words * self.rhs_lines

    @property
    def is_k_split(self) -> bool:
        """Whether rows are cut."""
        return len(self.k_chunks) > 1

    @property
    def n_passes(self) -> int:
        """How often the map is walked over."""
        return 1 if self.keeps_lhs else -(-self.n_tiles // self.chunk_tiles)

    @property
    def is_ahead(self) -> bool:
        """Whether all stripes are expanded long before the last is needed."""
        return self.keeps_lhs and len(self.chunks) > 1

    def filters(self, tiles: range) -> range:
        """Return the filters of some tiles."""
        return range(tiles.start * self.tile_filters, min(tiles.stop * self.tile_filters, self.n_filters))

    def n_stripes(self, pixels: range) -> int:
        """Return how many stripes some pixels make."""
        return -(-len(pixels) // self.stripe_pixels)

    @cached_property
    def execute_cycles(self) -> int:
        """Cycles in which the array is busy."""
        return self.n_tiles * self.n_stripes(range(self.n_pixels)) * self.n_words * self.word_cycles

    def expand_cycles(self, fill_bits: int) -> int:
        """Return the cycles in which the window unit is busy, its start-ups left out."""
        return self.n_passes * self.n_pixels * self.pixel_cycles(fill_bits)

    def pixel_cycles(self, fill_bits: int, k: int | None = None) -> int:
        """Return the cycles in which the window unit makes one row, or one chunk of it."""
        chunk = None if k is None else self.k_chunks[k]
        segments = self.segments
        if chunk is not None:
            segments = segments[chunk.first_segment : chunk.first_segment + chunk.n_segments]
        if self.lhs_planes > 1 or self.unit is Unit.LUT:
            return self.lhs_planes * sum(-(-n // fill_bits) for n in segments)
        return sum(-(-n * self.element_bits // fill_bits) for n in segments)

    def result_cycles(self, n_lanes: int) -> int:
        """Return the cycles in which the core's post-processing is busy."""
        tiles = (len(self.filters(range(i, i + 1))) for i in range(self.n_tiles))
        return self.n_pixels * sum(-(-n // n_lanes) for n in tiles)

    def steps(self) -> Iterator[Step]:
        """Yield the steps in order."""
        yield from self._steps_in_k() if self.is_k_split else self._steps_in_groups()

    def _steps_in_k(self) -> Iterator[Step]:
        for tile in range(self.n_tiles):
            for start in range(0, self.n_pixels, self.stripe_pixels):
                pixels = range(start, min(start + self.stripe_pixels, self.n_pixels))
                for k in range(len(self.k_chunks)):
                    yield Step(tile, range(tile, tile + 1), pixels, k, tile, True, k == len(self.k_chunks) - 1)

    def _steps_in_groups(self) -> Iterator[Step]:
        """Yield the steps of whole rows. The first and the last group go piece by piece, so that weights may still come in
        at the start, and make room for the next layer's at the end."""
        for number, tiles in enumerate(self.chunks):
            is_kept = self.keeps_lhs and number > 0
            groups = (range(self.n_pixels),) if is_kept and self.joins_groups else self.groups
            for i, group in enumerate(groups):
                pieces = self._pieces(tiles) if not is_kept and i in (0, len(groups) - 1) else [tiles]
                for j, piece in enumerate(pieces):
                    pass_ = 0 if self.keeps_lhs else number
                    yield Step(number, piece, group, 0, pass_, j == 0 and not is_kept, j == len(pieces) - 1)

    def _pieces(self, tiles: range) -> list[range]:
        starts = range(tiles.start, tiles.stop, self.piece_tiles)
        return [range(start, min(start + self.piece_tiles, tiles.stop)) for start in starts]


@dataclass(frozen=True, kw_only=True)
class DepthwiseSchedule:
    """A depthwise layer on the DSP core.

    ::

        for chunk of blocks of channels:
            for group of output rows: for block: for part of the columns: step

    Attributes:
        element_bits: 4 or 8.
        blocks: for each block of channels, its part of the slab table and its channels there.
        chunk_blocks: blocks whose weights lie in the RHS banks together.
        rows_per_step: output rows of a step, one in each bank.
        column_parts: the output columns of each part.
        block_lines: lines of the RHS banks of a block.
    """

    element_bits: int
    blocks: tuple[tuple[int, range], ...]
    chunk_blocks: int
    rows_per_step: int
    column_parts: tuple[range, ...]
    block_lines: int

    @property
    def chunks(self) -> tuple[range, ...]:
        """The blocks of each chunk."""
        starts = range(0, len(self.blocks), self.chunk_blocks)
        return tuple(range(start, min(start + self.chunk_blocks, len(self.blocks))) for start in starts)


@dataclass(frozen=True, kw_only=True)
class PoolSchedule:
    """A layer of POST: for group of output rows: for part of the slab table: step.

    Attributes:
        element_bits: 4 or 8, of the input in the feature buffer.
        rows_per_step: output rows of a step.
    """

    element_bits: int
    rows_per_step: int


@dataclass(frozen=True, kw_only=True)
class Rings:
    """How many rows of its tensors a unit holds in a layer.

    Attributes:
        feature_rows: input rows in the feature buffer.
        output_rows: output rows in the output buffer.
        residual_rows: rows of the tensor that is added in the residual buffer, 0 without.
        slab_chunks: chunks of filters that make a slab together: all, or fewer where the output buffer cannot hold the rows
            of all of them until the last is computed.
    """

    feature_rows: int
    output_rows: int
    residual_rows: int = 0
    slab_chunks: int = 1


@dataclass(frozen=True, kw_only=True)
class UnitSchedule:
    """What one unit does in a layer.

    Attributes:
        unit: which one.
        nest: its loops.
        rings: its buffers.
    """

    unit: Unit
    nest: ProductSchedule | DepthwiseSchedule | PoolSchedule
    rings: Rings


@dataclass(frozen=True, kw_only=True)
class LayerSchedule:
    """One layer.

    Attributes:
        name: of the layer.
        geometry: of its windows.
        units: those that have part in it: both cores, one, or POST.
        shares_rows: whether each input row is fetched once for both cores.
    """

    name: str
    geometry: Geometry
    units: tuple[UnitSchedule, ...]
    shares_rows: bool = False
