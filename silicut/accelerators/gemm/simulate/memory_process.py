"""The queue of MEMORY in time: transfers in order, each through its ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from silicut.accelerators.gemm.program.memory_instructions import LoadResidual, LoadRows, resource_of
from silicut.accelerators.gemm.program.queues import Channel, Queue, Resource
from silicut.accelerators.gemm.program.tokens import given
from silicut.accelerators.gemm.program.transfers import beats_of, groups_of
from silicut.accelerators.gemm.simulate.simple_process import InOrder
from silicut.accelerators.gemm.simulate.timeline import MEMORY_STAGES, Activity, Run, reason
from silicut.hardware import Instruction, MemoryClock


class _Ports:
    """Ports that are used together.

    Attributes:
        stage: their name in a timeline.
        clock: their beats.
        free: when their transfer has ended.
        stored: when their last store has ended.
    """

    def __init__(self, stage: str, clock: MemoryClock) -> None:
        self.stage, self.clock = stage, clock
        self.free = self.stored = 0


class MemoryProcess(InOrder):
    """The queue that moves all data."""

    def __init__(self, run: Run, queue: Queue = Queue.MEMORY) -> None:
        super().__init__(run, queue)
        memory = run.program.config.memory
        self._groups = [
            _Ports(stage, MemoryClock(memory.refresh_every, memory.refresh_cycles))
            for stage, _ in zip(MEMORY_STAGES, memory.groups, strict=False)
        ]

    def _dispatch(self, instruction: Instruction, takes: Mapping[Channel, int], ready: int, last: Channel | None) -> None:
        groups = [self._groups[number] for number in groups_of(instruction, self._run.program.config)]
        start = max(self._free, ready, *(group.free for group in groups), self._stored(instruction))
        self._run.channels.take(takes, start)
        free = start + 1 + self._cycles(instruction, groups)
        is_store = resource_of(instruction) is Resource.OUTPUT
        end = max(free, *(group.free for group in groups or self._groups))
        if not is_store and not self._is_barrier(instruction):
            end += self._run.program.config.memory.latency_cycles
        self._free = start + 1 if len(self._groups) > 1 else free
        self._settled = max(self._settled, end)
        self._run.channels.send(given(self._queue, instruction), end)
        wait_for = reason(instruction, last) if start == ready else "ports"
        for group in groups:
            wait, busy = start - group.free, free - start
            self._run.activities.append(
                Activity(group.stage, self.next, instruction.layer, start, end, busy, wait, wait_for if wait else "")
            )
            group.free = free
            group.stored = free if is_store else group.stored

    def _stored(self, instruction: Instruction) -> int:
        """Return when the stores are done that an instruction waits for."""
        is_of_features = isinstance(instruction, LoadRows | LoadResidual)
        return max(group.stored for group in self._groups) if is_of_features else 0

    def _cycles(self, instruction: Instruction, groups: Sequence[_Ports]) -> int:
        """Return how long a transfer takes: of several pauses of its ports the longest holds all."""
        beats = beats_of(instruction, self._run.program.config)
        return max((group.clock.cycles(beats) for group in groups), default=0)
