"""Queues that exchange counted tokens: whether they can come to a stop, found without time.

A token program is deterministic: a queue takes its steps in order, and no two queues take from one channel. Whether it ends
therefore does not depend on how long steps last, and running the counters in any order tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """What a process does next.

    Attributes:
        takes: how many tokens of which channels it needs at its start.
        gives: how many tokens it puts into which channels at its end.
        label: what a report calls it.
    """

    takes: Mapping[Any, int] = field(default_factory=dict)
    gives: Mapping[Any, int] = field(default_factory=dict)
    label: Hashable = None


@dataclass(frozen=True)
class Starved:
    """A process that waits for ever.

    Attributes:
        process: its name.
        step: the step that cannot start.
        missing: how many tokens of which channels it lacks.
    """

    process: str
    step: Step
    missing: Mapping[Any, int]


def starved(processes: Mapping[str, Sequence[Step]], tokens: Mapping[Any, int] | None = None) -> list[Starved]:
    """Return the processes that never end, in their order; none if the program cannot come to a stop.

    Args:
        processes: the steps of each, by name.
        tokens: what the channels hold at the start, by default nothing.

    Example:
        >>> ping = [Step(gives={"a": 1}), Step(takes={"b": 2})]
        >>> pong = [Step(takes={"a": 1}, gives={"b": 1})]
        >>> [(s.process, dict(s.missing)) for s in starved({"ping": ping, "pong": pong})]
        [('ping', {'b': 1})]
    """
    counts: Counter[Hashable] = Counter(tokens or {})
    at = dict.fromkeys(processes, 0)
    is_moving = True
    while is_moving:
        is_moving = False
        for name, steps in processes.items():
            start = at[name]
            while at[name] < len(steps) and not _missing(steps[at[name]], counts):
                counts.subtract(steps[at[name]].takes)
                counts.update(steps[at[name]].gives)
                at[name] += 1
            is_moving |= at[name] > start
    ends = [(name, steps[at[name]]) for name, steps in processes.items() if at[name] < len(steps)]
    return [Starved(name, step, _missing(step, counts)) for name, step in ends]


def _missing(step: Step, counts: Counter[Hashable]) -> dict[Hashable, int]:
    return {channel: n - counts[channel] for channel, n in step.takes.items() if counts[channel] < n}
