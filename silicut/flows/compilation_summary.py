"""From what the compiler gave to the record that tables and pages are made of."""

from __future__ import annotations

from collections.abc import Iterator

from silicut.accelerators.gemm.compile import Compiled, Partition
from silicut.accelerators.gemm.compile.fused import FusedLayer
from silicut.accelerators.gemm.compile.schedule import DepthwiseSchedule, PoolSchedule, ProductSchedule, UnitSchedule
from silicut.accelerators.gemm.program import Unit
from silicut.accelerators.gemm.program.files import program_hash
from silicut.flows.label import Label, created, versions
from silicut.numerics import Convolution2d, IntegerFormat, Linear, QuantisedNetwork
from silicut.report.compilation import AssignedOperator, Compilation, CompiledLayer


def assigned(parts: Partition) -> tuple[AssignedOperator, ...]:
    """Return what runs where, for reports."""
    return tuple(
        AssignedOperator(operator=r.operator, kind=r.kind, where=r.where.value, layer=r.layer, reason=r.reason)
        for r in parts.assignments
    )


def record_of(compiled: Compiled, quantised: QuantisedNetwork, label: Label, *, has_barriers: bool) -> Compilation:
    """Return the record of a compilation.

    Args:
        compiled: what the compiler gave.
        quantised: the integer network.
        label: what a person calls it.
        has_barriers: whether layers wait for one another.
    """
    program = compiled.program
    return Compilation(
        network=label.network,
        command=label.command,
        created=created(),
        versions=versions(),
        hashes={
            "integer network": quantised.network.structure_hash,
            "integer weights": quantised.network.weights_hash,
            "accelerator": program.config.hash,
            "program": program_hash(program),
        },
        accelerator=program.config.name,
        clock_hz=program.config.clock_hz,
        has_barriers=has_barriers,
        assignments=assigned(compiled.partition),
        layers=tuple(_layers(compiled)),
        n_instructions=program.n_instructions,
        memory_bytes=8 * program.memory_words,
    )


def _layers(compiled: Compiled) -> Iterator[CompiledLayer]:
    units: dict[str, list[UnitSchedule]] = {}
    for schedule in compiled.schedules:
        units.setdefault(schedule.name, []).extend(schedule.units)
    for layer, counted in zip(compiled.partition.layers, compiled.program.layers, strict=True):
        n_lut, n_dsp = _split(layer, units[layer.name])
        yield CompiledLayer(
            name=layer.name,
            kind=_kind(units[layer.name]),
            operators=layer.operators,
            w_bits=_weights(layer).weight_format.bits if layer.is_product else 0,
            a_bits=IntegerFormat.of(compiled.partition.network.tensors[layer.source].dtype).bits,
            n_lut=n_lut,
            n_dsp=n_dsp,
            n_macs=counted.n_macs,
        )


def _kind(units: list[UnitSchedule]) -> str:
    nest = units[0].nest
    return "vector" if isinstance(nest, PoolSchedule) else "depthwise" if isinstance(nest, DepthwiseSchedule) else "product"


def _weights(layer: FusedLayer) -> Convolution2d | Linear:
    root = layer.roots[0]
    assert isinstance(root, Convolution2d | Linear)
    return root


def _split(layer: FusedLayer, units: list[UnitSchedule]) -> tuple[int, int]:
    """Return the filters of the LUT core and of the DSP core, without those that fill up groups of channels."""
    if not layer.is_product or isinstance(units[0].nest, PoolSchedule):
        return 0, 0
    n_filters = len(_weights(layer).weight)
    products = [u for u in units if isinstance(u.nest, ProductSchedule) and u.unit is Unit.LUT]
    n_lut = min(n_filters, sum(u.nest.n_filters for u in products if isinstance(u.nest, ProductSchedule)))
    return n_lut, n_filters - n_lut
