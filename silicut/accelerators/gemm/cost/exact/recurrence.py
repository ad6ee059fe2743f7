"""The recurrence: when each job of each queue starts and ends.

    start  = max(end of the job before, what it waits for)
    end    = start + 1 + cycles                                             window units and vector unit
    end    = start + 1 + beats + pauses;  a load's data = end + latency      memory, start not before its ports are free
    X[i]   = max(X[i-1], R[i-banks]) + execute[i]                            cores, tile by tile
    R[i]   = max(R[i-1], X[i] + latency, residual and room for output) + result[i]

Each job is dispatched in one cycle. What the memory waits for of another kind than it moves costs it a cycle of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from silicut.accelerators.gemm.compile.jobs import Job, Memory
from silicut.accelerators.gemm.compile.schedule import LayerSchedule
from silicut.accelerators.gemm.config import RESULT_LATENCY_CYCLES, GemmConfig
from silicut.accelerators.gemm.cost.exact.durations import Busy, Duration, Tiles, durations
from silicut.accelerators.gemm.cost.exact.waits import Wait, resource_of, waits
from silicut.accelerators.gemm.program import LoadResidual, LoadRows, Queue, Resource, Store, Sync, Unit

_OF_RESULTS = (Resource.RESIDUAL, Resource.OUTPUT)


@dataclass(frozen=True)
class ExactTime:
    """When a network is ready.

    Attributes:
        cycles: until the last transfer has arrived and the last result is written.
        barriers: when the queues met, behind each layer; empty where layers overlap.
    """

    cycles: int
    barriers: tuple[int, ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """The cycles of each layer, where the queues meet behind it."""
        return tuple(stop - start for start, stop in zip((0, *self.barriers), self.barriers, strict=False))


@dataclass
class _Line:
    """A queue on its way.

    Attributes:
        free: when it takes its next job.
        last: the latest end of anything that it started.
        ends: of each job so far, when it has been executed; of loads, when they left the queue.
        results: of each job so far, when its results are written; of loads, when their data have arrived.
        r: when the results of the last tiles were ready, the oldest first, as many as there are banks of accumulators.
    """

    free: int = 0
    last: int = 0
    ends: list[int] = field(default_factory=list)
    results: list[int] = field(default_factory=list)
    r: deque[int] = field(default_factory=deque)

    def done(self, end: int, result: int) -> None:
        self.free = end
        self.last = max(self.last, end, result)
        self.ends.append(end)
        self.results.append(result)


def exact_time(schedules: Sequence[LayerSchedule], queues: Mapping[Queue, Sequence[Job]], config: GemmConfig) -> ExactTime:
    """Return the time of a compiled network.

    Args:
        schedules: the loop nests of all layers, in order.
        queues: the jobs of every queue, in order.
        config: of the machine.
    """
    return _Recurrence(queues, durations(schedules, queues, config), config).run()


class _Recurrence:
    def __init__(
        self, queues: Mapping[Queue, Sequence[Job]], lengths: Mapping[Queue, Sequence[Duration]], config: GemmConfig
    ) -> None:
        self.queues, self.lengths, self.config = queues, lengths, config
        self.waits = waits(queues)
        self.lines = {queue: _Line() for queue in Queue}
        for queue, core in ((Queue.LUT_COMPUTE, config.lut), (Queue.DSP_COMPUTE, config.dsp)):
            if core is not None:
                self.lines[queue].r.extend([0] * core.n_accumulator_banks)
        self.barriers: list[int] = []
        memory = config.memory
        self.port_free = [0] * (2 if memory.has_core_ports else 1)
        self.port_beats = [0] * len(self.port_free)  # since its last pause
        self.stored = 0  # when the last store has ended

    def run(self) -> ExactTime:
        while any(len(self.lines[queue].ends) < len(jobs) for queue, jobs in self.queues.items()):
            moved = [self._advance(queue) for queue in Queue]
            if not any(moved):
                self._meet()
        return ExactTime(max(line.last for line in self.lines.values()), tuple(self.barriers))

    def _advance(self, queue: Queue) -> bool:
        """Go through the jobs of a queue as far as what they wait for is known; tell whether there were any."""
        line, jobs, start = self.lines[queue], self.queues[queue], len(self.lines[queue].ends)
        while (place := len(line.ends)) < len(jobs):
            found, length = self.waits[queue][place], self.lengths[queue][place]
            if length is None or any(len(self.lines[wait.queue].ends) <= wait.place for wait in found):
                break
            if queue is Queue.MEMORY:
                self._transfer(line, jobs[place], found)
            elif isinstance(length, Tiles):
                self._multiply(line, length, found, queue)
            else:
                end = max(line.free, self._latest(found)) + 1 + length.cycles
                line.done(end, end)
        return len(line.ends) > start

    def _meet(self) -> None:
        """Let all queues meet at a barrier, but for those that have no jobs at all."""
        lines = {queue: line for queue, line in self.lines.items() if self.queues[queue]}
        at_barrier = [self.lengths[queue][len(line.ends)] is None for queue, line in lines.items()]
        assert all(at_barrier), "a job waits for one behind it"
        time = max(max(line.free, line.last) for line in lines.values())
        self.barriers.append(time)
        for line in lines.values():
            line.done(time + 1, time + 1)

    def _latest(self, found: Sequence[Wait]) -> int:
        return max((self._time(wait) for wait in found), default=0)

    def _time(self, wait: Wait) -> int:
        """Return when a wait is over."""
        line = self.lines[wait.queue]
        if wait.queue is Queue.MEMORY:
            is_store = isinstance(self.queues[wait.queue][wait.place].instruction, Store)
            return line.ends[wait.place] if is_store else line.results[wait.place]
        return (line.results if wait.resource in _OF_RESULTS else line.ends)[wait.place]

    def _transfer(self, line: _Line, job: Job, found: Sequence[Wait]) -> None:
        own, ports = resource_of(job), self._ports(job)
        for resource in sorted({wait.resource for wait in found} - {own}):
            line.free = max(line.free, self._latest([wait for wait in found if wait.resource is resource])) + 1
        start = max(line.free, self._latest([wait for wait in found if wait.resource is own]))
        start = max([start, *(self.port_free[port] for port in ports)])
        if isinstance(job.instruction, LoadRows | LoadResidual):
            start = max(start, self.stored)
        end = start + 1 + self._beats(self.lengths[Queue.MEMORY][len(line.ends)], ports)
        for port in ports:
            self.port_free[port] = end
        is_store = isinstance(job.instruction, Store)
        self.stored = max(self.stored, end) if is_store else self.stored
        if not ports:  # a sync: its token comes behind all data
            end = max(end, *self.port_free)
        line.done(end, end if is_store else end + self.config.memory.latency_cycles)
        if len(self.port_free) > 1:
            line.free = start + 1

    def _ports(self, job: Job) -> Sequence[int]:
        """Return the ports that a transfer takes, by number: what concerns one core alone takes that core's."""
        units = {access.unit for access in job.accesses if access.memory is not Memory.DRAM}
        if len(self.port_free) == 1:
            return [0]
        if isinstance(job.instruction, Sync):
            return []
        return [int(*units)] if units in ({Unit.LUT}, {Unit.DSP}) else [0, 1]

    def _beats(self, length: Duration, ports: Sequence[int]) -> int:
        """Return how long a transfer lasts, with the longest pause of its ports."""
        assert isinstance(length, Busy)
        memory = self.config.memory
        beats = -(-length.cycles // max(1, memory.n_ports // len(self.port_free) * len(ports)))
        pauses = [0]
        for port in ports:
            if memory.refresh_every:
                n, self.port_beats[port] = divmod(self.port_beats[port] + beats, memory.refresh_every)
                pauses.append(n)
        return beats + max(pauses) * memory.refresh_cycles

    def _multiply(self, line: _Line, tiles: Tiles, found: Sequence[Wait], queue: Queue) -> None:
        core = self.config.lut if queue is Queue.LUT_COMPUTE else self.config.dsp
        assert core is not None
        x = max(line.free, self._latest([wait for wait in found if wait.resource not in _OF_RESULTS])) + 1
        room = self._latest([wait for wait in found if wait.resource in _OF_RESULTS])
        for i, execute in enumerate(tiles.execute):
            x = (max(x, line.r[0]) if tiles.opens else x) + execute
            if tiles.result:
                line.r.append(max(line.r[-1], x + core.latency_cycles, room) + tiles.result[i])
                line.r.popleft()
        line.done(x, line.r[-1] + RESULT_LATENCY_CYCLES if tiles.result else x)
