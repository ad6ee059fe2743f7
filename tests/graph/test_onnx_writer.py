"""The ONNX writer: every kind of operator against ONNX Runtime, and what cannot be written."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graph_checks import Net, outputs_of, random_kept, randomised
from onnx_cases import CASES, of
from torch import nn

from silicut import zoo
from silicut.graph import capture, find_channels, fold_batch_norm, keep_channels, to_module
from silicut.graph.onnx_rules import RULES
from silicut.graph.onnx_writer import OPSET, to_onnx, unsupported_operators
from silicut.records import UnsupportedModel

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.needs_ort


def run(model, network, inputs):
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(network.inputs, (x.numpy() for x in inputs), strict=True)))


def assert_equal(found, expected, tolerance=1e-5):
    for a, tensor in zip(found, outputs_of(expected), strict=True):
        b = tensor.detach().numpy()
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert np.abs(a - b).max() <= tolerance * max(1, np.abs(b).max())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kinds or "network")
def test_onnx_runtime_computes_what_pytorch_computes(case):
    module = randomised(case.module)
    network = capture(module, case.example())
    assert set(case.kinds.split()) <= {operator.kind for operator in network.operators}
    for batch in case.batches:
        inputs = case.example(batch or 5, seed=4)
        assert_equal(run(to_onnx(network, batch=batch), network, inputs), module(*inputs))


def test_every_rule_is_tested():
    tested = {kind for case in CASES for kind in case.kinds.split()}
    assert tested == set(RULES)


def pruned(network):
    channels = find_channels(network)
    return keep_channels(network, channels, random_kept(channels.groups, np.random.default_rng(0)))


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "resnet20-projection", "digits-resnet", "resnet18-half"])
def test_zoo_networks_pruned_and_folded(name):
    n_channels, size, _ = zoo.network_entry(name).input_shape
    size = min(size, 32)
    network = pruned(capture(randomised(zoo.network(name)), torch.zeros(2, n_channels, size, size)))
    folded = fold_batch_norm(network)
    x = torch.randn(2, n_channels, size, size, generator=torch.Generator().manual_seed(0))
    for variant in (network, folded, pruned(folded)):
        with torch.no_grad():
            expected = to_module(variant)(x)
        for batch in (None, 2):
            assert_equal(run(to_onnx(variant, batch=batch), variant, (x,)), expected, 1e-4)


def test_the_model_is_named_after_the_network():
    network = capture(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), torch.zeros(2, 3, 6, 6))
    model = onnx.load_model_from_string(to_onnx(network))
    assert [node.name for node in model.graph.node] == ["0", "1", "2"]
    assert {t.name for t in model.graph.initializer} == set(network.parameters) - {"1.num_batches_tracked"}
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", 3, 6, 6]
    assert model.producer_name == "silicut"


def test_onnx_runtime_from_1_20_on_can_read_it():
    # ONNX Runtime 1.20 reads opset 21 and IR version 10 (onnxruntime.ai/docs/reference/compatibility.html).
    model = onnx.load_model_from_string(to_onnx(capture(nn.ReLU(), torch.zeros(2, 3))))
    assert model.opset_import[0].version == OPSET <= 21
    assert len(model.opset_import) == 1
    assert model.ir_version <= 10


def test_double_and_half_networks_keep_their_type():
    def body(s, x):
        y = F.relu6(s.bn(s.a(x)) * 2 + 0.5).clamp(0.1, 1)
        return F.pad(y, (1, 1), value=2) / 3

    module = Net(body, a=nn.Linear(4, 3), bn=nn.BatchNorm1d(3, affine=False))
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float16, 5e-3)):
        own = randomised(module).to(dtype)
        x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
        network = capture(own, x)
        assert_equal(run(to_onnx(network), network, (x,)), own(x), tolerance)


def test_a_fixed_batch_stays_fixed():
    network = capture(of(lambda x: x.reshape(2, -1).reshape(2, 4, 36) * 2), torch.zeros(2, 4, 6, 6))
    fixed = capture(of(lambda x: x[:3] * 2), torch.zeros(4, 4))
    assert_equal(run(to_onnx(fixed, batch=4), fixed, (torch.ones(4, 4),)), torch.full((3, 4), 2.0))
    assert_equal(run(to_onnx(network), network, (torch.ones(2, 4, 6, 6),)), torch.full((2, 4, 36), 2.0))
    with pytest.raises(UnsupportedModel) as caught:
        to_onnx(fixed, batch=1)
    assert str(caught.value) == (
        "the network was captured for a batch of 4 only, not 1. Capture it again with examples of a batch of 1"
    )


class Unwritable(nn.Module):
    def __init__(self):
        super().__init__()
        self.always = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x):
        x = F.celu(x)  # line 1
        x = self.always(x)  # line 2
        return torch.cumsum(x, 1)  # line 3


def test_all_operators_that_cannot_be_written_are_listed_with_their_lines():
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    one, two, three = (next(i for i, t in enumerate(lines, 1) if t.endswith(f"# line {n}")) for n in (1, 2, 3))
    network = capture(Unwritable(), torch.zeros(2, 4, 6, 6))
    expected = (
        f"operator celu of celu (test_onnx_writer.py:{one})",
        f"operator batch_norm of always (test_onnx_writer.py:{two}): it uses the statistics of the batch",
        f"operator cumsum of cumsum (test_onnx_writer.py:{three})",
    )
    assert unsupported_operators(network) == expected
    with pytest.raises(UnsupportedModel) as caught:
        to_onnx(network)
    assert caught.value.offenders == expected
    advice = "ONNX models are written without them; replace them by other operators"
    assert str(caught.value) == f"{'; '.join(expected)}. {advice}"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lambda x: F.softplus(x, beta=2), "its beta is not 1"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=3), "its divisor is given"),
        (lambda x: F.adaptive_avg_pool2d(x, 4), "it pools 6x6 to 4x4, which is no divisor"),
        (lambda x: F.dropout(x, 0.5), "it is always on"),
        (lambda x: torch.div(x, 3, rounding_mode="floor"), "it rounds"),
        (lambda x: torch.clamp(x, min=x.mean((2, 3), keepdim=True)), "its bounds are tensors"),
        (lambda x: x.sum((2, 3), dtype=torch.float64), "it mixes number types"),
        (lambda x: F.max_pool2d(x[0], 2), "its input has no batch axis"),
        (lambda x: F.conv2d(x[0], torch.ones(1, 4, 1, 1)), "its input has no batch axis"),
        (lambda x: torch.cat([x, x])[x.shape[0] :], "it needs the batch size; write the model for one batch size"),
        (lambda x: F.adaptive_max_pool2d(x, 2, return_indices=True)[1], "its further outputs are read"),
        (lambda x: F.prelu(x, x.mean((0, 2, 3))), "its weight is computed"),
    ],
)
def test_what_a_rule_cannot_express_is_said(body, reason):
    network = capture(of(body), torch.zeros(2, 4, 6, 6))
    found = [sentence for sentence in unsupported_operators(network) if "operator ones" not in sentence]
    assert len(found) == 1
    assert reason in found[0]
