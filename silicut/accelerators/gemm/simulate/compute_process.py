"""The queues of two stages in time: execute and result, joined by banks of accumulators."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from silicut.accelerators.gemm.config import RESULT_LATENCY_CYCLES
from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm
from silicut.accelerators.gemm.program.memory_instructions import Barrier
from silicut.accelerators.gemm.program.queues import UNIT_OF, Channel, Queue
from silicut.accelerators.gemm.program.registers import RegisterFile
from silicut.accelerators.gemm.program.tiles import CoreShape
from silicut.accelerators.gemm.program.tokens import given, is_of_result, taken
from silicut.accelerators.gemm.simulate.durations import array_latency_cycles, tile_cycles
from silicut.accelerators.gemm.simulate.timeline import Activity, Run, reason
from silicut.hardware import Instruction


@dataclass
class _Executing:
    """An instruction in the execute stage.

    Attributes:
        start, wait, wait_for: of its dispatch.
        tiles: cycles of execute and of result of each tile that leaves the accumulators; empty where none does.
        open_cycles: cycles of a tile that stays in them.
        needs_bank: whether that tile is the first part of its sum.
        n_done: tiles that have been executed.
    """

    start: int
    wait: int
    wait_for: str
    tiles: list[tuple[int, int]]
    open_cycles: int = 0
    needs_bank: bool = False
    n_done: int = 0
    busy: int = 1


@dataclass
class _Finishing:
    """An instruction in the result stage.

    Attributes:
        number, instruction: which one.
        takes, gives: tokens of the stage.
        sums: when each tile has been executed, and how long its result takes.
        n_tiles: how many there will be.
        executed: when the whole instruction has been executed, None before.
    """

    number: int
    instruction: Instruction
    takes: Mapping[Channel, int]
    gives: Mapping[Channel, int]
    sums: deque[tuple[int, int]]
    n_tiles: int
    executed: int | None = None
    n_done: int = 0
    start: int = 0
    busy: int = 0
    wait: int = 0
    wait_for: str = ""


class ComputeProcess:
    """LUT.COMPUTE or DSP.COMPUTE."""

    def __init__(self, run: Run, queue: Queue) -> None:
        self._next = 0
        self._run, self._queue, self._unit = run, queue, UNIT_OF[queue]
        self._instructions = run.program.of(queue)
        if self._instructions:
            self._latency = array_latency_cycles(self._unit, run.program.config)
            self._n_banks = CoreShape.of(self._unit, run.program.config).n_accumulator_banks
        self._stages = f"{self._unit.label}.execute", f"{self._unit.label}.result"
        self._registers = RegisterFile()
        self._current: _Executing | None = None
        self._finishing: deque[_Finishing] = deque()
        self._results: list[int] = []  # when each tile has left the accumulators
        self._n_executed = self._free = self._result_free = self._settled = self._n_barriers = 0

    @property
    def next(self) -> int:
        """Number of the first instruction that is not finished yet."""
        return self._finishing[0].number if self._finishing else self._next

    def advance(self) -> bool:
        """Go on as far as known tokens allow; tell whether anything happened."""
        is_moving = False
        while self._execute() | self._finish():
            is_moving = True
        return is_moving

    # Execute.

    def _execute(self) -> bool:
        if self._next == len(self._instructions):
            return False
        instruction = self._instructions[self._next]
        has_started = self._current is None and self._dispatch(instruction)
        current = self._current
        if current is None:
            return False
        n_before = current.n_done
        if not self._run_tiles(current, self._finishing[-1] if current.tiles else None):
            return has_started or current.n_done > n_before
        self._end(instruction, current)
        return True

    def _dispatch(self, instruction: Instruction) -> bool:
        takes = taken(self._queue, instruction)
        needs = {channel: n for channel, n in takes.items() if not is_of_result(channel)}
        ready = self._meet() if isinstance(instruction, Barrier) else self._run.channels.ready(needs)
        if ready is None:
            return False
        start = max(self._free, ready[0])
        self._run.channels.take(needs, start)
        wait = start - self._free
        self._current = self._begun(instruction, start, wait, reason(instruction, ready[1]) if wait else "")
        self._open_result(instruction, takes, len(self._current.tiles))
        self._free = start + 1
        return True

    def _meet(self) -> tuple[int, Channel | None] | None:
        """Return when all queues have met, or None; this one arrives when all its results are written."""
        if self._finishing:
            return None
        self._run.arrivals[self._n_barriers][self._queue] = max(self._free, self._settled)
        met = self._run.met(self._n_barriers)
        self._n_barriers += met is not None
        return None if met is None else (met, None)

    def _begun(self, instruction: Instruction, start: int, wait: int, wait_for: str) -> _Executing:
        begun = _Executing(start, wait, wait_for, [])
        if self._registers.take(instruction) or not isinstance(instruction, Gemm | Depthwise):
            return begun
        begun.tiles = tile_cycles(instruction, self._registers, self._unit, self._run.program.config)
        if isinstance(instruction, Gemm):
            begun.needs_bank = bool(instruction.is_first)
            if not instruction.is_last:
                begun.open_cycles, begun.tiles = begun.tiles[0][0], []
        else:
            begun.needs_bank = True
        return begun

    def _open_result(self, instruction: Instruction, takes: Mapping[Channel, int], n_tiles: int) -> None:
        takes = {channel: n for channel, n in takes.items() if is_of_result(channel)}
        gives = {channel: n for channel, n in given(self._queue, instruction).items() if is_of_result(channel)}
        if n_tiles or takes or gives:
            self._finishing.append(_Finishing(self._next, instruction, takes, gives, deque(), n_tiles))

    def _run_tiles(self, current: _Executing, finishing: _Finishing | None) -> bool:
        """Execute tiles while banks are known to become free; tell whether all are done."""
        if current.open_cycles:
            if not self._occupy(current.needs_bank):
                return False
            self._free += current.open_cycles
            current.busy += current.open_cycles
            return True
        while current.n_done < len(current.tiles):
            if not self._occupy(current.needs_bank):
                return False
            execute, result = current.tiles[current.n_done]
            self._free += execute
            assert finishing is not None
            finishing.sums.append((self._free, result))
            current.busy += execute
            current.n_done += 1
            self._n_executed += 1
        return True

    def _occupy(self, needs_bank: bool) -> bool:
        """Wait for the next bank; tell whether it is known when it becomes free."""
        before = self._n_executed - self._n_banks
        if not needs_bank or before < 0:
            return True
        if before >= len(self._results):
            return False
        wait = self._results[before] - self._free
        if wait > 0:
            self._run.inner_waits[self._stages[0], "accumulators"] += wait
            self._free += wait
        return True

    def _end(self, instruction: Instruction, current: _Executing) -> None:
        gives = [c for c in given(self._queue, instruction) if not is_of_result(c)]
        self._run.channels.send(gives, self._free)
        if self._finishing and self._finishing[-1].number == self._next:
            self._finishing[-1].executed = self._free
        self._run.activities.append(
            Activity(
                stage=self._stages[0],
                number=self._next,
                layer=instruction.layer,
                start=current.start,
                end=self._free,
                busy=current.busy,
                wait=current.wait,
                wait_for=current.wait_for,
            )
        )
        self._settled = max(self._settled, self._free)
        self._current = None
        self._next += 1

    # Result.

    def _finish(self) -> bool:
        """Let results leave as far as is known; tell whether anything happened."""
        if not self._finishing:
            return False
        first = self._finishing[0]
        if not first.n_tiles:
            return self._pass(first)
        n_before = first.n_done
        while first.sums:
            time = max(self._result_free, first.sums[0][0] + self._latency)
            if not first.n_done:
                started = self._start(first, time)
                if started is None:
                    break
                time = started
            _, cycles = first.sums.popleft()
            self._result_free = time + cycles
            self._results.append(self._result_free)
            first.busy += cycles
            first.n_done += 1
        if first.n_done == first.n_tiles and first.executed is not None:
            self._close(first)
            return True
        return first.n_done > n_before

    def _pass(self, first: _Finishing) -> bool:
        """Take and give the tokens of an instruction without results."""
        if first.executed is None:
            return False
        started = self._start(first, max(self._result_free, first.executed))
        if started is None:
            return False
        self._result_free = started
        self._close(first)
        return True

    def _start(self, first: _Finishing, time: int) -> int | None:
        """Return when the result part starts, or None if its tokens are not known yet."""
        tokens = self._run.channels.ready(first.takes)
        if tokens is None:
            return None
        first.start = max(time, tokens[0])
        self._run.channels.take(first.takes, first.start)
        first.wait = first.start - time
        first.wait_for = tokens[1].label if first.wait and tokens[1] else ""
        return first.start

    def _close(self, first: _Finishing) -> None:
        end = self._result_free + RESULT_LATENCY_CYCLES
        self._settled = max(self._settled, end)
        self._run.channels.send(first.gives, end)
        self._run.activities.append(
            Activity(
                stage=self._stages[1],
                number=first.number,
                layer=first.instruction.layer,
                start=first.start,
                end=end,
                busy=first.busy,
                wait=first.wait,
                wait_for=first.wait_for,
            )
        )
        self._finishing.popleft()
