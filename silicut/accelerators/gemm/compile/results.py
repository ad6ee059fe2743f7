"""What becomes of the sums of a layer on one unit: registers of the result stage, the rows that it writes, their stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from silicut.accelerators.gemm.compile.builder import RESULT_QUEUES, Builder
from silicut.accelerators.gemm.compile.fused import Epilogue
from silicut.accelerators.gemm.compile.jobs import Access, Memory
from silicut.accelerators.gemm.compile.rows import ResidualFeeder, RowRing, rings_of
from silicut.accelerators.gemm.compile.views import CHANNEL_GROUP, Part, Stored, View
from silicut.accelerators.gemm.program import (
    ROUNDINGS,
    LoadLookup,
    SetConstant,
    SetCopy,
    SetLookup,
    SetOutput,
    SetPixels,
    SetRequantise,
    SetResidual,
    SetResidualMap,
    SetResidualSlab,
    Store,
    Unit,
    lookup_words,
)
from silicut.numerics import IntegerFormat, Requantise
from silicut.records import DoesNotFit

_MAX_STORE_WORDS = (1 << 15) - 1
_MAX_RESIDUAL_SLABS = 64


@dataclass(frozen=True, kw_only=True)
class Output:
    """One tensor that a unit writes, or its channels of it.

    Attributes:
        index: 0 for the result, 1 for its copy.
        slab: where it goes.
        ring: its rows in the output buffer.
        first: element of the slab's pixels that is its first channel; others are another core's.
        n_channels: elements that it writes.
    """

    index: int
    slab: Stored
    ring: RowRing
    first: int
    n_channels: int

    @property
    def kept_bytes(self) -> int:
        """The bytes of each word, a bit each, that another core writes."""
        if self.n_channels == self.slab.pitch:
            return 0
        own = range(self.first // 8, (self.first + self.n_channels) // 8)
        return sum(1 << byte for byte in range(8) if byte not in own)


@dataclass(frozen=True, kw_only=True)
class ResidualPlace:
    """What a unit adds.

    Attributes:
        view: the tensor.
        first: its element, over all parts, that is added to the unit's channel 0.
        feeder: brings its rows.
        starts: by slab, its first element over all parts.
    """

    view: View
    first: int
    feeder: ResidualFeeder
    starts: dict[Stored, int]


def residual_slabs(view: View, elements: range, layer: str) -> dict[Stored, int]:
    """Return the slabs that hold some elements of a tensor that is added, with the first element of each.

    Args:
        view: the tensor.
        elements: of each pixel, over all parts.
        layer: for messages.

    Raises:
        DoesNotFit: they are too many.
    """
    found: dict[Stored, int] = {}
    start = 0
    for part in view.parts:
        if start < elements.stop and start + len(part.channels) > elements.start:
            found[part.slab] = start
        start += len(part.channels)
    if len(found) > _MAX_RESIDUAL_SLABS:
        raise DoesNotFit(f"{layer} adds {len(found)} slabs, but a table holds {_MAX_RESIDUAL_SLABS}; join fewer tensors")
    return found


@dataclass(frozen=True, kw_only=True)
class JointSlabs:
    """Slabs of one granule a pixel that both cores write into, each its own bytes of every word.

    Attributes:
        slabs: by index of the output.
        first: element of their pixels that is the core's first channel.
    """

    slabs: Mapping[int, Stored]
    first: int


def make_outputs(
    builder: Builder,
    unit: Unit,
    channels: int,
    size: tuple[int, int],
    formats: Sequence[IntegerFormat | None],
    n_rows: int,
    joint: JointSlabs | None = None,
) -> list[Output]:
    """Return new slabs for what a unit writes, with rings side by side in its output buffer.

    Args:
        builder: gives the addresses.
        unit: which writes.
        channels: elements of a pixel.
        size: height and width of the map.
        formats: of the result and of its copy, None for what is not written.
        n_rows: of each ring.
        joint: slabs that are there already.
    """
    pitch, shared = -(-channels // CHANNEL_GROUP) * CHANNEL_GROUP, joint.slabs if joint else {}
    slabs = {i: shared.get(i) or builder.image.slab(pitch, *size, f.bits) for i, f in enumerate(formats) if f is not None}
    rings = rings_of(builder, Memory.OUTPUT, unit, list(slabs.values()), n_rows)
    first = joint.first if joint else 0
    return [
        Output(index=i, slab=slab, ring=rings[slab], first=first if i in shared else 0, n_channels=pitch)
        for i, slab in slabs.items()
    ]


class ResultStage:
    """The result part of a unit in one layer.

    Args:
        builder: takes the instructions.
        unit: whose.
        epilogue: what is done.
        size: height and width of the output.
        residual: what is added, None without.
    """

    def __init__(
        self, builder: Builder, unit: Unit, epilogue: Epilogue, size: tuple[int, int], residual: ResidualPlace | None
    ) -> None:
        self.builder, self.unit, self.epilogue, self.size, self.residual = builder, unit, epilogue, size, residual
        self.outputs: list[Output] = []
        self.stored = 0
        self.lookup = -1
        self._queue = RESULT_QUEUES[unit]

    def set_registers(self) -> None:
        """Set what holds for the whole layer."""
        self.builder.add(SetPixels, self._queue, width=self.size[1])
        self._set_residual()
        self._set_lookup()
        self._set_copy()

    def set_requantiser(self, table_base: int | None, bias: int = 0) -> None:
        """Set the first step.

        Args:
            table_base: entry of the output slabs' channel 0, None where one factor holds for all channels.
            bias: of all channels, without a table.
        """
        step = self.epilogue.requantise
        if step is not None and table_base is None:
            numbers: dict[str, Any] = {"multiplier": int(step.multiplier[0]), "shift": int(step.shift[0])}
            self.builder.add(SetConstant, self._queue, bias=_wrapped(bias - step.input_zero_point), **numbers)
        self.builder.add(
            SetRequantise,
            self._queue,
            is_enabled=int(step is not None),
            uses_table=int(table_base is not None),
            table_base=table_base or 0,
            rounding=ROUNDINGS.index(step.rounding) if step else 0,
            zero_point=step.output_zero_point if step else 0,
            low=step.output_format.min if step else 0,
            high=step.output_format.max if step else 0,
        )

    def set_outputs(self, outputs: list[Output]) -> None:
        """Set where results go from now on."""
        self.outputs, self.stored = outputs, 0
        for i in range(2):
            output = next((o for o in outputs if o.index == i), None)
            self.builder.add(
                SetOutput,
                self._queue,
                output=i,
                is_enabled=int(output is not None),
                bits=output.slab.bits if output else 0,
                pitch=output.slab.pitch if output else 0,
                first_channel=output.first if output else 0,
                base=output.ring.base if output else 0,
                ring_rows=output.ring.n_rows if output else 0,
                row_words=output.ring.row_words if output else 0,
            )

    def accesses(self, rows: range) -> Iterator[Access]:
        """Yield what results in some output rows read and write, the scale table left out."""
        for output in self.outputs:
            yield from output.ring.accesses(rows, is_write=True)
        if self.residual is not None:
            yield from self.residual.feeder.accesses(rows)
        if self.lookup >= 0:
            yield Access(Memory.LOOKUP, self.unit, self.lookup, self.lookup + 1)

    def store(self, stop: int) -> None:
        """Store the rows in front of one, as far as they are not stored yet."""
        for output in self.outputs:
            most = max(1, _MAX_STORE_WORDS // output.ring.row_words)
            for run in output.ring.runs(range(self.stored, stop)):
                for start in range(run.start, run.stop, most):
                    self._store_run(output, range(start, min(start + most, run.stop)))
        self.stored = max(stop, self.stored)

    def _store_run(self, output: Output, rows: range) -> None:
        address, n_words = output.slab.address + rows.start * output.slab.row_words, len(rows) * output.slab.row_words
        self.builder.move(
            Store,
            f"{self.unit.label}.store",
            [Access(Memory.DRAM, Unit.POST, address, address + n_words, True), *output.ring.accesses(rows)],
            unit=self.unit,
            dram_address=address,
            address=output.ring.address(rows.start),
            n_words=n_words,
            kept_bytes=output.kept_bytes,
        )

    def _set_residual(self) -> None:
        add, own = self.epilogue.add, self.epilogue.own
        m, zeros = (add.multipliers, add.input_zero_points) if add else ((0, 0), (0, 0))
        self.builder.add(
            SetResidual,
            self._queue,
            is_enabled=int(add is not None),
            multiplier=m[own],
            residual_multiplier=m[1 - own],
            shift=add.shift if add else 0,
            zero_point=zeros[own],
            residual_zero_point=zeros[1 - own],
            output_zero_point=add.output_zero_point if add else 0,
            low=add.output_format.min if add else 0,
            high=add.output_format.max if add else 0,
            rounding=ROUNDINGS.index(add.rounding) if add else 0,
        )
        if self.residual is not None:
            self.set_added(self.residual)

    def set_added(self, residual: ResidualPlace) -> None:
        """Set where lies what is added from now on."""
        self.residual = residual
        format, rings = residual.view.format, residual.feeder.rings
        self.set_residual_map(residual.first)
        for i, (slab, ring) in enumerate(rings.items()):
            self.builder.add(
                SetResidualSlab,
                self._queue,
                index=i,
                first_channel=residual.starts[slab],
                n_channels=slab.pitch,
                pitch=slab.pitch,
                base=ring.base,
                ring_rows=ring.n_rows,
                row_words=ring.row_words,
            )
        assert format.bits == next(iter(rings)).bits

    def set_residual_map(self, first: int) -> None:
        """Set which element of what is added belongs to channel 0 of the outputs."""
        assert self.residual is not None
        self.residual, format = replace(self.residual, first=first), self.residual.view.format
        self.builder.add(
            SetResidualMap,
            self._queue,
            n_slabs=len(self.residual.feeder.rings),
            first_channel=first,
            bits=format.bits,
            is_signed=int(format.is_signed),
        )

    def _set_lookup(self) -> None:
        lookup, clamp = self.epilogue.lookup, self.epilogue.clamp
        if lookup is not None:
            self.lookup = self.builder.ring(Memory.LOOKUP, self.unit).take(1)
            address = self.builder.image.put(lookup_words(lookup.table), "tables")
            self.builder.move_table(
                LoadLookup,
                self.unit,
                [Access(Memory.LOOKUP, self.unit, self.lookup, self.lookup + 1, True)],
                dram_address=address,
                table=self.lookup,
            )
        self.builder.add(
            SetLookup,
            self._queue,
            is_enabled=int(lookup is not None),
            table=max(self.lookup, 0),
            first=lookup.input_format.min if lookup else 0,
            is_signed=int(lookup.output_format.is_signed) if lookup else 0,
            low=clamp.low if clamp else _LOWEST,
            high=clamp.high if clamp else _HIGHEST,
        )

    def _set_copy(self) -> None:
        copy = self.epilogue.copy
        if copy is not None:
            self.builder.add(SetCopy, self._queue, **_copy_fields(copy))


_LOWEST, _HIGHEST = -256, 255


def _copy_fields(copy: Requantise) -> dict[str, Any]:
    return {
        "multiplier": int(copy.multiplier[0]),
        "shift": int(copy.shift[0]),
        "input_zero_point": copy.input_zero_point,
        "zero_point": copy.output_zero_point,
        "low": copy.output_format.min,
        "high": copy.output_format.max,
        "rounding": ROUNDINGS.index(copy.rounding),
    }


def _wrapped(number: int) -> int:
    """Return a number modulo 2^32 as a signed one."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)


def part_of(slab: Stored, channels: Sequence[int]) -> Part:
    """Return what has been written as a part of a view.

    Args:
        slab: where it lies.
        channels: of the tensor, in order, as many as are written; the rest of a pixel means nothing.
    """
    padding = np.full(slab.pitch - len(channels), -1).tolist()
    return Part(slab, 0, (*channels, *padding))
