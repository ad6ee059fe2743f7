"""A system cycle by cycle, as events: every accelerator loads, computes and stores on its own, and memory is shared.

Buffers have two halves. A step's load waits for the load before it, for the half that the step two before it computes from,
and, at the start of a task, until what the task reads is stored; its computing waits for its load and for the step before;
results wait for the half that is stored, and for a copy in memory that nobody reads any more. New images come at a steady
pace, or as fast as they are taken.

The simulator knows steps, stages and bytes; epochs are not computed here but seen: as the cycles between images that leave.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from silicut.accelerators.system.memory import SharedMemory
from silicut.accelerators.system.schedule import Stages
from silicut.accelerators.system.work import Accelerator, Step, Task

N_DEPARTURES = 24
"""Images that leave before the run is over; the last of them say how long an epoch is."""
_N_WARM = 12  # images after which a run may end earlier, where epochs are equal
_N_STEADY = 4


@dataclass(frozen=True)
class Waits:
    """What an accelerator did in an average epoch of the last ones, in cycles.

    Attributes:
        computing: at work.
        inputs: waiting until another task had stored what it reads, or for the next image.
        loading: waiting for its own loads.
        storing: waiting for its own stores.
        readers: waiting until a copy in memory has been read and may be written over.
    """

    computing: float
    inputs: float
    loading: float
    storing: float
    readers: float

    @property
    def moving(self) -> float:
        """Cycles of waiting for memory to move."""
        return self.loading + self.storing

    @property
    def own(self) -> float:
        """Cycles that nobody else is the reason of; the accelerator with most of them sets the pace."""
        return self.computing + self.moving


@dataclass(frozen=True)
class SystemRun:
    """What was seen.

    Attributes:
        departures: when each image had left, all its results being stored.
        latencies: of each of these images, from when it came.
        waits: of each accelerator, by name.
        n_bytes: moved in an average epoch of the last ones.
    """

    departures: tuple[int, ...]
    latencies: tuple[int, ...]
    waits: Mapping[str, Waits]
    n_bytes: float

    @property
    def epochs(self) -> tuple[int, ...]:
        """Cycles between the last images that left."""
        last = self.departures[-_N_STEADY - 1 :]
        return tuple(b - a for a, b in itertools.pairwise(last))

    @property
    def epoch_cycles(self) -> Fraction:
        """The mean of them."""
        return Fraction(sum(self.epochs), len(self.epochs))

    @property
    def is_steady(self) -> bool:
        """Whether they are equal."""
        return len(set(self.epochs)) == 1

    @property
    def latency_cycles(self) -> int:
        """The longest time of an image in the system, of those that left last."""
        return max(self.latencies[-_N_STEADY:])


def simulate(
    accelerators: Sequence[Accelerator],
    pipeline: Stages,
    bytes_per_cycle: Fraction | None = None,
    pace_cycles: int = 0,
    n_departures: int = N_DEPARTURES,
) -> SystemRun:
    """Return a run of a system from its start until some images have left, or until the last epochs are equal.

    Args:
        accelerators: that share the memory.
        pipeline: stages of their tasks.
        bytes_per_cycle: of the memory; None for any number.
        pace_cycles: between two images that come; 0 where there is always one more.
        n_departures: at most so many images leave; at least 6.
    """
    return _System(accelerators, pipeline, bytes_per_cycle, pace_cycles).run(n_departures)


@dataclass(slots=True)
class _Job:
    """A step of a task for one image."""

    task: Task
    image: int
    step: Step
    number: int  # of the step, on its accelerator
    n_results_before: int
    is_first: bool
    is_last: bool
    load_began: int = 0
    load_ended: int | None = None
    has_waited: bool = False  # for inputs
    has_waited_for_readers: bool = False


def _jobs(accelerator: Accelerator, pipeline: Stages) -> Iterator[_Job]:
    """Yield all steps of an accelerator, round by round, without an end."""
    number = n_results = 0
    for round_ in itertools.count():
        for task in accelerator.tasks:
            image = round_ - pipeline.of[task.name]
            for i, step in enumerate(task.steps if image >= 0 else ()):
                yield _Job(task, image, step, number, n_results, i == 0, i == len(task.steps) - 1)
                number += 1
                n_results += step.store_bytes > 0


@dataclass
class _Runner:
    """An accelerator at work: what is loaded, computed and stored, in order."""

    jobs: Iterator[_Job]
    to_load: _Job
    loaded: deque[_Job] = field(default_factory=deque)  # or being loaded
    computed: deque[_Job] = field(default_factory=deque)  # whose results are to be stored
    is_loading: bool = False
    is_computing: bool = False
    is_storing: bool = False
    n_computed: int = 0
    n_stored: int = 0
    computing_began: int = 0
    computing_ended: int = 0
    readers_ended: int = 0  # when the last store began that had waited for readers
    spent: list[int] = field(default_factory=lambda: [0] * 5)  # as the fields of Waits

    def begin_computing(self, now: int) -> Step:
        """Take note of the time since the last step, and return the step that begins."""
        job, before = self.loaded[0], self.computing_ended
        assert job.load_ended is not None  # nothing else may begin
        began = max(before, job.load_began if job.has_waited else 0)
        loading = max(0, job.load_ended - began)
        readers = max(0, self.readers_ended - began - loading)
        self.spent[1] += began - before
        self.spent[2] += loading
        self.spent[3] += now - began - loading - readers
        self.spent[4] += readers
        self.is_computing, self.computing_began = True, now
        return job.step

    def end_computing(self, now: int) -> None:
        """Free the half of the buffers, and queue the result if there is one."""
        job = self.loaded.popleft()
        self.is_computing = False
        self.n_computed += 1
        self.computing_ended = now
        self.spent[0] += job.step.cycles
        if job.step.store_bytes:
            self.computed.append(job)

    def spent_until(self, now: int) -> list[int]:
        """Return what was spent on what, the step under way included."""
        under_way = now - self.computing_began if self.is_computing else 0
        return [self.spent[0] + under_way, *self.spent[1:]]


class _System:
    """The state of a run."""

    def __init__(
        self, accelerators: Sequence[Accelerator], pipeline: Stages, bytes_per_cycle: Fraction | None, pace_cycles: int
    ) -> None:
        self._names = [accelerator.name for accelerator in accelerators]
        self._pipeline, self._pace = pipeline, pace_cycles
        self._memory = SharedMemory(2 * len(accelerators), bytes_per_cycle)
        sources = [_jobs(accelerator, pipeline) for accelerator in accelerators]
        self._runners = [_Runner(source, next(source)) for source in sources]
        self._n_loaded = dict.fromkeys(pipeline.of, 0)  # images whose inputs a task has read
        self._n_stored = dict.fromkeys(pipeline.of, 0)  # images whose results are there
        self._events: list[tuple[int, int]] = []  # when which accelerator's computing ends; -1 where an image comes
        self._now = self._n_bytes = 0
        self._came: dict[int, int] = {}
        self._departures: list[int] = []
        self._seen: list[tuple[int, list[list[int]]]] = []  # at each departure: bytes, and what was spent on what

    def run(self, n_departures: int) -> SystemRun:
        while True:
            while sum(self._start(number) for number in range(len(self._runners))):
                pass
            if len(self._departures) >= n_departures or self._is_steady():
                return self._result(min(n_departures, len(self._departures)))
            self._go_on()

    def _is_steady(self) -> bool:
        last = self._departures[-_N_STEADY - 1 :]
        return len(self._departures) >= _N_WARM and len({b - a for a, b in itertools.pairwise(last)}) == 1

    def _go_on(self) -> None:
        """Go to the next event, and let end what ends then."""
        transfer = self._memory.next_end()
        times = [*(event[0] for event in self._events[:1]), *([] if transfer is None else [transfer])]
        assert times  # a pipeline whose tasks read no circle cannot stop
        self._now = min(times)
        while self._events and self._events[0][0] == self._now:
            _, number = heapq.heappop(self._events)
            if number >= 0:
                self._runners[number].end_computing(self._now)
        for port in self._memory.ended(self._now):
            self._end_transfer(port)

    def _start(self, number: int) -> bool:
        """Start what an accelerator can start now, and tell whether there was anything."""
        runner = self._runners[number]
        return any((self._load(number, runner), self._compute(number, runner), self._store(number, runner)))

    def _load(self, number: int, runner: _Runner) -> bool:
        job = runner.to_load
        if runner.is_loading or runner.n_computed < job.number - 1:
            return False
        if job.is_first and not self._has_inputs(job):
            return False
        job.load_began = self._now
        runner.is_loading = True
        runner.loaded.append(job)
        runner.to_load = next(runner.jobs)
        self._begin_transfer(2 * number, job.step.load_bytes)
        return True

    def _has_inputs(self, job: _Job) -> bool:
        """Tell whether what a task reads is there; an image is noted when it is, and one that comes later is an event."""
        due = job.image * self._pace
        if all(self._n_stored[name] > job.image for name in job.task.inputs) and (job.task.inputs or due <= self._now):
            if not job.task.inputs:
                self._came.setdefault(job.image, due if self._pace else self._now)
            return True
        if not job.task.inputs and not job.has_waited:
            heapq.heappush(self._events, (due, -1))
        job.has_waited = True
        return False

    def _compute(self, number: int, runner: _Runner) -> bool:
        if runner.is_computing or not runner.loaded or runner.loaded[0].load_ended is None:
            return False
        if runner.n_stored < runner.loaded[0].n_results_before - 1:
            return False
        heapq.heappush(self._events, (self._now + runner.begin_computing(self._now).cycles, number))
        return True

    def _store(self, number: int, runner: _Runner) -> bool:
        if runner.is_storing or not runner.computed:
            return False
        job = runner.computed[0]
        oldest = job.image - self._pipeline.n_copies[job.task.name]  # whose copy is overwritten
        if any(self._n_loaded[reader] <= oldest for reader in self._pipeline.readers[job.task.name]):
            job.has_waited_for_readers = True
            return False
        if job.has_waited_for_readers:
            runner.readers_ended = self._now
        runner.is_storing = True
        self._begin_transfer(2 * number + 1, job.step.store_bytes)
        return True

    def _begin_transfer(self, port: int, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        if self._memory.begin(port, n_bytes, self._now):
            self._end_transfer(port)

    def _end_transfer(self, port: int) -> None:
        number, is_store = divmod(port, 2)
        runner = self._runners[number]
        if is_store:
            self._end_store(runner)
            return
        runner.is_loading = False
        job = runner.loaded[-1]
        job.load_ended = self._now
        self._n_loaded[job.task.name] += job.is_last

    def _end_store(self, runner: _Runner) -> None:
        job = runner.computed.popleft()
        runner.is_storing = False
        runner.n_stored += 1
        if not job.is_last:
            return
        self._n_stored[job.task.name] += 1
        while len(self._departures) < min(self._n_stored.values()):
            self._departures.append(self._now)
            self._seen.append((self._n_bytes, [each.spent_until(self._now) for each in self._runners]))

    def _result(self, n_departures: int) -> SystemRun:
        departures = tuple(self._departures[:n_departures])
        (bytes_before, before), (bytes_after, after) = self._seen[n_departures - 1 - _N_STEADY], self._seen[n_departures - 1]
        waits = {
            name: Waits(*((b - a) / _N_STEADY for a, b in zip(first, last, strict=True)))
            for name, first, last in zip(self._names, before, after, strict=True)
        }
        latencies = tuple(time - self._came[image] for image, time in enumerate(departures))
        return SystemRun(departures, latencies, waits, (bytes_after - bytes_before) / _N_STEADY)
