"""All static checks of a program: fields, bounds, parts of sums, channels, and that it cannot come to a stop."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from silicut.accelerators.gemm.program.bounds import bound_problems
from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm
from silicut.accelerators.gemm.program.instruction_set import INSTRUCTIONS
from silicut.accelerators.gemm.program.memory_instructions import Barrier
from silicut.accelerators.gemm.program.program import Program
from silicut.accelerators.gemm.program.queues import Queue
from silicut.accelerators.gemm.program.registers import RegisterFile
from silicut.accelerators.gemm.program.tokens import given, taken, token_problems
from silicut.hardware import Instruction
from silicut.records import BadProgram

_MAX_PROBLEMS = 10


def problems(program: Program) -> Iterator[str]:
    """Yield what is wrong with a program, each time one sentence that names queue and instruction: the first of each queue.

    What depends on times or data (words never written, counters that overflow) is found by `simulate`.
    """
    found = False
    for queue in Queue:
        for problem in _queue_problems(program, queue):
            found = True
            yield problem
    if not found:
        yield from token_problems(program)


def check(program: Program) -> None:
    """Check a program.

    Raises:
        BadProgram: it has problems; the first ten are listed.
    """
    found = list(islice(problems(program), _MAX_PROBLEMS))
    if found:
        raise BadProgram("; ".join(found))


def located(queue: Queue, number: int, instruction: Instruction) -> str:
    """Return how messages call an instruction."""
    return f"{queue} instruction {number} ({instruction.mnemonic}, layer {instruction.layer})"


def _queue_problems(program: Program, queue: Queue) -> Iterator[str]:
    """Yield what is wrong with the first wrong instruction of a queue; what those behind it mean depends on it."""
    if program.of(queue) and queue not in program.own_queues:
        yield f"{queue} must be empty, as the build {program.config.name} lacks the core"
        return
    file, is_open = RegisterFile(), False
    for i, instruction in enumerate(program.of(queue)):
        wrong = list(_field_problems(program, queue, instruction))
        if not wrong:
            file.take(instruction)
            wrong += bound_problems(instruction, file, program.config, program.memory_words)
            is_open, order = _sum_order(instruction, is_open)
            wrong += order
        if wrong:
            yield from (f"{located(queue, i, instruction)}: {problem}" for problem in wrong)
            return
    if is_open:
        yield f"{queue} ends with a sum that has no last part"


def _field_problems(program: Program, queue: Queue, instruction: Instruction) -> Iterator[str]:
    if instruction.queue != queue:
        yield f"it must name the queue in which it is, not {instruction.queue}"
        return
    if program.layers and instruction.layer >= len(program.layers):
        yield f"layer must be 0..{len(program.layers) - 1}, not {instruction.layer}"
    yield from list(INSTRUCTIONS.problems(instruction)) or _channel_problems(queue, instruction)


def _channel_problems(queue: Queue, instruction: Instruction) -> Iterator[str]:
    if isinstance(instruction, Barrier) and (instruction.waits or instruction.sends):
        yield "it must not take or give tokens"
        return
    try:
        taken(queue, instruction), given(queue, instruction)
    except KeyError as error:
        yield f"it must not use the channel {error.args[0]}, which it does not have"


def _sum_order(instruction: Instruction, is_open: bool) -> tuple[bool, list[str]]:
    """Return whether a sum waits for its next part behind an instruction, and what is wrong with its order."""
    match instruction:
        case Gemm():
            wrong = ["is_first must be 1, as no sum is open"] if not is_open and not instruction.is_first else []
            wrong += ["is_first must be 0, as a sum is open"] if is_open and instruction.is_first else []
            return not instruction.is_last, wrong
        case Depthwise() if is_open:
            return is_open, ["a sum is open; it must have its last part first"]
    return is_open, []
