"""Builds: what is derived from their numbers, and what is refused."""

import dataclasses

import pytest

from silicut.accelerators.gemm.config import N3H, PRESETS, TINY, DspCore, GemmConfig, LutCore, Memory
from silicut.records import ConfigError


@pytest.mark.parametrize("config", PRESETS.values(), ids=lambda config: config.name)
def test_presets_come_back_from_files(config, tmp_path):
    assert GemmConfig.load(config.save(tmp_path / "build.json")) == config


def test_builds_differ_by_their_hash():
    assert len({config.hash for config in PRESETS.values()}) == len(PRESETS)
    assert dataclasses.replace(TINY, n_lanes=3).hash != TINY.hash


def test_the_reference_point():
    assert N3H.dsp.n_slices == 128
    assert N3H.memory.bytes_per_cycle == 16
    assert (N3H.dsp.n_word_inputs(8), N3H.dsp.n_word_inputs(4), N3H.dsp.n_columns) == (16, 32, 8)
    assert (N3H.lut.latency_cycles, N3H.dsp.latency_cycles) == (8, 11)


@pytest.mark.parametrize(("bits", "macs", "cycles"), [(4, (2, 1), 4), (4, (4, 1), 2), (8, (4, 1), 4), (8, (2, 2), 2)])
def test_two_filters_at_once_halve_the_cycles_of_a_word(bits, macs, cycles):
    core = DspCore(n_outputs=16, n_passes=4, macs_per_slice_4bit=macs[0], macs_per_slice_8bit=macs[1])
    assert core.n_tile_cycles(bits) == cycles


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lut": None, "dsp": None}, "lut or dsp must be there"),
        ({"lut": LutCore(word_bits=48)}, "lut.word_bits must be a multiple of 32, not 48"),
        ({"lut": LutCore(n_accumulator_banks=1)}, "lut.n_accumulator_banks must be at least 2, not 1"),
        ({"dsp": DspCore(n_passes=3)}, "dsp.n_passes must divide n_outputs (16), not be 3"),
        ({"dsp": DspCore(macs_per_slice_4bit=3)}, "dsp.macs_per_slice_4bit must be 2 or 4, not 3"),
        (
            {"dsp": DspCore(n_passes=1, macs_per_slice_8bit=2)},
            "dsp.n_passes must be even where a slice computes two filters at once, not 1",
        ),
        (
            {"memory": Memory(n_ports=0, refresh_every=3)},
            "memory.n_ports must be at least 1, not 0; "
            "memory.refresh_every and refresh_cycles must both be 0 or both be positive",
        ),
        (
            {"memory": Memory(n_ports=3, has_core_ports=True)},
            "memory.n_ports must be even where each core has its own, not 3",
        ),
        ({"clock_hz": 0.0, "n_lanes": 0}, "n_lanes must be at least 1, not 0; clock_hz must be positive, not 0.0"),
    ],
)
def test_what_cannot_be_built_is_named(fields, message):
    with pytest.raises(ConfigError) as error:
        GemmConfig(**fields)
    assert str(error.value) == message
