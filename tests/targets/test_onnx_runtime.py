"""The way back from the nodes that ONNX Runtime executed to the nodes of the file."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx_graphs import mixed, residual, standing_for  # noqa: E402

from silicut.targets import OnnxRuntime, attribute  # noqa: E402

pytestmark = pytest.mark.needs_ort

WIDTHS = [(16, 32), (15, 17), (20, 36)]  # blocked layout throughout; refused for most; with padded channels


def by_weight_content(proto, folder):
    """Return {executed convolution: original name} by comparing weights: the independent reference."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def contents(graph):
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        convs = [node for node in graph.node if node.op_type in ("Conv", "FusedConv")]
        return {node.name: tuple(np.sort(arrays[node.input[1]][arrays[node.input[1]] != 0])) for node in convs}

    originals = {content: name for name, content in contents(proto.graph).items()}
    optimised = contents(onnx.load(options.optimized_model_filepath).graph)
    return {name: originals[content] for name, content in optimised.items()}


@pytest.mark.parametrize("widths", WIDTHS)
def test_every_convolution_is_found_as_by_its_weights(widths, tmp_path):
    proto = residual(*widths)
    model = proto.SerializeToString()
    found = standing_for(OnnxRuntime(), model, OnnxRuntime().profile_nodes(model, 1))
    expected = by_weight_content(proto, tmp_path)
    assert len(expected) == 7
    assert {name: found[name] for name in expected} == {name: {original: 1.0} for name, original in expected.items()}


@pytest.mark.parametrize("widths", WIDTHS)
def test_reorders_are_charged_to_blocked_convolutions(widths):
    model = residual(*widths).SerializeToString()
    profile = OnnxRuntime().profile_nodes(model, 1)
    found = standing_for(OnnxRuntime(), model, profile)
    reorders = [node.name for node in profile.nodes if node.op_type.startswith("Reorder")]
    payers = {name for reorder in reorders for name in found[reorder]}
    assert payers <= {"stem", "b1.conv1", "b1.conv2", "b2.conv1", "b2.conv2", "b2.proj", "b3.conv"}
    for reorder in reorders:
        assert sum(found[reorder].values()) == pytest.approx(1)


def test_the_add_of_a_shortcut_is_in_the_convolution_executed_last():
    model = residual(16, 32).SerializeToString()
    times = OnnxRuntime().node_times(model, 1)
    assert times.fused_into["b1.add"] == times.fused_into["b1.relu2"] == "b1.conv2"
    assert times.fused_into["b2.add"] in ("b2.conv2", "b2.proj")
    assert "b3.add" in times.times_us


def test_other_fusions_lead_back_too():
    model = mixed(32).SerializeToString()
    times = OnnxRuntime().node_times(model, 1)
    assert times.unmatched == ()
    carriers = {"bn": "stem", "act": "stem", "dw.act": "dw", "se.relu": "se.reduce", "add": "pw", "mm.bias": "mm"}
    assert carriers.items() <= times.fused_into.items()
    assert {"stem", "dw", "se.reduce", "se.mul", "pw", "cat", "avg", "fc1", "mm", "soft"} <= set(times.times_us)


def test_layout_changes_are_the_overhead():
    model = residual(16, 32).SerializeToString()
    profile = OnnxRuntime().profile_nodes(model, 4)
    reorders = [node for node in profile.nodes if node.op_type.startswith("Reorder")]
    assert reorders
    assert sum(attribute(model, profile).overhead_us.values()) == pytest.approx(sum(node.time_us for node in reorders))
