"""Registers of the window units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from silicut.accelerators.gemm.compile.builder import Builder
from silicut.accelerators.gemm.compile.folding import Operand
from silicut.accelerators.gemm.compile.geometry import Geometry
from silicut.accelerators.gemm.compile.rows import RowRing
from silicut.accelerators.gemm.compile.views import Part, Stored
from silicut.accelerators.gemm.program import Queue, SetKernel, SetMap, SetSlab


def set_window(
    builder: Builder,
    queue: Queue,
    geometry: Geometry,
    operand: Operand,
    parts: Sequence[Part],
    rings: Mapping[Stored, RowRing],
) -> None:
    """Set the registers of a layer's windows.

    Args:
        builder: takes the instructions.
        queue: that of the window unit, or POST.
        geometry: of the windows.
        operand: how numbers are read.
        parts: the slab table.
        rings: where the rows of slabs lie.
    """
    builder.add(
        SetMap,
        queue,
        height=geometry.size[0],
        width=geometry.size[1],
        output_width=geometry.output_size[1],
        bits=operand.bits,
        is_signed=int(operand.is_signed),
        flip=int(operand.flips),
        pad_value=operand.pad_value,
    )
    builder.add(
        SetKernel,
        queue,
        n_slabs=len(parts),
        height=geometry.kernel[0],
        width=geometry.kernel[1],
        stride_y=geometry.stride[0],
        stride_x=geometry.stride[1],
        dilation_y=geometry.dilation[0],
        dilation_x=geometry.dilation[1],
        pad_top=geometry.padding[0],
        pad_left=geometry.padding[1],
    )
    for i, part in enumerate(parts):
        ring = rings[part.slab]
        builder.add(
            SetSlab,
            queue,
            index=i,
            pitch=part.slab.pitch,
            first_channel=part.first,
            n_channels=len(part.channels),
            base=ring.base,
            ring_rows=ring.n_rows,
            row_words=ring.row_words,
        )
