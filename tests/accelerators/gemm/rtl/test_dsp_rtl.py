"""DSP slices against exhaustive products, the array against plain matrix products, in exactly the simulator's cycle."""

import re

import numpy as np
import pytest

pytest.importorskip("amaranth")

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.config import DspCore
from silicut.accelerators.gemm.rtl.dsp_array import DspArray
from silicut.accelerators.gemm.rtl.dsp_operands import narrow_operand, wide_operand
from silicut.accelerators.gemm.rtl.dsp_slice import SLICE_CYCLES, DspSlice
from silicut.accelerators.gemm.rtl.quad_slice import QuadSlice
from silicut.accelerators.gemm.rtl.sum_choice import READ_LATENCY_CYCLES
from silicut.hardware.rtl import SideBySide, compile_model, rtlil_text
from silicut.numerics import DSP_PACKINGS
from silicut.records import ConfigError

pytestmark = pytest.mark.needs_rtl

QUADS = ("int4_quad_e1", "int4_quad_e2")
ARRAYS = {
    "single": (DspCore(n_rows=2, n_inputs=4, n_outputs=6, n_passes=2, n_accumulator_banks=3), 4),
    "pairs": (DspCore(n_rows=1, n_inputs=3, n_outputs=8, n_passes=4, n_accumulator_banks=2, macs_per_slice_8bit=2), 3),
    "alone": (DspCore(n_rows=1, n_inputs=1, n_outputs=2, n_passes=1, n_accumulator_banks=2), 2),
}
MEMORY_CYCLES = 3


class PackedSlice(wiring.Component):
    """A slice with the packing of its operands, for one filter or two."""

    def __init__(self, n_filters):
        self._n_filters = n_filters
        ports = {"weights": In(data.ArrayLayout(8, n_filters)), "activation": In(8), "is_4bit": In(1)}
        super().__init__({**ports, "late_4bit": In(1), "sums": Out(data.ArrayLayout(data.ArrayLayout(1, 16), n_filters))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.slice = slice = DspSlice(has_low_field=self._n_filters == 2)
        weights = [self.weights[i] for i in range(self._n_filters)]
        m.d.comb += [
            slice.wide.eq(wide_operand(weights, self.is_4bit)),
            slice.narrow.eq(narrow_operand(self.activation, self.is_4bit)),
            slice.is_4bit.eq(self.late_4bit),
        ]
        fields = [slice.low, slice.main] if self._n_filters == 2 else [slice.main]
        m.d.comb += [self.sums[i].eq(field) for i, field in enumerate(fields)]
        return m


@pytest.fixture(scope="module")
def model(rtl_cache):
    parts = {"one": PackedSlice(1), "two": PackedSlice(2)}
    parts |= {name: QuadSlice(DSP_PACKINGS[name]) for name in QUADS}
    parts |= {name: DspArray(core, n_lanes) for name, (core, n_lanes) in ARRAYS.items()}
    return compile_model(SideBySide(parts), folder=rtl_cache)


# Slices.


def slice_sums(model, name, weights, activations, is_4bit):
    """Return the fields of a slice, array (n, filters), for bytes; is_4bit may change with every product."""
    tail = SLICE_CYCLES
    modes = np.concatenate([is_4bit, np.zeros(tail, np.int64)])
    stimuli = {
        "weights": np.concatenate([weights & 255, np.zeros((tail, weights.shape[1]), np.int64)]),
        "activation": np.concatenate([activations & 255, np.zeros(tail, np.int64)]),
        "is_4bit": modes,
        "late_4bit": np.concatenate([np.zeros(3, np.int64), modes[:-3]]),
    }
    seen = model.simulate().run({f"{name}__{port}": x for port, x in stimuli.items()}, [f"{name}__sums"])[f"{name}__sums"]
    numbers = (seen << np.arange(16)).sum(axis=-1)
    return ((numbers ^ 0x8000) - 0x8000)[tail:]


def int4(nibbles):
    return (nibbles ^ 8) - 8


def test_all_products_of_int8(model):
    weights, activations = (x.reshape(-1) for x in np.mgrid[-128:128, -128:128])
    seen = slice_sums(model, "one", weights[:, None], activations, np.zeros(len(weights), np.int64))
    np.testing.assert_array_equal(seen[:, 0], weights * activations)


def test_pairs_of_products_of_int8(model):
    rng = np.random.default_rng(0)
    weights, activations = rng.integers(-128, 128, (60000, 2)), rng.integers(-128, 128, 60000)
    ends = np.array(np.meshgrid(*[[-128, -127, -1, 0, 1, 127]] * 3)).reshape(3, -1)
    weights, activations = np.concatenate([weights, ends[:2].T]), np.concatenate([activations, ends[2]])
    seen = slice_sums(model, "two", weights, activations, np.zeros(len(weights), np.int64))
    np.testing.assert_array_equal(seen, weights * activations[:, None])


@pytest.mark.parametrize("name", ["one", "two"])
def test_all_dot_products_of_two_int4(model, name):
    weights, activations = (x.reshape(-1) for x in np.mgrid[0:256, 0:256])
    expected = int4(weights & 15) * (activations & 15) + int4(weights >> 4) * (activations >> 4)
    bytes_ = np.stack([weights, *[np.roll(weights, 7)] * (name == "two")], axis=1)  # the second filter is not looked at
    seen = slice_sums(model, name, bytes_, activations, np.ones(len(weights), np.int64))
    np.testing.assert_array_equal(seen[:, -1], expected)


def test_modes_may_change_with_every_product(model):
    rng = np.random.default_rng(1)
    weights, activations, is_4bit = rng.integers(0, 256, (5000, 1)), rng.integers(0, 256, 5000), rng.integers(0, 2, 5000)
    low, high = (int4(weights[:, 0] & 15) * (activations & 15), int4(weights[:, 0] >> 4) * (activations >> 4))
    whole = ((weights[:, 0] ^ 128) - 128) * ((activations ^ 128) - 128)
    seen = slice_sums(model, "one", weights, activations, is_4bit)
    np.testing.assert_array_equal(seen[:, 0], np.where(is_4bit, low + high, whole))


@pytest.mark.parametrize("name", QUADS)
def test_all_quads_of_int4(model, name):
    low = -7 if name == "int4_quad_e1" else -8
    axis = np.arange(low, 8)
    weights = np.array(np.meshgrid(*[axis] * 4)).reshape(4, -1).T
    rng = np.random.default_rng(2)
    activations = rng.integers(0, 16, len(weights))
    weights, activations = np.tile(weights, (2, 1)), np.concatenate([activations, 15 - activations])
    tail = np.zeros((SLICE_CYCLES, 4), np.int64)
    stimuli = {"weights": np.concatenate([weights, tail]), "activation": np.concatenate([activations, tail[:, 0]])}
    seen = model.simulate().run({f"{name}__{port}": x for port, x in stimuli.items()}, [f"{name}__products"])
    np.testing.assert_array_equal(seen[f"{name}__products"][SLICE_CYCLES:], weights * activations[:, None])


# The array.


def bytes_of(numbers, bits):
    """Return rows of elements, array (..., n), as bytes, two elements of 4 bits in each."""
    if bits == 8:
        return numbers & 255
    return (numbers[..., ::2] & 15) | (numbers[..., 1::2] & 15) << 4


class Tile:
    """A product of some rows by all filters: random numbers, or the ends of their ranges."""

    def __init__(self, rng, core, *, bits=None, n_words=None, adds=False):
        self.core, self.bits = core, bits or int(rng.choice([4, 8]))
        self.n_words, self.adds = n_words or int(rng.integers(1, 6)), adds
        k = self.n_words * core.n_word_inputs(self.bits)
        left, right = ((0, 16), (-8, 8)) if self.bits == 4 else ((-128, 128), (-128, 128))
        is_extreme = rng.random() < 0.2
        low = rng.integers(*left, (core.n_rows, k))
        self.left = np.where(low > sum(left) // 2, left[1] - 1, left[0]) if is_extreme else low
        self.right = np.full((core.n_outputs, k), right[0]) if is_extreme else rng.integers(*right, (core.n_outputs, k))

    @property
    def n_turns(self):
        return self.core.n_tile_cycles(self.bits)

    def words(self):
        """Yield left and right bytes, turn, and whether a word is the first, for each cycle."""
        core = self.core
        per_word = core.n_word_inputs(self.bits)
        left = bytes_of(self.left, self.bits).reshape(core.n_rows, self.n_words, core.n_inputs)
        right = bytes_of(self.right, self.bits).reshape(core.n_passes, core.n_columns, self.n_words, core.n_inputs)
        assert self.left.shape[1] == per_word * self.n_words
        n_slots = core.macs_per_slice_8bit
        for word in range(self.n_words):
            for turn in range(self.n_turns):
                passes = [2 * turn, 2 * turn + 1] if self.n_turns < core.n_passes else [turn] * n_slots
                yield left[:, word], right[passes, :, word].transpose(1, 0, 2), turn, word == 0


def run_array(model, name, tiles):
    """Return the sums of each tile that is complete, read as early as the simulator reads them."""
    core, n_lanes = ARRAYS[name]
    n_groups = -(-core.n_outputs // n_lanes)
    n_reads, rows, places, end, bank, read_ends = core.n_rows * n_groups, {}, {}, 0, 0, []
    sums = {}
    for number, tile in enumerate(tiles):
        if not tile.adds and len(read_ends) >= core.n_accumulator_banks:
            end = max(end, read_ends[-core.n_accumulator_banks])
        for i, (left, right, turn, is_first) in enumerate(tile.words()):
            rows[end + i + MEMORY_CYCLES] = (left, right, turn, not is_first or tile.adds, bank, tile.bits == 4)
        end += tile.n_words * tile.n_turns
        if number + 1 < len(tiles) and tiles[number + 1].adds:
            continue
        first = max(end + core.latency_cycles, read_ends[-1] if read_ends else 0)
        read_ends.append(first + n_reads)
        places |= {first + i: (number, bank, *divmod(i, n_groups)) for i in range(n_reads)}
        sums[number] = np.zeros((core.n_rows, n_groups * n_lanes), np.int64)
        bank = (bank + 1) % core.n_accumulator_banks
    n_cycles = read_ends[-1] + READ_LATENCY_CYCLES + 1
    rng = np.random.default_rng(9)
    left = rng.integers(0, 256, (n_cycles, core.n_rows, core.n_inputs))
    right = rng.integers(0, 256, (n_cycles, core.n_columns, core.macs_per_slice_8bit, core.n_inputs))
    step, is_4bit, read = (np.zeros(n_cycles, np.int64) for _ in range(3))
    turn_bits, bank_bits, row_bits = ((n - 1).bit_length() for n in (core.n_passes, core.n_accumulator_banks, core.n_rows))
    for cycle, (x, w, turn, adds, bank, mode) in rows.items():
        left[cycle], right[cycle], is_4bit[cycle] = x, w, mode
        step[cycle] = turn | (1 | adds << 1 | bank << 2) << turn_bits
    for cycle, (_, bank, r, g) in places.items():
        read[cycle] = bank | r << bank_bits | g << bank_bits + row_bits
    stimuli = {"left": left, "right": right, "is_4bit": is_4bit, "step": step, "read": read}
    seen = model.simulate().run({f"{name}__{port}": x for port, x in stimuli.items()}, [f"{name}__sums"])[f"{name}__sums"]
    for cycle, (number, _, r, g) in places.items():
        sums[number][r, g * n_lanes : (g + 1) * n_lanes] = seen[cycle + READ_LATENCY_CYCLES]
    assert all(not of_tile[:, core.n_outputs :].any() for of_tile in sums.values())
    return {number: of_tile[:, : core.n_outputs] for number, of_tile in sums.items()}


def check_array(model, name, tiles):
    seen, total = run_array(model, name, tiles), 0
    for number, tile in enumerate(tiles):
        product = tile.left @ tile.right.T
        total = (total + product if tile.adds else product).astype(np.int32).astype(np.int64)
        if number in seen:
            np.testing.assert_array_equal(seen[number], total)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("seed", range(3))
def test_random_tiles_back_to_back(model, name, seed):
    rng, core = np.random.default_rng(seed), ARRAYS[name][0]
    check_array(model, name, [Tile(rng, core) for _ in range(60)] + [Tile(rng, core, n_words=1) for _ in range(10)])


@pytest.mark.parametrize("name", ARRAYS)
def test_sums_in_parts(model, name):
    rng, core = np.random.default_rng(4), ARRAYS[name][0]
    bits = int(rng.choice([4, 8]))
    check_array(model, name, [Tile(rng, core, bits=bits, adds=i > 0 and rng.random() < 0.6) for i in range(40)])


def test_a_reset_in_mid_flight_stores_nothing(model):
    simulation, ports = model.simulate(), {"left": (2, 4), "right": (3, 1, 4)}
    stale = {f"single__{port}": np.full((7, *shape), 3) for port, shape in ports.items()}
    simulation.run({**stale, "single__step": np.full(7, 0b10)}, [])
    simulation.poke("single__step", 0)
    simulation.reset()
    before = simulation.run({"single__read": np.zeros(2, np.int64)}, ["single__sums"])["single__sums"][-1]
    simulation.step(20)
    assert (simulation.peek("single__sums") == before).all()


def test_four_products_a_slice_are_refused():
    message = "dsp.macs_per_slice_4bit must be 2 in hardware, not 4"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        rtlil_text(DspArray(DspCore(macs_per_slice_4bit=4), 8))
