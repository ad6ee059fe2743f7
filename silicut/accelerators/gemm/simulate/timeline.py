"""The time of a program to the cycle: every queue in order, every token when it comes. Data are not needed for it.

An instruction is dispatched when its queue is free and its tokens are there, so all times follow from one another by
maximum and sum; they are the same in whatever order they are computed. The stages of a run:

    memory   lut.window  lut.execute  lut.result   dsp.window  dsp.execute  dsp.result   post   memory.dsp

The last is there where each core has ports of its own: those of the DSP core; "memory" then are those of the LUT core.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from silicut.accelerators.gemm.program.check import located
from silicut.accelerators.gemm.program.memory_instructions import Barrier
from silicut.accelerators.gemm.program.program import Program
from silicut.accelerators.gemm.program.queues import Channel, Queue
from silicut.accelerators.gemm.program.tokens import COMPUTE_QUEUES
from silicut.accelerators.gemm.simulate.channels import Channels
from silicut.hardware import Instruction
from silicut.records import BadProgram

MEMORY_STAGES = ("memory", "memory.dsp")
"""The stages of MEMORY, one a group of ports."""

STAGES = (
    "memory", "lut.window", "lut.execute", "lut.result", "dsp.window", "dsp.execute", "dsp.result", "post", "memory.dsp",
)  # fmt: skip
"""All stages."""


class Activity(NamedTuple):
    """What a stage does for one instruction.

    Attributes:
        stage: one of `STAGES`.
        number: of the instruction in its queue.
        layer: of the instruction.
        start: the cycle of its dispatch; in a result stage, that of its first result.
        end: the cycle in which all of it is done, last data written.
        busy: cycles that the stage works for it.
        wait: cycles that the stage waited for tokens before `start`, being free.
        wait_for: the channel whose token came last; "barrier".
    """

    stage: str
    number: int
    layer: int
    start: int
    end: int
    busy: int
    wait: int
    wait_for: str


def reason(instruction: Instruction, last: Channel | None) -> str:
    """Return for what an instruction waited: a barrier, or the channel whose token came last."""
    if isinstance(instruction, Barrier):
        return "barrier"
    return last.label if last else ""


class Process(Protocol):
    """A queue in time."""

    @property
    def next(self) -> int:
        """Number of the first instruction that is not finished yet."""
        ...

    def advance(self) -> bool:
        """Go on as far as known tokens allow; tell whether anything happened."""
        ...


@dataclass
class Run:
    """What the queues of a run share.

    Attributes:
        program: what is run.
        channels: tokens.
        activities: what happened, in the order in which it became known.
        arrivals: at each barrier, when each queue has got there with everything done.
        inner_waits: cycles that a stage waited for a neighbouring one inside of instructions, by (stage, reason).
    """

    program: Program
    channels: Channels = field(default_factory=Channels)
    activities: list[Activity] = field(default_factory=list)
    arrivals: defaultdict[int, dict[Queue, int]] = field(default_factory=lambda: defaultdict(dict))
    inner_waits: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def met(self, number: int) -> int | None:
        """Return when the last queue has come to a barrier, or None if that is not known yet."""
        arrivals = self.arrivals[number]
        return max(arrivals.values()) if len(arrivals) == len(self.program.own_queues) else None


@dataclass(frozen=True, eq=False)
class Timeline:
    """The times of a whole run.

    Attributes:
        cycles: from the start to the end of the last activity.
        activities: by stage, in order.
        barriers: the cycles in which all queues had met.
        inner_waits: cycles that a stage waited for a neighbouring one inside of instructions, by (stage, reason).
    """

    cycles: int
    activities: dict[str, tuple[Activity, ...]]
    barriers: tuple[int, ...]
    inner_waits: dict[tuple[str, str], int]


def timeline(program: Program) -> Timeline:
    """Return when everything in a program happens.

    Args:
        program: which `check` has found good.

    Raises:
        BadProgram: queues wait for tokens that never come, or a channel holds more tokens than it can.
    """
    from silicut.accelerators.gemm.simulate.compute_process import ComputeProcess
    from silicut.accelerators.gemm.simulate.memory_process import MemoryProcess
    from silicut.accelerators.gemm.simulate.simple_process import SimpleProcess

    run = Run(program)
    kinds = dict.fromkeys(COMPUTE_QUEUES, ComputeProcess) | {Queue.MEMORY: MemoryProcess}
    processes: dict[Queue, Process] = {queue: kinds.get(queue, SimpleProcess)(run, queue) for queue in Queue}
    while any(process.advance() for process in processes.values()):
        pass
    _require_end(program, processes)
    for channel, time in run.channels.overflows(program.config.token_depth):
        depth = program.config.token_depth
        raise BadProgram(f"channel {channel.label} must hold at most {depth} tokens; it gets one more in cycle {time}")
    activities: dict[str, list[Activity]] = {stage: [] for stage in STAGES}
    for activity in run.activities:
        activities[activity.stage].append(activity)
    return Timeline(
        cycles=max((activity.end for activity in run.activities), default=0),
        activities={stage: tuple(done) for stage, done in activities.items()},
        barriers=tuple(max(arrived.values()) for _, arrived in sorted(run.arrivals.items())),
        inner_waits=dict(run.inner_waits),
    )


def _require_end(program: Program, processes: dict[Queue, Process]) -> None:
    stuck = [_stuck(queue, process.next, program.of(queue)) for queue, process in processes.items()]
    sentences = [sentence for sentence in stuck if sentence]
    if sentences:
        raise BadProgram(f"the program comes to a stop: {'; '.join(sentences)}")


def _stuck(queue: Queue, number: int, instructions: Sequence[Instruction]) -> str:
    if number >= len(instructions):
        return ""
    waits = ", ".join(f"{count} of {slot}" for slot, count in instructions[number].waits.items() if count)
    return f"{located(queue, number, instructions[number])} waits for {waits or 'the other queues'}"
