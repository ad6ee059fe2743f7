"""ONNX files pruned and written back: files of other exporters, proved in ONNX Runtime against the original file."""

import numpy as np
import onnx
import pytest
import torch
from foreign_files import branching_model, newer_exporter, older_exporter, residual_model, transformer
from graph_checks import outputs_of, random_kept
from onnx import TensorProto, helper, numpy_helper
from onnx_nodes import drawn, model_of, run, w, x

from silicut.graph import (
    capture_onnx,
    find_blocks,
    find_channels,
    fold_batch_norm,
    keep_channels,
    network_with_weights,
    prove_group,
    remove_blocks,
    to_module,
    write_back,
)
from silicut.records import UnsupportedModel

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.needs_ort


def by_hand(make):
    return lambda path: onnx.save(make(), path)


FILES = {
    "newer exporter": newer_exporter,
    "older exporter": older_exporter,
    "transformer": transformer,
    "residual": by_hand(residual_model),
    "branching": by_hand(branching_model),
    "branching, older operators": by_hand(lambda: branching_model(13)),
}


@pytest.fixture(scope="module", params=FILES)
def subject(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model.onnx"
    FILES[request.param](path)
    network = capture_onnx(path)
    return path, network, find_channels(network)


def without_readers(network, channels, kept):
    """The network in which the weights that read removed channels are zero."""
    parameters = {name: array.copy() for name, array in network.parameters.items()}
    for name, indices in kept.items():
        group = channels.group(name)
        removed = np.setdiff1d(np.arange(group.n_channels), indices)
        for member in group.consumers():
            np.moveaxis(parameters[member.parameter], member.axis, 0)[member.positions[removed].ravel()] = 0
    return network.with_parameters(parameters)


def changes_statistics(network, group):
    """Tell whether a norm takes its statistics over the group: zero weights behind it are no reference then."""
    norms = {o.name for o in network.operators if o.kind in ("layer_norm", "rms_norm", "group_norm")}
    return any(member.operator in norms for member in group.members)


def assert_close(found, expected, tolerance=2e-5):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert np.abs(a - b).max() <= tolerance * max(1, np.abs(b).max())


def graph_of(model):
    return onnx.load_from_string(model).graph


def test_pruned_files_equal_the_original_without_readers(subject):
    path, network, channels = subject
    groups = [group for group in channels.groups if not changes_statistics(network, group)]
    assert groups
    generator = np.random.default_rng(5)
    for seed in range(3):
        kept = random_kept(groups, generator)
        pruned = keep_channels(network, channels, kept)
        written = write_back(path, pruned)
        onnx.checker.check_model(onnx.load_from_string(written), full_check=True)
        inputs = drawn(network, 2, seed)
        expected = run(write_back(path, without_readers(network, channels, kept)), inputs)
        assert_close(run(written, inputs), expected)
        n_values = sum(int(np.prod(tensor.dims)) for tensor in graph_of(written).initializer)
        assert n_values < sum(array.size for array in network.parameters.values())
    doubled = [torch.from_numpy(array) for array in drawn(network, 2)]
    assert prove_group(network, channels, kept, doubled) <= 1e-9


def test_the_original_comes_back_unchanged(subject):
    path, network, _ = subject
    original, written = onnx.load(path), onnx.load_from_string(write_back(path, network))
    assert written == original
    inputs = drawn(network, 3)
    assert all(np.array_equal(a, b) for a, b in zip(run(original, inputs), run(written, inputs), strict=True))


def test_what_is_not_pruned_stays_as_the_user_has_it(subject):
    path, network, channels = subject
    original = onnx.load(path)
    kept = {group.name: np.arange(max(1, group.n_channels // 2)) for group in channels.groups}
    written = onnx.load_from_string(write_back(path, keep_channels(network, channels, kept)))
    for name in ("ir_version", "opset_import", "producer_name", "producer_version", "metadata_props", "doc_string"):
        assert getattr(written, name) == getattr(original, name)
    assert written.graph.input == original.graph.input
    assert written.graph.output == original.graph.output
    before = [(n.op_type, n.name, list(n.output)) for n in original.graph.node]
    after = [(n.op_type, n.name, list(n.output)) for n in written.graph.node]
    assert [entry for entry in before if entry in after] == after
    assert {kind for kind, _, _ in before} - {kind for kind, _, _ in after} <= {"Constant", "Identity"}


def test_removed_blocks_take_their_nodes_along(subject):
    path, network, channels = subject
    blocks = find_blocks(network, channels)
    if not blocks:
        pytest.skip("it has no residual blocks that can go")
    kept = random_kept(channels.groups, np.random.default_rng(1))
    for removed in (blocks[:1], blocks[-1:], blocks):
        smaller = remove_blocks(keep_channels(network, channels, kept), removed)
        written = write_back(path, smaller)
        onnx.checker.check_model(onnx.load_from_string(written), full_check=True)
        inputs = drawn(network, 2)
        with torch.no_grad():
            expected = outputs_of(to_module(smaller)(*(torch.from_numpy(array) for array in inputs)))
        assert_close(run(written, inputs), [tensor.numpy() for tensor in expected])
        names = {node.name for node in graph_of(written).node}
        assert not names & {name for block in removed for name in block.operators}


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("newer exporter", ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"]),
        ("residual", ["block0", "block1", "block2"]),
        ("transformer", ["/vit/layers.0/mlp", "/vit/layers.1/mlp"]),
    ],
)
def test_blocks_have_names_that_the_user_knows(tmp_path, file, names):
    FILES[file](tmp_path / "model.onnx")
    network = capture_onnx(tmp_path / "model.onnx")
    found = [block.name for block in find_blocks(network, find_channels(network))]
    assert [name for name in found if "attention" not in name] == names


def test_trained_values_are_written(subject):
    path, network, channels = subject
    kept = random_kept(channels.groups, np.random.default_rng(2))
    module = to_module(keep_channels(network, channels, kept)).train()
    inputs = [torch.from_numpy(array) for array in drawn(network, 4)]
    optimiser = torch.optim.SGD(module.parameters(), 1e-4)
    outputs_of(module(*inputs))[0].square().mean().backward()
    optimiser.step()
    trained = network_with_weights(module.eval())
    assert trained.weights_hash != keep_channels(network, channels, kept).weights_hash
    with torch.no_grad():
        expected = [tensor.numpy() for tensor in outputs_of(module(*inputs))]
    assert_close(run(write_back(path, trained), [x.numpy() for x in inputs]), expected)


def saved(tmp_path, model):
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    return path


def test_sizes_that_name_channels_are_brought_up_to_date(tmp_path):
    path = saved(tmp_path, branching_model())
    network = capture_onnx(path)
    channels = find_channels(network)
    kept = {group.name: np.arange(0, group.n_channels, 2) for group in channels.groups}
    pruned = keep_channels(network, channels, kept)
    graph = graph_of(write_back(path, pruned))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = {node.name: node for node in graph.node}
    assert constants["size"].tolist() == [*pruned.tensors["r"].shape[1:]]
    assert constants["slope"].shape == (pruned.tensors["a"].shape[1], 1, 1)
    assert constants["flat"].tolist() == [pruned.tensors["f"].shape[1]]
    assert constants["head.w"].shape == (pruned.tensors["f"].shape[1], 5)
    assert [a.i for a in nodes["depthwise"].attribute if a.name == "group"] == [pruned.tensors["right"].shape[1]]
    assert constants["end"] - constants["start"] == pruned.tensors["cut"].shape[1]
    assert pruned.tensors["r"].shape[1] < network.tensors["r"].shape[1]


def test_unequal_parts_get_their_sizes(tmp_path):
    """A Split into equal parts whose parts are pruned differently."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["c"], name="conv"),
        helper.make_node("Split", ["c"], ["l", "r"], name="split", axis=1, num_outputs=2),
        helper.make_node("Conv", ["l", "b"], ["y0"], name="left"),
        helper.make_node("Conv", ["r", "b2"], ["y1"], name="right"),
    ]
    constants = {"a": w(8, 3, 1, 1), "b": w(2, 4, 1, 1), "b2": w(2, 4, 1, 1)}
    path = saved(tmp_path, model_of(nodes, {"x": x(3, 4, 4)}, constants, ["y0", "y1"]))
    network = capture_onnx(path)
    channels = find_channels(network)
    assert [group.n_channels for group in channels.groups] == [4, 4]
    kept = {channels.groups[0].name: np.array([1]), channels.groups[1].name: np.array([0, 1, 3])}
    pruned = keep_channels(network, channels, kept)
    written = write_back(path, pruned)
    constants = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in graph_of(written).initializer}
    assert constants["split/split"] == [1, 3]
    inputs = drawn(network, 2)
    assert_close(run(written, inputs), run(write_back(path, without_readers(network, channels, kept)), inputs))


def test_a_block_that_makes_an_output_leaves_its_name(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["c"], name="stem"),
        helper.make_node("Conv", ["c", "b"], ["d"], name="first"),
        helper.make_node("Relu", ["d"], ["e"], name="relu"),
        helper.make_node("Conv", ["e", "f"], ["g"], name="second"),
        helper.make_node("Add", ["c", "g"], ["y"], name="add"),
    ]
    constants = {"a": w(4, 3, 1, 1), "b": w(6, 4, 1, 1), "f": w(4, 6, 1, 1)}
    path = saved(tmp_path, model_of(nodes, {"x": x(3, 4, 4)}, constants, ["y"]))
    network = capture_onnx(path)
    (block,) = find_blocks(network, find_channels(network))
    written = write_back(path, remove_blocks(network, [block]))
    graph = graph_of(written)
    assert [(n.op_type, list(n.input), list(n.output)) for n in graph.node] == [
        ("Conv", ["x", "a"], ["c"]),
        ("Identity", ["c"], ["y"]),
    ]
    assert [tensor.name for tensor in graph.initializer] == ["a"]
    inputs = drawn(network, 2)
    stem = run(model_of(nodes[:1], {"x": x(3, 4, 4)}, {"a": constants["a"]}, ["c"]), inputs)
    assert_close(run(written, inputs), stem, 0)


def test_one_initialiser_read_in_two_ways_becomes_two(tmp_path):
    """One vector is the bias of two convolutions of which only one is pruned; an unread initialiser stays."""
    nodes = [
        helper.make_node("Conv", ["x", "a", "shared"], ["c"], name="inner"),
        helper.make_node("Conv", ["c", "b", "shared"], ["y"], name="outer"),
        helper.make_node("Conv", ["x", "a2", "copy"], ["z"], name="aside"),
        helper.make_node("Identity", ["shared"], ["copy"], name="copy"),
    ]
    nodes = [nodes[3], *nodes[:3]]
    constants = {"a": w(4, 3, 1, 1), "b": w(4, 4, 1, 1), "a2": w(4, 3, 1, 1), "shared": w(4), "unread": w(2)}
    path = saved(tmp_path, model_of(nodes, {"x": x(3, 4, 4)}, constants, ["y", "z"]))
    network = capture_onnx(path)
    assert not find_channels(network).groups, "shared weights tie what is pruned to an output"
    changed = {**network.parameters, "copy": network.parameters["copy"] + 1}
    written = graph_of(write_back(path, network.with_parameters(changed)))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in written.initializer}
    assert np.array_equal(values["copy"], constants["shared"] + 1)
    assert np.array_equal(values["shared"], constants["shared"])
    assert "unread" in values
    assert "copy" not in {node.name for node in written.node}


def test_what_cannot_be_written_back_is_said(tmp_path):
    path = saved(tmp_path, residual_model())
    network = capture_onnx(path)
    with pytest.raises(UnsupportedModel) as caught:
        write_back(path, fold_batch_norm(network))
    assert str(caught.value) == (
        "the sizes or inputs of 'stem/conv', 'block0/first/conv', 'block0/second/conv' cannot be written back into the "
        "file's own nodes. silicut.graph.onnx_writer.to_onnx writes the same network as a graph of its own"
    )
    other = saved(tmp_path, branching_model())
    with pytest.raises(UnsupportedModel, match="operator 'stem/conv' comes from no node of the file"):
        write_back(other, network)


def test_declared_shapes_follow(tmp_path):
    model = residual_model()
    model.graph.value_info.append(helper.make_tensor_value_info("stem:c", TensorProto.FLOAT, ["n", 8, 8, 8]))
    model.graph.value_info.append(helper.make_tensor_value_info("block1/first:c", TensorProto.FLOAT, ["n", 12, 8, 8]))
    model.graph.input.append(helper.make_tensor_value_info("head.w", TensorProto.FLOAT, [5, 8]))
    path = saved(tmp_path, model)
    network = capture_onnx(path)
    channels = find_channels(network)
    block = find_blocks(network, channels)[1]
    kept = {channels.groups[0].name: np.array([0, 3, 4])}
    written = graph_of(write_back(path, remove_blocks(keep_channels(network, channels, kept), [block])))
    declared = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*written.value_info, *written.input)}
    assert declared == {"x": [0, 3, 8, 8], "stem:c": [0, 3, 8, 8], "head.w": [5, 3]}
