"""The queues of one stage in time: the two WINDOW queues and POST, and what MEMORY has in common with them."""

from __future__ import annotations

from collections.abc import Mapping

from silicut.accelerators.gemm.program.memory_instructions import Barrier
from silicut.accelerators.gemm.program.post_instructions import Pool
from silicut.accelerators.gemm.program.queues import UNIT_OF, Channel, Queue
from silicut.accelerators.gemm.program.registers import RegisterFile
from silicut.accelerators.gemm.program.tokens import given, taken
from silicut.accelerators.gemm.simulate.durations import pool_cycles, window_cycles
from silicut.accelerators.gemm.simulate.timeline import Activity, Run, reason
from silicut.hardware import Instruction


class InOrder:
    """A queue whose instructions are dispatched one after the other.

    Attributes:
        next: number of the instruction that is dispatched next.
    """

    def __init__(self, run: Run, queue: Queue) -> None:
        self.next = 0
        self._run, self._queue = run, queue
        self._instructions = run.program.of(queue)
        self._free = self._settled = self._n_barriers = 0

    def advance(self) -> bool:
        """Go on as far as known tokens allow; tell whether anything happened."""
        start = self.next
        while self.next < len(self._instructions) and self._step(self._instructions[self.next]):
            self.next += 1
        return self.next > start

    def _step(self, instruction: Instruction) -> bool:
        takes = taken(self._queue, instruction)
        ready = self._met() if self._is_barrier(instruction) else self._run.channels.ready(takes)
        if ready is None:
            return False
        self._dispatch(instruction, takes, *ready)
        return True

    @staticmethod
    def _is_barrier(instruction: Instruction) -> bool:
        return isinstance(instruction, Barrier)

    def _met(self) -> tuple[int, Channel | None] | None:
        self._run.arrivals[self._n_barriers][self._queue] = max(self._free, self._settled)
        met = self._run.met(self._n_barriers)
        self._n_barriers += met is not None
        return None if met is None else (met, None)

    def _dispatch(self, instruction: Instruction, takes: Mapping[Channel, int], ready: int, last: Channel | None) -> None:
        """Do an instruction whose tokens are there at a time."""
        raise NotImplementedError


class SimpleProcess(InOrder):
    """A queue of WINDOW or POST: it is free when an instruction has been done."""

    def __init__(self, run: Run, queue: Queue) -> None:
        super().__init__(run, queue)
        self._registers = RegisterFile()

    def _dispatch(self, instruction: Instruction, takes: Mapping[Channel, int], ready: int, last: Channel | None) -> None:
        start = max(self._free, ready)
        channels, wait = self._run.channels, start - self._free
        channels.take(takes, start)
        busy = 1 + self._cycles(instruction)
        self._free = self._settled = start + busy
        channels.send(given(self._queue, instruction), self._free)
        wait_for = reason(instruction, last) if wait else ""
        activity = Activity(self._queue.value, self.next, instruction.layer, start, self._free, busy, wait, wait_for)
        self._run.activities.append(activity)

    def _cycles(self, instruction: Instruction) -> int:
        config = self._run.program.config
        if self._registers.take(instruction):
            return 0
        if isinstance(instruction, Pool):
            return pool_cycles(instruction, self._registers.windows, config)
        return window_cycles(instruction, self._registers, UNIT_OF[self._queue], config)
