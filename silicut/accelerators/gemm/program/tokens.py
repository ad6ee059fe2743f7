"""The tokens of a program, and the static check that it cannot come to a stop."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate

from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm
from silicut.accelerators.gemm.program.memory_instructions import Barrier, resource_of
from silicut.accelerators.gemm.program.program import Program
from silicut.accelerators.gemm.program.queues import RESULT_RESOURCES, UNIT_OF, Channel, Queue, channel_of
from silicut.accelerators.gemm.program.tiles import CoreShape
from silicut.hardware import Instruction, Starved, Step, starved

COMPUTE_QUEUES = (Queue.LUT_COMPUTE, Queue.DSP_COMPUTE)
"""The queues of two stages, execute and result."""


def taken(queue: Queue, instruction: Instruction) -> dict[Channel, int]:
    """Return how many tokens of which channels an instruction takes.

    Raises:
        KeyError: a slot of its header means no channel.
    """
    if not instruction.waits:
        return {}
    resource = resource_of(instruction) if queue is Queue.MEMORY else None
    return {channel_of(queue, slot, resource, is_wait=True): count for slot, count in instruction.waits.items()}


def given(queue: Queue, instruction: Instruction) -> dict[Channel, int]:
    """Return to which channels an instruction gives a token.

    Raises:
        KeyError: a slot of its header means no channel.
    """
    if not instruction.sends:
        return {}
    resource = resource_of(instruction) if queue is Queue.MEMORY else None
    return {channel_of(queue, slot, resource, is_wait=False): 1 for slot in instruction.sends}


def is_of_result(channel: Channel) -> bool:
    """Tell whether, in COMPUTE, a channel belongs to the result stage."""
    return channel.resource in RESULT_RESOURCES


def n_result_tiles(instruction: Instruction, shape: CoreShape) -> int:
    """Return how many tiles of an instruction leave the accumulators."""
    if isinstance(instruction, Gemm):
        return shape.n_tiles(instruction) * shape.n_stripes(instruction) if instruction.is_last else 0
    return instruction.n_columns if isinstance(instruction, Depthwise) else 0


def token_steps(program: Program) -> dict[str, list[Step]]:
    """Return what each process of a program takes and gives: one a queue, and two for COMPUTE."""
    processes: dict[str, list[Step]] = {}
    for queue in Queue:
        if queue in COMPUTE_QUEUES:
            processes |= _two_stages(program, queue)
        else:
            processes[queue.value] = list(_one_stage(program, queue))
    return processes


def _one_stage(program: Program, queue: Queue) -> Iterator[Step]:
    n_barriers = 0
    for i, instruction in enumerate(program.of(queue)):
        if isinstance(instruction, Barrier):
            yield from _meeting(program, queue, n_barriers, i)
            n_barriers += 1
        yield Step(taken(queue, instruction), given(queue, instruction), i)


def _meeting(program: Program, queue: Queue, number: int, label: int) -> Iterator[Step]:
    """Yield the steps of a barrier: tell all queues, then wait for the word of each."""
    yield Step({}, {("barrier", number, queue, other): 1 for other in program.own_queues}, label)
    yield Step({("barrier", number, other, queue): 1 for other in program.own_queues}, {}, label)


def _two_stages(program: Program, queue: Queue) -> dict[str, list[Step]]:
    """Return the steps of execute and result.

    Execution of a tile needs that the one n_accumulator_banks before it has left, and results leave in order once the tokens
    of their instruction are there. So execution of an instruction ends only if the result part of the instruction that has
    the tile so many before its last one has begun.
    """
    instructions = program.of(queue)
    if not instructions:
        return {}
    shape = CoreShape.of(UNIT_OF[queue], program.config)
    so_far = list(accumulate(n_result_tiles(instruction, shape) for instruction in instructions))
    begun, started, executed, ended = ("begun", queue), ("started", queue), ("executed", queue), ("ended", queue)
    execute, result, n_barriers, known = [], [], 0, 0
    for i, instruction in enumerate(instructions):
        takes, gives = taken(queue, instruction), given(queue, instruction)
        if isinstance(instruction, Barrier):
            execute += [Step({ended: i}, {ended: i}, i), *_meeting(program, queue, n_barriers, i)]
            n_barriers += 1
        execute.append(Step(_part(takes, of_result=False), {started: 1}, i))
        is_open = isinstance(instruction, Gemm) and not instruction.is_last
        blocking = so_far[i] - shape.n_accumulator_banks - (0 if is_open else 1)
        needed = bisect_right(so_far, blocking) + 1 if blocking >= 0 else 0
        execute.append(Step({begun: max(0, needed - known)}, {executed: 1, **_part(gives, of_result=False)}, i))
        known = max(known, needed)
        result.append(Step({started: 1, **_part(takes, of_result=True)}, {begun: 1}, i))
        result.append(Step({executed: 1}, {ended: 1, **_part(gives, of_result=True)}, i))
    return {f"{queue} execute": execute, f"{queue} result": result}


def _part(tokens: Mapping[Channel, int], *, of_result: bool) -> dict[Channel, int]:
    return {channel: count for channel, count in tokens.items() if is_of_result(channel) is of_result}


def token_problems(program: Program) -> Iterator[str]:
    """Yield where a program comes to a stop, whatever the times; nothing if it cannot."""
    for stop in starved(token_steps(program)):
        yield _sentence(program, stop)


def _sentence(program: Program, stop: Starved) -> str:
    queue = Queue(stop.process.split()[0])
    number = stop.step.label
    assert isinstance(number, int)
    lacks = [f"{n} of {channel.label}" for channel, n in stop.missing.items() if isinstance(channel, Channel)]
    instruction = program.of(queue)[number]
    what = f"tokens that never come ({', '.join(lacks)})" if lacks else "another queue that never gets there"
    return f"{stop.process} instruction {number} ({instruction.mnemonic}) waits for {what}"
