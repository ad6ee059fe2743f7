"""Post-processing against fractions: all rounding modes, all steps on and off, every sum under registers of its own."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("amaranth")

from post_reference import ROUNDINGS, Case, rounded, settled

from silicut.accelerators.gemm.program import result_registers
from silicut.accelerators.gemm.program.result_registers import SetCopy, SetLookup, SetRequantise, SetResidual
from silicut.accelerators.gemm.rtl.post_lane import LANE_CYCLES, OTHER_CYCLES
from silicut.accelerators.gemm.rtl.post_lanes import PostLanes
from silicut.accelerators.gemm.rtl.settle import Settle
from silicut.hardware import fields_of
from silicut.hardware.rtl import SideBySide, compile_model
from silicut.numerics import Rounding, round_floats

pytestmark = pytest.mark.needs_rtl

N_LANES = 2
STEPS = {"requantise": SetRequantise, "residual": SetResidual, "lookup": SetLookup, "copy": SetCopy}


@pytest.fixture(scope="module")
def model(rtl_cache):
    parts = {"wide": Settle(56), "narrow": Settle(14), "lanes": PostLanes(N_LANES)}
    return compile_model(SideBySide(parts), folder=rtl_cache)


# Rounding.


def test_the_reference_rounds_as_the_named_modes_say():
    assert tuple(Rounding) == result_registers.ROUNDINGS == ROUNDINGS
    quarters = np.arange(-20, 21) / 4
    for mode in Rounding:
        assert [rounded(Fraction(float(x)), mode) for x in quarters] == round_floats(quarters, mode).astype(int).tolist()


def settle_all(model, name, values, shifts, modes, limits):
    """Return results for arrays of values, shifts, modes, and limits (n, 3)."""
    n, raw = len(values), np.asarray(limits)
    packed = (raw & 511) @ np.array([1, 1 << 9, 1 << 18])
    stimuli = {"value": [*values, 0, 0, 0], "shift": [*shifts, 0, 0, 0], "rounding": [0, *modes, 0, 0]}
    stimuli["limits"] = [0, 0, *packed, 0]
    return model.simulate().run({f"{name}__{k}": v for k, v in stimuli.items()}, [f"{name}__result"])[f"{name}__result"][
        3 : 3 + n
    ]


@pytest.mark.parametrize("mode", range(5))
def test_all_small_numbers_at_all_shifts(model, mode):
    values, shifts = (x.reshape(-1) for x in np.mgrid[-600:601:3, 0:14])
    limits = np.tile([3, -256, 255], (len(values), 1))
    seen = settle_all(model, "narrow", values, shifts, np.full(len(values), mode), limits)
    assert seen.tolist() == [settled(int(v), int(s), mode, 3, -256, 255) for v, s in zip(values, shifts, strict=True)]


def test_wide_numbers_under_limits_of_their_own(model):
    rng = np.random.default_rng(0)
    n = 20000
    magnitudes = (2.0 ** rng.uniform(0, 55, n)).astype(np.int64)
    values = magnitudes * rng.choice([-1, 1], n)
    values[::3] = (rng.integers(-300, 300, len(values[::3])) << 40) + rng.integers(-1, 2, len(values[::3])) * (1 << 39)
    shifts = np.clip(np.log2(magnitudes).astype(np.int64) - rng.integers(-3, 12, n), 0, 62)
    shifts[::3] = 40
    values[:6], shifts[:6] = [-(2**55), 2**55 - 1, -(2**55), 2**55 - 1, -1, 1], [62, 62, 0, 0, 62, 62]
    modes = rng.integers(0, 5, n)
    ends = np.sort(rng.integers(-256, 256, (n, 2)), axis=1)
    limits = np.column_stack([rng.integers(-256, 256, n), ends])
    limits[::2, 1:] = [-256, 255]
    seen = settle_all(model, "wide", values, shifts, modes, limits)
    parts = zip(values.tolist(), shifts.tolist(), modes.tolist(), limits.tolist(), strict=True)
    assert seen.tolist() == [settled(value, shift, mode, *ends) for value, shift, mode, ends in parts]


# Lanes.


def random_fields(rng, kind):
    values = {f.name: int(rng.integers(f.min, f.max + 1)) for f in fields_of(kind)}
    if "rounding" in values:
        values["rounding"] = int(rng.integers(0, 5))
    if "low" in values:
        values["low"], values["high"] = sorted((values["low"], values["high"]))
        if rng.random() < 0.7:
            values["low"], values["high"] = [(-128, 127), (0, 255), (-256, 255)][rng.integers(0, 3)]
    return values


def random_registers(rng, enabled):
    registers = {name: random_fields(rng, kind) for name, kind in STEPS.items()}
    for name, is_enabled in zip(("requantise", "residual", "lookup"), enabled, strict=True):
        registers[name]["is_enabled"] = int(is_enabled)
    registers["residual"]["shift"] = int(rng.choice([0, 5, 12, 15, 20, 62]))
    registers["copy"]["shift"] = int(rng.choice([0, 8, 20, 24, 28, 62]))
    return registers


def random_case(rng, registers):
    """Return a sum under registers, the function's index inside of its table."""
    magnitude = int(2 ** rng.uniform(0, 31))
    entry = {
        "bias": int(rng.integers(-(2 ** int(rng.choice([4, 12, 31]))), 2**31)),
        "multiplier": int(rng.integers(0, 2**24)),
    }
    entry["bias"] = (entry["bias"] + 2**31) % 2**32 - 2**31
    entry["shift"] = int(rng.choice([0, 20, 24, 30, 40, 46, 50, 62]))
    case = Case(int(rng.choice([-1, 1])) * magnitude, entry, int(rng.integers(-128, 256)), registers)
    if not registers["requantise"]["is_enabled"]:
        case.sum = int(rng.integers(-128, 256))
        if not (registers["residual"]["is_enabled"] or registers["lookup"]["is_enabled"]):
            case.sum = int(rng.choice([-1, 1])) * magnitude
    if registers["lookup"]["is_enabled"]:
        before = registers["residual"] if registers["residual"]["is_enabled"] else registers["requantise"]
        if before["is_enabled"]:
            before["low"] = max(before["low"], before["high"] - 255)
            registers["lookup"]["first"] = before["low"]
        else:
            registers["lookup"]["first"] = -128
            case.sum = int(rng.integers(-128, 128))
    return case


def packed(fields, values):
    word, low = 0, 0
    for name, bits in fields:
        word, low = word | (values[name] & ((1 << bits) - 1)) << low, low + bits
    return word


def as_port(words, bits):
    """Return Python integers as a port takes them: whole numbers, or 64-bit words."""
    if bits <= 64:
        return np.array(words, np.uint64)
    return np.array([[word >> low & (2**64 - 1) for low in range(0, bits, 64)] for word in words], np.uint64)


ENTRY = [("bias", 32), ("multiplier", 24), ("shift", 6)]


def lane_stimuli(cases):
    """Return stimuli of cases, list of rows of N_LANES under the same registers; one row a cycle."""
    tail = LANE_CYCLES
    rows = cases + [cases[0]] * tail
    stimuli = {
        "sums": [[case.sum for case in row] for row in rows],
        "entries": [[packed(ENTRY, case.entry) for case in row] for row in rows],
        "is_valid": [1] * len(cases) + [0] * tail,
    }
    others = [[case.other for case in row] for row in cases]
    stimuli["others"] = [others[0]] * OTHER_CYCLES + others + [others[0]] * (tail - OTHER_CYCLES)
    for name, kind in STEPS.items():
        fields = [(f.name, f.bits) for f in fields_of(kind)]
        stimuli[name] = as_port([packed(fields, row[0].registers[name]) for row in rows], sum(bits for _, bits in fields))
    return {f"lanes__{name}": np.asarray(values) for name, values in stimuli.items()}


def load_tables(simulation, tables):
    words = tables.reshape(2 * 32, 8).astype(np.uint8).view("<u8")[:, 0]
    packed_words = [1 | address << 1 | int(word) << 7 for address, word in enumerate(words)]
    simulation.run({"lanes__lookup_write": as_port(packed_words, 71)}, [])
    simulation.poke("lanes__lookup_write", np.zeros(2, np.uint64))


def check_lanes(simulation, cases, tables):
    seen = simulation.run(lane_stimuli(cases), ["lanes__results", "lanes__copies", "lanes__is_done"])
    assert seen["lanes__is_done"].tolist() == [0] * LANE_CYCLES + [1] * len(cases)
    expected = np.array([[case.results(tables) for case in row] for row in cases])
    np.testing.assert_array_equal(seen["lanes__results"][LANE_CYCLES:], expected[..., 0])
    np.testing.assert_array_equal(seen["lanes__copies"][LANE_CYCLES:], expected[..., 1])


@pytest.mark.parametrize("enabled", [(a, b, c) for a in (1, 0) for b in (1, 0) for c in (1, 0)])
def test_steps_on_and_off(model, enabled):
    rng, simulation = np.random.default_rng(sum(enabled)), model.simulate()
    tables = rng.integers(0, 256, (2, 256))
    load_tables(simulation, tables)
    cases = []
    for _ in range(300):
        registers = random_registers(rng, enabled)
        cases.append([random_case(rng, registers) for _ in range(N_LANES)])
    check_lanes(simulation, cases, tables)


def test_every_result_has_registers_of_its_own(model):
    rng, simulation = np.random.default_rng(5), model.simulate()
    tables = rng.integers(0, 256, (2, 256))
    load_tables(simulation, tables)
    cases = []
    for _ in range(1500):
        registers = random_registers(rng, rng.integers(0, 2, 3))
        cases.append([random_case(rng, registers) for _ in range(N_LANES)])
    check_lanes(simulation, cases, tables)


def test_a_reset_takes_back_what_was_under_way(model):
    simulation = model.simulate()
    simulation.run({"lanes__is_valid": [1] * 5}, [])
    simulation.poke("lanes__is_valid", 0)
    simulation.reset()
    assert not simulation.run({"lanes__is_valid": [0] * 30}, ["lanes__is_done"])["lanes__is_done"].any()
