"""Programs that are wrong are caught, and the message says where; races are errors, not luck."""

import dataclasses
import re

import numpy as np
import pytest
from hand_made_programs import convolution_program, depthwise_program
from random_layers import random_convolution, random_numbers, random_steps
from spoiled_programs import WAYS

from silicut.accelerators.gemm.config import BISMO_PYNQ, TINY
from silicut.accelerators.gemm.program import Layer, Program, Queue, Unit, assemble, check, problems
from silicut.accelerators.gemm.simulate import simulate
from silicut.accelerators.gemm.simulate.machine import Dram
from silicut.accelerators.gemm.simulate.tracked import Fault, Tracked
from silicut.hardware import fields_of
from silicut.records import BadProgram

LOCATED = re.compile(r"(memory|window|compute|post)( execute| result)? instruction \d+ \(\w+")
N_SPOILED = 520


def good_programs():
    """Return programs that run, with their inputs."""
    rng, made = np.random.default_rng(3), []
    for unit in (Unit.LUT, Unit.DSP):
        conv = random_convolution(rng, unit, (6, 5, 5), kernel=(3, 3))
        image = random_numbers(rng, conv.input_format, (6, 5, 5))
        sums = conv.run(image[None])
        steps = random_steps(rng, len(conv.weight), sums, kinds=["add", "copy"])
        other = random_numbers(rng, steps.add.input_formats[1], sums.shape[1:])
        program = convolution_program(conv, steps, unit, (6, 5, 5), residual_parts=[range(len(conv.weight))])
        made.append((program, {"x": image, "z": other}))
    conv = random_convolution(rng, Unit.DSP, (6, 5, 5), groups=6, n_out=6, kernel=(3, 3))
    conv = dataclasses.replace(conv, dilation=(1, 1))
    image = random_numbers(rng, conv.input_format, (6, 5, 5))
    steps = random_steps(rng, 6, conv.run(image[None]))
    made.append((depthwise_program(conv, steps, (6, 5, 5)), {"x": image}))
    return made


GOOD = good_programs()


def test_the_programs_to_be_spoiled_run():
    for program, inputs in GOOD:
        assert list(problems(program)) == []
        assert simulate(program, inputs).cycles


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_spoiled_programs_are_caught_and_located(way):
    rng, n = np.random.default_rng(len(way.__name__)), 0
    while n < N_SPOILED // len(WAYS):
        program, inputs = GOOD[rng.integers(len(GOOD))]
        spoiled = way(rng, program)
        if spoiled is None:
            continue
        with pytest.raises(BadProgram) as error:
            simulate(spoiled, inputs)
        assert LOCATED.search(str(error.value)), str(error.value)
        n += 1


def test_words_of_which_a_byte_is_missing_are_not_read():
    dram, ones = Dram(2), np.full(1, 2**64 - 1, np.uint64)
    dram.put(1, ones, kept_bytes=0b00000001)
    with pytest.raises(Fault, match=r"^reads dram word 1, which nothing has written$"):
        dram.get(1, 1)
    dram.put(1, ones - ones, kept_bytes=0b11111110)
    assert dram.get(1, 1)[0] == 2**64 - 256


RESULTS = """
set_pixels width=5
set_requantise is_enabled=1 uses_table=1 low=-8 high=7
set_residual
set_lookup low=-8 high=7
set_output is_enabled=1 bits=4 pitch=8 ring_rows=4 row_words=4
"""
WINDOWS = """
set_map height=4 width=4 output_width=4 bits=4
set_kernel n_slabs=1 height=1 width=1 stride_y=1 stride_x=1 dilation_y=1 dilation_x=1
set_slab pitch=8 n_channels=8 ring_rows=4 row_words=4
"""


SMALL_MAP = "set_map height=1 width=1 output_width=1 bits="
ONE_BIT = "set_product n_words=1 lhs_bits=1 rhs_bits=1"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("load_rows n_words=4 bits=4", "memory 0", ["at least one of to_lut, to_dsp, to_post must be 1"]),
        ("load_rows n_words=5 bits=4 to_lut=1", "memory 0", ["n_words must be a multiple of bits (4), not 5"]),
        (
            "load_rows n_words=5 bits=5 to_dsp=1",
            "memory 0",
            ["bits must be at most 4, the width of an element in the DSP core and POST, not 5"],
        ),
        (
            "load_rows n_words=40 bits=4 to_dsp=1 wide_elements=1 dsp_address=500",
            "memory 0",
            ["dsp.features words 500..579 must be within 0..511"],
        ),
        ("store n_words=3 dram_address=998", "memory 0", ["dram words 998..1000 must be within 0..999"]),
        ("store n_words=3 kept_bytes=255", "memory 0", ["kept_bytes must leave a byte to be written"]),
        (
            "set_output is_enabled=1 bits=4 pitch=8 first_channel=8 ring_rows=4 row_words=4",
            "lut.compute 0",
            ["channels 8..8 must be within 0..7"],
        ),
        ("load_weights n_lines=1 n_banks=5", "memory 0", ["banks 0..4 must be within 0..3"]),
        ("load_table n_entries=1 send=post", "memory 0", ["it must not use the channel post, which it does not have"]),
        (SMALL_MAP + "3 pad_value=8", "lut.window 0", ["pad_value must have 3 bits, not be 8"]),
        (SMALL_MAP + "5", "dsp.window 0", ["bits must be 4 or 8, not 5"]),
        (SMALL_MAP + "3 flip=1", "lut.window 0", ["flip must be 0 outside of dsp.window, not 1"]),
        ("expand n_pixels=1 n_segments=1", "lut.window 0", ["set_kernel must come before it in its queue"]),
        (WINDOWS + "expand n_pixels=1 n_segments=2", "lut.window 3", ["segments 0..1 must be within 0..0"]),
        (WINDOWS + "expand n_pixels=100 n_segments=1", "lut.window 3", ["lhs words 0..199 must be within 0..127"]),
        (
            "set_product n_words=1 lhs_bits=4 rhs_bits=8 rhs_signed=1",
            "dsp.compute 0",
            ["the DSP core multiplies uint4 by int4 or int8 by int8, not uint4 by int8"],
        ),
        (
            "set_taps height=1 width=5 stride_x=1 bits=4",
            "dsp.compute 0",
            ["width must be at most 4, the core's n_outputs, not 5"],
        ),
        (
            RESULTS + "gemm n_pixels=1 n_filters=1 is_first=1 is_last=1",
            "lut.compute 5",
            ["set_product must come before it in its queue"],
        ),
        (
            f"{ONE_BIT}{RESULTS}gemm n_pixels=3 n_filters=5 is_first=1\ngemm n_pixels=1 n_filters=1 is_last=1",
            "lut.compute 6",
            ["a sum in parts must be of one tile, not 2 stripes of 2 tiles"],
        ),
        (
            f"{ONE_BIT}{RESULTS}gemm n_pixels=1 n_filters=1 is_last=1",
            "lut.compute 6",
            ["is_first must be 1, as no sum is open"],
        ),
        (
            f"{ONE_BIT}{RESULTS}gemm n_pixels=1 n_filters=9 is_first=1 is_last=1",
            "lut.compute 6",
            ["channels of output 0 0..8 must be within 0..7"],
        ),
        (
            "set_requantise rounding=5 low=3 high=2",
            "post 0",
            ["rounding must be 0..4, not 5", "low must be at most high (2), not 3"],
        ),
        ("set_constant shift=63", "post 0", ["shift must be 0..62, not 63"]),
        ("barrier wait=rows:1", "post 0", ["it must not take or give tokens"]),
    ],
)
def test_static_checks(text, where, what):
    queue, number = where.split()
    program = Program(config=TINY, queues=assemble(f"[{queue}]\n{text}"), memory_words=1000)
    mnemonic = program.of(Queue(queue))[int(number)].mnemonic
    place = f"{queue} instruction {number} ({mnemonic}, layer 0)"
    with pytest.raises(BadProgram) as error:
        check(program)
    assert str(error.value) == "; ".join(f"{place}: {problem}" for problem in what)


def test_a_sum_must_end():
    text = f"[lut.compute]\n{ONE_BIT}\ngemm n_pixels=1 n_filters=1 is_first=1"
    with pytest.raises(BadProgram, match=r"^lut.compute ends with a sum that has no last part$"):
        check(Program(config=TINY, queues=assemble(text), memory_words=1))


def test_layers_must_exist():
    program = Program(config=TINY, queues=assemble("[post]\nsync layer=1"), memory_words=1, layers=(Layer(name="a"),))
    with pytest.raises(BadProgram, match=r"^post instruction 0 \(sync, layer 1\): layer must be 0..0, not 1$"):
        check(program)


def test_a_core_that_the_build_lacks_has_no_program():
    program = Program(config=BISMO_PYNQ, queues=assemble("[dsp.window]\nsync"), memory_words=1)
    with pytest.raises(BadProgram, match=r"^dsp.window must be empty, as the build bismo-pynq-z1 lacks the core$"):
        check(program)


def test_words_that_nothing_has_written():
    memory = Tracked("lut.lhs", 2, 10)
    memory.write((slice(2), slice(3, 6)), 5, 9)
    memory.read((slice(2), slice(3, 6)), 9, 12)
    with pytest.raises(Fault, match=r"^reads lut.lhs bank 1 word 6, which nothing has written$"):
        memory.read((slice(1, 2), slice(4, 8)), 20, 21)


def test_races():
    memory = Tracked("post.output", 10)
    memory.write(slice(2, 5), 10, 20)
    with pytest.raises(Fault, match=r"^reads post.output word 2 in cycle 19, but its write ends in cycle 20$"):
        memory.read(slice(2, 4), 19, 25)
    memory.read(slice(3, 5), 20, 30)
    with pytest.raises(Fault, match=r"^overwrites post.output word 3 in cycle 29, but it is read until cycle 30$"):
        memory.write(slice(2, 5), 29, 35)
    memory.write(slice(2, 5), 30, 35)


def test_occupancy_counts_words_from_write_to_last_read():
    memory = Tracked("m", 4)
    memory.write(slice(0, 2), 0, 10)
    memory.read(slice(0, 2), 10, 20)
    memory.write(slice(0, 1), 20, 30)
    memory.write(slice(1, 4), 25, 30)
    memory.read(slice(0, 3), 30, 60)
    # words 0, 1: cycles 0..20; word 0: 20..60; words 1, 2: 25..60; word 3 is never read
    occupancy = memory.occupancy(100)
    assert (occupancy.n_words, occupancy.n_touched, occupancy.peak) == (4, 4, 3)
    assert occupancy.mean == (20 + 20 + 40 + 35 + 35) / 100


def test_a_wait_that_is_lost_is_a_race_and_not_luck():
    program, inputs = GOOD[2]
    window = program.of(Queue.DSP_WINDOW)
    second = next(i for i, x in enumerate(window) if x.waits.get("stripe"))
    hurried = dataclasses.replace(window[second], waits={})
    queues = {**program.queues, Queue.DSP_WINDOW: (*window[:second], hurried, *window[second + 1 :])}
    # Who comes first names it: the expansion that overwrites, or the product that reads what is being written.
    with pytest.raises(
        BadProgram, match=r"^dsp.\w+ instruction \d+ \(\w+, layer 0\) (overwrites|reads) dsp.lhs bank 0 word 0 in"
    ):
        simulate(dataclasses.replace(program, queues=queues), inputs)


def test_any_number_in_any_field_runs_or_is_named():
    rng, n_bad = np.random.default_rng(11), 0
    for _ in range(250):
        program, inputs = GOOD[rng.integers(len(GOOD))]
        every = [(q, i, x) for q in Queue for i, x in enumerate(program.of(q)) if fields_of(type(x))]
        queue, i, x = every[rng.integers(len(every))]
        field = fields_of(type(x))[rng.integers(len(fields_of(type(x))))]
        value = rng.choice([field.min, field.max, rng.integers(field.min, field.max + 1), rng.integers(0, 2)])
        changed = dataclasses.replace(x, **{field.name: int(value)})
        queues = {**program.queues, queue: (*program.of(queue)[:i], changed, *program.of(queue)[i + 1 :])}
        message = what_is_wrong(dataclasses.replace(program, queues=queues), inputs)
        assert not message or LOCATED.search(message), message
        n_bad += bool(message)
    assert n_bad > 80


def what_is_wrong(program, inputs):
    """Return the message of a bad program, "" for one that runs; any other error is a failure."""
    try:
        simulate(program, inputs)
    except BadProgram as error:
        return str(error)
    return ""
