"""Dependences, order and tokens against plain definitions."""

import random

from random_integer_networks import RandomNetwork, random_config

from silicut.accelerators.gemm.compile import CompileOptions, compile_network
from silicut.accelerators.gemm.compile.jobs import Access, Memory, SequentialProgram
from silicut.accelerators.gemm.config import N3H
from silicut.accelerators.gemm.program import Queue, Sync, Unit, channel_of, resource_of
from silicut.hardware import Instruction

QUEUES = list(Queue)


def random_program(seed, n_jobs=60):
    """Jobs that read and write random addresses of two memories."""
    rng, program = random.Random(seed), SequentialProgram()
    for _ in range(n_jobs):
        accesses = []
        for _ in range(rng.randint(0, 3)):
            start = rng.randrange(40)
            memory = rng.choice([Memory.LHS, Memory.OUTPUT])
            accesses.append(Access(memory, Unit.LUT, start, start + rng.randint(1, 12), rng.random() < 0.5))
        program.add(Sync(queue=rng.choice(QUEUES), resource=0), accesses)
    return program.jobs


def conflicts(job, other):
    """Tell whether two jobs touch an address that one of them writes."""
    return any(
        a.memory is b.memory and a.start < b.stop and b.start < a.stop and (a.is_write or b.is_write)
        for a in job.accesses
        for b in other.accesses
    )


def test_dependences_order_every_conflict():
    """Of any two jobs that touch an address which one writes, the earlier one is reached by dependences and queue order."""
    for seed in range(30):
        jobs = random_program(seed)
        before = {}
        for i, job in enumerate(jobs):
            reached = {need.job for need in job.needs} | {other for other in jobs[:i] if other.queue is job.queue}
            before[job] = reached.union(*(before[other] for other in reached)) if reached else set()
            for other in jobs[:i]:
                if conflicts(job, other):
                    assert other in before[job], (seed, other.index, job.index)


def test_dependences_are_conflicts():
    for seed in range(30):
        for job in random_program(seed):
            for need in job.needs:
                assert need.job.index < job.index
                assert conflicts(job, need.job)


def tokens(program):
    """Return for each channel how many tokens are sent and taken."""
    sent, taken = {}, {}
    for queue in Queue:
        for instruction in program.of(queue):
            resource = resource_of(instruction) if queue is Queue.MEMORY else None
            for slot in instruction.sends:
                channel = channel_of(queue, slot, resource, is_wait=False)
                sent[channel] = sent.get(channel, 0) + 1
            for slot, n in instruction.waits.items():
                channel = channel_of(queue, slot, resource, is_wait=True)
                assert n == 1
                taken[channel] = taken.get(channel, 0) + 1
    return sent, taken


def test_every_token_is_taken_once():
    for seed in range(25):
        sent, taken = tokens(compile_network(RandomNetwork(seed).network, random_config(seed)).program)
        assert sent == taken
        assert sent


def test_the_order_of_memory_is_no_longer_that_of_the_sequential_program():
    """Weights come in ahead of the rows of the layers before them: the point of scheduling."""
    compiled = compile_network(RandomNetwork(3).network, N3H)
    indices = [job.index for job in compiled.queues[Queue.MEMORY]]
    assert indices != sorted(indices)
    for queue in set(Queue) - {Queue.MEMORY}:
        assert [job.index for job in compiled.queues[queue]] == sorted(job.index for job in compiled.queues[queue])


def test_barriers_stand_behind_every_layer():
    compiled = compile_network(RandomNetwork(3).network, N3H, CompileOptions(has_barriers=True))
    for queue in Queue:
        layers = [i.layer for i in compiled.program.of(queue) if i.mnemonic == "barrier"]
        assert layers == list(range(len(compiled.program.layers)))
        seen: list[Instruction] = []
        for instruction in compiled.program.of(queue):
            assert not seen or instruction.layer >= seen[-1].layer
            seen.append(instruction)


def test_programs_are_the_same_every_time():
    network = RandomNetwork(11).network
    first, second = (compile_network(network, N3H).program for _ in range(2))
    assert first.queues == second.queues
