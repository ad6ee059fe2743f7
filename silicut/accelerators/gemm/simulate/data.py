"""Runs the data of a program in the order of its times, one instruction after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from silicut.accelerators.gemm.program.check import located
from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm, SetProduct, SetTaps
from silicut.accelerators.gemm.program.post_instructions import Pool
from silicut.accelerators.gemm.program.program import Program
from silicut.accelerators.gemm.program.queues import UNIT_OF, Queue, Unit
from silicut.accelerators.gemm.program.registers import RegisterFile, Results, dispatched
from silicut.accelerators.gemm.program.tokens import COMPUTE_QUEUES
from silicut.accelerators.gemm.program.window_instructions import Expand, ExpandColumns
from silicut.accelerators.gemm.simulate.expand import expand, expand_columns
from silicut.accelerators.gemm.simulate.finish import Places, finish
from silicut.accelerators.gemm.simulate.machine import Machine
from silicut.accelerators.gemm.simulate.moves import Interval, move
from silicut.accelerators.gemm.simulate.pool import pooled
from silicut.accelerators.gemm.simulate.products import Arithmetic, depthwise, gemm
from silicut.accelerators.gemm.simulate.timeline import MEMORY_STAGES, Activity, Timeline
from silicut.accelerators.gemm.simulate.tracked import Fault
from silicut.hardware import Instruction
from silicut.records import BadProgram


@dataclass(frozen=True)
class Event:
    """Something that happens to data.

    Attributes:
        when: from its first access to its last.
        where: how messages call its instruction.
        act: does it.
    """

    when: Interval
    where: str
    act: Callable[[Interval], None]


def run_data(program: Program, times: Timeline, machine: Machine, arithmetic: Arithmetic) -> None:
    """Change the memories as a program does.

    Events follow one another in the order of their starts. All memories note when they are accessed, so whatever is read
    before its write has ended, or overwritten before its read has, is an error and not a matter of luck.

    Raises:
        BadProgram: an instruction reads what nothing has written, or two race for a word.
    """
    events = [event for queue in Queue for event in _events(program, queue, times, machine, arithmetic)]
    for event in sorted(events, key=lambda event: event.when.start):
        try:
            event.act(event.when)
        except Fault as fault:
            raise BadProgram(f"{event.where} {fault}") from None


def _events(program: Program, queue: Queue, times: Timeline, machine: Machine, arithmetic: Arithmetic) -> Iterator[Event]:
    if queue in COMPUTE_QUEUES:
        yield from _compute_events(program, queue, times, machine, arithmetic)
        return
    stages = MEMORY_STAGES if queue is Queue.MEMORY else (queue.value,)
    activities = {activity.number: activity for stage in stages for activity in times.activities[stage]}
    for i, instruction, registers in dispatched(program.of(queue)):
        act = _single(instruction, registers, queue, machine)
        if act is not None and i in activities:
            yield Event(_interval(activities[i]), located(queue, i, instruction), act)


def _interval(activity: Activity) -> Interval:
    return Interval(activity.start, activity.end)


def _single(
    instruction: Instruction, registers: RegisterFile, queue: Queue, machine: Machine
) -> Callable[[Interval], None] | None:
    """Return what an instruction of a queue of one stage does."""
    if queue is Queue.MEMORY:
        return lambda when: move(instruction, machine, when)
    match instruction:
        case Expand():
            windows = registers.windows
            return lambda when: expand(instruction, windows, UNIT_OF[queue], machine, when)
        case ExpandColumns():
            windows = registers.windows
            return lambda when: expand_columns(instruction, windows, machine, when)
        case Pool():
            windows, results = registers.windows, registers.results
            return lambda when: _pool(instruction, windows, results, machine, when)
    return None


def _pool(pool: Pool, windows: Any, results: Results, machine: Machine, when: Interval) -> None:
    places = Places(pool.first_pixel + np.arange(pool.n_pixels), pool.output_channel)
    finish(pooled(pool, windows, machine, when), places, results, machine.units[Unit.POST], when)


def _compute_events(
    program: Program, queue: Queue, times: Timeline, machine: Machine, arithmetic: Arithmetic
) -> Iterator[Event]:
    unit = UNIT_OF[queue]
    executed = times.activities[f"{unit.label}.execute"]
    finished = {activity.number: activity for activity in times.activities[f"{unit.label}.result"]}
    for i, instruction, registers in dispatched(program.of(queue)):
        if not isinstance(instruction, Gemm | Depthwise):
            continue
        where = located(queue, i, instruction)
        yield Event(_interval(executed[i]), where, _execution(i, instruction, registers, machine, arithmetic))
        if isinstance(instruction, Depthwise) or instruction.is_last:
            act = _result(i, instruction, registers.results, machine)
            yield Event(_interval(finished[i]), where, act)


def _execution(
    number: int, instruction: Gemm | Depthwise, registers: RegisterFile, machine: Machine, arithmetic: Arithmetic
) -> Callable[[Interval], None]:
    unit = UNIT_OF[Queue(instruction.queue)]
    core = machine.cores[unit]
    if isinstance(instruction, Depthwise):
        taps = registers.get(SetTaps)

        def execute(when: Interval) -> None:
            core.sums[number] = depthwise(instruction, taps, machine, when)
    else:
        product = registers.get(SetProduct)

        def execute(when: Interval) -> None:
            sums = gemm(instruction, product, unit, machine, arithmetic, when)
            if sums is not None:
                core.sums[number] = sums

    return execute


def _result(number: int, instruction: Gemm | Depthwise, results: Results, machine: Machine) -> Callable[[Interval], None]:
    unit = UNIT_OF[Queue(instruction.queue)]
    if isinstance(instruction, Depthwise):
        rows = instruction.first_row + np.arange(instruction.n_rows)
        columns = instruction.first_column + np.arange(instruction.n_columns)
        places = Places((rows[:, None] * results.pixels.width + columns).reshape(-1), instruction.first_channel)
    else:
        places = Places(instruction.first_pixel + np.arange(instruction.n_pixels), instruction.first_filter)

    def act(when: Interval) -> None:
        finish(machine.cores[unit].sums.pop(number), places, results, machine.units[unit], when)

    return act
