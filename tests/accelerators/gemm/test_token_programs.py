"""Whether a program comes to a stop: counters without time say the same as the times themselves."""

import dataclasses

import numpy as np
import pytest

from silicut.accelerators.gemm.config import TINY
from silicut.accelerators.gemm.program import Program, Queue, Resource, SetProduct, Sync, Unit, token_problems
from silicut.accelerators.gemm.program.compute_instructions import Gemm
from silicut.accelerators.gemm.program.instruction_set import INSTRUCTIONS
from silicut.accelerators.gemm.program.memory_instructions import Barrier
from silicut.accelerators.gemm.program.queues import CHANNELS, Channel, channel_of
from silicut.accelerators.gemm.simulate import timeline
from silicut.records import BadProgram

N_PROGRAMS = 1000


def slots(is_wait):
    """Return queue, slot and resource (of MEMORY) of each channel's taker or sender."""
    found = {}
    for queue in INSTRUCTIONS.queues:
        for slot in queue.waits:
            for resource in list(Resource)[:4] if queue.name == Queue.MEMORY else [None]:
                try:
                    found[channel_of(Queue(queue.name), slot, resource, is_wait=is_wait)] = queue.name, slot, resource
                except KeyError:
                    continue
    return found


TAKERS, SENDERS = slots(True), slots(False)


def test_every_channel_has_one_sender_and_one_taker():
    assert set(TAKERS) == set(SENDERS) == set(CHANNELS)
    assert len({channel.label for channel in CHANNELS}) == len(CHANNELS) == 26
    for channel in CHANNELS:
        assert TAKERS[channel][0] != SENDERS[channel][0]
    assert TAKERS[Channel(Unit.LUT, Resource.ROWS, True)] == (Queue.LUT_WINDOW, "rows", None)
    assert SENDERS[Channel(Unit.DSP, Resource.OUTPUT, False)] == (Queue.MEMORY, "dsp", Resource.OUTPUT)


def blank(rng, queue, resource):
    """Return an instruction without tokens; in COMPUTE often a product of a few tiles."""
    if queue in (Queue.LUT_COMPUTE, Queue.DSP_COMPUTE) and rng.random() < 0.6:
        n_pixels, n_filters = (int(n) for n in rng.integers(1, 7, 2))
        fields = {"lhs_base": 0, "rhs_base": 0, "first_pixel": 0, "first_filter": 0}
        return Gemm(queue=queue, n_pixels=n_pixels, n_filters=n_filters, is_first=1, is_last=1, **fields)
    return Sync(queue=queue, resource=int(resource or 0))


def random_program(rng):
    """Return a program in which each taker follows its sender in one global order, then perhaps spoiled."""
    queues = {queue: [] for queue in Queue}
    for queue in (Queue.LUT_COMPUTE, Queue.DSP_COMPUTE):
        lut = int(queue is Queue.LUT_COMPUTE)
        bits = {"lhs_bits": 8 - 6 * lut, "rhs_bits": 8 - 6 * lut, "lhs_signed": 1, "rhs_signed": 1}
        queues[queue].append(SetProduct(queue=queue, n_words=2, **bits))
    waiting = []
    for _ in range(int(rng.integers(3, 60))):
        if waiting and rng.random() < 0.5:
            channel = waiting.pop(int(rng.integers(len(waiting))))
            queue, slot, resource = TAKERS[channel]
            tokens = {"waits": {slot: 1}}
        else:
            channel = CHANNELS[rng.integers(len(CHANNELS))]
            queue, slot, resource = SENDERS[channel]
            tokens = {"sends": frozenset({slot})}
            waiting.append(channel)
        queues[Queue(queue)].append(dataclasses.replace(blank(rng, queue, resource), **tokens))
        if rng.random() < 0.03:
            for queue in Queue:
                queues[queue].append(Barrier(queue=queue))
    if rng.random() < 0.8:
        spoil(rng, queues)
    return Program(config=TINY, queues={q: tuple(x) for q, x in queues.items()}, memory_words=64)


def spoil(rng, queues):
    """Swap two instructions of a queue, or take one away, a few times; registers stay first."""
    for _ in range(int(rng.integers(1, 12))):
        queue = list(Queue)[rng.integers(6)]
        first = 1 if queue in (Queue.LUT_COMPUTE, Queue.DSP_COMPUTE) else 0
        if len(queues[queue]) - first < 2:
            continue
        i, j = (int(n) for n in rng.integers(first, len(queues[queue]), 2))
        if rng.random() < 0.6:
            queues[queue][i], queues[queue][j] = queues[queue][j], queues[queue][i]
        else:
            del queues[queue][i]


@pytest.mark.parametrize("part", range(4))
def test_counters_agree_with_times(part):
    rng, n_stops, n = np.random.default_rng(part), 0, N_PROGRAMS // 4
    for _ in range(n):
        program = random_program(rng)
        problems = list(token_problems(program))
        if problems:
            n_stops += 1
            with pytest.raises(BadProgram, match="the program comes to a stop: "):
                timeline(program)
        else:
            timeline(program)
    assert 0.2 < n_stops / n < 0.8


def program_of(**queues):
    return Program(
        config=TINY,
        queues={Queue(name.replace("_", ".")): tuple(x) for name, x in queues.items()},
        memory_words=64,
    )


def products(*waits):
    """Three products of one tile each; the result of the first one waits for room."""
    fields = {"lhs_base": 0, "rhs_base": 0, "first_pixel": 0, "first_filter": 0, "is_first": 1, "is_last": 1}
    made = [
        Gemm(queue="lut.compute", n_pixels=1, n_filters=1, waits=w, sends=frozenset({"stripe"}), **fields) for w in waits
    ]
    bits = {"lhs_bits": 1, "rhs_bits": 1, "lhs_signed": 0, "rhs_signed": 0}
    return [SetProduct(queue="lut.compute", n_words=1, **bits), *made]


@pytest.mark.parametrize(("n_stripes", "comes_to_a_stop"), [(1, False), (2, False), (3, True)])
def test_two_tiles_are_executed_while_a_result_waits(n_stripes, comes_to_a_stop):
    # The room comes only when WINDOW has got tokens of so many products; two banks allow two.
    program = program_of(
        lut_compute=products({"output": 1}, {}, {}),
        lut_window=[Sync(queue="lut.window", resource=0, waits={"stripe": n_stripes}, sends=frozenset({"rows"}))],
        memory=[
            Sync(queue="memory", resource=0, waits={"lut": 1}),
            Sync(queue="memory", resource=3, sends=frozenset({"lut"})),
        ],
    )
    problems = list(token_problems(program))
    assert bool(problems) is comes_to_a_stop
    if comes_to_a_stop:
        assert problems == [
            "memory instruction 0 (sync) waits for tokens that never come (1 of lut.rows.free)",
            "lut.window instruction 0 (sync) waits for tokens that never come (1 of lut.stripe.free)",
            "lut.compute execute instruction 3 (gemm) waits for another queue that never gets there",
            "lut.compute result instruction 1 (gemm) waits for tokens that never come (1 of lut.output.free)",
        ]
        with pytest.raises(BadProgram):
            timeline(program)
    else:
        timeline(program)


def test_a_barrier_that_one_queue_lacks_is_a_stop():
    queues = {queue: (Barrier(queue=queue),) for queue in Queue if queue is not Queue.POST}
    problems = list(token_problems(Program(config=TINY, queues=queues, memory_words=64)))
    assert [problem.split(" instruction 0 (barrier) ")[0] for problem in problems] == [
        "memory",
        "lut.window",
        "lut.compute execute",
        "lut.compute result",
        "dsp.window",
        "dsp.compute execute",
        "dsp.compute result",
    ]
    assert all(problem.endswith(" waits for another queue that never gets there") for problem in problems)
