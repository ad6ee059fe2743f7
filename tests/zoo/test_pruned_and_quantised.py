"""The same trained ResNet-20, in the order in which a user meets it: pruned, quantised, written, executed, measured,
compiled and run on the simulated accelerator.

Everything is as short as it gets: a small profile, ten steps of recovery, few rounds of measuring.
"""

import numpy as np
import pytest
import torch

import silicut
from silicut.flows.pixels import OnNormalised
from silicut.graph.counting import n_macs
from silicut.numerics import load_quantised, run_integer
from silicut.numerics.onnx import from_qdq
from silicut.records import Cache
from silicut.targets import engine, measure
from silicut.training import evaluate
from silicut.zoo import assign_weights, bundled_weights, load_weights, open_data
from silicut.zoo import network as build

RECOVERY = silicut.Recipe(epochs=1, batch_size=64, learning_rate=0.02, distil_weight=0.7, precision="fp32")
PROFILING = silicut.ProfileOptions(n_samples=3, n_samples_max=3, n_validation=2)
# A busy machine makes the measurement less sure; it must not make the test fail.
MEASURING = silicut.MeasureOptions(n_rounds=5, max_rounds=10, refuse_frac=10.0, refuse_bias_frac=10.0)
BUDGET = "80%"


@pytest.mark.needs_data
@pytest.mark.needs_ort
def test_from_a_trained_network_to_a_pruned_integer_one(cifar10_folder, tmp_path):
    data = open_data(f"cifar10:{cifar10_folder}").subset(640, 200)
    dense, example = trained(), torch.zeros(1, *data.input_shape)
    pruned = pruned_within_budget(dense, example, data, tmp_path)
    quantised = quantised_on_pixels(pruned.module, example, data)
    folder = quantised.save(tmp_path / "integers")
    executed_alike(folder, quantised, data)
    whole = quantised_on_pixels(dense, example, data)
    measured_side_by_side(pruned, quantised, whole)
    small = compiled_and_simulated(folder, pruned.network, data, tmp_path)
    assert small.cycles < silicut.simulate(silicut.compile_program(whole)).summary.cycles


def trained():
    """ResNet-20 with the weights that come with the package."""
    module = build("resnet20")
    assign_weights(module, load_weights(bundled_weights("resnet20")))
    return module.eval()


def pruned_within_budget(dense, example, data, tmp_path):
    """The pruned network is smaller, and has learnt again some of what it lost."""
    options = silicut.PruneOptions(
        value="log-energy", recipe=RECOVERY, profiling=PROFILING, measuring=MEASURING, accepts_nearest=True
    )
    result = silicut.prune(dense, example, BUDGET, data=data, options=options, cache=Cache(tmp_path / "cache"))
    stages = {stage.name: stage for stage in result.stages}
    assert result.network.n_parameters() < result.dense.n_parameters()
    assert stages["dense"].score > 0.8
    assert stages["fine-tuned"].score > stages["pruned"].score
    return result


def quantised_on_pixels(module, example, data):
    """8 bits throughout, the normalisation of the data folded in: images as they are give the same classes."""
    options = silicut.QuantiseOptions(
        methods=silicut.Methods(ranges="mse", scales="mse"), n_calibration=256, normalisation=data.normalisation
    )
    result = silicut.quantise(module, example, "8/8", data=data, options=options)
    before, after = result.stages
    assert after.n_correct == evaluate(OnNormalised(result.module, data.normalisation), data).n_correct
    assert after.score > before.score - 0.02
    return result


def executed_alike(folder, quantised, data):
    """The folder, the file in ONNX Runtime and the file read back make the same integers of 100 images."""
    import onnxruntime

    images, _ = next(data.evaluation_batches(100))
    pixels = data.normalisation.pixels(images).numpy()
    loaded = load_quantised(folder)
    (name,), (output,) = loaded.network.inputs, loaded.network.outputs
    wanted = run_integer(loaded.network, {name: pixels})
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels})
    with torch.no_grad():
        np.testing.assert_array_equal(found, quantised.module(torch.from_numpy(pixels)).numpy())
    again = run_integer(from_qdq(folder / "model.onnx").network, {name: pixels})
    np.testing.assert_array_equal(again[output], wanted[output])


def measured_side_by_side(pruned, quantised, whole):
    """Whole and pruned, in float and in integers, in one run."""
    models = {
        "float": pruned.dense,
        "pruned": pruned.network,
        "int8": whole.onnx_file(),
        "pruned int8": quantised.onnx_file(),
    }
    timings = measure(engine("onnxruntime"), models, "float", MEASURING).timings
    assert timings.keys() == models.keys()
    assert all(timing.ratio > 0 for timing in timings.values())
    assert len(models["pruned int8"]) < len(models["int8"])


def compiled_and_simulated(quantised, network, data, tmp_path):
    """Every operator runs there, every tensor is that of the reference to the bit, and the right images are the same."""
    compiled = silicut.compile_program(quantised)
    assert compiled.record.on_host == ()
    images, labels = (each.numpy() for each in next(data.evaluation_batches(4)))
    pixels = data.normalisation.pixels(torch.from_numpy(images)).numpy()
    integers = load_quantised(quantised)
    assert silicut.compare(integers, compiled, pixels[:2]).first is None

    run = silicut.simulate(compiled.save(tmp_path / "program"), images, labels)
    (name,), (output,) = integers.network.inputs, integers.network.outputs
    wanted = run_integer(integers.network, {name: pixels})[output]
    np.testing.assert_array_equal(run.outputs[output].reshape(wanted.shape), wanted)
    assert run.summary.n_correct == int((wanted.argmax(1) == labels).sum())
    assert run.summary.n_macs == n_macs(network) + images[0].size  # each pixel is normalised by one product
    return run.summary
