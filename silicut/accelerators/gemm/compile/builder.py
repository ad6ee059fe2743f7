"""What all layers of a program under construction share: memory, rings of buffers, and the sequential program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from silicut.accelerators.gemm.compile.jobs import Access, Job, Memory, SequentialProgram
from silicut.accelerators.gemm.compile.memory_image import MemoryImage
from silicut.accelerators.gemm.compile.order import Effort
from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.program import Queue, Resource, Sync, Unit
from silicut.accelerators.gemm.program.transfers import beats_of
from silicut.hardware import Instruction

WINDOW_QUEUES = {Unit.LUT: Queue.LUT_WINDOW, Unit.DSP: Queue.DSP_WINDOW, Unit.POST: Queue.POST}
"""The queue that holds the registers of the windows of each unit."""
RESULT_QUEUES = {Unit.LUT: Queue.LUT_COMPUTE, Unit.DSP: Queue.DSP_COMPUTE, Unit.POST: Queue.POST}
"""The queue that makes the results of each unit."""

_MOST_HELD = 100


@dataclass(eq=False)
class RingPointer:
    """Gives out the addresses of a buffer one behind the other and begins anew at 0 where they end.

    Nothing is ever given back: who writes addresses that were given out before waits for whoever uses them still.

    Attributes:
        size: of the buffer.
        next: the first address that is given out next.
    """

    size: int
    next: int = 0

    def take(self, n: int) -> int:
        """Return the first of n neighbouring addresses.

        Small requests take a hundredth of the buffer all the same: so many hand-overs at most are under way at a time, which
        no channel of tokens is too short for.
        """
        assert n <= self.size
        start = self.next if self.next + n <= self.size else 0
        self.next = start + max(n, self.size // _MOST_HELD)
        return start

    def take_wrapped(self, n: int) -> int:
        """Return the first of n addresses that go on at 0 where the buffer ends."""
        assert n <= self.size
        start = self.next % self.size
        self.next = (start + n) % self.size
        return start


@dataclass(eq=False)
class Builder:
    """A program under construction.

    Attributes:
        config: the build.
        image: its memory.
        sequence: its jobs so far.
        efforts: how long each of them takes.
        layer: number of the layer under construction.
    """

    config: GemmConfig
    image: MemoryImage = field(default_factory=MemoryImage)
    sequence: SequentialProgram = field(default_factory=SequentialProgram)
    efforts: dict[Job, Effort] = field(default_factory=dict)
    layer: int = 0

    def __post_init__(self) -> None:
        buffers = self.config.buffers
        sizes = {
            Memory.FEATURES: buffers.feature_words,
            Memory.RESIDUAL: buffers.residual_words,
            Memory.OUTPUT: buffers.output_words,
            Memory.TABLE: buffers.table_entries,
            Memory.LOOKUP: 2,
        }
        self._rings = {(memory, unit): RingPointer(size) for memory, size in sizes.items() for unit in Unit}
        for unit, core in ((Unit.LUT, self.config.lut), (Unit.DSP, self.config.dsp)):
            if core is not None:
                self._rings[Memory.LHS, unit] = RingPointer(core.lhs_depth)
                self._rings[Memory.RHS, unit] = RingPointer(core.rhs_depth)

    def ring(self, memory: Memory, unit: Unit) -> RingPointer:
        """Return the ring of a unit's buffer."""
        return self._rings[memory, unit]

    def add(
        self,
        kind: type[Instruction],
        queue: Queue,
        accesses: Iterable[Access] = (),
        effort: Effort | None = None,
        **fields: Any,
    ) -> Job:
        """Append an instruction of WINDOW, COMPUTE or POST."""
        job = self.sequence.add(kind(queue=queue, layer=self.layer, **fields), accesses)
        self.efforts[job] = effort or Effort()
        return job

    def move(self, kind: type[Instruction], stream: str, accesses: Iterable[Access], **fields: Any) -> Job:
        """Append a transfer of MEMORY."""
        instruction = kind(queue=Queue.MEMORY, layer=self.layer, **fields)
        job = self.sequence.add(instruction, accesses, stream)
        self.efforts[job] = Effort(execute=beats_of(instruction, self.config))
        return job

    def move_table(self, kind: type[Instruction], unit: Unit, accesses: Sequence[Access], **fields: Any) -> None:
        """Append the transfer of a table, in front of weights; POST, which has none, is told by tokens of rows."""
        stream = "post.rows" if unit is Unit.POST else f"{unit.label}.weights"
        self.move(kind, stream, accesses, unit=unit, **fields)
        if unit is Unit.POST:
            self.move(Sync, stream, accesses, resource=Resource.ROWS)
