"""Random systems, and a second simulator: cycle by cycle, in fractions, written apart from the one by events."""

import itertools
from dataclasses import dataclass
from fractions import Fraction

from silicut.accelerators.system import Step, Task


@dataclass(frozen=True)
class Worker:
    """The least that is an accelerator."""

    name: str
    tasks: tuple[Task, ...]


def random_system(rng, max_workers=4, max_tasks=6, most=9):
    """Return workers with tasks that read tasks before them, each worker's in order of execution."""
    n_tasks = int(rng.integers(1, max_tasks + 1))
    tasks = []
    for number in range(n_tasks):
        earlier = [task.name for task in tasks]
        inputs = tuple(name for name in earlier if rng.random() < 0.5)
        steps = [
            Step(
                int(rng.integers(0, most)),
                int(rng.integers(0, most)),
                int(rng.integers(0, most) if rng.random() < 0.5 else 0),
            )
            for _ in range(int(rng.integers(1, 4)))
        ]
        steps[-1] = Step(steps[-1].load_bytes, int(rng.integers(1, most)), int(rng.integers(1, most)))
        tasks.append(Task(f"t{number}", inputs, tuple(steps)))
    owners = rng.integers(0, max_workers, n_tasks)
    groups = [tuple(task for task, owner in zip(tasks, owners, strict=True) if owner == each) for each in range(max_workers)]
    return tuple(Worker(f"w{i}", group) for i, group in enumerate(groups) if group)


class _Line:
    """A worker of the reference: its steps in order, and which of them are loaded, computed and stored."""

    def __init__(self, worker, pipeline, n_rounds):
        self.jobs = []
        for round_ in range(n_rounds):
            for task in worker.tasks:
                image = round_ - pipeline.of[task.name]
                self.jobs += [(task, image, i, step) for i, step in enumerate(task.steps) if image >= 0]
        self.loads = self.computes = self.results = 0  # how many are complete
        self.load = self.compute = self.store = None  # what is left of the one under way
        self.stores = [i for i, (*_, step) in enumerate(self.jobs) if step.store_bytes]
        self.results_before = [0, *itertools.accumulate(step.store_bytes > 0 for *_, step in self.jobs)]


def reference(workers, pipeline, bytes_per_cycle, pace, n_departures):
    """Return when images leave: every cycle, whatever can begin does, and every transfer under way moves its share."""
    lines = [_Line(worker, pipeline, n_rounds=1000) for worker in workers]  # more than any gets through
    read, made = dict.fromkeys(pipeline.of, 0), dict.fromkeys(pipeline.of, 0)
    departures, now = [], 0
    while True:
        while any([_settle(line, pipeline, read, made, now, pace, bytes_per_cycle) for line in lines]):  # noqa: C419
            pass
        while len(departures) < min(made.values()):
            departures.append(now)
        if len(departures) >= n_departures:
            return tuple(departures[:n_departures])
        moving = [(line, kind) for line in lines for kind in ("load", "store") if getattr(line, kind)]
        for line, kind in moving:
            setattr(line, kind, max(Fraction(0), getattr(line, kind) - bytes_per_cycle / len(moving)))
        for line in lines:
            if line.compute:
                line.compute -= 1
        now += 1


def _settle(line, pipeline, read, made, now, pace, bytes_per_cycle):
    """End what is complete, begin what can begin, and tell whether anything happened."""
    before = (line.loads, line.computes, line.results, line.load, line.compute, line.store)
    if line.load == 0:
        task, _, i, _ = line.jobs[line.loads]
        read[task.name] += i == len(task.steps) - 1
        line.loads, line.load = line.loads + 1, None
    if line.compute == 0:
        line.computes, line.compute = line.computes + 1, None
    if line.store == 0:
        task, _, i, _ = line.jobs[line.stores[line.results]]
        made[task.name] += i == len(task.steps) - 1
        line.results, line.store = line.results + 1, None
    if line.load is None and line.loads <= line.computes + 1 and line.loads < len(line.jobs):
        task, image, i, step = line.jobs[line.loads]
        if i or (all(made[name] > image for name in task.inputs) and (task.inputs or now >= image * pace)):
            line.load = Fraction(0 if bytes_per_cycle is None else step.load_bytes)
    if line.compute is None and line.computes < line.loads and line.results >= line.results_before[line.computes] - 1:
        line.compute = line.jobs[line.computes][3].cycles
    if line.store is None and line.results < len(line.stores) and line.stores[line.results] < line.computes:
        task, image, _, step = line.jobs[line.stores[line.results]]
        oldest = image - pipeline.n_copies[task.name]
        if all(read[reader] > oldest for reader in pipeline.readers[task.name]):
            line.store = Fraction(0 if bytes_per_cycle is None else step.store_bytes)
    return before != (line.loads, line.computes, line.results, line.load, line.compute, line.store)
