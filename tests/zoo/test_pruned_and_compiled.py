"""The same trained ResNet-20 pruned, quantised, compiled and run on the simulated accelerator, in one go.

Everything is as short as it gets: a small profile, ten steps of recovery, few rounds of measuring, few images.
"""

import numpy as np
import pytest
import torch

import silicut
from silicut.graph.counting import n_macs
from silicut.numerics import quantise, run_integer
from silicut.records import Cache
from silicut.training import evaluate
from silicut.zoo import assign_weights, bundled_weights, load_weights, open_data
from silicut.zoo import network as build

RECOVERY = silicut.Recipe(epochs=1, batch_size=64, learning_rate=0.02, distil_weight=0.7, precision="fp32")
PROFILING = silicut.ProfileOptions(n_samples=3, n_samples_max=3, n_validation=2)
# A busy machine makes the measurement less sure; it must not make the test fail.
MEASURING = silicut.MeasureOptions(n_rounds=5, max_rounds=10, refuse_frac=10.0, refuse_bias_frac=10.0)
EDGES = silicut.QuantiseOptions(n_calibration=128, edge_bits=8)
N_IMAGES = 4


@pytest.mark.needs_data
@pytest.mark.needs_ort
def test_from_a_trained_network_to_cycles(cifar10_folder, tmp_path):
    data = open_data(f"cifar10:{cifar10_folder}").subset(640, 100)
    module, example = build("resnet20"), torch.zeros(1, *data.input_shape)
    assign_weights(module, load_weights(bundled_weights("resnet20")))
    pruned = pruned_within_budget(module.eval(), example, data, tmp_path)
    small = run_on_the_accelerator(in_integers(pruned.module, example, data), n_macs(pruned.network), data, tmp_path)
    images, _ = next(data.evaluation_batches(64))
    dense = silicut.compile_program(silicut.quantise(pruned.dense, images, "6/6", options=EDGES), "n3h")
    assert small.cycles < silicut.simulate(dense).summary.cycles


def pruned_within_budget(module, example, data, tmp_path):
    options = silicut.PruneOptions(
        value="log-energy", recipe=RECOVERY, profiling=PROFILING, measuring=MEASURING, accepts_nearest=True
    )
    result = silicut.prune(module, example, "80%", data=data, options=options, cache=Cache(tmp_path / "cache"))
    assert result.network.n_parameters() < result.dense.n_parameters()
    return result


def in_integers(module, example, data):
    """Weights and activations of 6 bits: the LUT core multiplies them as they are, the DSP core as 8 bits."""
    result = silicut.quantise(module, example, "6/6", data=data, options=EDGES)
    before, after = result.stages
    assert after.n_correct == evaluate(result.module, data).n_correct
    assert after.score > before.score - 0.1
    return result


def run_on_the_accelerator(quantised, n_products, data, tmp_path):
    """Every operator runs there, every tensor is that of the reference to the bit, and the right images are the same."""
    compiled = silicut.compile_program(quantised, "n3h")
    assert compiled.record.on_host == ()
    assert {layer.w_bits for layer in compiled.record.layers if layer.n_macs} == {6, 8}
    images, labels = (each.numpy()[:N_IMAGES] for each in next(data.evaluation_batches(N_IMAGES)))
    assert silicut.compare(quantised.network, compiled, images[:2]).first is None

    run = silicut.simulate(silicut.load_compiled(compiled.save(tmp_path / "program")), images, labels)
    network, (output,) = quantised.network.network, quantised.network.network.outputs
    wanted = run_integer(network, {network.inputs[0]: quantise(images, quantised.network.inputs[0])})[output]
    np.testing.assert_array_equal(run.outputs[output].reshape(wanted.shape), wanted)
    assert run.summary.n_correct == int((wanted.argmax(1) == labels).sum())
    assert run.summary.n_macs == n_products
    return run.summary
