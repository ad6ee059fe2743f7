"""The model of a memory: data, latency, bandwidth, pauses, stalls, and the rules of its port."""

import numpy as np
import pytest

pytest.importorskip("amaranth")

from sample_components import Copier

from silicut.hardware import MemoryClock
from silicut.hardware.rtl import MemoryTiming, SideBySide, Stalls, compile_model
from silicut.records import NumericMismatch

pytestmark = pytest.mark.needs_rtl

N_BEATS = 4
BITS = {"copier": 64, "wide": 128, "moving": 64, "endless": 64}


@pytest.fixture(scope="module")
def model(rtl_cache):
    parts = {"copier": Copier(64, N_BEATS), "wide": Copier(128, N_BEATS)}
    parts |= {"moving": Copier(64, N_BEATS, breaks="stays"), "endless": Copier(64, N_BEATS, breaks="last")}
    return compile_model(SideBySide(parts), folder=rtl_cache)


def copied(model, name, timing, *, n_bursts=20, source=0, target=2048, n_cycles=4000, seed=0):
    """Return words before and after a copy, and the memory."""
    before = np.random.default_rng(seed).integers(0, 2**63, 512, np.uint64)
    simulation = model.simulate()
    memory = simulation.memory(f"{name}__port", before.copy(), timing)
    for port, value in {"source": source, "target": target, "n_bursts": n_bursts}.items():
        simulation.poke(f"{name}__{port}", value)
    simulation.step(n_cycles)
    assert simulation.peek(f"{name}__n_done") == n_bursts
    return before, memory


def expected(before, name, n_bursts, target=2048):
    words, per_beat = before.copy(), BITS[name] // 64
    n = n_bursts * N_BEATS * per_beat
    seen = words[:n].copy()
    seen[::per_beat] += np.uint64(1)
    words[target // 8 : target // 8 + n] = seen
    return words


@pytest.mark.parametrize("name", ["copier", "wide"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stall_frac", [0.0, 0.4, 0.8])
def test_data_are_right_under_all_stalls(model, name, stall_frac, seed):
    stalls = [Stalls.random(stall_frac, 2 * seed + i) for i in range(2)]
    timing = MemoryTiming(7, 10, 3, *stalls)
    n_bursts = 20 if name == "copier" else 12
    before, memory = copied(model, name, timing, n_bursts=n_bursts, seed=seed)
    memory.check()
    np.testing.assert_array_equal(memory.words, expected(before, name, n_bursts))
    assert memory.n_exchanged == 2 * n_bursts * N_BEATS


@pytest.mark.parametrize("latency_cycles", [1, 5, 40])
def test_the_first_beat_comes_after_the_latency(model, latency_cycles):
    _, memory = copied(model, "copier", MemoryTiming(latency_cycles), n_bursts=1)
    assert memory.cycles[:N_BEATS].tolist() == [latency_cycles + i for i in range(N_BEATS)]


@pytest.mark.parametrize(("every", "pause"), [(3, 2), (5, 7)])
def test_pauses_are_those_of_the_clock_of_memories(model, every, pause):
    _, memory = copied(model, "copier", MemoryTiming(1, every, pause, address_stalls=Stalls.bursts(2, 60)), n_bursts=2)
    clock = MemoryClock(every, pause)
    starts = np.cumsum([1, *(clock.cycles(1) for _ in range(N_BEATS - 1))])  # nothing else moves in the first burst
    assert memory.cycles[:N_BEATS].tolist() == starts.tolist()


def test_a_beat_moves_in_a_cycle_whatever_the_direction(model):
    _, memory = copied(model, "copier", MemoryTiming(1), n_bursts=20)
    cycles = memory.cycles.astype(int)
    n = np.arange(len(cycles))
    assert (n[:, None] - n <= cycles[:, None] - cycles + 1)[n[:, None] >= n].all()
    assert cycles[-1] < 1.3 * 2 * 20 * N_BEATS


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("moving", {"timing": MemoryTiming(address_stalls=Stalls.bursts(1, 3))}),
        ("endless", {}),
    ],
)
def test_masters_that_break_the_rules_are_noticed(model, name, options):
    simulation = model.simulate()
    memory = simulation.memory(f"{name}__port", np.zeros(512, np.uint64), **options)
    simulation.poke(f"{name}__n_bursts", 3)
    simulation.step(200)
    with pytest.raises(
        NumericMismatch, match=r"^the master of a memory must keep the rules of its port, not break them in cycle \d+$"
    ):
        memory.check()


@pytest.mark.parametrize("source", [4, 4096 - 16, 65528])
def test_bursts_off_the_beats_across_pages_or_outside_are_noticed(model, source):
    simulation = model.simulate()
    memory = simulation.memory("copier__port", np.zeros(1024, np.uint64))
    simulation.poke("copier__source", source)
    simulation.poke("copier__n_bursts", 1)
    simulation.step(50)
    with pytest.raises(NumericMismatch, match=r"break them in cycle 1$"):
        memory.check()


def test_words_must_be_whole_beats(model):
    simulation = model.simulate()
    for words in (np.zeros(3, np.uint64), np.zeros(4), np.zeros(8, np.uint64)[::2]):
        with pytest.raises(ValueError, match=r"^words must be a contiguous array of uint64, a multiple of 2$"):
            simulation.memory("wide__port", words)
