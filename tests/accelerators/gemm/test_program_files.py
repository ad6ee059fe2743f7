"""Programs in files and as text come back; whatever is wrong with a file is said in one sentence that locates it."""

import dataclasses
import re

import numpy as np
import pytest
from hand_made_programs import convolution_program
from random_layers import random_convolution, random_numbers, random_steps

from silicut.accelerators.gemm.config import TINY
from silicut.accelerators.gemm.program import (
    Program,
    Queue,
    Region,
    Unit,
    assemble,
    load_program,
    program_bytes,
    program_hash,
    program_text,
    read_program,
    save_program,
)
from silicut.accelerators.gemm.simulate import simulate
from silicut.records import BadFile, ConfigError


@pytest.fixture(scope="module")
def layer():
    rng = np.random.default_rng(7)
    conv = random_convolution(rng, Unit.LUT, (6, 5, 5), kernel=(3, 2), n_out=9)
    image = random_numbers(rng, conv.input_format, (6, 5, 5))
    steps = random_steps(rng, 9, conv.run(image[None]), kinds=["copy"])
    return convolution_program(conv, steps, Unit.LUT, (6, 5, 5)), image


def test_files_come_back(layer, tmp_path):
    program, image = layer
    path = save_program(program, tmp_path / "layer.program")
    loaded = load_program(path)
    assert program_bytes(loaded) == path.read_bytes()
    assert loaded.config == program.config
    assert loaded.places == program.places
    assert {queue: loaded.of(queue) for queue in Queue} == {queue: program.of(queue) for queue in Queue}
    first, second = simulate(program, {"x": image}), simulate(loaded, {"x": image})
    assert first.cycles == second.cycles
    assert (first.tensor("y") == second.tensor("y")).all()


def test_text_comes_back(layer):
    program, _ = layer
    text = program_text(program)
    assert assemble(text) == {queue: program.of(queue) for queue in Queue}
    assert assemble("# nothing\n\n" + text.replace("\n", "   # a comment\n")) == assemble(text)


def test_hashes_name_contents(layer):
    program, _ = layer
    changed = dataclasses.replace(program, memory_words=program.memory_words + 1)
    assert program_hash(program) == program_hash(dataclasses.replace(program))
    assert program_hash(program) != program_hash(changed)


def test_every_flipped_bit_and_every_cut_is_located(layer):
    program, _ = layer
    data = program_bytes(program)
    rng = np.random.default_rng(0)
    where = re.compile(
        r"^layer (is (damaged|cut off) in its (header|part [\w.]+( at word \d+)?)|must start with the line|has version)"
    )
    for _ in range(150):
        spoiled = bytearray(data)
        spoiled[rng.integers(len(data))] ^= 1 << rng.integers(8)
        with pytest.raises(BadFile) as error:
            read_program(bytes(spoiled), "layer")
        assert where.match(str(error.value)), str(error.value)
    for end in rng.integers(0, len(data), 50):
        with pytest.raises(BadFile) as error:
            read_program(data[:end], "layer")
        assert where.match(str(error.value)), str(error.value)


def test_messages_say_which_bytes(layer):
    data = program_bytes(layer[0])
    with pytest.raises(BadFile) as error:
        read_program(data[:-3], "layer")
    n = len(data)
    message = rf"layer is cut off in its part \w+ at word \d+, at byte {n - 3} of {n}; copy it again"
    assert re.fullmatch(message, str(error.value))
    with pytest.raises(BadFile, match=rf"^layer must end at byte {len(data)}, not {len(data) + 1}; copy it again$"):
        read_program(data + b"x", "layer")
    with pytest.raises(BadFile, match="it is no program, or is damaged there"):
        read_program(b"PK\x03\x04", "layer")
    with pytest.raises(BadFile, match="layer has version 2 of programs, not 1"):
        read_program(data.replace(b"program 1 ", b"program 2 ", 1), "layer")


def test_missing_files(tmp_path):
    with pytest.raises(BadFile, match="nowhere does not exist; check the path"):
        load_program(tmp_path / "nowhere")
    with pytest.raises(BadFile, match="cannot be read"):
        load_program(tmp_path)


def test_what_lies_outside_of_memory_is_refused():
    region = Region(10, np.zeros(5, np.uint64), "weights")
    with pytest.raises(ConfigError) as error:
        Program(config=TINY, queues={}, memory_words=12, image=(region,), inputs=("x",))
    assert str(error.value) == "places must hold x; image weights at 10 must lie in words 0..11, not end at 14"


def test_a_field_out_of_range_is_located():
    queues = assemble("[post]\nsync\nset_pixels width=4")
    wide = dataclasses.replace(queues[Queue.POST][1], width=4096)
    program = Program(config=TINY, queues={Queue.POST: (queues[Queue.POST][0], wide)}, memory_words=1)
    with pytest.raises(ValueError, match=r"^post instruction 1 \(set_pixels\): width must be 0..4095, not 4096$"):
        program_bytes(program)
