"""A trained network as a QDQ file: ONNX Runtime and the integer network see the same in real images."""

import numpy as np
import pytest

from silicut.compress.quantisation import BitPlan, LayerBits, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.graph import capture
from silicut.numerics import IntegerExecutor, dequantise, quantise
from silicut.numerics.onnx import to_qdq
from silicut.zoo import assign_weights, bundled_weights, load_weights, open_data
from silicut.zoo import network as build


@pytest.mark.needs_data
@pytest.mark.needs_ort
def test_a_trained_network_predicts_the_same(cifar10_folder):
    runtime = pytest.importorskip("onnxruntime")
    images = next(iter(open_data(f"cifar10:{cifar10_folder}").evaluation_batches(256)))[0]
    module = build("resnet20")
    assign_weights(module, load_weights(bundled_weights("resnet20")))
    network = quantisable(capture(module.eval(), images[:2]))
    sites, plan = find_sites(network), BitPlan(default=LayerBits(8, 8))
    found = histograms(network, list(sites.limits), [images[:64]])
    quantised = lower(sites, plan, activation_quantisations(sites, plan, found))
    session = runtime.InferenceSession(to_qdq(quantised).SerializeToString(), providers=["CPUExecutionProvider"])
    (name,), (output,) = quantised.network.inputs, quantised.network.outputs
    (theirs,) = session.run(None, {name: images.numpy()})
    integers = IntegerExecutor(quantised.network).outputs({name: quantise(images.numpy(), quantised.inputs[0])})[output]
    ours = dequantise(integers, quantised.outputs[0])
    assert (theirs.argmax(1) == ours.argmax(1)).mean() >= 0.995
    assert np.abs(theirs - ours).max() <= 1.01 * quantised.outputs[0].scales[0]
