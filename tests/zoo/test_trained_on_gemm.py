"""Networks with trained weights on the simulated accelerator: real images, every tensor of the reference to the bit."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import silicut
from silicut.numerics import run_integer
from silicut.zoo import assign_weights, bundled_weights, load_weights, open_data
from silicut.zoo import network as build

KERAS_RESNET8 = Path(os.environ.get("SILICUT_DATA", "../shared/data")) / "weights/mlperftiny_resnet8_cifar10_keras.npz"


def trained(name):
    """A network with the weights that come with the package, or those of MLPerf Tiny."""
    module = build(name)
    assign_weights(module, load_weights(KERAS_RESNET8 if name == "resnet8" else bundled_weights(name)))
    return module.eval()


@pytest.mark.needs_data
@pytest.mark.parametrize(("name", "bits"), [("resnet8", "8/8"), ("resnet8", "4/4"), ("resnet20", "4/4")])
def test_trained_networks_give_the_classes_of_their_integers(name, bits, cifar10_folder):
    if name == "resnet8" and not KERAS_RESNET8.exists():
        pytest.skip(f"needs {KERAS_RESNET8.name} in the folder that SILICUT_DATA names")
    data = open_data(f"cifar10{'-raw' if name == 'resnet8' else ''}:{cifar10_folder}").subset(256, 64)
    options = silicut.QuantiseOptions(n_calibration=128, normalisation=data.normalisation)
    quantised = silicut.quantise(trained(name), torch.zeros(1, *data.input_shape), bits, data=data, options=options)
    compiled = silicut.compile_program(quantised)
    assert compiled.record.on_host == ()
    images, labels = (each.numpy() for each in next(data.evaluation_batches(8)))
    pixels = data.normalisation.pixels(torch.from_numpy(images)).numpy()
    integers = quantised.network
    assert silicut.compare(integers, compiled, pixels[:2]).first is None
    run = silicut.simulate(compiled, images, labels)
    (read,), (output,) = integers.network.inputs, integers.network.outputs
    wanted = run_integer(integers.network, {read: pixels})[output]
    np.testing.assert_array_equal(run.outputs[output].reshape(wanted.shape), wanted)
    assert run.summary.n_correct == int((wanted.argmax(1) == labels).sum())
    assert run.summary.n_correct > 4
