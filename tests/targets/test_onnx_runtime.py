"""Sessions of ONNX Runtime, and the way back from executed nodes to the nodes of the file."""

import dataclasses
import json

import numpy as np
import pytest

from silicut.records import BadFile, ConfigError, UnsupportedModel
from silicut.targets import OnnxRuntime, attribute

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.needs_ort

WIDTHS = [(16, 32), (15, 17), (20, 36)]  # blocked layout throughout; refused for most; with padded channels


class Builder:
    """A small ONNX graph: nodes called NAME make tensors called t_NAME."""

    def __init__(self, seed=0):
        self.rng, self.nodes, self.constants = np.random.default_rng(seed), [], []

    def constant(self, name, array):
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, name, *shape):
        return self.constant(name, (0.5 + self.rng.random(shape)).astype(np.float32))

    def op(self, kind, name, *inputs, **attributes):
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), [f"t_{name}"], name=name, **attributes))
        return f"t_{name}"

    def conv(self, name, x, n_in, n_out, kernel, stride=1, groups=1, bias=True):
        inputs = [x, self.weight(f"{name}.weight", n_out, n_in // groups, kernel, kernel)]
        inputs += [self.weight(f"{name}.bias", n_out)] if bias else []
        size = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        return self.op("Conv", name, *inputs, group=groups, **size)

    def batch_norm(self, name, x, n):
        return self.op("BatchNormalization", name, x, *(self.weight(f"{name}.{part}", n) for part in "gbmv"))

    def proto(self, output, shape=("N", 3, 16, 16)):
        def info(name, shape):
            return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

        graph = onnx.helper.make_graph(
            self.nodes, "g", [info("input", shape)], [info(output, [shape[0], None])], self.constants
        )
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)


def residual(width, width2):
    """Return a network with an identity and a projection shortcut, and an Erf and an Add that nothing absorbs."""
    b = Builder()
    x = b.op("Relu", "stem.relu", b.conv("stem", "input", 3, width, 3))
    x = b.op("MaxPool", "pool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = b.op("Relu", "b1.relu1", b.conv("b1.conv1", x, width, width, 3))
    x = b.op("Relu", "b1.relu2", b.op("Add", "b1.add", b.conv("b1.conv2", y, width, width, 3), x))
    y = b.op("Relu", "b2.relu1", b.conv("b2.conv1", x, width, width2, 3, 2))
    y = b.conv("b2.conv2", y, width2, width2, 3)
    x = b.op("Relu", "b2.relu2", b.op("Add", "b2.add", y, b.conv("b2.proj", x, width, width2, 1, 2)))
    x = b.op("Erf", "erf", x)
    x = b.op("Add", "b3.add", x, b.conv("b3.conv", x, width2, width2, 3, bias=False))
    x = b.op("Flatten", "flat", b.op("GlobalAveragePool", "gap", x))
    x = b.op("Gemm", "fc", x, b.weight("fc.weight", 10, width2), b.weight("fc.bias", 10), transB=1)
    return b.proto(x)


def mixed(width):
    """Return a network of batch norm, depthwise convolution, squeeze and excite, clips, and matrix products."""
    b = Builder()
    low, high = b.constant("low", np.float32(0)), b.constant("high", np.float32(6))
    x = b.batch_norm("bn", b.conv("stem", "input", 3, width, 3, 2, bias=False), width)
    x = b.op("Clip", "act", x, low, high)
    y = b.op("Clip", "dw.act", b.conv("dw", x, width, width, 3, groups=width), low, high)
    s = b.op("Relu", "se.relu", b.conv("se.reduce", b.op("GlobalAveragePool", "se.gap", y), width, 8, 1))
    y = b.op("Mul", "se.mul", y, b.op("HardSigmoid", "se.gate", b.conv("se.expand", s, 8, width, 1)))
    x = b.op("Add", "add", b.conv("pw", y, width, width, 1), x)
    x = b.op("Concat", "cat", x, b.conv("side", x, width, width, 1), axis=1)
    x = b.op("Flatten", "flat", b.op("AveragePool", "avg", x, kernel_shape=[8, 8]))
    x = b.op("Gemm", "fc1", x, b.weight("fc1.weight", 24, 2 * width), b.weight("fc1.bias", 24), transB=1)
    x = b.op("MatMul", "mm", b.op("Relu", "fc1.relu", x), b.weight("mm.weight", 24, 10))
    return b.proto(b.op("Softmax", "soft", b.op("Add", "mm.bias", x, b.weight("mm.b", 10))))


def standing_for(model, profile):
    """Return {executed node: original name}, read off by attributing profiles in which one node took all the time."""
    found = {}
    for at, node in enumerate(profile.nodes):
        nodes = tuple(dataclasses.replace(n, p10_us=float(i == at)) for i, n in enumerate(profile.nodes))
        times = attribute(model, dataclasses.replace(profile, nodes=nodes)).times_us
        found[node.name] = {name: share for name, share in times.items() if share}
    return found


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
    found = standing_for(model, OnnxRuntime().profile_nodes(model, 1))
    expected = by_weight_content(proto, tmp_path)
    assert len(expected) == 7
    assert {name: found[name] for name in expected} == {name: {original: 1.0} for name, original in expected.items()}


@pytest.mark.parametrize("widths", WIDTHS)
def test_nothing_is_lost_and_nothing_unmatched(widths):
    model = residual(*widths).SerializeToString()
    profile = OnnxRuntime().profile_nodes(model, 4)
    times = attribute(model, profile)
    assert times.total_us == pytest.approx(sum(node.p10_us for node in profile.nodes))
    assert sum(times.n_executed.values()) == pytest.approx(len(profile.nodes))
    assert times.unmatched == ()
    originals = {node.name for node in onnx.load_model_from_string(model).graph.node}
    assert set(times.times_us) | set(times.fused_into) == originals
    reorders = [node for node in profile.nodes if node.op_type.startswith("Reorder")]
    assert sum(times.overhead_us.values()) == pytest.approx(sum(node.p10_us for node in reorders))


@pytest.mark.parametrize("widths", WIDTHS)
def test_reorders_are_charged_to_blocked_convolutions(widths):
    model = residual(*widths).SerializeToString()
    profile = OnnxRuntime().profile_nodes(model, 1)
    found = standing_for(model, profile)
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


@pytest.mark.parametrize("as_file", [False, True])
def test_nodes_without_a_name_go_by_their_output(as_file, tmp_path):
    proto = mixed(16)
    for node in proto.graph.node:
        node.name = ""
    model = proto.SerializeToString()
    if as_file:
        model = tmp_path / "model.onnx"
        onnx.save(proto, model, save_as_external_data=True, size_threshold=0, location="weights")
    times = OnnxRuntime().node_times(model, 1)
    assert times.unmatched == ()
    assert {"t_stem", "t_dw", "t_pw", "t_mm"} <= set(times.times_us)


def test_profile_tells_shapes_runs_and_the_reference():
    engine = OnnxRuntime(batch=2)
    model = residual(16, 32).SerializeToString()
    with engine.load(model) as reference:
        profile = engine.profile_nodes(model, 6, reference)
    first = profile.nodes[0]
    assert first.op_type == "Conv"
    assert (first.input_shapes[0], first.output_shapes) == ((2, 3, 16, 16), ((2, 16, 16, 16),))
    assert (first.inputs, first.provider) == (("input",), "CPUExecutionProvider")
    assert 0 < first.p10_us <= first.median_us
    assert profile.n_runs == 8
    assert profile.reference_us == pytest.approx(profile.run_us, rel=0.5)
    assert profile.ratio == pytest.approx(1, rel=0.5)
    assert type(profile).from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_session_runs_times_and_closes():
    model = residual(16, 32).SerializeToString()
    reference = pytest.importorskip("onnx.reference")
    session = OnnxRuntime(batch=3).load(model)
    assert (session.input_names, session.input_shapes) == (("input",), ((3, 3, 16, 16),))
    x = np.random.default_rng(0).standard_normal((3, 3, 16, 16)).astype(np.float32)
    (expected,) = reference.ReferenceEvaluator(onnx.load_model_from_string(model)).run(None, {"input": x})
    np.testing.assert_allclose(session.run({"input": x})["t_fc"], expected, rtol=1e-3)
    assert 0 < session.time_once() < 1
    session.close()
    session.close()


def test_fingerprint_is_plain_json_with_settings():
    found = OnnxRuntime(n_threads=2, batch=4).fingerprint()
    assert json.loads(json.dumps(found)) == found
    assert (found["engine"], found["engine_version"]) == ("onnxruntime", ort.__version__)
    assert (found["n_threads"], found["batch"], found["clock"]) == (2, 4, "wall")


def test_refused_files_say_why(tmp_path):
    engine = OnnxRuntime()
    with pytest.raises(BadFile, match=r"no\.onnx does not exist"):
        engine.load(tmp_path / "no.onnx")
    with pytest.raises(BadFile, match="the model is not an ONNX model that onnxruntime can run"):
        engine.load(b"not a model")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(residual(16, 32).SerializeToString()[:-2000])
    with pytest.raises(BadFile, match=r"damaged\.onnx is not an ONNX model"):
        engine.load(damaged)


def relu(shape):
    builder = Builder()
    return builder.proto(builder.op("Relu", "relu", "input"), shape).SerializeToString()


def test_free_sizes_besides_the_batch_are_refused():
    with pytest.raises(UnsupportedModel, match="input 'input' has the free dimension 'L' at axis 1"):
        OnnxRuntime().load(relu(["N", "L"]))


def test_another_fixed_batch_is_refused():
    with pytest.raises(ConfigError, match="batch must be 8, to which the model fixes 'input', not 1"):
        OnnxRuntime().load(relu([8, 5]))
    OnnxRuntime(batch=8).load(relu([8, 5])).close()


def test_at_least_one_run_is_asked_for():
    with pytest.raises(ConfigError, match="n_runs must be an integer >= 1, not 0"):
        OnnxRuntime().profile_nodes(relu(["N", 5]), 0)
