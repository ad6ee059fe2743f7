"""What a compiled network has to do, from its schedules: so that the lower bound can stand beside the exact time.

Here nothing is estimated: channels are counted with their padding, weights in the bits that they need, filters where they
are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.compile.geometry import Geometry
from silicut.accelerators.gemm.compile.partition import FusedLayer, Partition
from silicut.accelerators.gemm.compile.schedule import DepthwiseSchedule, LayerSchedule, ProductSchedule
from silicut.accelerators.gemm.cost.work import Kind, LayerWork
from silicut.accelerators.gemm.program import Unit
from silicut.graph import Tensor
from silicut.numerics import IntegerFormat


def scheduled_work(
    schedules: Sequence[LayerSchedule], partition: Partition
) -> tuple[tuple[LayerWork, ...], NDArray[np.int64]]:
    """Return what each schedule has to do, and the filters of the LUT core.

    Args:
        schedules: of a compiled network; a layer of grouped filters may have several, all of its name.
        partition: of the same network.

    Returns:
        As many layers as schedules, and array (layers,).
    """
    fused = {layer.name: layer for layer in partition.layers}
    tensors = partition.network.tensors
    work = tuple(_work(schedule, fused[schedule.name], tensors) for schedule in schedules)
    return work, np.array([_n_filters(schedule, Unit.LUT) for schedule in schedules], np.int64)


def _work(schedule: LayerSchedule, layer: FusedLayer, tensors: Mapping[str, Tensor]) -> LayerWork:
    geometry, epilogue, nest = schedule.geometry, layer.epilogue, schedule.units[0].nest
    in_channels = out_channels = tensors[layer.source].sizes(1)[1]
    kind, groups, bits = Kind.WINDOWS, in_channels, (0, 8)
    if isinstance(nest, ProductSchedule):
        in_channels = sum(nest.segments) // (geometry.kernel[0] * geometry.kernel[1])
        out_channels = sum(_n_filters(schedule, unit) for unit in Unit)
        kind, groups, bits = Kind.PRODUCT, 1, _bits(schedule)
    elif isinstance(nest, DepthwiseSchedule):
        in_channels = out_channels = sum(len(channels) for _, channels in nest.blocks)
        kind, groups, bits = Kind.DEPTHWISE, in_channels, (nest.element_bits, nest.element_bits)
    return LayerWork(
        name=layer.name,
        kind=kind,
        in_channels=in_channels,
        in_height=geometry.size[0],
        in_width=geometry.size[1],
        out_channels=out_channels,
        out_height=geometry.output_size[0],
        out_width=geometry.output_size[1],
        kernel_height=geometry.kernel[0],
        kernel_width=geometry.kernel[1],
        stride_x=geometry.stride[1],
        n_rows_read=_n_rows_read(geometry),
        n_groups=groups,
        a_bits=_n_bits(tensors, layer.source),
        w_bits=bits[0],
        dsp_bits=bits[1],
        out_bits=_n_bits(tensors, epilogue.output),
        copy_bits=_n_bits(tensors, epilogue.copy_output),
        added_bits=_n_bits(tensors, epilogue.residual),
    )


def _n_filters(schedule: LayerSchedule, unit: Unit) -> int:
    return sum(
        part.nest.n_filters for part in schedule.units if part.unit is unit and isinstance(part.nest, ProductSchedule)
    )


def _bits(schedule: LayerSchedule) -> tuple[int, int]:
    """Return the bits of weights in the LUT core and of operands in the DSP core; those of an idle core do not matter."""
    found = {part.unit: part.nest for part in schedule.units if isinstance(part.nest, ProductSchedule)}
    lut, dsp = found.get(Unit.LUT), found.get(Unit.DSP)
    return lut.weight_bits if lut else 1, dsp.element_bits if dsp else 8


def _n_bits(tensors: Mapping[str, Tensor], name: str) -> int:
    """Return the bits of a tensor's elements, 0 for none."""
    return IntegerFormat.of(tensors[name].dtype).bits if name else 0


def _n_rows_read(geometry: Geometry) -> int:
    """Count the rows of a map that any window sees."""
    rows = {
        y * geometry.stride[0] + i * geometry.dilation[0] - geometry.padding[0]
        for y in range(geometry.output_size[0])
        for i in range(geometry.kernel[0])
    }
    return max(1, len(rows & set(range(geometry.size[0]))))
