"""Random small networks of mixed widths through files and back, and in ONNX Runtime."""

import numpy as np
import pytest
from small_cnns import random_images, random_quantised

import silicut
from silicut.flows.executors import executor
from silicut.numerics import quantise, run_integer
from silicut.numerics.onnx import from_qdq, from_qonnx, to_qdq, to_qonnx
from silicut.records import UnsupportedModel


@pytest.mark.parametrize("seed", [6, 10, 12, 19, 32, 35, 232, 234])
def test_random_networks_come_back(seed):
    network, images = random_quantised(seed)[-1], random_images(seed).numpy()
    given = {network.network.inputs[0]: quantise(images, network.inputs[0])}
    wanted = run_integer(network.network, given)
    again = [from_qdq(to_qdq(network))]
    if any(operator.kind == "lookup" for operator in network.network.operators):
        with pytest.raises(UnsupportedModel, match="QONNX has no tables"):
            to_qonnx(network)
    else:
        again.append(from_qonnx(to_qonnx(network, batch=None)))
    for each in again:
        assert each.network.tensors == network.network.tensors
        found = run_integer(each.network, given)
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.needs_ort
@pytest.mark.parametrize("seed", range(40, 48))
def test_random_networks_in_onnx_runtime(seed):
    pytest.importorskip("onnxruntime")
    network = random_quantised(seed)[-1]
    found = silicut.compare(network, executor(network, "onnxruntime"), random_images(seed).numpy())
    assert len(found.integers) > 1
    assert max(each.largest for each in found.integers) <= 1
