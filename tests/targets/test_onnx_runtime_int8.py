"""Int8 versions of networks: that they are int8, and that their nodes lead back to the float file."""

import logging

import numpy as np
import pytest
import small_networks as nets

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_graphs import mixed, residual, standing_for  # noqa: E402

from silicut.graph import fold_batch_norm  # noqa: E402
from silicut.records import BadFile  # noqa: E402
from silicut.targets import OnnxRuntime, OnnxRuntimeInt8  # noqa: E402

pytestmark = pytest.mark.needs_ort


@pytest.fixture(scope="module", params=[residual(16, 32), residual(15, 17), mixed(32)], ids=["even", "odd", "mixed"])
def profiled(request):
    """An engine, a float model, and its profile as int8."""
    engine, model = OnnxRuntimeInt8(), request.param.SerializeToString()
    return engine, model, engine.profile_nodes(model, 4)


def test_convolutions_are_executed_in_int8(profiled):
    _, model, profile = profiled
    n_convs = sum(node.op_type == "Conv" for node in onnx.load_model_from_string(model).graph.node)
    assert sum("QLinearConv" in node.op_type for node in profile.nodes) == n_convs
    assert not {node.op_type for node in profile.nodes} & {"Conv", "FusedConv"}


def test_nothing_is_lost_and_nothing_unmatched(profiled):
    engine, model, profile = profiled
    times = engine.attribute(model, profile)
    assert times.total_us == pytest.approx(sum(node.time_us for node in profile.nodes))
    assert sum(times.n_executed.values()) == pytest.approx(len(profile.nodes))
    assert times.unmatched == ()


def test_convolutions_lead_back_to_the_one_of_their_weights(profiled):
    """By the number of weights of the int8 convolution, where only one of the file's has so many."""
    engine, model, profile = profiled
    found = standing_for(engine, model, profile)
    for node in profile.nodes:
        if "QLinearConv" in node.op_type:
            name = node.name.partition("_token_")[0]
            assert found[node.name] == {name: 1.0}


def test_conversions_are_charged_to_what_reads_them(profiled):
    engine, model, profile = profiled
    found = standing_for(engine, model, profile)
    first = next(node for node in profile.nodes if node.op_type == "QuantizeLinear")
    assert first.inputs == ("input",)
    assert found[first.name] == {"stem": 1.0}
    conversions = [n for n in profile.nodes if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    overhead_us = sum(engine.attribute(model, profile).overhead_us.values())
    assert overhead_us >= sum(node.time_us for node in conversions) - 1e-6


def test_a_network_is_quantised_once(monkeypatch):
    from onnxruntime import quantization

    network, calls = fold_batch_norm(nets.network(nets.Joined)), []
    original = quantization.quantize_static
    monkeypatch.setattr(quantization, "quantize_static", lambda *a, **k: (calls.append(a), original(*a, **k)))
    engine = OnnxRuntimeInt8()
    with engine.load(network) as session:
        assert session.run({"x": np.zeros((1, 3, 16, 16), np.float32)})["head"].shape == (1, 5)
        engine.node_times(network, 1, session)
    assert len(calls) == 1
    assert logging.root.manager.disable == 0


def test_the_exact_engine_is_the_float_one():
    exact = OnnxRuntimeInt8(n_threads=2, batch=3).exact()
    assert type(exact) is OnnxRuntime
    assert (exact.settings.n_threads, exact.settings.batch) == (2, 3)


def test_its_measurements_are_kept_apart():
    assert OnnxRuntimeInt8().fingerprint() != OnnxRuntime().fingerprint()


def test_files_that_do_not_run_in_float_are_refused():
    with pytest.raises(BadFile, match="the model is not an ONNX model that onnxruntime-int8 can run"):
        OnnxRuntimeInt8().load(b"not a model")
