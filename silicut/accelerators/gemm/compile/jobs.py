"""The sequential program: instructions in an order in which one after the other would be right, and what each depends on.

Jobs say which addresses of which memory they read and write. From these alone follows who must wait for whom: a reader for
the writers before it, a writer for the readers before it. Whoever keeps to these dependences may run at any time, so the
order of the memory queue can be chosen freely afterwards (`order`), and the tokens follow (`tokens`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from silicut.accelerators.gemm.program import Queue, Unit
from silicut.hardware import Instruction


class Memory(StrEnum):
    """What jobs read and write."""

    FEATURES = "features"
    LHS = "lhs"
    RHS = "rhs"
    TABLE = "table"
    LOOKUP = "lookup"
    RESIDUAL = "residual"
    OUTPUT = "output"
    DRAM = "dram"


class Stage(IntEnum):
    """When a job does so: in COMPUTE products come before results, elsewhere there is but one stage."""

    EXECUTE = 0
    RESULT = 1


_STAGES = {
    Memory.TABLE: Stage.RESULT,
    Memory.LOOKUP: Stage.RESULT,
    Memory.RESIDUAL: Stage.RESULT,
    Memory.OUTPUT: Stage.RESULT,
}


@dataclass(frozen=True, slots=True)
class Access:
    """Addresses that a job touches.

    Attributes:
        memory: which memory.
        unit: whose; any for DRAM.
        start, stop: the addresses.
        is_write: whether they are written.
    """

    memory: Memory
    unit: Unit
    start: int
    stop: int
    is_write: bool = False


@dataclass(frozen=True, slots=True)
class Dependence:
    """A job that must have got so far.

    Attributes:
        job: which one.
        memory: where the two meet.
        stage: of the one that waits.
    """

    job: Job
    memory: Memory
    stage: Stage


@dataclass(eq=False, slots=True)
class Job:
    """An instruction in the sequential program.

    Attributes:
        instruction: without tokens.
        accesses: what it reads and writes.
        stream: jobs of MEMORY keep their order within a stream.
        index: in the sequential program.
        needs: what it depends on.
        queue: that executes it.
    """

    instruction: Instruction
    accesses: tuple[Access, ...]
    stream: str
    index: int
    needs: list[Dependence] = field(default_factory=list)
    queue: Queue = field(init=False)

    def __post_init__(self) -> None:
        self.queue = Queue(self.instruction.queue)


@dataclass(eq=False, slots=True)
class _Span:
    """Addresses that were written together: who wrote them last, and who has read them since, the last of each queue."""

    start: int
    stop: int
    writer: Job | None
    readers: dict[Queue, Job]

    def part(self, start: int, stop: int) -> _Span:
        return _Span(start, stop, self.writer, dict(self.readers))


class _Board:
    """The spans of one memory, in order, without gaps."""

    def __init__(self) -> None:
        self.spans = [_Span(0, 1 << 62, None, {})]
        self.starts = [0]

    def _covering(self, start: int, stop: int) -> tuple[int, int]:
        """Return the indices of the spans that make up some addresses, after cutting those that reach beyond."""
        self._cut(start)
        self._cut(stop)
        return bisect_left(self.starts, start), bisect_left(self.starts, stop)

    def _cut(self, address: int) -> None:
        i = bisect_right(self.starts, address) - 1
        span = self.spans[i]
        if span.start != address:
            self.spans[i : i + 1] = [span.part(span.start, address), span.part(address, span.stop)]
            self.starts.insert(i + 1, address)

    def read(self, job: Job, start: int, stop: int) -> Iterable[Job]:
        first, last = self._covering(start, stop)
        for span in self.spans[first:last]:
            span.readers[job.queue] = job
            if span.writer is not None:
                yield span.writer

    def write(self, job: Job, start: int, stop: int) -> Iterable[Job]:
        first, last = self._covering(start, stop)
        before = self.spans[first:last]
        self.spans[first:last] = [_Span(start, stop, job, {})]
        self.starts[first:last] = [start]
        for span in before:
            yield from span.readers.values()
            if span.writer is not None:
                yield span.writer


class SequentialProgram:
    """The sequential program under construction.

    Attributes:
        jobs: in order.
    """

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self._boards: dict[tuple[Memory, Unit], _Board] = {}

    def add(self, instruction: Instruction, accesses: Iterable[Access] = (), stream: str = "") -> Job:
        """Append an instruction.

        Args:
            instruction: without tokens.
            accesses: what it reads and writes.
            stream: for jobs of MEMORY.
        """
        job = Job(instruction, tuple(accesses), stream, len(self.jobs))
        self.jobs.append(job)
        found: dict[tuple[int, Memory], Dependence] = {}
        for access in job.accesses:
            board = self._boards.setdefault((access.memory, access.unit), _Board())
            touch = board.write if access.is_write else board.read
            stage = _STAGES.get(access.memory, Stage.EXECUTE)
            for other in touch(job, access.start, access.stop):
                if other is not job and (other.queue is not job.queue or job.queue is Queue.MEMORY):
                    found.setdefault((other.index, access.memory), Dependence(other, access.memory, stage))
        job.needs = list(found.values())
        return job
