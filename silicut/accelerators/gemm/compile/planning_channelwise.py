"""Chooses the nests and the rings of layers that keep the order of channels."""

from __future__ import annotations

from silicut.accelerators.gemm.compile.planning import ProductShape, feature_row_words, ring_rows, rings_with, stored_bits
from silicut.accelerators.gemm.compile.schedule import DepthwiseSchedule, PoolSchedule, Rings, UnitSchedule
from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.program import Unit
from silicut.records import DoesNotFit


def plan_depthwise(config: GemmConfig, shape: ProductShape, element_bits: int) -> UnitSchedule:
    """Return how the DSP core executes a depthwise layer.

    Args:
        config: the build.
        shape: of the layer; its filters are the elements of all parts.
        element_bits: 4 or 8.

    Raises:
        DoesNotFit: a buffer is too small even for one output row.
    """
    dsp, geometry = config.dsp, shape.geometry
    assert dsp is not None
    lanes, (kh, kw) = dsp.n_word_inputs(element_bits), geometry.kernel
    block_lines = kh * -(-kw // dsp.n_columns)
    blocks = tuple(
        (i, range(start, min(start + lanes, part.n_channels)))
        for i, part in enumerate(shape.parts)
        for start in range(0, part.n_channels, lanes)
    )
    columns = _columns(dsp.lhs_depth, kh, kw, geometry.stride[1])
    if columns < 1 or block_lines > dsp.rhs_depth:
        raise DoesNotFit(
            f"{shape.name} needs {kh * kw} words of LHS banks and {block_lines} lines of RHS banks for a window, but the "
            f"DSP core has {dsp.lhs_depth} and {dsp.rhs_depth}; make them larger"
        )
    widest = max(len(channels) for _, channels in blocks)
    most = min(dsp.rhs_depth // block_lines, config.buffers.table_entries // widest)
    if most < 1:
        raise DoesNotFit(f"{shape.name} needs {widest} entries of the scale table; make table_entries at least so large")
    chunk_blocks = min(len(blocks), most)
    starts = range(0, geometry.output_size[1], columns)
    n_chunks = -(-len(blocks) // chunk_blocks)
    chunk_filters = max(
        sum(len(channels) for _, channels in blocks[i : i + chunk_blocks]) for i in range(0, len(blocks), chunk_blocks)
    )
    rings = _plain_rings(config, Unit.DSP, shape, (dsp.n_rows, n_chunks, chunk_filters), element_bits)
    rows = min(dsp.n_rows, geometry.n_output_rows(rings.feature_rows), rings.output_rows)
    nest = DepthwiseSchedule(
        element_bits=element_bits,
        blocks=blocks,
        chunk_blocks=chunk_blocks,
        rows_per_step=rows,
        column_parts=tuple(range(s, min(s + columns, geometry.output_size[1])) for s in starts),
        block_lines=block_lines,
    )
    return UnitSchedule(unit=Unit.DSP, nest=nest, rings=rings)


def _columns(lhs_depth: int, kh: int, kw: int, stride: int) -> int:
    """Return how many output columns fit half of the LHS banks, one if only all of them hold it, 0 if not even these."""
    if kw * kh > lhs_depth:
        return 0
    return max(1, (lhs_depth // 2 // kh - kw) // stride + 1)


def _plain_rings(
    config: GemmConfig, unit: Unit, shape: ProductShape, work: tuple[int, int, int], element_bits: int
) -> Rings:
    """Return the rings of a layer that keeps the order of channels.

    Args:
        config: the build.
        unit: which executes it.
        shape: of the layer.
        work: output rows of a step that are wanted, chunks, and the filters of a chunk.
        element_bits: of the feature buffer.
    """
    geometry, buffers = shape.geometry, config.buffers
    wanted, n_chunks, chunk_filters = work
    label = f"{unit.label} buffer of {shape.name}"
    words = feature_row_words(geometry.size[1], shape.slab_pitches, element_bits)
    most_words = buffers.feature_words // max(words, 1)
    rows = wanted if geometry.n_input_rows(wanted) <= most_words else 1
    feature_rows = ring_rows(
        f"the feature {label}",
        buffers.feature_words,
        words,
        (geometry.n_input_rows(rows), geometry.size[0]),
        wants_all=n_chunks > 1,
    )
    return rings_with(feature_rows, config, label, shape, (n_chunks, 1), (shape.n_filters, chunk_filters))


def plan_pool(config: GemmConfig, shape: ProductShape) -> UnitSchedule:
    """Return how POST executes a layer.

    Raises:
        DoesNotFit: a buffer is too small even for one output row.
    """
    element_bits = stored_bits(shape.activation_bits)
    rings = _plain_rings(config, Unit.POST, shape, (1, 1, shape.n_filters), element_bits)
    geometry = shape.geometry
    held = [rings.output_rows, *([rings.residual_rows] if rings.residual_rows else [])]
    rows = min(max(1, geometry.n_output_rows(rings.feature_rows) // 2), *(max(1, n // 2) for n in held))
    return UnitSchedule(unit=Unit.POST, nest=PoolSchedule(element_bits=element_bits, rows_per_step=rows), rings=rings)
