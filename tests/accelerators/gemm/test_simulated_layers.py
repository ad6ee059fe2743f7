"""Single layers on the machine equal the integer operators to the bit, whatever their formats and geometry."""

import dataclasses

import numpy as np
import pytest
from hand_made_programs import convolution_program, depthwise_program, pool_program
from random_layers import random_convolution, random_format, random_numbers, random_steps

from silicut.accelerators.gemm.config import TINY
from silicut.accelerators.gemm.program import Unit
from silicut.accelerators.gemm.simulate import simulate
from silicut.numerics import MaxPool2d, SumPool2d

TWO_ROWS = dataclasses.replace(
    TINY, dsp=dataclasses.replace(TINY.dsp, n_rows=2, macs_per_slice_4bit=4, macs_per_slice_8bit=2)
)
ODD = dataclasses.replace(TINY, lut=dataclasses.replace(TINY.lut, n_rows=3, n_columns=5, word_bits=96), n_lanes=3)


def random_parts(rng, n):
    """Return channels in any order, in one to three slabs."""
    cuts = np.array_split(rng.permutation(n), int(rng.integers(1, min(3, n) + 1)))
    return [[int(channel) for channel in cut] for cut in cuts]


def sums_of(rng, operator, shape):
    """Return an image and what an operator makes of it, or nothing where the map is too small."""
    image = random_numbers(rng, operator.input_format, shape)
    try:
        return image, operator.run(image[None])
    except ValueError:
        return None


def agrees(program, inputs, expected):
    simulation = simulate(program, inputs)
    for name, values in expected.items():
        np.testing.assert_array_equal(simulation.tensor(name), values[0], name)
    return simulation


@pytest.mark.parametrize("unit", [Unit.LUT, Unit.DSP])
@pytest.mark.parametrize("seed", range(30))
def test_convolutions_with_everything_behind_them(unit, seed):
    rng = np.random.default_rng([unit, seed])
    shape = tuple(int(n) for n in (rng.integers(1, 9), rng.integers(3, 7), rng.integers(3, 7)))
    conv = random_convolution(rng, unit, shape)
    found = sums_of(rng, conv, shape)
    if found is None:
        return
    image, sums = found
    n = len(conv.weight)
    steps = random_steps(rng, n, sums, kinds=[k for k in ("add", "lookup", "copy") if rng.integers(2)])
    program = convolution_program(
        conv,
        steps,
        unit,
        shape,
        parts=random_parts(rng, shape[0]),
        residual_parts=[part for part in (range(min(n, 8)), range(8, n)) if len(part)],
        n_parts_of_sum=int(rng.integers(1, conv.weight.shape[2] + 1)),
        config=(TINY, TWO_ROWS if unit is Unit.DSP else ODD)[rng.integers(2)],
    )
    inputs, other = {"x": image}, None
    if steps.add:
        other = random_numbers(rng, steps.add.input_formats[1], sums.shape[1:])
        inputs["z"] = other
    values, copy = steps.run(sums, None if other is None else other[None])
    agrees(program, inputs, {"y": values, **({"copy": copy} if steps.copy else {})})


@pytest.mark.parametrize("unit", [Unit.LUT, Unit.DSP])
@pytest.mark.parametrize("seed", range(8))
def test_grouped_convolutions(unit, seed):
    rng = np.random.default_rng([unit, seed, 1])
    groups = int(rng.integers(2, 4))
    shape = (groups * int(rng.integers(1, 4)), int(rng.integers(4, 7)), int(rng.integers(4, 7)))
    conv = random_convolution(rng, unit, shape, groups=groups)
    found = sums_of(rng, conv, shape)
    if found is None:
        return
    image, sums = found
    steps = random_steps(rng, len(conv.weight), sums)
    agrees(convolution_program(conv, steps, unit, shape), {"x": image}, {"y": steps.run(sums)[0]})


@pytest.mark.parametrize("seed", range(20))
def test_depthwise_convolutions(seed):
    rng = np.random.default_rng([seed, 2])
    n, kernel = int(rng.integers(1, 12)), (int(rng.integers(1, 4)), int(rng.integers(1, 5)))
    shape = (n, int(rng.integers(3, 7)), int(rng.integers(4, 7)))
    conv = random_convolution(rng, Unit.DSP, shape, groups=n, kernel=kernel, n_out=n)
    conv = dataclasses.replace(conv, dilation=(conv.dilation[0], 1))
    found = sums_of(rng, conv, shape)
    if found is None:
        return
    image, sums = found
    steps = random_steps(rng, n, sums)
    program = depthwise_program(conv, steps, shape, config=(TINY, TWO_ROWS)[seed % 2])
    agrees(program, {"x": image}, {"y": steps.run(sums)[0]})


@pytest.mark.parametrize("kind", ["max", "sum"])
@pytest.mark.parametrize("seed", range(12))
def test_pools(kind, seed):
    rng = np.random.default_rng([seed, 3])
    shape = (int(rng.integers(1, 12)), int(rng.integers(4, 7)), int(rng.integers(4, 7)))
    format, kernel = random_format(rng), tuple(int(n) for n in rng.integers(1, 4, 2))
    geometry = {
        "kernel": kernel,
        "input_format": format,
        "stride": tuple(int(n) for n in rng.integers(1, 3, 2)),
        "padding": tuple(int(min(n, size - 1)) for n, size in zip(rng.integers(0, 2, 4), kernel * 2, strict=True)),
    }
    zero = int(rng.integers(format.min, format.max + 1))
    pool = MaxPool2d(**geometry) if kind == "max" else SumPool2d(**geometry, input_zero_point=zero)
    image, sums = sums_of(rng, pool, shape)
    steps = random_steps(rng, 1, sums)
    if kind == "max":
        requantise = dataclasses.replace(steps.requantise, input_format=format, input_zero_point=zero)
        steps = dataclasses.replace(steps, requantise=requantise)
    program = pool_program(pool, steps, shape, parts=random_parts(rng, shape[0]))
    agrees(program, {"x": image}, {"y": steps.run(sums)[0]})


def whole(unit, seed=4):
    """Return a program with all steps, its inputs and its results."""
    rng = np.random.default_rng(seed)
    conv = random_convolution(rng, unit, (6, 6, 6), kernel=(3, 3), n_out=8)
    image, sums = sums_of(rng, conv, (6, 6, 6))
    steps = random_steps(rng, 8, sums, kinds=["add", "copy"])
    other = random_numbers(rng, steps.add.input_formats[1], sums.shape[1:])
    program = convolution_program(conv, steps, unit, (6, 6, 6), residual_parts=[range(8)])
    return program, {"x": image, "z": other}, steps.run(sums, other[None])[0]


@pytest.mark.parametrize("unit", [Unit.LUT, Unit.DSP])
def test_time_does_not_depend_on_data(unit):
    program, inputs, _ = whole(unit)
    with_data, without = simulate(program, inputs), simulate(program)
    assert with_data.cycles == without.cycles
    assert with_data.times.activities == without.times.activities
    with pytest.raises(ValueError, match="the run must have had inputs; only its times were simulated"):
        without.tensor("y")


@pytest.mark.parametrize("unit", [Unit.LUT, Unit.DSP])
def test_counters_add_up(unit):
    program, inputs, _ = whole(unit)
    simulation = simulate(program, inputs)
    for counters in simulation.stages.values():
        assert counters.run + sum(counters.receive.values()) + counters.idle == simulation.cycles
        assert counters.idle >= 0
    assert simulation.stages[f"{unit.label}.execute"].run > 0
    place = program.places["y"]
    stored = sum(p.slab_words(s) for p in (place, program.places["copy"]) for s in p.slabs)
    assert simulation.traffic[0, "output"] == 8 * stored
    assert sum(simulation.traffic.values()) == sum(simulation.layers[0].n_bytes.values())
    (layer,) = simulation.layers
    assert (layer.start, layer.end) == (0, simulation.cycles)
    point = layer.roofline(program.config)
    assert 0 < point.attained < point.compute_roof
    assert point.memory_roof == point.intensity * program.config.memory.bytes_per_cycle


@pytest.mark.parametrize("unit", [Unit.LUT, Unit.DSP])
def test_occupancy_knows_what_was_touched(unit):
    program, inputs, _ = whole(unit)
    occupancy = simulate(program, inputs).occupancy
    features = occupancy[f"{unit.label}.features"]
    assert features.n_words == program.config.buffers.feature_words
    assert 0 < features.mean <= features.peak <= features.n_touched <= features.n_words
    assert occupancy["post.features"].n_touched == 0


def test_inputs_must_be_those_of_the_program():
    program, inputs, _ = whole(Unit.LUT)
    with pytest.raises(Exception, match=r"inputs must be \['x', 'z'\], not \['x'\]"):
        simulate(program, {"x": inputs["x"]})
    with pytest.raises(ValueError, match=r"input x: image must have shape \(6, 6, 6\), not \(6, 6, 5\)"):
        simulate(program, {**inputs, "x": inputs["x"][:, :, :5]})
    with pytest.raises(TypeError, match="input z: image must hold integers, not float64"):
        simulate(program, {**inputs, "z": inputs["z"] * 1.0})


def test_a_program_for_another_build_is_refused():
    program, inputs, _ = whole(Unit.LUT)
    other = dataclasses.replace(TINY, n_lanes=4)
    with pytest.raises(
        Exception, match=r"made for the build tiny \(\w+\) and must not run on tiny \(\w+\); compile it again"
    ):
        simulate(program, inputs, config=other)
    assert simulate(program, inputs, config=dataclasses.replace(TINY)).cycles
