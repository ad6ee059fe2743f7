"""What every engine that runs ONNX models must do: sessions, profiles, the way back to the file, refusals."""

import json

import numpy as np
import pytest
import small_networks as nets

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")

from onnx_graphs import mixed, relu, residual, standing_for  # noqa: E402

from silicut.graph import fold_batch_norm  # noqa: E402
from silicut.records import BadFile, ConfigError, UnsupportedModel  # noqa: E402
from silicut.targets import OnnxRuntime, OpenVino  # noqa: E402

WIDTHS = [(16, 32), (15, 17), (20, 36)]  # whole blocks of channels, none, padded ones
MODULES = {OnnxRuntime: "onnxruntime", OpenVino: "openvino"}


@pytest.fixture(params=list(MODULES), ids=lambda kind: kind.name)
def kind(request):
    """An engine's class, where its runtime is installed."""
    pytest.importorskip(MODULES[request.param])
    return request.param


# The way back


@pytest.mark.parametrize("widths", WIDTHS)
def test_every_executed_convolution_is_the_one_of_its_shape(kind, widths):
    """All outputs of the file's convolutions but two pairs differ in shape: the independent reference."""
    proto = residual(*widths)
    model, engine = proto.SerializeToString(), kind()
    profile = engine.profile_nodes(model, 1)
    found = standing_for(engine, model, profile)
    graph = onnx.shape_inference.infer_shapes(proto).graph
    shapes = {v.name: tuple(d.dim_value or 1 for d in v.type.tensor_type.shape.dim) for v in graph.value_info}
    convs = {node.name: shapes[node.output[0]] for node in graph.node if node.op_type == "Conv"}
    executed = [node for node in profile.nodes if "Conv" in node.op_type]
    owners = [name for node in executed for name in found[node.name]]
    assert sorted(owners) == sorted(convs)
    for node, owner in zip(executed, owners, strict=True):
        n, n_channels, *size = node.output_shapes[0]
        assert (n, *size) == (convs[owner][0], *convs[owner][2:])
        assert convs[owner][1] <= n_channels < convs[owner][1] + 16


@pytest.mark.parametrize("widths", WIDTHS)
def test_nothing_is_lost_and_nothing_unmatched(kind, widths):
    model, engine = residual(*widths).SerializeToString(), kind()
    profile = engine.profile_nodes(model, 4)
    times = engine.attribute(model, profile)
    assert times.total_us == pytest.approx(sum(node.time_us for node in profile.nodes))
    assert sum(times.n_executed.values()) == pytest.approx(len(profile.nodes))
    assert times.unmatched == ()
    originals = {node.name for node in onnx.load_model_from_string(model).graph.node}
    assert set(times.times_us) | set(times.fused_into) == originals


def test_fusions_lead_back(kind):
    times = kind().node_times(mixed(32).SerializeToString(), 1)
    assert times.unmatched == ()
    carriers = {"bn": "stem", "act": "stem", "dw.act": "dw", "se.relu": "se.reduce"}
    assert carriers.items() <= times.fused_into.items()
    assert times.fused_into["mm.bias"] in ("mm", "fc1")  # the end may be one kernel
    assert {"stem", "dw", "se.reduce", "pw", "fc1"} <= set(times.times_us)


@pytest.mark.parametrize("as_file", [False, True])
def test_nodes_without_a_name_go_by_their_output(kind, as_file, tmp_path):
    proto = mixed(16)
    for node in proto.graph.node:
        node.name = ""
    model = proto.SerializeToString()
    if as_file:
        model = tmp_path / "model.onnx"
        onnx.save(proto, model, save_as_external_data=True, size_threshold=0, location="weights")
    times = kind().node_times(model, 1)
    assert times.unmatched == ()
    assert {"t_stem", "t_dw", "t_pw", "t_fc1"} <= set(times.times_us)


# Sessions and profiles


def test_profile_tells_shapes_runs_and_the_reference(kind):
    engine = kind(batch=2)
    model = residual(16, 32).SerializeToString()
    with engine.load(model) as dense:
        profile = engine.profile_nodes(model, 8, dense)
    first = next(node for node in profile.nodes if "Conv" in node.op_type)
    assert first.output_shapes == ((2, 16, 16, 16),)
    assert first.time_us > 0
    assert first.kernel
    assert profile.n_runs == 8
    assert profile.reference_us == pytest.approx(profile.run_us, rel=0.5)
    assert profile.ratio == pytest.approx(1, rel=0.5)
    assert type(profile).from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_nodes_add_up_to_the_run(kind):
    """Kernels and what is not explained by them; a wide band, because machines are shared."""
    engine, model = kind(), residual(128, 256).SerializeToString()
    times = engine.node_times(model, 20)
    assert 0.6 < sum(times.net_us.values()) / times.run_us < 1.05
    largest = max(times.net_us, key=times.net_us.__getitem__)
    assert largest in ("b1.conv1", "b1.conv2", "b2.conv1", "b2.conv2", "b3.conv")


def test_session_runs_times_and_closes(kind):
    model = residual(16, 32).SerializeToString()
    session = kind(batch=3).load(model)
    assert (session.input_names, session.input_shapes) == (("input",), ((3, 3, 16, 16),))
    x = np.random.default_rng(0).standard_normal((3, 3, 16, 16)).astype(np.float32)
    (expected,) = reference.ReferenceEvaluator(onnx.load_model_from_string(model)).run(None, {"input": x})
    np.testing.assert_allclose(session.run({"input": x})["t_fc"], expected, rtol=1e-3)
    assert 0 < session.time_once() < 1
    session.close()
    session.close()


def test_a_network_runs_as_its_onnx_file_does(kind):
    network = fold_batch_norm(nets.network(nets.padded))
    x = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)
    engine = kind()
    with engine.load(network) as session, engine.load(engine.onnx(network)) as from_file:
        (found,), (expected,) = session.run({"x": x}).values(), from_file.run({"x": x}).values()
    np.testing.assert_array_equal(found, expected)
    assert set(engine.node_times(network, 1).times_us) <= {operator.name for operator in network.operators}


def test_fingerprint_is_plain_json_with_settings(kind):
    engine = kind(n_threads=2, batch=4)
    found = engine.fingerprint()
    assert json.loads(json.dumps(found)) == found
    assert (found["engine"], found["engine_version"]) == (kind.name, engine.version)
    assert (found["n_threads"], found["batch"], found["clock"]) == (2, 4, "wall")
    assert found != kind(n_threads=1, batch=4).fingerprint()


# What is refused


def test_refused_files_say_why(kind, tmp_path):
    engine = kind()
    with pytest.raises(BadFile, match=r"no\.onnx does not exist"):
        engine.load(tmp_path / "no.onnx")
    with pytest.raises(BadFile, match=f"the model is not an ONNX model that {kind.name} can run"):
        engine.load(b"not a model")
    with pytest.raises(BadFile, match="the model is not an ONNX model that"):
        engine.node_times(b"not a model")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(residual(16, 32).SerializeToString()[:-2000])
    with pytest.raises(BadFile, match=r"damaged\.onnx is not an ONNX model"):
        engine.load(damaged)


def test_free_sizes_besides_the_batch_are_refused(kind):
    with pytest.raises(UnsupportedModel, match=r"input 'input' has the free dimension .* at axis 1"):
        kind().load(relu(["N", "L"]))


def test_another_fixed_batch_is_refused(kind):
    with pytest.raises(ConfigError, match="batch must be 8, to which the model fixes 'input', not 1"):
        kind().load(relu([8, 5]))
    kind(batch=8).load(relu([8, 5])).close()


def test_at_least_one_run_is_asked_for(kind):
    with pytest.raises(ConfigError, match="n_runs must be an integer >= 1, not 0"):
        kind().profile_nodes(relu(["N", 5]), 0)
