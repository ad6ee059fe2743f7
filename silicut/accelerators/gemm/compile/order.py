"""The order of the memory queue: list scheduling on estimated times.

All queues but MEMORY keep the order of the sequential program. MEMORY takes, among the first jobs of its streams, the one
that can start first, of several the one that the sequential program has first: so loads run ahead as far as buffers have
room, weights of the next layer come in while the present one still computes, and no load that must wait stands before a
store that need not. Each queue's order is that of one feasible schedule of the whole program, hence it cannot deadlock.

Times are those of the machine's rules (see `program`), but for COMPUTE, whose tiles are taken together.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from silicut.accelerators.gemm.compile.jobs import Dependence, Job, Memory, Stage
from silicut.accelerators.gemm.config import RESULT_LATENCY_CYCLES, GemmConfig
from silicut.accelerators.gemm.program import LoadResidual, LoadRows, Queue, Store
from silicut.accelerators.gemm.program.transfers import groups_of


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a job keeps its queue busy, in cycles.

    Attributes:
        tiles: 1 but for products, which make so many tiles one after the other.
        execute: for each tile; for jobs of MEMORY the beats of its transfer.
        result: for each tile; 0 where a job has no results.
    """

    execute: int = 0
    result: int = 0
    tiles: int = 1


@dataclass(slots=True)
class _Ends:
    """When a job's stages end: what waits for a result waits longer."""

    execute: int
    result: int


@dataclass
class _Clock:
    """The state of a queue."""

    free: int = 0
    result_free: int = 0
    jobs: deque[Job] = field(default_factory=deque)
    done: list[Job] = field(default_factory=list)


def ordered(jobs: Iterable[Job], efforts: Mapping[Job, Effort], config: GemmConfig) -> dict[Queue, list[Job]]:
    """Return the jobs of every queue in the order of execution.

    Args:
        jobs: of the sequential program, or of a part of it behind which all queues meet.
        efforts: of each of them.
        config: the build.
    """
    return _Scheduler(config, efforts).run(list(jobs))


class _Scheduler:
    def __init__(self, config: GemmConfig, efforts: Mapping[Job, Effort]) -> None:
        self.config, self.efforts = config, efforts
        self.clocks = {queue: _Clock() for queue in Queue}
        self.ends: dict[Job, _Ends] = {}
        self.streams: dict[str, deque[Job]] = defaultdict(deque)
        self.cores = {Queue.LUT_COMPUTE: config.lut, Queue.DSP_COMPUTE: config.dsp}
        self.ports_free = [0] * len(config.memory.groups)
        self.stored = 0

    def run(self, jobs: list[Job]) -> dict[Queue, list[Job]]:
        self.own = set(jobs)
        for job in jobs:
            (self.streams[job.stream] if job.queue is Queue.MEMORY else self.clocks[job.queue].jobs).append(job)
        n_left = sum(len(stream) for stream in self.streams.values())
        self._advance()
        for _ in range(n_left):
            self._issue(self._next())
            self._advance()
        assert not any(clock.jobs for clock in self.clocks.values()), "a job waits for one behind it"
        return {queue: clock.done for queue, clock in self.clocks.items()}

    def _ready(self, job: Job, *stages: Stage) -> int | None:
        """Return when what some stages wait for is there, None if that is not yet known."""
        latest = 0
        for need in job.needs:
            if need.stage in stages and need.job in self.own:
                if need.job not in self.ends:
                    return None
                latest = max(latest, self._end(need, job))
        return latest

    def _end(self, need: Dependence, job: Job) -> int:
        ends, sender = self.ends[need.job], need.job.queue
        if sender is Queue.MEMORY:
            if job.queue is Queue.MEMORY:
                return 0  # the order alone matters
            return ends.execute if isinstance(need.job.instruction, Store) else ends.result
        return ends.execute if need.memory in (Memory.LHS, Memory.RHS, Memory.FEATURES) else ends.result

    def _next(self) -> Job:
        best: tuple[int, int] | None = None
        chosen = None
        for stream in self.streams.values():
            if not stream:
                continue
            start = self._start(stream[0])
            if start is not None and (best is None or (start, stream[0].index) < best):
                best, chosen = (start, stream[0].index), stream
        assert chosen is not None, "no job of memory can start"
        return chosen.popleft()

    def _start(self, job: Job) -> int | None:
        """Return when a transfer can start, None if that is not yet known."""
        ready = self._ready(job, *Stage)
        if ready is None:
            return None
        ports = max((self.ports_free[group] for group in groups_of(job.instruction, self.config)), default=0)
        stored = self.stored if isinstance(job.instruction, LoadRows | LoadResidual) else 0
        return max(self.clocks[Queue.MEMORY].free, ready, ports, stored)

    def _issue(self, job: Job) -> None:
        clock, start, groups = self.clocks[Queue.MEMORY], self._start(job) or 0, groups_of(job.instruction, self.config)
        end = start + 1 + self.efforts[job].execute
        clock.free = end if len(self.ports_free) == 1 else start + 1
        for group in groups:
            self.ports_free[group] = end
        if isinstance(job.instruction, Store):
            self.stored = max(self.stored, end)
        self.ends[job] = _Ends(end, end + self.config.memory.latency_cycles)
        clock.done.append(job)

    def _advance(self) -> None:
        """Let all other queues run as far as they can."""
        moved = True
        while moved:
            moved = False
            for queue, clock in self.clocks.items():
                start = self._compute if queue in self.cores else self._simple
                while clock.jobs and start(queue, clock, clock.jobs[0]):
                    clock.done.append(clock.jobs.popleft())
                    moved = True

    def _simple(self, queue: Queue, clock: _Clock, job: Job) -> bool:
        """Run a job of WINDOW or POST if what it waits for is known."""
        ready = self._ready(job, *Stage)
        if ready is None:
            return False
        clock.free = max(clock.free, ready) + 1 + self.efforts[job].execute
        self.ends[job] = _Ends(clock.free, clock.free)
        return True

    def _compute(self, queue: Queue, clock: _Clock, job: Job) -> bool:
        """Run a job of COMPUTE if what it waits for is known: tiles leave at the pace of the slower stage."""
        ready, result_ready = self._ready(job, Stage.EXECUTE), self._ready(job, Stage.RESULT)
        if ready is None or result_ready is None:
            return False
        core, effort, start = self.cores[queue], self.efforts[job], max(clock.free, ready) + 1
        latency, n_banks = (core.latency_cycles, core.n_accumulator_banks) if core else (0, 2)
        in_turn = (effort.execute + latency + effort.result) // n_banks
        pace = max(effort.execute, effort.result, in_turn)
        first_result = max(clock.result_free, start + effort.execute + latency, result_ready)
        clock.free = max(start + effort.execute * effort.tiles, first_result + pace * (effort.tiles - n_banks))
        if effort.result:
            last = max(first_result + pace * (effort.tiles - 1), clock.free + latency)
            clock.result_free = last + effort.result
        self.ends[job] = _Ends(clock.free, clock.result_free + RESULT_LATENCY_CYCLES)
        return True
