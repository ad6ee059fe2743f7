"""The whole product on a network of three convolutions, in the order in which a user meets it."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tiny
import torch

import silicut
from silicut.graph.counting import n_macs
from silicut.numerics import dequantise, load_quantised, quantise, run_integer
from silicut.records import Cache, OutputExists
from silicut.training import evaluate, fit
from silicut.zoo import open_data

DENSE = silicut.Recipe(epochs=3, batch_size=32, learning_rate=0.1, precision="fp32")
RECOVERY = silicut.Recipe(epochs=1, batch_size=32, learning_rate=0.03, distil_weight=0.7, precision="fp32")
# A busy machine makes the measurement less sure; it must not make the test fail.
MEASURING = silicut.MeasureOptions(n_rounds=10, max_rounds=20, refuse_frac=10.0, refuse_bias_frac=10.0)
BUDGET_FRAC = 0.6


@pytest.mark.needs_ort
def test_from_a_trained_network_to_files_that_run(tmp_path):
    data = open_data(tiny.DATA)
    dense = trained(data)
    result = pruned_to_budget(dense, data, tmp_path)
    folder = result.save(tmp_path / "pruned")
    loaded_with_and_without_the_class(folder, result)
    applied_to_another_checkpoint(folder, result)
    run_by_the_engine(folder, result)
    quantised_to_integers(result, data, tmp_path)


def trained(data):
    """The user's part: a network that has learnt its task."""
    module = tiny.build()
    fit(module, data, DENSE)
    assert evaluate(module, data).accuracy_frac > 0.9
    return module


def pruned_to_budget(dense, data, tmp_path):
    """One call: profile, plan, apply, recalibrate, fine-tune, export, measure."""
    weights = {name: value.clone() for name, value in dense.state_dict().items()}
    options = silicut.PruneOptions(recipe=RECOVERY, measuring=MEASURING)
    result = silicut.prune(dense, tiny.example(), f"{BUDGET_FRAC:%}", data=data, options=options, cache=Cache(tmp_path))

    assert all(torch.equal(value, weights[name]) for name, value in dense.state_dict().items())
    assert 0 < result.outcome.measurement.timings["pruned"].ratio < 0.9
    assert result.outcome.limit_frac == pytest.approx(BUDGET_FRAC)
    assert result.plan.widths == result.outcome.levels
    assert sum(result.plan.widths.values()) < 64
    assert result.network.n_parameters() < result.dense.n_parameters()

    stages = {stage.name: stage for stage in result.stages}
    assert list(stages) == ["dense", "pruned", "batch norm recalibrated", "fine-tuned"]
    assert stages["dense"].n_correct == evaluate(dense, data).n_correct
    last = stages["fine-tuned"]
    assert last.n_correct == evaluate(result.module, data).n_correct
    assert last.score > stages["dense"].score - 0.1
    assert last.n_correct == stages["dense"].n_correct - last.n_lost + last.n_gained
    assert [epoch.epoch for epoch in result.epochs] == [1]
    assert result.agreement.is_close
    assert result.agreement.n_same_top1 == result.agreement.n == 64
    assert result.is_own_class
    assert type(result.module) is tiny.Tiny
    return result


def test_pruned_for_the_accelerator(tmp_path):
    """One call: pruned, rounded, compiled and simulated within a budget of cycles; widths and bits are one problem."""
    data, options = open_data(tiny.DATA), silicut.PruneOptions(recipe=RECOVERY, value_limit_s=0.0)
    target = silicut.GemmTarget.named("gemm@xc7z020", config="tiny", bits="joint")
    result = silicut.prune(trained(data), tiny.example(), "60%", target, data=data, options=options, folder=tmp_path / "run")

    ratio = result.measurement.timings["pruned"].ratio
    assert result.outcome.is_met
    assert 0 < ratio <= 0.6
    assert result.outcome.sentence.startswith(f"Budget met: simulated {100 * ratio:.1f} % of the dense latency")
    cycles = round(result.measurement.timings["pruned"].latency_ms * 1e-3 * target.config.clock_hz)
    assert cycles == result.simulation.cycles == silicut.simulate(tmp_path / "run" / "program").summary.cycles
    assert all(width % 8 == 0 for width in result.plan.widths.values())
    assert {str(result.deployed.plan.of(layer)) for layer in ("stem", "head")} == {"8/8"}

    stages = {stage.name: stage for stage in result.stages}
    assert stages["integer"].score > stages["dense"].score - 0.1
    compiled = silicut.load_compiled(tmp_path / "run" / "program")
    assert silicut.compare(load_quantised(tmp_path / "run" / "integer"), compiled, tiny.example()[:2].numpy()).first is None


def loaded_with_and_without_the_class(folder: Path, result) -> None:
    """The folder gives the network back, as the user's class or on its own."""
    own, alone = silicut.load(folder, build=tiny.build), silicut.load(folder)
    assert type(own) is tiny.Tiny
    assert type(alone) is not tiny.Tiny
    for module in (own, alone):
        assert all(torch.equal(value, result.module.state_dict()[name]) for name, value in module.state_dict().items())
        assert torch.allclose(output(module), output(result.module), atol=1e-5)
    assert not own.training
    assert not alone.training


def applied_to_another_checkpoint(folder: Path, result) -> None:
    """The plan cuts the same channels out of other weights of the same network."""
    with torch.random.fork_rng():
        torch.manual_seed(8)
        other = tiny.Tiny()
    cut = silicut.apply(folder / "plan.json", other, tiny.example())
    assert type(cut) is tiny.Tiny
    shapes = {name: tuple(value.shape) for name, value in result.module.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in cut.state_dict().items()} == shapes
    kept = list(result.plan.kept.get("stem", range(result.plan.widths["stem"])))
    assert torch.equal(cut.stem.weight, other.stem.weight[kept])


def run_by_the_engine(folder: Path, result) -> None:
    """The ONNX file computes what the module computes."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: tiny.example().numpy()})
    np.testing.assert_allclose(found, output(result.module).numpy(), atol=1e-4)


def quantised_to_integers(pruned, data, tmp_path: Path) -> None:
    """What was pruned becomes an integer network; PyTorch and the integer reference agree on it to the bit."""
    result = silicut.quantise(pruned.module, tiny.example(), "8/8", data=data)
    before, after = result.stages
    assert (before.name, before.n_correct) == ("float", evaluate(pruned.module, data).n_correct)
    assert after.n_correct == evaluate(result.module, data).n_correct
    assert after.score > before.score - 0.05
    assert result.network.network.parameters["stem.weight"].shape[0] == pruned.plan.widths["stem"]

    folder = result.save(tmp_path / "quantised")
    integer, module = load_quantised(folder), silicut.load(folder)
    (name,) = integer.network.inputs
    given = quantise(tiny.example().numpy(), integer.inputs[0])
    expected = run_integer(integer.network, {name: given})
    found = module.integers.run({name: torch.from_numpy(given)})
    assert all(np.array_equal(found[tensor].numpy(), values) for tensor, values in expected.items())
    real = dequantise(expected[integer.network.outputs[0]], integer.outputs[0])
    np.testing.assert_array_equal(output(module).numpy(), real)
    with pytest.raises(OutputExists):
        result.save(folder)
    compiled_and_simulated(folder, given, n_macs(result.dense), tmp_path)


def compiled_and_simulated(quantised: Path, images: np.ndarray, n_products: int, tmp_path: Path) -> None:
    """The integers run on the simulated accelerator: to the bit as the reference, filters divided as was asked."""
    for split in (None, {"stem": 8}):
        compiled = silicut.compile_program(quantised, "tiny", silicut.CompileOptions(split=split))
        found = silicut.compare(load_quantised(quantised), compiled, images[:2])
        assert found.first is None
        assert compiled.program.outputs[0] in {each.tensor for each in found.integers}
    assert compiled.record.network == str(quantised)
    assert {layer.name: layer.n_lut for layer in compiled.record.layers}["stem"] == 8

    folder = compiled.save(tmp_path / "compiled")
    run = silicut.simulate(folder, images[:2])
    alone = silicut.simulate(folder)
    assert alone.summary.cycles == run.summary.cycles == sum(layer.added for layer in run.summary.layers)
    assert sum(layer.n_macs for layer in run.summary.layers) == n_products
    assert {path.name for path in run.save(tmp_path / "run").iterdir()} == {
        "summary.json", "report.html", "outputs.safetensors"
    }  # fmt: skip


def output(module: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return module(tiny.example())
