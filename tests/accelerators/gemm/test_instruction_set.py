"""Instructions as words, as text and as documentation: all from one definition, all there and back."""

import inspect
import random
import re

import pytest

from silicut.accelerators.gemm.program import INSTRUCTIONS, Barrier, Gemm, Pool, Queue, Sync, assemble, instruction_reference
from silicut.hardware import documentation, fields_of, from_text, to_text

EVERY = [(queue, kind) for queue in INSTRUCTIONS.queues for kind in queue.kinds]


def random_instruction(rng, queue, kind):
    return kind(
        queue=queue.name,
        layer=rng.randrange(512),
        waits={name: rng.randrange(1, 32) for name in queue.waits if rng.random() < 0.5},
        sends=frozenset(name for name in queue.sends if rng.random() < 0.5),
        **{field.name: rng.randint(field.min, field.max) for field in fields_of(kind)},
    )


@pytest.mark.parametrize(("queue", "kind"), EVERY, ids=lambda x: x.name if hasattr(x, "kinds") else x.mnemonic)
def test_words_and_text_come_back(queue, kind):
    rng = random.Random(f"{queue.name} {kind.mnemonic}")
    for _ in range(40):
        instruction = random_instruction(rng, queue, kind)
        word = INSTRUCTIONS.encode(instruction)
        assert 0 <= word < 1 << 128
        assert INSTRUCTIONS.decode(word) == instruction
        assert from_text(to_text(instruction), queue) == instruction


def test_different_instructions_are_different_words():
    rng, seen = random.Random(0), {}
    for queue, kind in EVERY:
        for _ in range(20):
            instruction = random_instruction(rng, queue, kind)
            other = seen.setdefault(INSTRUCTIONS.encode(instruction), instruction)
            assert other == instruction


def test_random_words_are_instructions_or_refused():
    rng, n_good = random.Random(2), 0
    for _ in range(2000):
        word = rng.getrandbits(128) & ((1 << rng.randrange(1, 129)) - 1)
        try:
            instruction = INSTRUCTIONS.decode(word)
        except ValueError:
            continue
        n_good += 1
        assert INSTRUCTIONS.encode(instruction) == word
    assert n_good > 300


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (7, "queue must be 0..5, not 7"),
        (1 | 15 << 3, "opcode of lut.window must be 0..5, not 15"),
        (0 | 1 << 34, "barrier: bits from 0 up must be 0, not 0x1 in the payload"),
    ],
)
def test_words_that_are_no_instruction(word, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        INSTRUCTIONS.decode(word)


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (Barrier(queue="nowhere"), "barrier must be in a queue that has it, not in 'nowhere'"),
        (Pool(queue=Queue.MEMORY, **dict.fromkeys((f.name for f in fields_of(Pool)), 0)),
         "pool must be in a queue that has it, not in 'memory'"),
        (Sync(queue="post", resource=0, waits={"stripe": 1}), "waits of post must be of rows, residual, output, not stripe"),
        (Sync(queue="post", resource=0, waits={"rows": 32}), "waits for rows must be 0..31, not 32"),
        (Sync(queue="post", resource=4, layer=512), "layer must be 0..511, not 512; resource must be 0..3, not 4"),
    ],
)  # fmt: skip
def test_what_cannot_be_encoded_is_named(instruction, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        INSTRUCTIONS.encode(instruction)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sync", "line 1: a heading such as [memory] must come first"),
        ("[heap]", "line 1: a heading must be one of [memory], [lut.window], [lut.compute], [dsp.window], "
         "[dsp.compute], [post], not [heap]"),
        ("[post]\n\nset_pixels wdth=3", "line 3: set_pixels has the fields width, not wdth"),
        ("[post]\nset_pixels width=three", "line 2: 'three' must be a whole number"),
        ("[post]\nset_pixels width=1 width=2", "line 2: set_pixels: 'width=2' must be a field=value, once"),
        ("[post]\nset_pixels width=5000", "line 2: width must be 0..4095, not 5000"),
        ("[post]\nsync wait=rows", "line 2: wait must be channel:count,channel:count, not 'rows'"),
        ("[post]\nsync send=weights", "line 2: sends of post must be of rows, residual, output, not weights"),
    ],
)  # fmt: skip
def test_text_that_is_no_program_is_located(text, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        assemble(text)


def test_an_instruction_of_another_queue_is_refused():
    with pytest.raises(ValueError, match=r"^line 2: lut.window has barrier, sync, .*, expand, not gemm$"):
        assemble("[lut.window]\ngemm n_pixels=3")


def test_documentation_holds_every_instruction_and_field():
    text = documentation(INSTRUCTIONS)
    for _, kind in EVERY:
        assert f"### {kind.mnemonic}\n" in text
        assert inspect.getdoc(kind).splitlines()[0] in text
        assert all(f"| {field.name} | " in text and field.about in text for field in fields_of(kind))
    assert text.count("### ") == len({kind for _, kind in EVERY})


def test_loop_nests_say_what_gemm_reads():
    assert "for tile in range" in inspect.getdoc(Gemm)


def test_the_reference_tells_the_rules_of_time():
    text = instruction_reference()
    for rule in ("a token sent at time t can be taken at time t", "ceil(W / n_ports) beats", "RESULT_LATENCY_CYCLES after"):
        assert rule in text
    assert text.count("\n## ") == 6 + len(INSTRUCTIONS.queues)
