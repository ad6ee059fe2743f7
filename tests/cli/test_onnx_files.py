"""A network that comes as an ONNX file: pruned on the command line, it goes back into the user's own graph."""

import numpy as np
import onnx
import pytest
import tiny
import torch
from onnx import helper, numpy_helper

import silicut
from silicut.cli.app import run
from silicut.flows.as_module import as_module
from silicut.flows.export import save_model
from silicut.graph import capture, capture_onnx
from silicut.graph.onnx_writer import to_onnx

pytestmark = pytest.mark.needs_ort


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The tiny network as a file with names of its own, batch norms not folded."""
    model = onnx.load_from_string(to_onnx(capture(tiny.build(), tiny.example())))
    for i, node in enumerate(model.graph.node):
        node.name = f"user/{i}"
    helper.set_model_props(model, {"author": "a user"})
    path = tmp_path_factory.mktemp("file") / "net.onnx"
    onnx.save(model, path)
    return path


def outputs(path, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.fixture(scope="module")
def finished(file, tmp_path_factory, tiny_cache):
    folder = tmp_path_factory.mktemp("onnx-run") / "run"
    return folder, run(tiny.arguments(folder, tiny_cache, "--network", str(file), "--epochs", "1"))


def test_the_result_is_the_users_graph_with_smaller_initialisers(file, finished):
    folder, code = finished
    assert code == 0
    before, after = onnx.load(file), onnx.load(folder / "model.onnx")
    names = [node.name for node in before.graph.node]
    kept = [node.name for node in after.graph.node]
    assert [name for name in names if name in kept] == kept
    assert {node.op_type for node in after.graph.node} >= {"BatchNormalization"}, "it is not folded"
    assert after.metadata_props == before.metadata_props
    assert after.graph.input == before.graph.input
    sizes = [sum(numpy_helper.to_array(t).size for t in model.graph.initializer) for model in (before, after)]
    assert sizes[1] < sizes[0]


def test_the_written_file_computes_what_was_trained(file, finished):
    folder, _ = finished
    module = silicut.load(folder)
    x = tiny.images(16, 5)[0]
    with torch.no_grad():
        expected = module(x).numpy()
    assert np.abs(outputs(folder / "model.onnx", x.numpy()) - expected).max() <= 1e-4 * np.abs(expected).max()
    assert np.abs(outputs(file, x.numpy()) - expected).max() > 0.01 * np.abs(expected).max(), "it was trained"


def test_the_graph_is_ours_where_the_users_file_is_gone(file, tmp_path):
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(file.read_bytes())
    network = capture_onnx(copy)
    copy.unlink()
    with pytest.warns(
        UserWarning, match=r"^model\.onnx has a graph of silicut's own: .*copy\.onnx does not exist; check the path$"
    ):
        save_model(network, tmp_path, batch=tiny.BATCH)
    x = tiny.example().numpy()
    assert np.allclose(outputs(tmp_path / "model.onnx", x), outputs(file, x), atol=1e-5)


def test_a_file_is_profiled_without_a_shape(file, tmp_path, monkeypatch):
    seen = {}

    def profiled(network, target, **_):
        seen.update(shape=network.tensors[network.inputs[0]].shape, names=[o.name for o in network.operators])
        raise KeyboardInterrupt

    monkeypatch.setattr("silicut.targets.profile.profile_network", profiled)
    assert run(["profile", "--network", str(file), "--cache", str(tmp_path)]) == 130
    assert seen["shape"] == (-1, 3, 8, 8)
    assert seen["names"][0] == "user/0"


def test_python_takes_a_path_too(file):
    module = as_module(file, tiny.example())
    with torch.no_grad():
        assert np.allclose(module(tiny.example()).numpy(), outputs(file, tiny.example().numpy()), atol=1e-5)
    assert as_module(module, tiny.example()) is module
    assert capture(module, tiny.example()).structure_hash == capture_onnx(file).structure_hash
    with pytest.raises(silicut.records.ConfigError, match=r"input 'x' must be of shape \(8, 3, 8, 8\), not \(8, 3, 9, 8\)"):
        as_module(capture_onnx(file), torch.zeros(8, 3, 9, 8))
    with pytest.raises(silicut.records.ConfigError, match=r"inputs must be 1 tensors \(x\), not 2"):
        as_module(file, (tiny.example(), tiny.example()))


def says(arguments, capsys):
    assert run(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_does_not_fit_is_said(file, tmp_path, tiny_cache, capsys):
    def prune(network, *more):
        return tiny.arguments(tmp_path / "out", tiny_cache, "--network", str(network), *more)

    assert says(prune(file, "--weights", "w.pt"), capsys) == (
        f"silicut: weights must be left out with {file}, which holds them, not 'w.pt'"
    )
    assert says(prune(tmp_path / "no.onnx"), capsys) == f"silicut: {tmp_path / 'no.onnx'} does not exist; check the path"
    two = onnx.load(file)
    two.graph.input.append(helper.make_tensor_value_info("z", 1, [1, 2]))
    onnx.save(two, tmp_path / "two.onnx")
    assert says(prune(tmp_path / "two.onnx"), capsys) == (
        f"silicut: {tmp_path / 'two.onnx'} must have one input to be used here, not x, z; use silicut.prune from Python"
    )
    unknown = onnx.load(file)
    unknown.graph.node[0].op_type = "Frobnicate"
    onnx.save(unknown, tmp_path / "unknown.onnx")
    assert says(prune(tmp_path / "unknown.onnx"), capsys).startswith("silicut: node 'user/0' (Frobnicate). Read are, of")
    assert not (tmp_path / "out").exists()
