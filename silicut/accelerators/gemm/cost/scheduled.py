"""What layers of the compiler have to do: so that the lower bound can stand beside the exact time, and choose its splits.

Here nothing is estimated: channels are counted with their padding, weights in the bits that they need, filters where they
are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.compile.fused import FusedLayer
from silicut.accelerators.gemm.compile.geometry import Geometry, segments_of
from silicut.accelerators.gemm.compile.partition import Partition
from silicut.accelerators.gemm.compile.planning import ProductShape
from silicut.accelerators.gemm.compile.schedule import DepthwiseSchedule, LayerSchedule, ProductSchedule
from silicut.accelerators.gemm.config import GRANULE, GemmConfig
from silicut.accelerators.gemm.cost.split import best_splits
from silicut.accelerators.gemm.cost.work import Kind, LayerWork, dsp_bits
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


def bound_split(config: GemmConfig) -> Callable[[ProductShape], int]:
    """Return a function for `CompileOptions.split`: the filters of the LUT core for which the layer's bound is lowest."""

    def n_lut(shape: ProductShape) -> int:
        return int(best_splits([planned_work(shape)], config)[0])

    return n_lut


def planned_work(shape: ProductShape) -> LayerWork:
    """Return what the filters of a product have to do, as the compiler knows it before it plans."""
    geometry = shape.geometry
    n_taps = geometry.kernel[0] * geometry.kernel[1]
    row_words = geometry.output_size[1] * shape.n_filters
    return LayerWork(
        name=shape.name,
        kind=Kind.PRODUCT,
        in_channels=sum(segments_of(shape.parts, geometry)) // n_taps,
        out_channels=shape.n_filters,
        **_sizes(geometry),
        a_bits=shape.activation_bits,
        w_bits=shape.weight_bits,
        dsp_bits=dsp_bits(shape.activation_bits, shape.weight_bits),
        out_bits=sum(shape.output_bits) + sum(shape.joint_bits),
        added_bits=-(-shape.residual_row_words // -(-row_words // GRANULE)),
    )


def _sizes(geometry: Geometry) -> dict[str, Any]:
    """Return the fields of `LayerWork` that windows alone decide."""
    return {
        "in_height": geometry.size[0],
        "in_width": geometry.size[1],
        "out_height": geometry.output_size[0],
        "out_width": geometry.output_size[1],
        "kernel_height": geometry.kernel[0],
        "kernel_width": geometry.kernel[1],
        "stride_x": geometry.stride[1],
        "n_rows_read": _n_rows_read(geometry),
    }


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
        out_channels=out_channels,
        **_sizes(geometry),
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
