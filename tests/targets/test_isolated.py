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


def test_a_layer_that_reads_no_batch_first_takes_along_what_leads_to_it():
    network = capture(Queries().eval(), torch.randn(2, 5, 12))
    layer = next(o for o in network.operators if o.kind == "mul")
    alone = isolate(network, layer)
    assert [o.kind for o in alone.operators] == ["permute", "mul"]
    assert [network.tensors[name].shape for name in alone.inputs] == [(-1, 5, 3, 4)]
    session = onnxruntime.InferenceSession(to_onnx(alone, batch=1))
    x = np.random.default_rng(0).standard_normal((1, 5, 3, 4)).astype(np.float32)
    assert np.array_equal(session.run(None, {alone.inputs[0]: x})[0], 2 * x.transpose(2, 0, 1, 3))


def test_a_layer_takes_the_rectifier_behind_it_and_nothing_before_it():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    network = capture(module, torch.randn(1, 3, 8, 8))
    first, _, last = network.operators
    assert [o.kind for o in isolate(network, first).operators] == ["conv2d", "relu"]
    assert [o.kind for o in isolate(network, last).operators] == ["conv2d"]
    assert isolate(network, last).inputs == (last.arguments["input"].name,)
