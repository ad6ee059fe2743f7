"""One layer as a network of its own."""

import numpy as np
import onnxruntime
import torch
from torch import nn

from silicut.graph import capture
from silicut.graph.onnx_writer import to_onnx
from silicut.targets.isolated import isolate


class Queries(nn.Module):
    """Attention's stacked projections: the batch is the second axis of what the last layer reads."""

    def forward(self, x):
        return (x.reshape(x.shape[0], 5, 3, 4).permute(2, 0, 1, 3) * 2.0).sum(0)


def test_a_layer_whose_batch_is_not_the_first_axis_is_written_for_any_batch():
    network = capture(Queries().eval(), torch.randn(2, 5, 12))
    layer = next(o for o in network.operators if o.kind == "mul")
    alone = isolate(network, layer)
    assert network.tensors[alone.inputs[0]].shape == (3, -1, 5, 4)
    session = onnxruntime.InferenceSession(to_onnx(alone, batch=1))
    x = np.random.default_rng(0).standard_normal((3, 1, 5, 4)).astype(np.float32)
    assert np.array_equal(session.run(None, {alone.inputs[0]: x})[0], 2 * x)
