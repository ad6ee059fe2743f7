"""Tokens: from dependences between jobs to waits and sends in headers.

Queues execute in order, so a job that has waited for the n-th of another queue has waited for all before it. Hence only the
latest job matters of each channel, only those that somebody really waits for send a token, and each token is waited for
exactly once: every wait takes one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from silicut.accelerators.gemm.compile.jobs import Dependence, Job, Memory
from silicut.accelerators.gemm.program import Queue, Resource, Sync, resource_of
from silicut.accelerators.gemm.program.queues import UNIT_OF
from silicut.hardware import Instruction

_OWN = {Memory.FEATURES: Resource.ROWS, Memory.RHS: Resource.WEIGHTS, Memory.RESIDUAL: Resource.RESIDUAL}


class _Slot(NamedTuple):
    """A channel as seen from both of its ends: the names in the two headers, and the resource if one end is MEMORY."""

    sender: Queue
    send: str
    waiter: Queue
    wait: str
    resource: Resource


@dataclass(eq=False)
class _Header:
    """The waits and sends of one job; those of MEMORY that its own instruction has no slots for, by resource."""

    waits: dict[tuple[Resource, str], int]
    sends: set[tuple[Resource, str]]


def with_tokens(queues: Mapping[Queue, Sequence[Job]]) -> dict[Queue, tuple[Instruction, ...]]:
    """Return the instructions of every queue with waits and sends.

    Args:
        queues: the jobs of every queue in the order of execution.
    """
    place = {job: i for jobs in queues.values() for i, job in enumerate(jobs)}
    headers = {job: _Header({}, set()) for jobs in queues.values() for job in jobs}
    for jobs in queues.values():
        _give(jobs, place, headers)
    return {queue: tuple(i for job in jobs for i in _finished(job, headers[job])) for queue, jobs in queues.items()}


def _give(jobs: Sequence[Job], place: Mapping[Job, int], headers: Mapping[Job, _Header]) -> None:
    """Give the jobs of one queue their waits, and those that they wait for their sends."""
    reached: dict[_Slot, int] = defaultdict(lambda: -1)
    for job in jobs:
        latest: dict[_Slot, Job] = {}
        for need in job.needs:
            if need.job.queue is job.queue:
                continue
            slot = _slot(need, job)
            if slot not in latest or place[need.job] > place[latest[slot]]:
                latest[slot] = need.job
        for slot, other in latest.items():
            if place[other] > reached[slot]:
                reached[slot] = place[other]
                headers[job].waits[slot.resource, slot.wait] = 1
                headers[other].sends.add((slot.resource, slot.send))


def _slot(need: Dependence, job: Job) -> _Slot:
    """Return the channel of a dependence."""
    sender, waiter = need.job.queue, job.queue
    if Queue.MEMORY not in (sender, waiter):  # WINDOW and COMPUTE of one core
        return _Slot(sender, Resource.STRIPE.label, waiter, Resource.STRIPE.label, Resource.STRIPE)
    if sender is Queue.MEMORY:
        resource = resource_of(need.job.instruction)
        assert resource is not None
        return _Slot(sender, UNIT_OF[waiter].label, waiter, resource.label, resource)
    # A table is free at the end of a result, which is what tokens of the output tell.
    resource = _OWN.get(need.memory, Resource.OUTPUT)
    return _Slot(sender, resource.label, waiter, UNIT_OF[sender].label, resource)


def _finished(job: Job, header: _Header) -> list[Instruction]:
    """Return a job's instruction with its header, behind those that wait for what it has no slots for."""
    if job.queue is not Queue.MEMORY:
        waits = {name: n for (_, name), n in header.waits.items()}
        return [replace(job.instruction, waits=waits, sends=frozenset(name for _, name in header.sends))]
    own = resource_of(job.instruction)
    others = sorted({resource for resource, _ in header.waits} - {own})
    syncs = [
        Sync(
            queue=Queue.MEMORY,
            layer=job.instruction.layer,
            waits={name: n for (r, name), n in header.waits.items() if r is resource},
            resource=resource,
        )
        for resource in others
    ]
    waits = {name: n for (r, name), n in header.waits.items() if r is own}
    sends = frozenset(name for r, name in header.sends if r is own)
    return [*syncs, replace(job.instruction, waits=waits, sends=sends)]
