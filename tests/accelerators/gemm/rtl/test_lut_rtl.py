"""The bit-serial blocks against plain products of integers: every sum to the bit, in exactly the simulator's cycle."""

import numpy as np
import pytest

pytest.importorskip("amaranth")

from bit_serial_reference import finished, pairs, plane_words, port_words, random_tile, steps

from silicut.accelerators.gemm import rtl  # noqa: F401
from silicut.accelerators.gemm.config import LutCore
from silicut.accelerators.gemm.rtl.common_ones import CommonOnes, count_latency_cycles
from silicut.accelerators.gemm.rtl.lut_array import LutArray
from silicut.accelerators.gemm.rtl.plane_walk import PlaneWalk
from silicut.accelerators.gemm.rtl.sum_choice import READ_LATENCY_CYCLES
from silicut.hardware.rtl import SideBySide, compile_model

pytestmark = pytest.mark.needs_rtl

WORD_BITS = (32, 96, 256)
MEMORY_CYCLES = 3
ARRAYS = {
    "small": (LutCore(n_rows=2, n_columns=3, word_bits=32, n_accumulator_banks=2), 2),
    "wide": (LutCore(n_rows=1, n_columns=4, word_bits=128, n_accumulator_banks=3), 4),
}


@pytest.fixture(scope="module")
def model(rtl_cache):
    parts = {f"ones{bits}": CommonOnes(LutCore(word_bits=bits)) for bits in WORD_BITS}
    parts |= {name: LutArray(core, n_lanes) for name, (core, n_lanes) in ARRAYS.items()}
    return compile_model(SideBySide({**parts, "walk": PlaneWalk()}), folder=rtl_cache)


# Counts.


@pytest.mark.parametrize("word_bits", WORD_BITS)
def test_counts_of_common_ones(model, word_bits):
    rng = np.random.default_rng(word_bits)
    left, right = rng.integers(0, 2, (2, 300, word_bits))
    density = np.linspace(0, 1, 300)[:, None]
    left[100:] |= rng.random((200, word_bits)) < density[100:]
    left[-5:], right[-5:] = 1, 1
    name, core = f"ones{word_bits}", LutCore(word_bits=word_bits)
    seen = model.simulate().run(
        {f"{name}__left": port_words(left), f"{name}__right": port_words(right)}, [f"{name}__count"]
    )[f"{name}__count"]
    n = count_latency_cycles(core)
    assert n == core.latency_cycles - 4
    np.testing.assert_array_equal(seen[n:], (left & right).sum(axis=1)[:-n])
    assert seen[-1] in range(word_bits + 1)


# The walk.


def walk_stimuli(rng, tiles, gaps):
    """Return the stimuli of walks with some idle cycles before each, and what comes out: one row a cycle."""
    keys = ("n_words", "lhs_bits", "rhs_bits", "lhs_signed", "rhs_signed", "left_base", "right_base", "start")
    given, expected = [], []
    for tile, gap in zip(tiles, gaps, strict=True):
        bases = rng.integers(0, 2**15, 2)
        registers = [tile.n_words(32), *tile.bits, *map(int, tile.signed)]
        given += [[*(given[-1] if given else registers)[:5], 0, 0, 0]] * gap
        expected += [None] * gap
        given += [[*registers, *rng.integers(0, 2**15, 2), 1]] * tile.n_cycles(32)  # start is heeded only where it is ready
        given[-tile.n_cycles(32)] = [*registers, *bases, 1]
        for p, q, word, *flags in steps(tile, 32):
            at = (bases[0] + p * registers[0] + word) % 2**15, (bases[1] + q * registers[0] + word) % 2**15
            expected.append([*at, *map(int, flags)])
    given += [[*given[-1][:-1], 0]] * 3
    return dict(zip(keys, np.array(given).T, strict=True)), expected


def formats_of(stimuli):
    """Return the registers as the port has them: one number a cycle."""
    widths = {"n_words": 14, "lhs_bits": 4, "rhs_bits": 4, "lhs_signed": 1, "rhs_signed": 1}
    packed, low = 0, 0
    for name, bits in widths.items():
        packed, low = packed + (stimuli.pop(name) << low), low + bits
    return {f"walk__{name}": values for name, values in {**stimuli, "format": packed}.items()}


@pytest.mark.parametrize("seed", range(3))
def test_walks_visit_every_pair_of_planes_back_to_back(model, seed):
    rng = np.random.default_rng(seed)
    formats = [random_tile(rng, (1, 1), 32) for _ in range(30)]
    formats += [
        random_tile(rng, (1, 1), 32, bits=bits, n_words=n) for bits in ((1, 1), (8, 8), (1, 8), (8, 1)) for n in (1, 2)
    ]
    n_each = rng.integers(1, 4, len(formats))
    tiles = [tile for tile, n in zip(formats, n_each, strict=True) for _ in range(n)]
    gaps = rng.integers(0, 3, len(tiles)) * (rng.random(len(tiles)) < 0.3)
    gaps[np.cumsum(n_each)[:-1]] += 1  # registers change only between walks
    stimuli, expected = walk_stimuli(rng, tiles, gaps)
    outputs = [f"walk__{name}" for name in ("is_valid", "left_address", "right_address", "add", "is_last", "is_ready")]
    seen = list(model.simulate().run(formats_of(stimuli), outputs).values())
    is_valid, left, right, add, is_last, is_ready = seen
    # A tile that is started in cycle s has its first word in s + 1 and its address in s + 2.
    for cycle, row in enumerate(expected):
        assert is_valid[cycle + 2] == (row is not None)
        if row is not None:
            flags = [add[cycle + 2] >> i & 1 for i in range(3)]
            assert [left[cycle + 2], right[cycle + 2], *flags, is_last[cycle + 2]] == row
    starts = np.flatnonzero([row is not None and row[2] == 1 for row in expected])
    assert is_ready[starts].all()
    assert not is_valid[len(expected) + 2 :].any()


def test_the_reference_visits_all_pairs_from_the_top_down():
    assert pairs(3, 2) == [(2, 1), (1, 1), (2, 0), (0, 1), (1, 0), (0, 0)]


# The array.


def array_stimuli(core, tiles, n_lanes):
    """Return stimuli of tiles, and the cycle in which the reading of each may begin.

    A tile that ends at cycle e (its last word is executed in e - 1) is read from e + core.latency_cycles on; the one
    n_accumulator_banks behind it is executed when it has been read.
    """
    n_groups = -(-core.n_columns // n_lanes)
    n_reads, rows, reads, bank, n_stored = core.n_rows * n_groups, {}, [], 0, 0
    end, read_ends = 0, []
    for number, tile in enumerate(tiles):
        start, is_part = end, number + 1 < len(tiles) and tiles[number + 1].adds
        if n_stored >= core.n_accumulator_banks and not tile.adds:
            start = max(end, read_ends[n_stored - core.n_accumulator_banks])
        for i, (p, q, word, *flags) in enumerate(steps(tile, core.word_bits)):
            left, right = (plane_words(x, n, word, core.word_bits) for x, n in ((tile.left, p), (tile.right, q)))
            add = sum(flag << n for n, flag in enumerate(flags[:3]))
            rows[start + i + MEMORY_CYCLES] = (left, right, add, int(flags[3]) | tile.adds << 1 | bank << 2)
        end = start + tile.n_cycles(core.word_bits)
        if not is_part:
            first = max(end + core.latency_cycles, read_ends[-1] if read_ends else 0)
            reads.append((number, bank, first))
            read_ends.append(first + n_reads)
            bank, n_stored = (bank + 1) % core.n_accumulator_banks, n_stored + 1
    return rows, reads, read_ends[-1]


def run_array(model, name, tiles, seed=0):
    """Return the sums that are read of each tile, array (tiles, rows, columns)."""
    core, n_lanes = ARRAYS[name]
    rows, reads, end = array_stimuli(core, tiles, n_lanes)
    n_cycles, n_groups = end + READ_LATENCY_CYCLES + 1, -(-core.n_columns // n_lanes)
    rng, axes = np.random.default_rng(seed), () if core.word_bits <= 64 else (core.word_bits // 64,)
    high = 2 ** min(64, core.word_bits)
    left = rng.integers(0, high, (n_cycles, core.n_rows, *axes), np.uint64)
    right = rng.integers(0, high, (n_cycles, core.n_columns, *axes), np.uint64)
    add, store, read = rng.integers(0, 8, n_cycles), np.zeros(n_cycles, np.int64), np.zeros(n_cycles, np.int64)
    for cycle, row in rows.items():
        left[cycle], right[cycle], add[cycle], store[cycle] = row
    places = {}
    bank_bits, row_bits = (core.n_accumulator_banks - 1).bit_length(), (core.n_rows - 1).bit_length()
    for number, bank, first in reads:
        for i, (r, g) in enumerate((r, g) for r in range(core.n_rows) for g in range(n_groups)):
            read[first + i] = bank | r << bank_bits | g << bank_bits + row_bits
            places[first + i + READ_LATENCY_CYCLES] = (number, r, g)
    stimuli = {"left": left, "right": right, "add": add, "store": store, "read": read}
    seen = model.simulate().run({f"{name}__{port}": x for port, x in stimuli.items()}, [f"{name}__sums"])[f"{name}__sums"]
    sums = {number: np.zeros((core.n_rows, n_groups * n_lanes), np.int64) for number, _, _ in reads}
    for cycle, (number, r, g) in places.items():
        sums[number][r, g * n_lanes : (g + 1) * n_lanes] = seen[cycle]
    for read_sums in sums.values():
        assert not read_sums[:, core.n_columns :].any()
    return {number: read_sums[:, : core.n_columns] for number, read_sums in sums.items()}


def check_array(model, name, tiles, seed=0):
    expected = finished(tiles)
    seen = run_array(model, name, tiles, seed)
    assert seen
    for number, sums in seen.items():
        np.testing.assert_array_equal(sums, expected[number])


def shape_of(name):
    return ARRAYS[name][0].n_rows, ARRAYS[name][0].n_columns


@pytest.mark.parametrize("signed", [(False, False), (False, True), (True, False), (True, True)])
def test_products_of_all_widths(model, signed):
    rng = np.random.default_rng(sum(signed))
    widths = [(a, w) for a in range(1, 9) for w in range(1, 9)]
    check_array(model, "small", [random_tile(rng, (2, 3), 32, bits=bits, signed=signed, n_words=1) for bits in widths])


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("seed", range(3))
def test_random_tiles_back_to_back(model, name, seed):
    rng, word_bits = np.random.default_rng(seed), ARRAYS[name][0].word_bits
    tiles = [random_tile(rng, shape_of(name), word_bits, extreme=rng.random() < 0.1) for _ in range(30)]
    tiles += [random_tile(rng, shape_of(name), word_bits, bits=(1, 1), n_words=1) for _ in range(10)]
    check_array(model, name, tiles, seed)


@pytest.mark.parametrize("name", ARRAYS)
def test_sums_in_parts(model, name):
    rng, word_bits = np.random.default_rng(5), ARRAYS[name][0].word_bits
    adds = rng.random(40) < 0.6
    tiles = [random_tile(rng, shape_of(name), word_bits, adds=bool(i and adds[i])) for i in range(40)]
    check_array(model, name, tiles)


def test_sums_wrap_at_32_bits(model):
    rng = np.random.default_rng(0)
    options = {"bits": (8, 8), "signed": (False, False), "n_words": 40, "extreme": True}
    tiles = [random_tile(rng, (2, 3), 32, **options, adds=i > 0) for i in range(26)]
    assert finished(tiles)[-1][0, 0] == 26 * 40 * 32 * 255**2 - 2**32
    check_array(model, "small", tiles)


def test_a_reset_in_mid_flight_leaves_no_trace(model):
    rng, core = np.random.default_rng(2), ARRAYS["small"][0]
    tile = random_tile(rng, (2, 3), 32, bits=(3, 3), n_words=2)
    simulation = model.simulate()
    stale = {"left": rng.integers(0, 2**32, (9, 2)), "right": rng.integers(0, 2**32, (9, 3)), "store": np.full(9, 1)}
    simulation.run({f"small__{port}": values for port, values in stale.items()}, [])
    simulation.poke("small__store", 0)
    simulation.reset()
    before = [simulation.run({"small__read": [0]}, ["small__sums"]) and simulation.peek("small__sums") for _ in range(20)]
    assert all((sums == before[3]).all() for sums in before[3:])  # nothing is stored any more
    rows, ((_, _, first),), _ = array_stimuli(core, [tile], 2)
    for cycle in range(first + READ_LATENCY_CYCLES):
        row = rows.get(cycle, (np.zeros(2), np.zeros(3), 0, 0))
        for port, value in zip(("left", "right", "add", "store"), row, strict=True):
            simulation.poke(f"small__{port}", np.asarray(value).astype(np.uint64))
        simulation.poke("small__read", 0)
        simulation.step()
    assert simulation.peek("small__sums").tolist() == finished([tile])[0][0, :2].tolist()
