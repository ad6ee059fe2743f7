"""Runs on the simulated accelerator: the summary adds up, agrees with the simulator, and outputs are the reference's."""

import itertools

import numpy as np
import pytest
from integer_networks import images, residual

import silicut
from silicut.accelerators.gemm.program.files import save_program
from silicut.accelerators.gemm.simulate import simulate as simulate_program
from silicut.flows.executors import executor
from silicut.flows.simulate import Circumstances, opened
from silicut.flows.simulator import Simulator
from silicut.numerics import QuantisedNetwork, dequantise, run_integer
from silicut.records import BadFile, ConfigError, OutputExists, load_tensors
from silicut.report.simulation import STAGES, SimulationSummary
from silicut.targets.parts import device_table

N = 3


@pytest.fixture(scope="module")
def compiled():
    return silicut.compile_program(residual(), "tiny", silicut.CompileOptions(allows_host=True))


@pytest.fixture(scope="module")
def integers():
    return next(iter(images(residual(), N).values()))


@pytest.fixture(scope="module")
def run(compiled, integers):
    return silicut.simulate(compiled, integers, labels=[0] * N)


def test_outputs_are_those_of_the_reference(run, compiled, integers):
    (name,) = compiled.network.network.inputs
    wanted = run_integer(compiled.network.network, {name: integers})
    assert list(run.outputs) == list(compiled.program.outputs)
    for tensor, found in run.outputs.items():
        np.testing.assert_array_equal(found.reshape(wanted[tensor].shape), wanted[tensor])
    scores = next(iter(run.outputs.values())).reshape(N, -1)
    assert run.summary.n_images == N
    assert run.summary.n_correct == int((scores.argmax(1) == 0).sum())


def test_floats_are_quantised_as_everywhere(run, compiled, integers):
    reals = dequantise(integers, compiled.network.inputs[0]).astype(np.float32)
    found = silicut.simulate(compiled, reals)
    for name, values in run.outputs.items():
        np.testing.assert_array_equal(found.outputs[name], values)
    assert found.summary.n_correct is None


def test_cycles_are_the_same_without_data(run, compiled):
    alone = silicut.simulate(compiled)
    assert (alone.summary.n_images, alone.outputs, alone.summary.occupancy) == (0, {}, {})
    assert alone.summary.cycles == run.summary.cycles
    assert alone.summary.layers == run.summary.layers
    assert alone.summary.spans == run.summary.spans


def test_the_summary_agrees_with_the_simulator(run, compiled):
    direct, summary = simulate_program(compiled.program), run.summary
    assert summary.cycles == direct.cycles
    assert summary.n_bytes == sum(direct.traffic.values())
    for layer, use in zip(summary.layers, direct.layers, strict=True):
        assert (layer.name, layer.start, layer.end, layer.busy) == (use.name, use.start, use.end, use.busy)
        assert layer.bound == use.bound
    for stage in summary.stages:
        assert stage.run + sum(stage.receive.values()) + stage.idle == summary.cycles, stage.name


def test_what_layers_add_is_the_whole_run(run):
    layers = run.summary.layers
    assert sum(layer.added for layer in layers) == run.summary.cycles
    assert all(layer.added >= 0 for layer in layers)
    for layer in layers:
        used = layer.utilisation_frac
        assert (used is None) == (layer.n_macs == 0)
        assert used is None or 0 < used <= 1, layer.name


def test_no_layer_is_above_its_roofs(run):
    for layer in run.summary.layers:
        if layer.n_macs:
            attained = 2 * layer.n_macs / layer.occupied_cycles
            assert attained <= layer.peak_ops
            assert attained <= layer.ops_per_byte * run.summary.bytes_per_cycle


def test_spans_of_a_stage_lie_one_behind_the_other_and_hold_its_work(run):
    for stage in STAGES:
        spans = [span for span in run.summary.spans if span.stage == stage]
        for before, after in itertools.pairwise(spans):
            assert before.start <= after.start
        for span in spans:
            assert 0 <= span.start < span.end <= run.summary.cycles
            assert 0 < span.busy <= span.end - span.start
        use = next(use for use in run.summary.stages if use.name == stage)
        assert sum(span.busy for span in spans) <= use.run


def test_another_clock_changes_milliseconds_alone(run, compiled):
    fast = silicut.simulate(compiled, circumstances=Circumstances(clock_mhz=250)).summary
    assert fast.cycles == run.summary.cycles
    assert fast.total_ms == pytest.approx(fast.cycles / 250e3)
    assert fast.hashes == run.summary.hashes
    with pytest.raises(ConfigError, match="clock must be above 0 MHz and finite, not 0"):
        Circumstances(clock_mhz=0)


def test_resources_are_set_against_the_part(run, compiled):
    small, large = (
        silicut.simulate(compiled, circumstances=Circumstances(part=device_table().part(name))).summary
        for name in ("xc7z020", "xc7z045")
    )
    assert small.total("n_dsps") == large.total("n_dsps") > 0
    assert large.exceeded == ()
    assert small.part.n_luts < large.part.n_luts


def test_a_program_file_alone_runs_on_integers(compiled, integers, tmp_path, run):
    path = save_program(compiled.program, tmp_path / "alone.gemm")
    found = silicut.simulate(path, integers)
    for name, values in run.outputs.items():
        np.testing.assert_array_equal(found.outputs[name], values)
    assert {layer.kind for layer in found.summary.layers} == {""}
    assert found.summary.cycles == run.summary.cycles
    with pytest.raises(ConfigError, match="images must be integers for a program file alone"):
        silicut.simulate(path, np.zeros((1, 3, 12, 12), np.float32))


def test_images_that_do_not_fit_are_refused(compiled):
    program = opened(compiled)
    for wrong, sentence in (
        (np.zeros((1, 3, 8, 8), np.float32), r"images must have shape \(n, 3, 12, 12\), not \(1, 3, 8, 8\)"),
        (np.zeros((0, 3, 12, 12), np.float32), r"images must have shape \(n, 3, 12, 12\), not \(0, 3, 12, 12\)"),
        (np.zeros((3, 12, 12), np.float32), r"images must have shape \(n, 3, 12, 12\), not \(3, 12, 12\)"),
        (np.full((1, 3, 12, 12), 300), "images must hold uint8"),
        (np.full((1, 3, 12, 12), np.nan, np.float32), "images must be finite"),
        (np.zeros((1, 3, 12, 12), bool), "images"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            program.integers(wrong)
    with pytest.raises(ConfigError, match="labels must come with images"):
        silicut.simulate(compiled, labels=[1])
    with pytest.raises(ConfigError, match="labels must be one for each of 1 images"):
        silicut.simulate(compiled, program.random(1, 0), labels=[1, 2])


def test_random_images_are_the_same_for_a_seed(compiled):
    program = opened(compiled)
    np.testing.assert_array_equal(program.random(2, 5), program.random(2, 5))
    assert (program.random(1, 5) != program.random(1, 6)).any()
    assert program.random(1, 0).max() == program.program.places["x"].number_format.max


@pytest.mark.parametrize("with_data", [True, False])
def test_a_folder_holds_what_was_found(run, compiled, tmp_path, with_data):
    pytest.importorskip("jinja2")
    found = run if with_data else silicut.simulate(compiled)
    folder = found.save(tmp_path / "run")
    files = {path.name for path in folder.iterdir()}
    assert files == {"summary.json", "report.html"} | ({"outputs.safetensors"} if with_data else set())
    assert SimulationSummary.load(folder / "summary.json") == found.summary
    if with_data:
        back = load_tensors(folder / "outputs.safetensors")
        assert all(np.array_equal(back[name], values) for name, values in run.outputs.items())
    with pytest.raises(OutputExists):
        found.save(folder)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(BadFile, match="is no folder of silicut compile"):
        silicut.simulate(tmp_path)


# The simulator as a party of comparisons.


def test_the_simulator_is_equal_to_the_reference_layer_by_layer(compiled, integers):
    found = silicut.compare(residual(), compiled, integers)
    assert found.first is None
    assert {each.tensor for each in found.integers} == compiled.program.places.keys()
    assert (found.a, found.b) == ("reference", "simulator")


def test_a_planted_fault_is_found_in_its_layer(compiled, integers):
    wrong = residual()
    wrong.network.parameters["conv1.weight"].flat[7] ^= 4
    found = silicut.compare(executor(wrong, "reference"), compiled, integers)
    assert found.first is not None
    assert (found.first.tensor, found.first.operator) == ("a", "conv1.step (requantise)")
    right, other = (run_integer(each.network, {"x": integers})["a"] for each in (residual(), wrong))
    assert found.first.index == tuple(np.argwhere(right != other)[0])
    assert (found.first.a, found.first.b) == (other[found.first.index], right[found.first.index])


def test_executors_of_compiled_and_integer_networks(compiled):
    assert isinstance(executor(compiled), Simulator)
    assert executor(compiled, "reference").name == "reference"
    by_default = executor(residual(), "simulator")
    assert isinstance(by_default, Simulator)
    assert by_default.input_shape == (3, 12, 12)
    with pytest.raises(ConfigError, match="executor must be one of reference, pytorch"):
        executor(compiled, "rtl")
    assert isinstance(compiled.network, QuantisedNetwork)
