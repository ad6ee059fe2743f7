"""Chooses the nests and the rings of a layer so that everything fits, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from silicut.accelerators.gemm.compile.geometry import Geometry, PartShape, segments_of
from silicut.accelerators.gemm.compile.schedule import (
    KChunk,
    ProductSchedule,
    Rings,
    UnitSchedule,
)
from silicut.accelerators.gemm.compile.views import CHANNEL_GROUP
from silicut.accelerators.gemm.config import GRANULE, GemmConfig
from silicut.accelerators.gemm.program import Unit, row_words
from silicut.records import DoesNotFit

_MAX_PIECES = 8
_GROUPS_HELD = 3
_CHUNKS_HELD = 4  # of tiles, where all stripes are kept
_PIECES_HELD = 4  # of rows that are cut: one is multiplied while others come in
_MOST_ROWS = 128
_ADDED_CHANNELS = 64  # of a slab that is added later
_ROWS_AHEAD = 4  # of outputs and of what is added, between the array and the memory
MAX_GEMM_PIXELS, MAX_SLABS = 4095, 128


@dataclass(frozen=True)
class AddedSlab:
    """A slab of what is added.

    Attributes:
        start, stop: filters to which its elements are added; they may lie outside of the core's.
        row_words: words of a row.
    """

    start: int
    stop: int
    row_words: int


@dataclass(frozen=True, kw_only=True)
class ProductShape:
    """The filters of one core in a layer, as far as the schedule depends on them.

    Attributes:
        name: of the layer, for messages.
        geometry: of its windows.
        parts: the slab table.
        slab_pitches: of the slabs that are read, each once.
        activation_bits: of the input.
        weight_bits: that the filters need.
        n_filters: elements of the output's pixels that the core makes, a multiple of 8.
        output_bits: of the result and of its copy, as far as they are written.
        joint_bits: of outputs that are written into one slab with the other core's, a granule a pixel.
        residual_row_words: words of a row of what is added, 0 without.
        residual_slabs: its slabs, as far as they hold what is added to these filters; see `AddedSlab`.
        is_added_later: whether another layer adds the output: narrow slabs are then better, as it reads whole ones.
    """

    name: str
    geometry: Geometry
    parts: tuple[PartShape, ...]
    slab_pitches: tuple[int, ...]
    activation_bits: int
    weight_bits: int
    n_filters: int
    output_bits: tuple[int, ...]
    joint_bits: tuple[int, ...] = ()
    residual_row_words: int = 0
    residual_slabs: tuple[AddedSlab, ...] = ()
    is_added_later: bool = False

    def residual_words(self, filters: range) -> int:
        """Return the words of a row of the slabs that hold what is added to some filters, all where slabs are not known."""
        if not self.residual_slabs:
            return self.residual_row_words
        return sum(s.row_words for s in self.residual_slabs if s.start < filters.stop and s.stop > filters.start)


@dataclass(frozen=True, kw_only=True)
class _Core:
    """One core in the terms that both share."""

    unit: Unit
    stripe_pixels: int
    tile_filters: int
    word_elements: int
    lhs_planes: int
    element_bits: int
    weight_bits: int
    rhs_lines: int
    word_cycles: int
    lhs_depth: int
    rhs_depth: int


def dsp_element_bits(activation_bits: int, weight_bits: int) -> int:
    """Return the width in which the DSP core multiplies: 4 if both operands have at most 4 bits, else 8."""
    return stored_bits(max(activation_bits, weight_bits))


def stored_bits(bits: int) -> int:
    """Return the width of numbers of so many bits in units that store elements, not planes: 4 or 8."""
    return 4 if bits <= 4 else 8


def _core(config: GemmConfig, unit: Unit, activation_bits: int, weight_bits: int) -> _Core:
    if unit is Unit.LUT:
        lut = config.lut
        assert lut is not None
        return _Core(
            unit=unit,
            stripe_pixels=lut.n_rows,
            tile_filters=lut.n_columns,
            word_elements=lut.word_bits,
            lhs_planes=activation_bits,
            element_bits=activation_bits,
            weight_bits=weight_bits,
            rhs_lines=weight_bits,
            word_cycles=activation_bits * weight_bits,
            lhs_depth=lut.lhs_depth,
            rhs_depth=lut.rhs_depth,
        )
    dsp, bits = config.dsp, dsp_element_bits(activation_bits, weight_bits)
    assert dsp is not None
    return _Core(
        unit=unit,
        stripe_pixels=dsp.n_rows,
        tile_filters=dsp.n_outputs,
        word_elements=dsp.n_word_inputs(bits),
        lhs_planes=1,
        element_bits=bits,
        weight_bits=bits,
        rhs_lines=dsp.n_passes,
        word_cycles=dsp.n_tile_cycles(bits),
        lhs_depth=dsp.lhs_depth,
        rhs_depth=dsp.rhs_depth,
    )


def feature_row_words(width: int, pitches: Sequence[int], element_bits: int) -> int:
    """Return the words of one row of all slabs in a feature buffer."""
    return sum(row_words(width * pitch, element_bits) for pitch in pitches)


def ring_rows(what: str, capacity: int, words: int, rows: tuple[int, int], *, wants_all: bool, least_half: int = 0) -> int:
    """Return how many rows a ring gets: half of the buffer, so that the next layer's may begin, more where needed.

    Args:
        what: layer and buffer, for the message.
        capacity: words of the buffer.
        words: of a row.
        rows: how many are needed at least, and how many there are.
        wants_all: whether all are wanted if the buffer holds them.
        least_half: rows that half of the buffer must hold, or the ring gets all of it.

    Raises:
        DoesNotFit: the rows that are needed at least do not fit.
    """
    needed, every = rows
    most = capacity // words
    if most < needed:
        raise DoesNotFit(
            f"{what} must hold {needed} rows of {words} words, but has {capacity}; enlarge it to {needed * words} words, "
            "or take fewer channels, bits or pixels"
        )
    if wants_all and most >= every:
        return every
    half = min(capacity // 2 // words, _MOST_ROWS)
    return min(every, max(needed, half if half >= least_half else most))


def plan_product(config: GemmConfig, unit: Unit, shape: ProductShape) -> UnitSchedule:
    """Return how a core executes its filters of a layer.

    Raises:
        DoesNotFit: a buffer is too small even for one stripe of pixels.
    """
    core, entries = _core(config, unit, shape.activation_bits, shape.weight_bits), config.buffers.table_entries
    if min(core.tile_filters, shape.n_filters) > entries:
        raise DoesNotFit(
            f"the tables must hold the {core.tile_filters} filters of a tile of the {unit.name} core, but have {entries} "
            "entries; enlarge table_entries"
        )
    longest_segment, parts = _cut_parts(core, shape)
    segments = segments_of(parts, shape.geometry)
    chunks = tuple(_k_chunks(core, segments, _most_words(core)))
    keeps_lhs, chunk_tiles = False, 1
    if _fits(core, shape):
        whole = tuple(_k_chunks(core, segments, _n_words(core, shape)))
        keeps_lhs, chunk_tiles = _chunks(config, core, shape, whole[0].n_words)
        if len(chunks) == 1 or not _takes_turns(core, shape, keeps_lhs, chunk_tiles):
            chunks = whole
        else:
            keeps_lhs, chunk_tiles = False, 1
    n_words = sum(chunk.n_words for chunk in chunks)
    n_tiles = -(-shape.n_filters // core.tile_filters)
    n_chunks = -(-n_tiles // chunk_tiles)
    rings = _rings(config, core, shape, n_chunks, chunk_tiles, keeps_lhs)
    geometry = shape.geometry
    held = (rings.output_rows, rings.residual_rows or geometry.output_size[0])
    stripe_rows = geometry.rows_of_stripe(core.stripe_pixels)
    halved = [rows if rows >= geometry.output_size[0] else max(stripe_rows, rows // 2) for rows in held]
    nest = ProductSchedule(
        unit=unit,
        n_filters=shape.n_filters,
        tile_filters=core.tile_filters,
        stripe_pixels=core.stripe_pixels,
        lhs_planes=core.lhs_planes,
        element_bits=core.element_bits,
        weight_bits=core.weight_bits,
        rhs_lines=core.rhs_lines,
        word_cycles=core.word_cycles,
        segments=segments,
        k_chunks=chunks,
        chunk_tiles=chunk_tiles,
        piece_tiles=-(-chunk_tiles // _MAX_PIECES),
        group_pixels=_group_pixels(core, n_words, keeps_lhs),
        group_rows=max(stripe_rows, min(geometry.n_output_rows(rings.feature_rows), *halved)),
        keeps_lhs=keeps_lhs,
        joins_groups=keeps_lhs and min(held) >= geometry.output_size[0] and geometry.n_pixels <= MAX_GEMM_PIXELS,
        geometry=geometry,
        longest_segment=longest_segment,
    )
    return UnitSchedule(unit=unit, nest=nest, rings=rings)


def _most_words(core: _Core) -> int:
    """Return the words of a chunk of k at most: several chunks should lie in the banks of either side."""
    sides = (core.lhs_depth // core.lhs_planes, core.rhs_depth // core.rhs_lines)
    if min(sides) < 1:
        raise DoesNotFit(
            f"the banks of the {core.unit.name} core must hold one word of {core.element_bits} bits by {core.rhs_lines} "
            "lines; make lhs_depth and rhs_depth larger"
        )
    return max(1, min(side // _PIECES_HELD for side in sides))


def _n_words(core: _Core, shape: ProductShape) -> int:
    """Return the words of a row that is not cut."""
    return -(-sum(segments_of(shape.parts, shape.geometry)) // core.word_elements)


def _fits(core: _Core, shape: ProductShape) -> bool:
    """Tell whether the banks hold a stripe and a tile that are not cut."""
    n_words = _n_words(core, shape)
    return n_words * core.lhs_planes <= core.lhs_depth and n_words * core.rhs_lines <= core.rhs_depth


def _takes_turns(core: _Core, shape: ProductShape, keeps_lhs: bool, chunk_tiles: int) -> bool:
    """Tell whether expanding stripes, or loading tiles, could not go on while the array works.

    That is so where the banks hold one of many, not two; cut, the next one's first parts may come in.
    """
    if keeps_lhs or chunk_tiles > 1:
        return False
    n_words = _n_words(core, shape)
    has_one_stripe = 2 * n_words * core.lhs_planes > core.lhs_depth and shape.geometry.n_pixels > core.stripe_pixels
    return has_one_stripe or (2 * n_words * core.rhs_lines > core.rhs_depth and shape.n_filters > core.tile_filters)


def _cut_parts(core: _Core, shape: ProductShape) -> tuple[int, tuple[PartShape, ...]]:
    """Return the elements of the longest segment, so that each fits a chunk of k (0 for any), and the parts cut for it."""
    most = _most_words(core) * core.word_elements
    if _fits(core, shape) or max(segments_of(shape.parts, shape.geometry)) <= most:
        return 0, shape.parts
    parts = [piece for part in shape.parts for piece in _cut_shape(part, shape.geometry, most)]
    if len(parts) > MAX_SLABS:
        raise DoesNotFit(f"{shape.name} reads {len(parts)} parts of slabs, but a table holds {MAX_SLABS}; enlarge the banks")
    return most, tuple(parts)


def _cut_shape(part: PartShape, geometry: Geometry, most: int) -> Iterator[PartShape]:
    """Yield a part as it is if its segments have at most `most` elements, else pieces whose segments have."""
    if max(part.segments(geometry)) <= most:
        yield part
        return
    for n_channels in part.pieces(most):
        yield PartShape(n_channels, False)


def _k_chunks(core: _Core, segments: Sequence[int], most_words: int) -> Iterator[KChunk]:
    """Yield runs of segments that take at most so many words."""
    first = element = taken = n = 0
    for i, size in enumerate(segments):
        if n and -(-(taken + size) // core.word_elements) > most_words:
            yield KChunk(
                first_segment=first,
                n_segments=n,
                first_element=element,
                n_elements=taken,
                n_words=-(-taken // core.word_elements),
            )
            first, element, taken, n = i, element + taken, 0, 0
        taken, n = taken + size, n + 1
    yield KChunk(
        first_segment=first, n_segments=n, first_element=element, n_elements=taken, n_words=-(-taken // core.word_elements)
    )


def _chunks(config: GemmConfig, core: _Core, shape: ProductShape, n_words: int) -> tuple[bool, int]:
    """Return whether all stripes stay in the LHS banks, and how many tiles make a chunk."""
    n_tiles = -(-shape.n_filters // core.tile_filters)
    n_stripes = -(-shape.geometry.n_pixels // core.stripe_pixels)
    tile_lines, entries = n_words * core.rhs_lines, config.buffers.table_entries
    fits_table = shape.n_filters <= entries
    fits_rhs = n_tiles * tile_lines <= core.rhs_depth and fits_table
    fits_lhs = n_stripes * n_words * core.lhs_planes <= core.lhs_depth
    weight_bits = shape.n_filters * n_words * core.word_elements * core.weight_bits
    map_bits = shape.geometry.size[0] * shape.geometry.size[1] * sum(shape.slab_pitches) * shape.activation_bits
    if fits_lhs and n_tiles > 1 and not (fits_rhs and weight_bits < map_bits):
        tiles = max(1, core.rhs_depth // _CHUNKS_HELD // tile_lines)
        if _reloads_added(config, shape, min(tiles * core.tile_filters, shape.n_filters)):
            tiles = max(1, core.rhs_depth // 2 // tile_lines)
        return True, min(tiles, n_tiles)
    if fits_rhs:
        return False, n_tiles
    most = n_tiles if fits_table else max(1, entries // 2 // core.tile_filters)
    return False, _in_groups(core, max(1, min(most, core.rhs_depth // 2 // tile_lines)), core.rhs_depth // tile_lines)


def _reloads_added(config: GemmConfig, shape: ProductShape, chunk_filters: int) -> bool:
    """Tell whether what is added must come in again for every chunk of tiles."""
    return _added_words(shape, chunk_filters) * shape.geometry.output_size[0] > config.buffers.residual_words


def _added_words(shape: ProductShape, chunk_filters: int) -> int:
    """Return the words of a row of what is added to a chunk of filters, at most."""
    starts = range(0, shape.n_filters, chunk_filters)
    return max(shape.residual_words(range(start, min(start + chunk_filters, shape.n_filters))) for start in starts)


def _in_groups(core: _Core, tiles: int, most: int) -> int:
    """Return about so many tiles, at most `most`, if possible with a multiple of 8 filters, so that slabs have no gaps."""
    group = CHANNEL_GROUP // math.gcd(CHANNEL_GROUP, core.tile_filters)
    if tiles >= group:
        return tiles // group * group
    return group if group <= most else tiles


def _group_pixels(core: _Core, n_words: int, keeps_lhs: bool) -> int:
    stripes = max(1, core.lhs_depth // (n_words * core.lhs_planes))
    held = stripes if keeps_lhs else max(1, stripes // _GROUPS_HELD)
    return max(1, min(held, MAX_GEMM_PIXELS // core.stripe_pixels)) * core.stripe_pixels


def _rings(config: GemmConfig, core: _Core, shape: ProductShape, n_chunks: int, chunk_tiles: int, keeps_lhs: bool) -> Rings:
    geometry = shape.geometry
    rows = geometry.rows_of_stripe(core.stripe_pixels)
    label = f"{core.unit.label} buffer of {shape.name}"
    words = feature_row_words(geometry.size[1], shape.slab_pitches, core.element_bits)
    feature_rows = ring_rows(
        f"the feature {label}",
        config.buffers.feature_words,
        words,
        (geometry.n_input_rows(rows), geometry.size[0]),
        wants_all=n_chunks > 1 and not keeps_lhs,
    )
    filters = (shape.n_filters, min(chunk_tiles * core.tile_filters, shape.n_filters))
    return rings_with(feature_rows, config, label, shape, (n_chunks, rows), filters)


def rings_with(
    feature_rows: int, config: GemmConfig, label: str, shape: ProductShape, need: tuple[int, int], filters: tuple[int, int]
) -> Rings:
    """Return the rings of a layer whose input rows are known: those of its output and of what it adds.

    Args:
        feature_rows: input rows that are held.
        config: the build.
        label: for messages.
        shape: of the layer.
        need: chunks of the layer, and output rows that are needed at least.
        filters: all, and those of a chunk.
    """
    n_chunks, rows = need
    slab_chunks, output_rows = _output_ring(config, label, shape, need, filters)
    residual_rows = 0
    if added_words := _added_words(shape, filters[1]):
        residual_rows = ring_rows(
            f"the residual {label}",
            config.buffers.residual_words,
            added_words,
            (rows, shape.geometry.output_size[0]),
            wants_all=n_chunks > 1,
            least_half=_ROWS_AHEAD,
        )
    return Rings(feature_rows=feature_rows, output_rows=output_rows, residual_rows=residual_rows, slab_chunks=slab_chunks)


def _output_ring(
    config: GemmConfig, label: str, shape: ProductShape, need: tuple[int, int], filters: tuple[int, int]
) -> tuple[int, int]:
    """Return how many chunks make a slab together, and how many output rows of it are held; see `rings_with`."""
    (n_chunks, rows), (out_height, out_width), capacity = need, shape.geometry.output_size, config.buffers.output_words

    def words(n_filters: int) -> int:
        pitch = -(-n_filters // CHANNEL_GROUP) * CHANNEL_GROUP
        own = sum(row_words(out_width * pitch, bits) for bits in shape.output_bits)
        return own + sum(row_words(out_width * GRANULE, bits) for bits in shape.joint_bits)

    fitting = [n for n in range(1, n_chunks + 1) if words(min(n * filters[1], filters[0])) * out_height <= capacity]
    whole = [n for n in fitting if n == n_chunks or n * filters[1] % CHANNEL_GROUP == 0]
    if n_chunks > 1 and fitting:
        return _slab_chunks(whole or fitting, filters[1], shape.is_added_later), out_height
    slab = filters[1] if n_chunks > 1 else filters[0]
    rows_held = ring_rows(
        f"the output {label}", capacity, words(slab), (rows, out_height), wants_all=False, least_half=_ROWS_AHEAD
    )
    return 1, rows_held


def _slab_chunks(options: Sequence[int], chunk_filters: int, is_added_later: bool) -> int:
    """Return how many chunks make a slab together: as many as possible, few where it is added later."""
    narrow = [n for n in options if n * chunk_filters <= _ADDED_CHANNELS] if is_added_later else []
    return narrow[-1] if narrow else options[0] if is_added_later else options[-1]
