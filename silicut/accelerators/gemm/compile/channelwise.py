"""Layers that keep the order of channels: depthwise convolutions on the DSP core, and everything that POST does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from silicut.accelerators.gemm.compile.banks import table_accesses
from silicut.accelerators.gemm.compile.builder import WINDOW_QUEUES, Builder
from silicut.accelerators.gemm.compile.folding import Array, Operand
from silicut.accelerators.gemm.compile.fused import Epilogue
from silicut.accelerators.gemm.compile.geometry import Geometry
from silicut.accelerators.gemm.compile.jobs import Memory
from silicut.accelerators.gemm.compile.results import (
    Output,
    ResidualPlace,
    ResultStage,
    make_outputs,
    residual_slabs,
)
from silicut.accelerators.gemm.compile.rows import ResidualFeeder, RowFeeder, distinct_slabs, rings_of
from silicut.accelerators.gemm.compile.schedule import UnitSchedule
from silicut.accelerators.gemm.compile.views import View
from silicut.accelerators.gemm.compile.windows import set_window
from silicut.accelerators.gemm.program import LoadTable
from silicut.numerics import IntegerFormat

Written = list[tuple[Output, list[int]]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Channelwise:
    """A layer whose output has the channels of its input, in their order.

    Attributes:
        name: of the layer.
        view: the input.
        geometry: of the windows.
        pad_value: what padding holds.
        epilogue: what follows.
        formats: of the result and of its copy, None for what nobody reads.
        residual: the tensor that is added, in the same order, None without.
        residual_first: its element that is added to the first one of the output.
        weight: array (c, kh, kw) of a depthwise layer, None in POST.
        bias: array (c,), None without.
        is_max: whether POST takes the largest number of a window, else the sum.
    """

    name: str
    view: View
    geometry: Geometry
    pad_value: int
    epilogue: Epilogue
    formats: tuple[IntegerFormat | None, IntegerFormat | None]
    residual: View | None = None
    residual_first: int = 0
    weight: Array | None = None
    bias: Array | None = None
    is_max: bool = True

    def by_slab(self) -> list[Channelwise]:
        """Return it in pieces, each of neighbouring parts of one slab: its channels do not need each other."""
        pieces, first = [], self.residual_first
        for _, run in groupby(self.view.parts, key=lambda part: part.slab):
            view = replace(self.view, parts=tuple(run))
            pieces.append(replace(self, view=view, residual_first=first))
            first += len(view.order)
        return pieces


class Walk:
    """One unit on its way over the map."""

    def __init__(self, builder: Builder, layer: Channelwise, schedule: UnitSchedule, operand: Operand) -> None:
        self.builder, self.layer, self.unit, self.rings = builder, layer, schedule.unit, schedule.rings
        self.operand, self.order = operand, layer.view.order
        bits = operand.bits
        rings = rings_of(builder, Memory.FEATURES, self.unit, distinct_slabs(layer.view), self.rings.feature_rows, bits)
        self.feeder = RowFeeder(builder, layer.view, layer.geometry, {self.unit: rings}, is_wide=bits == 8)
        self.feeder.readers.append(self)
        self.results = ResultStage(builder, self.unit, layer.epilogue, layer.geometry.output_size, self._residual())
        self.written: Written = []
        self.starts = self._starts()
        self.rows = range(0)

    def _starts(self) -> list[int]:
        """Return the first element of each part, over all parts."""
        starts, n = [], 0
        for part in self.layer.view.parts:
            starts.append(n)
            n += len(part.channels)
        return starts

    def _residual(self) -> ResidualPlace | None:
        view = self.layer.residual
        if view is None:
            return None
        first = self.layer.residual_first
        starts = residual_slabs(view, range(first, first + len(self.order)), self.layer.name)
        rings = rings_of(self.builder, Memory.RESIDUAL, self.unit, list(starts), self.rings.residual_rows)
        feeder = ResidualFeeder(self.builder, self.unit, rings, view.height)
        return ResidualPlace(view=view, first=first, feeder=feeder, starts=starts)

    def lowest_row(self) -> int | None:
        """Return the lowest input row of the step under way."""
        return self.layer.geometry.input_rows(self.rows).start

    def advance(self) -> None:
        """Never asked for: there is no other reader."""
        raise AssertionError("one unit alone reads these rows")

    def begin(self) -> None:
        """Set the registers that hold for the whole layer."""
        set_window(
            self.builder,
            WINDOW_QUEUES[self.unit],
            self.layer.geometry,
            self.operand,
            self.layer.view.parts,
            self.feeder.rings[self.unit],
        )
        self.results.set_registers()

    def set_outputs(self, elements: range) -> None:
        """Make slabs for some elements of the output's pixels."""
        outputs = make_outputs(
            self.builder,
            self.unit,
            len(elements),
            self.layer.geometry.output_size,
            self.layer.formats,
            self.rings.output_rows,
        )
        self.results.set_outputs(outputs)
        self.written += [(output, list(self.order[elements.start : elements.stop])) for output in outputs]

    def row_groups(self, n: int) -> Iterator[range]:
        """Yield the output rows of each step."""
        height = self.layer.geometry.output_size[0]
        yield from (range(start, min(start + n, height)) for start in range(0, height, n))

    def require(self, rows: range, pass_: int, chunk: int) -> range:
        """Bring in what some output rows need; return the input rows."""
        self.rows = rows
        needed = self.layer.geometry.input_rows(rows)
        self.feeder.require(needed, pass_, self)
        if self.results.residual is not None:
            self.results.residual.feeder.require(rows, chunk)
        return needed

    def table(self, words: Array) -> int:
        """Load entries of the scale table; return the first."""
        size = self.builder.config.buffers.table_entries
        base = self.builder.ring(Memory.TABLE, self.unit).take_wrapped(len(words))
        address = self.builder.image.put(words, "tables")
        self.builder.move_table(
            LoadTable,
            self.unit,
            list(table_accesses(self.unit, base, len(words), size, is_write=True)),
            dram_address=address,
            base=base,
            n_entries=len(words),
        )
        return base
