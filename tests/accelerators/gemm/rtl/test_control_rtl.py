"""Transposition of granules, channels of tokens, and dispatch of random instructions of every queue."""

import numpy as np
import pytest

pytest.importorskip("amaranth")

from silicut.accelerators.gemm.program import INSTRUCTIONS, Queue, pack_rows
from silicut.accelerators.gemm.program.memory_instructions import Barrier
from silicut.accelerators.gemm.program.tokens import given, is_of_result, taken
from silicut.accelerators.gemm.rtl.dispatcher import Dispatcher, queue_channels
from silicut.accelerators.gemm.rtl.planes_to_elements import PlanesToElements
from silicut.accelerators.gemm.rtl.token_channel import TokenChannel
from silicut.hardware import fields_of
from silicut.hardware.rtl import SideBySide, Stalls, compile_model

pytestmark = pytest.mark.needs_rtl

DEPTH = 40


@pytest.fixture(scope="module")
def model(rtl_cache):
    parts = {f"transpose{n}": PlanesToElements(n) for n in (1, 2)} | {"channel": TokenChannel(DEPTH)}
    parts |= {queue.name.lower(): Dispatcher(queue, DEPTH) for queue in Queue}
    return compile_model(SideBySide(parts), folder=rtl_cache)


# Granules.


@pytest.mark.parametrize("n_words", [1, 2])
@pytest.mark.parametrize("is_signed", [False, True])
def test_granules_of_all_widths(model, n_words, is_signed):
    rng, simulation, name = np.random.default_rng(n_words), model.simulate(), f"transpose{n_words}"
    for bits in range(n_words, 9):
        low, high = (-(1 << bits - 1), 1 << bits - 1) if is_signed else (0, 1 << bits)
        elements = rng.integers(low, high, (12, 64))
        words = list(pack_rows(elements, bits).reshape(-1))
        given_words, n_valid = [], []
        while words:
            n = min(int(rng.integers(0, n_words + 1)), len(words)) if rng.random() < 0.4 else min(n_words, len(words))
            taken_words, words = words[:n], words[n:]
            given_words.append([*taken_words, *rng.integers(0, 2**63, n_words - n, np.uint64)])
            n_valid.append(n)
        stimuli = {"words": [*given_words, given_words[0]], "n_valid": [*n_valid, 0]}
        stimuli |= {"bits": [bits] * len(stimuli["n_valid"]), "is_signed": [int(is_signed)] * len(stimuli["n_valid"])}
        stimuli["words"] = np.array(stimuli["words"], np.uint64)
        seen = simulation.run({f"{name}__{k}": v for k, v in stimuli.items()}, [f"{name}__is_done", f"{name}__elements"])
        is_done = seen[f"{name}__is_done"].astype(bool)
        np.testing.assert_array_equal(seen[f"{name}__elements"][is_done], elements & 255)
        ends = np.searchsorted(np.cumsum(n_valid), np.arange(1, 13) * bits)
        assert np.flatnonzero(is_done).tolist() == (ends + 1).tolist()


# Tokens.


def test_channels_count(model):
    rng, count, rows = np.random.default_rng(0), 0, []
    for i in range(3000):
        is_sent = int(rng.random() < (0.8 if i % 200 < 100 else 0.3)) * int(count < DEPTH)
        n_taken = int(rng.integers(0, min(count, 31) + 1)) if rng.random() < 0.05 else 0
        rows.append((is_sent, n_taken, count))
        count += is_sent - n_taken
    is_sent, n_taken, counts = np.array(rows).T
    assert counts.max() == DEPTH
    ports = {"channel__is_sent": is_sent, "channel__n_taken": n_taken}
    seen = model.simulate().run(ports, ["channel__count", "channel__has_overflowed"])
    np.testing.assert_array_equal(seen["channel__count"], counts)
    assert not seen["channel__has_overflowed"].any()


def test_a_lost_token_is_noticed(model):
    simulation = model.simulate()
    simulation.poke("channel__is_sent", 1)
    simulation.step(DEPTH)
    simulation.poke("channel__n_taken", 1)  # one comes as one goes
    simulation.step()
    simulation.poke("channel__n_taken", 0)
    assert (simulation.peek("channel__count"), simulation.peek("channel__has_overflowed")) == (DEPTH, 0)
    simulation.step()
    assert (simulation.peek("channel__count"), simulation.peek("channel__has_overflowed")) == (DEPTH, 1)
    simulation.reset()
    assert (simulation.peek("channel__count"), simulation.peek("channel__has_overflowed")) == (0, 0)


# Dispatch.


def random_instruction(rng, queue):
    format = INSTRUCTIONS.by_name[queue]
    while True:
        kind = format.kinds[rng.integers(0, len(format.kinds))]
        numbers = {f.name: int(rng.integers(f.min, f.max + 1)) for f in fields_of(kind)}
        slots = () if kind is Barrier else format.waits
        waits = {slot: int(rng.integers(0, 32)) for slot in slots if rng.random() < 0.5}
        sends = frozenset(slot for slot in slots if rng.random() < 0.5)
        instruction = kind(queue=queue, layer=int(rng.integers(0, 512)), waits=waits, sends=sends, **numbers)
        try:
            taken(queue, instruction), given(queue, instruction)
        except KeyError:
            continue
        return instruction


def expected_rows(queue, instructions):
    """Return for each instruction what a dispatcher shows: opcode, layer, payload, sends, tokens now, tokens later."""
    format, takes, gives = INSTRUCTIONS.by_name[queue], *(queue_channels(queue, is_wait=w) for w in (True, False))
    is_compute = queue in (Queue.LUT_COMPUTE, Queue.DSP_COMPUTE)
    for instruction in instructions:
        tokens, sends = taken(queue, instruction), given(queue, instruction)
        later = {c: n for c, n in tokens.items() if is_compute and is_of_result(c)}
        payload = format.layouts[type(instruction)].pack(instruction.numbers)
        yield (
            format.kinds.index(type(instruction)),
            instruction.layer,
            payload,
            sum((channel in sends) << i for i, channel in enumerate(gives)),
            [tokens.get(c, 0) if c not in later else 0 for c in takes],
            [later.get(c, 0) for c in takes],
        )


def halves(word):
    return [word & (2**64 - 1), word >> 64]


@pytest.mark.parametrize("queue", Queue)
def test_instructions_are_taken_apart_and_wait_for_their_tokens(model, queue):
    rng, name, simulation = np.random.default_rng(list(Queue).index(queue)), queue.name.lower(), model.simulate()
    instructions = [random_instruction(rng, queue) for _ in range(150)]
    rows = list(expected_rows(queue, instructions))
    words = np.array([halves(INSTRUCTIONS.encode(i)) for i in instructions], np.uint64)
    simulation.source(f"{name}__words", words, Stalls.random(0.2, 1))
    n, n_cycles = len(queue_channels(queue, is_wait=True)), 6000
    counts = np.minimum(rng.integers(0, 60, (n_cycles, n)), DEPTH)
    counts[::2] = DEPTH  # so that every instruction starts before long
    counts[rng.random((n_cycles, n)) < 0.1] = 0
    is_free = (rng.random(n_cycles) < 0.7).astype(int)
    outputs = ["is_waiting", "is_dispatched", "n_taken", "opcode", "layer", "payload", "sends", "later"]
    stimuli = {f"{name}__counts": counts, f"{name}__is_free": is_free}
    seen = {k.split("__", 1)[1]: v for k, v in simulation.run(stimuli, [f"{name}__{o}" for o in outputs]).items()}
    head = 0
    for cycle in np.flatnonzero(seen["is_waiting"]):
        opcode, layer, payload, sends, now, later = rows[head]
        n_bits = INSTRUCTIONS.by_name[queue].header.n_bits
        shown = seen["payload"][cycle]
        shown = int(shown) if 128 - n_bits <= 64 else int(shown[0]) | int(shown[1]) << 64
        assert (seen["opcode"][cycle], seen["layer"][cycle], shown, seen["sends"][cycle]) == (opcode, layer, payload, sends)
        assert seen["later"][cycle].tolist() == later
        starts = bool(is_free[cycle]) and all(counts[cycle] >= now)
        assert seen["is_dispatched"][cycle] == starts
        assert seen["n_taken"][cycle].tolist() == (now if starts else [0] * n)
        head += starts
        if head == len(rows):
            break
    assert head == len(rows)
