"""Convolutional networks of the zoo become integer ones that both executors agree on, close to the float ones."""

import numpy as np
import pytest
import torch
from small_cnns import signal_to_noise_db

from silicut.compress.quantisation import BitPlan, quantisable
from silicut.compress.quantisation.post_training import quantise_after_training
from silicut.graph import capture
from silicut.numerics import IntegerModule, dequantise, quantise, run_integer
from silicut.zoo import network, network_entry
from silicut.zoo.networks.densenet import DenseNet

SIZES = {
    "lenet5": 28,
    "resnet8": 32,
    "resnet20": 32,
    "mobilenet-v2": 32,
    "squeezenet-1.1": 48,
    "googlenet": 32,
    "densenet": 32,
}


def built(name):
    """Return a network after a few batches of its own noise, so that batch norms have statistics."""
    torch.manual_seed(0)
    module = DenseNet((2, 1, 2, 1), 10) if name == "densenet" else network(name)
    n_channels = 3 if name == "densenet" else network_entry(name).input_shape[0]
    images = torch.randn(8, n_channels, SIZES[name], SIZES[name])
    if any(isinstance(part, torch.nn.BatchNorm2d) for part in module.modules()):
        for _ in range(4):
            module.train()(images)
    return module.eval(), images


@pytest.mark.parametrize("name", SIZES)
def test_networks_of_the_zoo_become_integers(name):
    module, images = built(name)
    network = quantisable(capture(module, images[:1]))
    quantised = quantise_after_training(network, BitPlan.uniform(8, 8), [images]).quantised
    (source,), (result,) = quantised.network.inputs, quantised.network.outputs
    integers = quantise(images[:2].numpy(), quantised.inputs[0])
    expected = run_integer(quantised.network, {source: integers})
    found = IntegerModule(quantised.network).run({source: torch.from_numpy(integers)})
    for tensor, values in expected.items():
        np.testing.assert_array_equal(found[tensor].numpy(), values, err_msg=tensor)
    with torch.no_grad():
        exact = module(images[:2])
    assert signal_to_noise_db(exact, dequantise(expected[result], quantised.outputs[0])) > 18


def test_sums_fit_their_accumulators_at_the_widest():
    """The largest layer of the zoo, 9,216 inputs of 8 bits on weights of 8: its worst sum has 29 bits."""
    worst = 9216 * 255 * 127
    assert worst.bit_length() == 29
    module = torch.nn.Linear(9216, 2).eval()
    with torch.no_grad():
        module.weight.fill_(1.0)
    network = quantisable(capture(module, torch.zeros(1, 9216)))
    images = torch.ones(2, 9216)
    quantised = quantise_after_training(network, BitPlan.uniform(8, 8), [images]).quantised
    sums = run_integer(quantised.network, {quantised.network.inputs[0]: np.full((1, 9216), 255, np.uint8)})
    assert max(int(np.abs(values).max()) for values in sums.values()) >= worst
