"""Which image each task works on: the pipeline of a system.

An accelerator works in rounds: in each it does all its tasks once. A task of *stage* s works in round r on image r - s, so
that what it reads was made before. A task is one stage behind the tasks that it reads; where `follows` is asked for, a task
behind one of the same accelerator is of the same stage: there are fewer stages, so an image leaves earlier, but the task
must wait until the results that it reads are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from silicut.accelerators.system.work import Accelerator
from silicut.records import ConfigError


@dataclass(frozen=True)
class Stages:
    """The pipeline.

    Attributes:
        of: stage of each task, by name.
        n_copies: how many images' results of each task memory holds at once.
        readers: names of the tasks that read each task.
    """

    of: Mapping[str, int]
    n_copies: Mapping[str, int]
    readers: Mapping[str, tuple[str, ...]]

    @property
    def n_stages(self) -> int:
        """Rounds from the first task of an image to its last."""
        return 1 + max(self.of.values())


def stages(accelerators: Sequence[Accelerator], follows: bool = False) -> Stages:
    """Return the stages of all tasks.

    Args:
        accelerators: with tasks that read no task behind them in a circle.
        follows: whether a task may follow in the same round what it reads, where one accelerator makes both in this order.

    Raises:
        ConfigError: a name is given twice, an input is unknown, or tasks read each other in a circle.
    """
    tasks = {task.name: task for accelerator in accelerators for task in accelerator.tasks}
    place = {task.name: (a, i) for a, each in enumerate(accelerators) for i, task in enumerate(each.tasks)}
    if len(tasks) < sum(len(accelerator.tasks) for accelerator in accelerators):
        raise ConfigError("tasks must have names of their own: one is given twice")
    unknown = sorted({name for task in tasks.values() for name in task.inputs} - tasks.keys())
    if unknown:
        raise ConfigError(f"inputs must be tasks of the system, not {', '.join(unknown)}")
    found: dict[str, int] = {}
    while len(found) < len(tasks):
        ready = [name for name, task in tasks.items() if name not in found and found.keys() >= set(task.inputs)]
        if not ready:
            circle = sorted(tasks.keys() - found.keys())
            raise ConfigError(f"tasks must not read each other in a circle, as among {', '.join(circle)}")
        for name in ready:
            steps = (found[i] + (not (follows and _is_before(place[i], place[name]))) for i in tasks[name].inputs)
            found[name] = max(steps, default=0)
    readers = {name: tuple(other for other, task in tasks.items() if name in task.inputs) for name in tasks}
    n_copies = {name: 1 + max((found[r] - found[name] for r in readers[name]), default=0) for name in tasks}
    return Stages(found, n_copies, readers)


def _is_before(maker: tuple[int, int], reader: tuple[int, int]) -> bool:
    return maker[0] == reader[0] and maker[1] < reader[1]
