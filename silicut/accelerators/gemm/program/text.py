"""Programs as text and back: one line an instruction, a heading for each queue."""

from __future__ import annotations

from collections.abc import Mapping

from silicut.accelerators.gemm.program.instruction_set import INSTRUCTIONS
from silicut.accelerators.gemm.program.program import Program
from silicut.accelerators.gemm.program.queues import Queue
from silicut.hardware import Instruction, from_text, to_text


def program_text(program: Program) -> str:
    """Return the instructions of a program as text; fields that are 0 are left out.

    The lines of a queue look like this::

        [lut.window]
        set_map height=5 width=5 output_width=5 bits=4
        expand n_pixels=25 n_segments=3 wait=rows:1 send=stripe
    """
    lines = []
    for queue in Queue:
        lines += [f"[{queue}]", *(to_text(instruction) for instruction in program.of(queue)), ""]
    return "\n".join(lines)


def assemble(text: str) -> Mapping[Queue, tuple[Instruction, ...]]:
    """Return the instructions of a text; what follows a # is a comment.

    Raises:
        ValueError: a line is no instruction of its queue; the message gives its number.

    Example:
        >>> queues = assemble("[post]  # no unit has less to do" + chr(10) + "sync wait=rows:2 send=output")
        >>> to_text(queues[Queue.POST][0])
        'sync wait=rows:2 send=output'
    """
    found: dict[Queue, list[Instruction]] = {queue: [] for queue in Queue}
    queue: Queue | None = None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].strip()
        if not words:
            continue
        try:
            if words.startswith("["):
                queue = _queue(words)
            elif queue is None:
                raise ValueError("a heading such as [memory] must come first")
            else:
                found[queue].append(_checked(from_text(words, INSTRUCTIONS.by_name[queue])))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return {queue: tuple(instructions) for queue, instructions in found.items()}


def _queue(heading: str) -> Queue:
    names = [f"[{queue}]" for queue in Queue]
    if heading not in names:
        raise ValueError(f"a heading must be one of {', '.join(names)}, not {heading}")
    return Queue(heading[1:-1])


def _checked(instruction: Instruction) -> Instruction:
    wrong = list(INSTRUCTIONS.problems(instruction))
    if wrong:
        raise ValueError("; ".join(wrong))
    return instruction
