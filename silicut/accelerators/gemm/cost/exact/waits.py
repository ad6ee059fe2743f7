"""Which job waits for which: from the addresses that jobs touch, in the order in which one after the other would be right.

A job that reads waits for whoever wrote there last; one that writes waits for whoever wrote there or has read since. Queues
are in order, so of each other queue only the latest such job counts, and only if nothing before has waited for it or a
later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.compile.jobs import Access, Job, Memory
from silicut.accelerators.gemm.program import (
    LoadLookup,
    LoadResidual,
    LoadRows,
    LoadTable,
    LoadWeights,
    Queue,
    Resource,
    Sync,
    Unit,
)

_RESOURCE = {
    Memory.FEATURES: Resource.ROWS,
    Memory.RHS: Resource.WEIGHTS,
    Memory.LHS: Resource.STRIPE,
    Memory.RESIDUAL: Resource.RESIDUAL,
    Memory.OUTPUT: Resource.OUTPUT,
}
_NOBODY = -1


@dataclass(frozen=True)
class Wait:
    """What a job waits for.

    Attributes:
        queue: of the job that must have got so far.
        place: of that job in its queue.
        resource: what the two share. Rows, weights and stripes are freed when they have been executed, residuals and outputs
            when results have been written.
    """

    queue: Queue
    place: int
    resource: Resource


def waits(queues: Mapping[Queue, Sequence[Job]]) -> dict[Queue, list[tuple[Wait, ...]]]:
    """Return what each job of each queue waits for."""
    places = {job: place for jobs in queues.values() for place, job in enumerate(jobs)}
    touched = _Touched(places)
    needs = {job: touched.needs(job) for job in sorted(places, key=lambda job: job.index)}
    return {queue: list(_new(jobs, needs)) for queue, jobs in queues.items()}


def _new(jobs: Sequence[Job], needs: Mapping[Job, Mapping[tuple[Queue, Resource], int]]) -> Iterator[tuple[Wait, ...]]:
    """Yield the needs of a queue's jobs that no job before has waited for."""
    reached: dict[tuple[Queue, Resource], int] = {}
    for job in jobs:
        fresh = {key: place for key, place in needs[job].items() if place > reached.get(key, _NOBODY)}
        reached |= fresh
        yield tuple(Wait(queue, place, resource) for (queue, resource), place in fresh.items())


@dataclass
class _Buffer:
    """Who touched each address of a buffer last: places in their queues, by queue."""

    writers: dict[Queue, NDArray[np.int64]] = field(default_factory=dict)
    readers: dict[Queue, NDArray[np.int64]] = field(default_factory=dict)


class _Touched:
    """All buffers on their way through the jobs.

    Args:
        places: of jobs in their queues.
    """

    def __init__(self, places: Mapping[Job, int]) -> None:
        self.places = places
        self.sizes: dict[tuple[Memory, Unit], int] = {}
        for job in places:
            for access in _on_chip(job):
                key = access.memory, access.unit
                self.sizes[key] = max(self.sizes.get(key, 0), access.stop)
        self.buffers = {key: _Buffer() for key in self.sizes}

    def needs(self, job: Job) -> dict[tuple[Queue, Resource], int]:
        """Return the latest job of each other queue that a job depends on, by what they share, and note what it touches."""
        found: dict[tuple[Queue, Resource], int] = {}
        for access in _on_chip(job):
            buffer = self.buffers[access.memory, access.unit]
            groups = (buffer.writers, buffer.readers) if access.is_write else (buffer.writers,)
            for queue, places in ((queue, places) for group in groups for queue, places in group.items()):
                latest = int(places[access.start : access.stop].max())
                if queue is not job.queue and latest != _NOBODY:
                    key = queue, _shared(job, queue, access.memory)
                    found[key] = max(found.get(key, _NOBODY), latest)
            self._note(job, access, buffer)
        return found

    def _note(self, job: Job, access: Access, buffer: _Buffer) -> None:
        own = buffer.writers if access.is_write else buffer.readers
        if access.is_write:
            for places in (*buffer.writers.values(), *buffer.readers.values()):
                places[access.start : access.stop] = _NOBODY
        if job.queue not in own:
            own[job.queue] = np.full(self.sizes[access.memory, access.unit], _NOBODY)
        own[job.queue][access.start : access.stop] = self.places[job]


def _on_chip(job: Job) -> Iterator[Access]:
    """Yield what a job touches but for DRAM, whose only queue is in order."""
    return (access for access in job.accesses if access.memory is not Memory.DRAM)


def _shared(job: Job, other: Queue, memory: Memory) -> Resource:
    """Return as what a buffer counts between a job and one of another queue.

    A table arrives with the weights, for the vector unit with its rows, and is free when results that used it have been
    written.
    """
    if memory in (Memory.TABLE, Memory.LOOKUP):
        arrives_with = Resource.ROWS if job.queue is Queue.POST else Resource.WEIGHTS
        return arrives_with if other is Queue.MEMORY else Resource.OUTPUT
    return _RESOURCE[memory]


def resource_of(job: Job) -> Resource:
    """Return what a transfer fills or empties, or what a wait for something else is about."""
    if isinstance(job.instruction, Sync):
        return Resource(job.instruction.resource)
    kinds = {LoadRows: Resource.ROWS, LoadResidual: Resource.RESIDUAL}
    kinds |= dict.fromkeys((LoadWeights, LoadTable, LoadLookup), Resource.WEIGHTS)
    return kinds.get(type(job.instruction), Resource.OUTPUT)
