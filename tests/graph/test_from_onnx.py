"""ONNX files captured: every kind of node against ONNX Runtime with its attributes varied, shapes, and what is refused."""

import numpy as np
import onnx
import pytest
import torch
from graph_checks import outputs_of
from onnx import TensorProto, helper, numpy_helper
from onnx_nodes import case, drawn, ints, model_of, positive, run, w, x

from silicut.graph import capture_onnx, find_channels, keep_channels, to_module, write_back
from silicut.graph.from_onnx.table import RULES
from silicut.records import BadFile, ConfigError, UnsupportedModel

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.needs_ort

IMAGE, LINE = x(4, 6, 7), x(4, 9)


def scalar(value):
    return np.array(value, np.float32)


LAYERS = [
    case("Conv", IMAGE, w(5, 4, 3, 3), w(5), pads=[1, 1, 1, 1]),
    case("Conv", IMAGE, w(5, 4, 3, 2), pads=[0, 1, 2, 0], strides=[2, 1], kernel_shape=[3, 2]),
    case("Conv", IMAGE, w(6, 2, 3, 3), w(6), group=2, dilations=[2, 1]),
    case("Conv", IMAGE, w(4, 1, 3, 3), group=4, auto_pad="SAME_UPPER", strides=[2, 3]),
    case("Conv", IMAGE, w(5, 4, 2, 4), auto_pad="SAME_LOWER"),
    case("Conv", IMAGE, w(5, 4, 3, 3), auto_pad="VALID", opset=11),
    case("Conv", LINE, w(5, 4, 3), w(5), pads=[1, 0]),
    case("Conv", x(2, 4, 5, 6), w(3, 2, 2, 3, 1), pads=[1, 1, 0, 1, 1, 0]),
    case("ConvTranspose", IMAGE, w(4, 5, 3, 3), w(5), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    case("ConvTranspose", IMAGE, w(4, 3, 3, 2), group=2, pads=[0, 1, 1, 0], strides=[2, 1]),
    case("ConvTranspose", IMAGE, w(4, 5, 3, 3), strides=[2, 2], output_shape=[12, 14]),
    case("ConvTranspose", IMAGE, w(4, 5, 4, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("ConvTranspose", IMAGE, w(4, 5, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER", dilations=[1, 2]),
    case("ConvTranspose", LINE, w(4, 5, 3), w(5), strides=[3]),
    case("ConvTranspose", x(2, 3, 3, 3), w(2, 3, 2, 2, 2), strides=[2, 2, 2]),
    case("Gemm", x(6), w(6, 5), w(5)),
    case("Gemm", x(6), w(5, 6), w(5), transB=1),
    case("Gemm", x(6), w(5, 6), transB=1, alpha=0.5),
    case("Gemm", x(6), w(6, 5), w(1, 5), alpha=2.0, beta=0.25),
    case("Gemm", x(6), w(6, 5), scalar(3.0)),
    case("Gemm", x(6), w(6, 5), w(5), beta=0.0),
    case("MatMul", x(3, 6), w(6, 5)),
    case("MatMul", x(6), w(6, 5)),
    case("MatMul", x(3, 6), x(6, 2)),
    case("MatMul", w(3, 5, 6), x(3, 6, 2)),
    case("MatMul", x(3, 4, 6), w(3, 6, 2)),
    case("BatchNormalization", IMAGE, w(4), w(4), w(4), positive(4), epsilon=1e-3, opset=9 + 2),
    case("BatchNormalization", x(4), w(4), w(4), w(4), positive(4), momentum=0.7),
    case("LayerNormalization", IMAGE, w(7), w(7)),
    case("LayerNormalization", IMAGE, w(6, 7), axis=2, epsilon=1e-3),
    case("LayerNormalization", IMAGE, w(6, 7), None, axis=-2),
    case("RMSNormalization", x(5, 6), w(6), opset=23),
    case("RMSNormalization", x(5, 6), w(5, 6), axis=1, epsilon=1e-2, opset=23),
    case("InstanceNormalization", IMAGE, w(4), w(4), epsilon=1e-2),
    case("GroupNormalization", IMAGE, w(4), w(4), num_groups=2, opset=21),
    case("LRN", IMAGE, size=3),
    case("LRN", IMAGE, size=5, alpha=0.1, beta=0.6, bias=2.0),
    case("PRelu", IMAGE, w(4, 1, 1)),
    case("PRelu", IMAGE, w(1, 4, 1, 1)),
    case("PRelu", IMAGE, w(1)),
    case("PRelu", IMAGE, w(6, 7)),
    case("PRelu", x(4), w(4)),
]
ELEMENTWISE = [
    *(
        case(kind, IMAGE)
        for kind in "Relu Sigmoid Tanh HardSwish Erf Softplus Exp Neg Abs Floor Ceil Round Sign Sin Cos".split()
    ),
    case("Mish", IMAGE),
    case("Sqrt", IMAGE),  # nan for negative numbers on both sides
    case("Log", IMAGE),
    case("Reciprocal", IMAGE),
    case("LeakyRelu", IMAGE),
    case("LeakyRelu", IMAGE, alpha=0.3),
    case("Elu", IMAGE),
    case("Elu", IMAGE, alpha=0.7),
    case("Celu", IMAGE, alpha=0.7),
    case("Selu", IMAGE),
    case("Selu", IMAGE, alpha=1.2, gamma=0.9),
    case("HardSigmoid", IMAGE),
    case("HardSigmoid", IMAGE, alpha=1 / 6),
    case("HardSigmoid", IMAGE, alpha=0.4, beta=0.3),
    case("Gelu", IMAGE),
    case("Gelu", IMAGE, approximate="tanh"),
    case("Clip", IMAGE, scalar(-0.5), scalar(0.5)),
    case("Clip", IMAGE, None, scalar(0.5), opset=11),
    case("Clip", IMAGE, scalar(0.5)),
    case("Clip", IMAGE),
    case("Dropout", IMAGE, opset=11),
    case("Dropout", IMAGE, scalar(0.4), np.array(False)),
    case("Cast", IMAGE, to=TensorProto.DOUBLE),
    case("Cast", IMAGE, to=TensorProto.INT64),
    case("Cast", IMAGE, to=TensorProto.FLOAT),
    case("Cast", x(4, dtype="bool"), to=TensorProto.FLOAT),
    case("Not", x(4, dtype="bool")),
    case("IsNaN", IMAGE),
    *(case(kind, IMAGE, x(4, 1, 7)) for kind in "Add Sub Mul Div".split()),
    *(case(kind, IMAGE, w(4, 1, 1)) for kind in "Add Sub Mul Div".split()),
    *(case(kind, IMAGE, scalar(1.5)) for kind in "Add Sub Mul Div Pow".split()),
    *(case(kind, scalar(1.5), IMAGE) for kind in "Add Sub Mul Div Pow".split()),
    case("Add", w(1, 1, 1, 1, 1), IMAGE),
    case("Div", x(4, dtype="int64"), ints(-3)),
    case("Pow", IMAGE, ints(2)),
    case("Pow", x(3), positive(3)),
    case("Min", IMAGE, w(4, 1, 1), x(1, 6, 1)),
    case("Max", IMAGE, scalar(0.1)),
    case("Max", IMAGE),
    case("Sum", IMAGE, w(7), IMAGE),
    case("And", x(4, dtype="bool"), x(4, dtype="bool")),
    case("Or", x(4, dtype="bool"), np.array([True, False, True, False])),
    *(case(kind, IMAGE, x(1, 6, 7)) for kind in "Greater GreaterOrEqual Less LessOrEqual".split()),
    case("Equal", x(4, dtype="int64"), ints(1)),
    case("Less", scalar(0.2), IMAGE),
    case("Where", x(4, 1, 1, dtype="bool"), IMAGE, scalar(-2.0)),
    case("Softmax", IMAGE),
    case("Softmax", IMAGE, axis=1),
    case("Softmax", IMAGE, opset=11),
    case("Softmax", IMAGE, opset=12, axis=3),
    case("LogSoftmax", IMAGE, axis=-2),
    case("LogSoftmax", IMAGE, axis=2, opset=11),
]
REDUCTIONS = [
    *(case(kind, IMAGE, axes=[2, 3], opset=12) for kind in "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2".split()),
    *(
        case(kind, IMAGE, ints(-1), keepdims=0)
        for kind in "ReduceMean ReduceSum ReduceMax ReduceMin ReduceSumSquare".split()
    ),
    case("ReduceMean", IMAGE),
    case("ReduceMean", IMAGE, noop_with_empty_axes=1),
    case("ReduceMean", IMAGE, axes=[1], keepdims=0, opset=17),
    case("ReduceSum", IMAGE, ints(1, 3), opset=13),
    case("ReduceL2", IMAGE, ints(1)),
    case("ArgMax", IMAGE, axis=1),
    case("ArgMax", IMAGE, axis=-1, keepdims=0),
]
POOLS = [
    case("MaxPool", IMAGE, kernel_shape=[2, 3]),
    case("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
    case("MaxPool", IMAGE, kernel_shape=[3, 2], pads=[0, 1, 2, 0], dilations=[1, 2]),
    case("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 3], auto_pad="SAME_LOWER"),
    case("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, opset=11),
    case("MaxPool", LINE, kernel_shape=[3], strides=[2], ceil_mode=1),
    case("MaxPool", x(2, 4, 4, 4), kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
    case("AveragePool", IMAGE, kernel_shape=[2, 3]),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("AveragePool", IMAGE, kernel_shape=[3, 2], pads=[0, 1, 2, 0]),
    case("AveragePool", IMAGE, kernel_shape=[3, 2], pads=[0, 1, 2, 0], count_include_pad=1),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("AveragePool", LINE, kernel_shape=[3], strides=[2]),
    case("AveragePool", x(2, 4, 4, 4), kernel_shape=[2, 2, 2], pads=[1, 0, 0, 0, 0, 0]),
    *(case(kind, value) for kind in ("GlobalAveragePool", "GlobalMaxPool") for value in (IMAGE, LINE, x(2, 3, 3, 3))),
    case("Resize", IMAGE, None, np.float32([1, 1, 2, 3])),
    case(
        "Resize",
        IMAGE,
        None,
        np.float32([1, 1, 1.5, 0.7]),
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    case("Resize", IMAGE, None, np.float32([1, 1, 2, 2]), nearest_mode="round_prefer_ceil", opset=13),
    case("Resize", IMAGE, None, np.float32([1, 1, 2, 2]), mode="linear"),
    case("Resize", IMAGE, np.float32([]), np.float32([1, 1, 1.7, 0.6]), mode="linear", opset=11),
    case("Resize", IMAGE, None, np.float32([1, 1, 2, 2]), mode="linear", coordinate_transformation_mode="align_corners"),
    case(
        "Resize", IMAGE, None, np.float32([1, 1, 2, 2]), mode="linear", coordinate_transformation_mode="pytorch_half_pixel"
    ),
    case("Resize", IMAGE, None, None, ints(10, 9), mode="linear", axes=[2, 3]),
    case("Resize", IMAGE, None, np.float32([3, 2]), axes=[3, 2]),
    case("Resize", IMAGE, None, np.float32([1, 1, 2, 2]), mode="cubic"),
    case("Resize", LINE, None, np.float32([1, 1, 2.5]), mode="linear"),
    case("Resize", x(2, 3, 3, 3), None, np.float32([1, 1, 2, 2, 2]), mode="linear"),
]
SHAPES = [
    case("Identity", IMAGE),
    case("Reshape", IMAGE, ints(-1, 2, 2, 42)),
    case("Reshape", IMAGE, ints(0, -1)),
    case("Reshape", IMAGE, ints(-1, 7)),
    case("Reshape", IMAGE, ints(0, 0, 42)),
    case("Reshape", IMAGE, ints(0, 4, -1), opset=13),
    case("Flatten", IMAGE),
    case("Flatten", IMAGE, axis=2),
    case("Flatten", IMAGE, axis=-1),
    case("Flatten", x(5)),
    case("Transpose", IMAGE, perm=[0, 2, 3, 1]),
    case("Transpose", IMAGE),
    case("Squeeze", x(1, 4, 1), ints(1, -1)),
    case("Squeeze", x(1, 4, 1), axes=[3], opset=12),
    case("Squeeze", x(1, 4, 1), batches=(2, 3)),  # at one image the file would take the batch axis away too
    case("Unsqueeze", x(4, 5), ints(1)),
    case("Unsqueeze", x(4, 5), ints(-1, 1)),
    case("Unsqueeze", x(4, 5), axes=[0, 4], opset=11),
    case("Expand", x(4, 1, 7), ints(1, 1, 6, 1)),
    case("Expand", x(1, 7), ints(3, 1, 5, 7)),
    case("Tile", IMAGE, ints(1, 2, 1, 3)),
    case("Concat", IMAGE, x(2, 6, 7), axis=1),
    case("Concat", IMAGE, IMAGE, axis=-1),
    case("Split", IMAGE, ints(1, 3), axis=1, n_outputs=2),
    case("Split", IMAGE, axis=1, split=[3, 1], n_outputs=2, opset=12),
    case("Split", IMAGE, axis=2, n_outputs=3, opset=13),
    case("Split", IMAGE, axis=3, num_outputs=3, n_outputs=3),
    case("Slice", IMAGE, ints(1), ints(3), ints(1)),
    case("Slice", IMAGE, ints(1, -4), ints(2**31 - 1, -1), ints(1, 3), ints(2, 1)),
    case("Slice", IMAGE, ints(0, 1), ints(1, 3)),
    case("Gather", IMAGE, np.array(-1, np.int64), axis=1),
    case("Gather", IMAGE, ints(3, 0, -1), axis=1),
    case("Gather", w(5, 3), x(4, dtype="int64")),
    case("Pad", IMAGE, ints(0, 0, 1, 2, 0, 0, 3, 0)),
    case("Pad", IMAGE, ints(0, 1, 0, 0, 0, 2, 0, 0), scalar(1.5)),
    case("Pad", IMAGE, ints(0, 0, -1, 2, 0, 0, 3, 0)),
    case("Pad", IMAGE, ints(0, 0, 1, 2, 0, 0, 3, 0), mode="reflect"),
    case("Pad", IMAGE, ints(0, 0, 1, 0, 0, 0, 3, 0), mode="edge", opset=11),
    case("Pad", IMAGE, ints(1, 2, 0, 1), None, ints(2, -1), mode="wrap", opset=19),
    case("Pad", IMAGE, ints(0, 0, 0, 0, 0, 0, 0, 0)),
    case("DepthToSpace", x(8, 3, 4), blocksize=2),
    case("DepthToSpace", x(8, 3, 4), blocksize=2, mode="CRD"),
    case("SpaceToDepth", x(3, 6, 4), blocksize=2),
]
CASES = LAYERS + ELEMENTWISE + REDUCTIONS + POOLS + SHAPES


def captured(tmp_path, model, shapes=None):
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    return capture_onnx(path, shapes)


def assert_agrees(network, model, batches=(1, 3), tolerance=1e-5):
    for batch in batches:
        inputs = drawn(network, batch)
        with torch.no_grad():
            found = outputs_of(to_module(network)(*(torch.from_numpy(array) for array in inputs)))
        for a, b in zip(found, run(model, inputs), strict=True):
            assert a.shape == b.shape
            assert a.numpy().dtype == b.dtype
            scale = max(1, np.nanmax(np.abs(b.astype(float)), initial=0))
            assert np.allclose(a.numpy(), b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.opset}")
def test_pytorch_computes_what_onnx_runtime_computes(tmp_path, case):
    model = case.model()
    network = captured(tmp_path, model)
    assert_agrees(network, model, case.batches)
    assert all(operator.name.partition("/")[0] == "it" for operator in network.operators)
    fixed = case.model(batch=2)
    assert_agrees(captured(tmp_path, fixed), fixed, batches=[2])


def constant_of_shape(opset=20):
    """Ones of the batch's size, times the input: what exporters make of torch.ones(x.shape[0], 3)."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], name="shape"),
        helper.make_node("Slice", ["s", "zero", "one"], ["b"], name="slice"),
        helper.make_node("Concat", ["b", "three"], ["size"], axis=0, name="size"),
        helper.make_node("ConstantOfShape", ["size"], ["ones"], value=numpy_helper.from_array(np.float32([2])), name="ones"),
        helper.make_node("Mul", ["ones", "x"], ["y"], name="mul"),
    ]
    return model_of(nodes, {"x": x(3)}, {"zero": ints(0), "one": ints(1), "three": ints(3)}, ["y"], opset)


def test_tensors_of_the_batchs_size_are_made(tmp_path):
    network = captured(tmp_path, constant_of_shape())
    assert [o.kind for o in network.operators] == ["full", "mul"]
    assert network.operators[0].arguments["size"] == ("batch", 3)
    assert_agrees(network, constant_of_shape())


def test_every_rule_is_tested():
    assert {case.kind for case in CASES} | {"ConstantOfShape"} == set(RULES)


def view_chain():
    """x.view(x.size(0), x.size(1) * 2, -1) as the older exporter writes it, times a constant computed from constants."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Constant", [], ["i0"], value=numpy_helper.from_array(np.array(0))),
        helper.make_node("Constant", [], ["i1"], value_int=1),
        helper.make_node("Gather", ["s", "i0"], ["n"], axis=0),
        helper.make_node("Gather", ["s", "i1"], ["c"], axis=0),
        helper.make_node("Mul", ["c", "two"], ["cc"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Unsqueeze", ["cc", "axis"], ["c1"]),
        helper.make_node("Concat", ["n1", "c1", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["v"], name="view"),
        helper.make_node("Sqrt", ["scale"], ["root"]),
        helper.make_node("Mul", ["v", "root"], ["y"], name="scaled"),
    ]
    constants = {"two": np.array(2), "axis": ints(0), "rest": ints(-1), "scale": positive(1, 8, 1)}
    return model_of(nodes, {"x": x(4, 6, 7)}, constants, ["y"])


def test_chains_of_shapes_and_constants_are_evaluated(tmp_path):
    model = view_chain()
    network = captured(tmp_path, model)
    assert [(o.name, o.kind) for o in network.operators] == [("view", "reshape"), ("scaled", "mul")]
    assert network.operators[0].arguments["shape"] == ("batch", 8, 21)
    assert list(network.parameters) == ["root"]
    assert network.tensors["v"].shape == (-1, 8, 21)
    assert_agrees(network, model)


def small(**changes):
    """Convolution, batch norm, linear layer with its bias in an Add: names and what is trainable."""
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["c"], name="conv"),
        helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "var"], ["b"], name="norm"),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("ReduceMean", ["r", "axes"], ["m"], keepdims=0, name="pool"),
        helper.make_node("Mul", ["m", "scale"], ["s"], name="scale"),
        helper.make_node("MatMul", ["s", "fc"], ["f"], name="fc"),
        helper.make_node("Add", ["bias", "f"], ["y"], name="out"),
    ]
    constants = {"conv.weight": w(8, 3, 3, 3), "gamma": w(8), "beta": w(8), "mean": w(8), "var": positive(8)}
    constants |= {"axes": ints(2, 3), "scale": w(8), "fc": w(8, 5), "bias": w(5)} | changes
    return model_of(nodes, {"x": x(3, 6, 6)}, constants, ["y"])


def test_names_and_trainable_weights(tmp_path):
    model = small()
    network = captured(tmp_path, model)
    assert [o.name for o in network.operators] == ["conv", "norm", "r", "pool", "scale", "fc", "out"]
    assert network.inputs == ("x",)
    assert network.outputs == ("y",)
    assert network.trainable == {"conv.weight", "gamma", "beta", "fc", "bias"}
    assert set(network.parameters) == network.trainable | {"norm.running_mean", "norm.running_var", "scale"}
    assert network.parameters["fc"].shape == (5, 8)
    assert network.tensors["c"].shape == (-1, 8, 4, 4)
    channels = find_channels(network)
    assert [(g.name, g.n_channels) for g in channels.groups] == [("conv", 8)]
    module = to_module(network)
    assert dict(module.named_parameters()).keys() == network.trainable
    module.train()(torch.randn(4, 3, 6, 6)).sum().backward()


def test_statistics_shared_in_the_file_are_each_norms_own(tmp_path):
    nodes = [
        helper.make_node("BatchNormalization", ["x", "g", "b", "bn.running_mean", "bn.running_var"], ["a"], name="first"),
        helper.make_node("BatchNormalization", ["a", "g", "b", "bn.running_mean", "bn.running_var"], ["y"], name="second"),
    ]
    constants = {"g": w(4), "b": w(4), "bn.running_mean": w(4), "bn.running_var": positive(4)}
    model = model_of(nodes, {"x": x(4, 5)}, constants, ["y"])
    network = captured(tmp_path, model)
    assert set(network.parameters) == set(constants) | {"second.running_mean", "second.running_var"}
    assert to_module(network).batch_norm_momentum.keys() == {"bn", "second"}
    assert_agrees(network, model)


def test_several_inputs_and_outputs(tmp_path):
    nodes = [
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["y0"]),
        helper.make_node("Identity", ["a"], ["y1"]),
    ]
    model = model_of(nodes, {"a": x(3), "b": x(1)}, {}, ["y0", "y1", "s"])
    network = captured(tmp_path, model)
    assert network.output_structure == "tuple"
    assert network.outputs == ("y0", "y1", "s")
    assert_agrees(network, model)


def test_weights_beside_the_file_and_local_functions_are_read(tmp_path):
    model = small()
    expected = captured(tmp_path, model)
    path = tmp_path / "external.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert capture_onnx(path).weights_hash == expected.weights_hash
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(
        BadFile, match=r"external\.onnx keeps its weights in other files, which cannot be read; copy them beside it"
    ):
        capture_onnx(path)
    twice = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)]
    )
    model = model_of([helper.make_node("Twice", ["x"], ["y"], domain="own")], {"x": x(3)}, {}, [])
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3]))
    model.functions.append(twice)
    model.opset_import.append(helper.make_opsetid("own", 1))
    network = captured(tmp_path, model)
    assert [o.kind for o in network.operators] == ["add"]
    assert_agrees(network, model)


def free_model():
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": x(3, "height", "width")}, {}, [])
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    return model


def test_free_sizes_are_asked_for(tmp_path):
    with pytest.raises(ConfigError) as caught:
        captured(tmp_path, free_model())
    assert str(caught.value) == (
        "input 'x' must have one free axis, the batch, not height, width too; give its shape behind the batch"
    )
    assert captured(tmp_path, free_model(), {"x": (3, 5, 6)}).tensors["y"].shape == (-1, 3, 5, 6)
    with pytest.raises(ConfigError, match="shape of input 'x' behind its batch axis must be 3xheightxwidth, not 4x5x6"):
        captured(tmp_path, free_model(), {"x": (4, 5, 6)})
    with pytest.raises(ConfigError, match="shape of input 'z' is given, which the model does not have"):
        captured(tmp_path, free_model(), {"z": (1,), "x": (3, 5, 6)})


def test_all_offenders_are_listed_at_once_with_what_is_read(tmp_path):
    nodes = [
        helper.make_node("Det", ["x"], ["d"], name="determinant"),
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Hardmax", ["r"], ["h"], name="hard"),
        helper.make_node("Gelu", ["h"], ["g"], domain="com.microsoft", name="other"),
        helper.make_node("MaxPool", ["x4"], ["p"], kernel_shape=[3, 3], pads=[0, 0, 1, 1], ceil_mode=1, name="pool"),
    ]
    model = model_of(nodes, {"x": x(3, 3), "x4": x(1, 6, 6)}, {}, [])
    for name in ("d", "g", "p"):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(UnsupportedModel) as caught:
        captured(tmp_path, model)
    assert caught.value.offenders == (
        "node 'determinant' (Det)",
        "node 'hard' (Hardmax)",
        "node 'other' (com.microsoft.Gelu)",
        "node 'pool' (MaxPool): it pads its sides differently and rounds its size up",
    )
    assert caught.value.advice.startswith("Read are, of operator sets 11 to 23: Abs, Add, And, ArgMax, AveragePool")
    assert caught.value.advice.endswith("Unsqueeze, Where; constants of any operator")


REFUSED = [
    (case("BatchNormalization", IMAGE, w(4), w(4), w(4), positive(4), training_mode=1, opset=15), "statistics of the batch"),
    (case("GroupNormalization", IMAGE, w(2), w(2), num_groups=2, opset=18), "before operator set 21"),
    (case("LayerNormalization", IMAGE, w(1), axis=-1), r"scale and shift must have the shape that is normalised \(7\)"),
    (case("Dropout", IMAGE, scalar(0.5), np.array(True)), "it is always on"),
    (case("Softmax", IMAGE, axis=0, opset=12), "it normalises over images"),
    (case("ArgMax", IMAGE, axis=1, select_last_index=1), "it selects the last of equal ones"),
    (case("AveragePool", IMAGE, kernel_shape=[2, 2], dilations=[2, 2]), "it is dilated"),
    (case("Resize", IMAGE, None, np.float32([1, 2, 1, 1])), "it resizes channels or images"),
    (
        case("Resize", IMAGE, None, np.float32([1, 1, 1.5, 1])),
        "no nearest resizing with half_pixel and round_prefer_floor by 1.5",
    ),
    (case("Resize", IMAGE, None, np.float32([1, 1, 2, 2]), mode="linear", antialias=1), "its antialias must be 0, not 1"),
    (
        case("Resize", IMAGE, None, np.float32([1, 1, 2, 2]), mode="cubic", cubic_coeff_a=-0.5),
        "its cubic_coeff_a must be -0.75",
    ),
    (case("Squeeze", x(4), ints(0)), "it takes the batch axis away"),
    (case("Slice", IMAGE, ints(-1), ints(-9), ints(2), ints(-1)), "it walks backwards"),
    (case("Split", IMAGE, axis=0, n_outputs=2, num_outputs=2), "it splits the batch"),
    (case("Gather", IMAGE, np.zeros((2, 2), np.int64), axis=1), "its indices must have no axis or one, not 2"),
    (case("Gather", IMAGE, x(4, dtype="int64"), axis=1), "its input 'x1' depends on the network's inputs"),
    (case("Reshape", IMAGE, x(dtype="int64")), "its input 'x1' depends on the network's inputs"),
    (case("Pad", IMAGE, ints(1, 0, 0, 0, 0, 0, 0, 0)), "it pads the batch"),
    (case("MaxPool", IMAGE, kernel_shape=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1), "rounds its size up"),
    (case("Conv", x(4), w(4, 4)), "its input must have 3 to 5 axes, not 2"),
]


@pytest.mark.parametrize(("case", "reason"), REFUSED, ids=lambda value: getattr(value, "kind", None))
def test_what_a_rule_cannot_read_is_said(tmp_path, case, reason):
    from onnx_nodes import X

    names = [("x" if isinstance(v, X) else "w") + str(i) if v is not None else "" for i, v in enumerate(case.inputs)]
    node = helper.make_node(case.kind, names, [f"y{i}" for i in range(case.n_outputs)], name="it", **case.attributes)
    inputs = {n: v for n, v in zip(names, case.inputs, strict=True) if isinstance(v, X)}
    constants = {n: v for n, v in zip(names, case.inputs, strict=True) if isinstance(v, np.ndarray)}
    model = model_of([node], inputs, constants, [], case.opset)
    model.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in node.output)
    with pytest.raises(UnsupportedModel, match=rf"^node 'it' \({case.kind}\): .*{reason}"):
        captured(tmp_path, model)


def test_other_files_are_named(tmp_path):
    with pytest.raises(BadFile, match=r"nowhere\.onnx does not exist; check the path"):
        capture_onnx(tmp_path / "nowhere.onnx")
    path = tmp_path / "bad.onnx"
    for content in (b"not a model", b"", small().SerializeToString()[:300]):
        path.write_bytes(content)
        with pytest.raises(BadFile, match=r"bad\.onnx (is not a readable ONNX file|holds no network)"):
            capture_onnx(path)


@pytest.mark.parametrize("opset", [10, 24])
def test_other_operator_sets_are_refused(tmp_path, opset):
    model = helper.make_model(constant_of_shape().graph, opset_imports=[helper.make_opsetid("", opset)])
    with pytest.raises(UnsupportedModel) as caught:
        captured(tmp_path, model)
    assert str(caught.value) == (
        f"the model's operator set is version {opset}. Operator sets 11 to 23 are read; onnx.version_converter changes the "
        "version of a model"
    )


def fixed_model(batch, reshaped):
    """Convolution, reshape to sizes that are written out with the batch, linear layer."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["c"], name="conv"),
        helper.make_node("Reshape", ["c", "shape"], ["r"], name="reshape"),
        helper.make_node("Sigmoid", ["r"], ["s"], name="sigmoid"),
        helper.make_node("MatMul", ["s", "b"], ["y"], name="fc"),
    ]
    width = 4 * 16 * batch // (reshaped[0] if reshaped[0] > 0 else batch)
    constants = {"a": w(4, 3, 1, 1), "shape": ints(*reshaped), "b": w(width, 5)}
    return model_of(nodes, {"x": x(3, 4, 4)}, constants, ["y"], batch=batch)


@pytest.mark.parametrize(("batch", "reshaped"), [(1, (1, 64)), (1, (1, -1)), (2, (2, -1)), (3, (0, 64)), (2, (-1, 64))])
def test_a_fixed_batch_is_freed_where_images_are_independent(tmp_path, batch, reshaped):
    model = fixed_model(batch, reshaped)
    network = captured(tmp_path, model)
    assert network.tensors["y"].shape == (-1, 5)
    assert_agrees(network, model, [batch])
    channels = find_channels(network)
    pruned = keep_channels(network, channels, {"conv": np.array([0, 2])})
    written = onnx.load_from_string(write_back(tmp_path / "model.onnx", pruned))
    assert written.graph.input == model.graph.input
    assert_agrees(pruned, written, [batch])


def test_a_token_joined_to_one_image_is_joined_to_each(tmp_path):
    model = model_of(
        [helper.make_node("Concat", ["token", "x"], ["y"], axis=1)], {"x": x(5, 3)}, {"token": w(1, 1, 3)}, ["y"], batch=1
    )
    network = captured(tmp_path, model)
    assert network.tensors["y"].shape == (-1, 6, 3)
    assert [(o.name, o.kind) for o in network.operators] == [("y/images0", "expand"), ("y", "cat")]
    assert_agrees(network, model, [1])
    assert write_back(tmp_path / "model.onnx", network) == model.SerializeToString()


@pytest.mark.parametrize(("batch", "reshaped"), [(2, (1, 128)), (4, (2, -1))])
def test_a_batch_whose_images_are_mixed_stays_fixed(tmp_path, batch, reshaped):
    model = fixed_model(batch, reshaped)
    network = captured(tmp_path, model)
    assert network.tensors["x"].shape == (batch, 3, 4, 4)
    assert_agrees(network, model, [batch])


def test_a_batch_over_which_is_normalised_stays_fixed(tmp_path):
    model = model_of([helper.make_node("Softmax", ["x"], ["y"], axis=0)], {"x": x(3)}, {}, ["y"], batch=2)
    network = captured(tmp_path, model)
    assert network.tensors["x"].shape == (2, 3)
    assert_agrees(network, model, [2])
