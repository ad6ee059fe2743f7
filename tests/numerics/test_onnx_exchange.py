"""QDQ and QONNX files: the integers come back, runtimes compute what they say, what they cannot say is refused."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from integer_networks import Growing, gated, images, residual

from silicut.numerics import (
    IntegerExecutor,
    IntegerFormat,
    Linear,
    Quantisation,
    Requantise,
    Rounding,
    dequantise,
    quantise,
    run_integer,
)
from silicut.numerics.onnx import ReadOptions, from_qdq, from_qonnx, roundings, stored_tensors, to_qdq, to_qonnx
from silicut.numerics.onnx.steps import plain_name
from silicut.records import BadFile, UnsupportedModel

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

FORMATS = [("uint8", "int8_narrow"), ("int8", "int8"), ("uint4", "int4_narrow"), ("int5", "int3"), ("uint3", "int2")]


def assert_same_integers(found, wanted, n=3):
    """Two networks have the same tensors, and the same integers in each."""
    assert found.network.tensors == wanted.network.tensors
    given = images(wanted, n)
    first, second = run_integer(found.network, given), run_integer(wanted.network, given)
    for name, values in second.items():
        np.testing.assert_array_equal(first[name], values, err_msg=name)
    for name in (*wanted.network.inputs, *wanted.network.outputs):
        assert found.quantisations[name].zero_points == wanted.quantisations[name].zero_points
        np.testing.assert_allclose(found.quantisations[name].scales, wanted.quantisations[name].scales, rtol=1e-6)


@pytest.mark.parametrize("is_integer", [False, True])
@pytest.mark.parametrize(("activations", "weights"), FORMATS)
def test_qdq_files_come_back(activations, weights, is_integer):
    network = residual(activations, weights)
    model = to_qdq(network, integer_inputs=is_integer)
    onnx.checker.check_model(model, full_check=True)
    again = from_qdq(model.SerializeToString())
    assert_same_integers(again, network)
    assert dict(again.origins) == dict(network.origins)
    assert set(roundings(again)) == {Rounding.HALF_EVEN}


@pytest.mark.parametrize(("activations", "weights"), FORMATS)
def test_qonnx_files_come_back(activations, weights):
    network = residual(activations, weights)
    again = from_qonnx(to_qonnx(network, batch=None))
    assert_same_integers(again, network)
    assert dict(again.origins) == dict(network.origins)


@pytest.mark.parametrize("rounding", ["floor", "half_away", "truncate"])
def test_qonnx_keeps_the_rounding_mode(rounding):
    network = residual("uint4", "int4_narrow", rounding=rounding)
    again = from_qonnx(to_qonnx(network, batch=None))
    assert_same_integers(again, network)
    assert set(roundings(again)) == {Rounding(rounding)}
    with pytest.raises(UnsupportedModel, match=f"^operator requantise of conv1.step: it rounds {rounding}, and Quantize"):
        to_qdq(network)


def test_other_operators_come_back():
    assert_same_integers(from_qdq(to_qdq(gated())), gated())


def test_a_file_on_disk_is_read(tmp_path):
    onnx.save(to_qdq(residual()), tmp_path / "net.onnx")
    assert_same_integers(from_qdq(tmp_path / "net.onnx"), residual())
    with pytest.raises(BadFile, match=r"does not exist; check the path$"):
        from_qdq(tmp_path / "no.onnx")
    with pytest.raises(BadFile, match=r"^the model is not a readable ONNX file \(DecodeError\); copy it again$"):
        from_qdq(b"\xff\xff")


# ONNX Runtime


def session(model, all_stored=True):
    """A session of a QDQ model that gives its stored tensors too, and the kinds of kernels that it runs."""
    runtime = pytest.importorskip("onnxruntime")
    more = type(model)()
    more.CopyFrom(model)
    outputs = [output.name for output in model.graph.output]
    names = [name for name in stored_tensors(model) if name not in outputs] if all_stored else []
    more.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    return runtime.InferenceSession(more.SerializeToString(), options, providers=["CPUExecutionProvider"])


def executed(model, given):
    """All stored tensors and outputs by the network's names."""
    run = session(model)
    values = run.run(None, given)
    return {plain_name(output.name): value for output, value in zip(run.get_outputs(), values, strict=True)}


def off_from_half(network, found, name):
    """How far the quotients of differing elements are from halves, relative; what they are made of is the runtime's own."""
    step = network.network.producer[name]
    sums = network.network.producer[step.arguments["inputs"][0].name]
    operators = IntegerExecutor(network.network).operators
    accumulators = operators[sums.name].run(found[sums.arguments["inputs"][0].name])
    integer = operators[step.name]
    assert isinstance(integer, Requantise)
    factor = (integer.multiplier / 2.0**integer.shift).reshape(1, -1, 1, 1)
    quotient = accumulators * factor
    wrong = integer.run(accumulators).astype(int) - found[name]
    assert np.abs(wrong).max(initial=0) <= 1
    distance = np.abs(np.abs(quotient - np.floor(quotient)) - 0.5)
    return distance[wrong != 0] / np.maximum(np.abs(quotient[wrong != 0]), 1)


@pytest.mark.needs_ort
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("activations", "weights"), FORMATS)
def test_onnx_runtime_differs_by_one_step_at_halves_only(activations, weights, seed):
    network = residual(activations, weights, seed)
    given = images(network, 4)
    found = executed(to_qdq(network, integer_inputs=True), {"x": given["x"].astype(network.inputs[0].format.dtype)})
    found |= {"x": given["x"]}
    assert set(network.network.tensors) - set(found) == {
        n for n in network.network.tensors if n.endswith((".sums", "total", "totals"))
    }
    for name in ("a", "b", "c", "d"):
        assert (off_from_half(network, found, name) < 2.0**-21).all()


@pytest.mark.needs_ort
@pytest.mark.parametrize("is_integer", [False, True])
def test_inputs_and_outputs_are_floats_or_integers(is_integer):
    network = residual()
    given = images(network)["x"]
    reals = dequantise(given, network.inputs[0])
    model = to_qdq(network, integer_inputs=is_integer, integer_outputs=is_integer)
    (found,) = session(model, all_stored=False).run(None, {"x": given.astype(np.uint8) if is_integer else reals})
    wanted = run_integer(network.network, {"x": given})["y"]
    if is_integer:
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, wanted)
    else:
        np.testing.assert_allclose(found, dequantise(wanted, network.outputs[0]), rtol=1e-5)


@pytest.mark.needs_ort
def test_onnx_runtime_fuses_the_operators(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    runtime.InferenceSession(to_qdq(residual()).SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 4
    assert not {"Conv", "Gemm", "Add", "AveragePool", "GlobalAveragePool", "Concat", "MaxPool"} & set(kinds)


@pytest.mark.needs_ort
def test_int8_products_are_added_without_saturation_where_the_processor_has_vnni():
    """255 * 127 + 255 * 127 exceeds int16: AVX2 without VNNI adds pairs in 16 bits and saturates."""
    from pathlib import Path

    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "avx512_vnni" not in flags and "avx_vnni" not in flags:
        pytest.skip("this processor has no VNNI, or does not tell")
    uint8, int8 = IntegerFormat(8, is_signed=False), IntegerFormat(8)
    net = Growing("uint8", (64,), 1.0, 0)
    layer = Linear(weight=np.full((16, 64), 127, np.int8), input_format=uint8, weight_format=int8)
    net.add(layer, "fc", ["x"], "sums", (16,), Quantisation.per_tensor(IntegerFormat(32), 1.0))
    step = Requantise.by([2.0**-14], input_format=IntegerFormat(32), output_format=uint8)
    net.add(step, "step", ["sums"], "y", (16,), net.of(2.0**14, 0))
    network = net.finished("y")
    given = np.full((1, 64), 255, np.uint8)
    found = executed(to_qdq(network, integer_inputs=True, integer_outputs=True), {"x": given})["y"]
    np.testing.assert_array_equal(found, run_integer(network.network, {"x": given})["y"])


# The qonnx package


@pytest.mark.parametrize(("activations", "weights"), FORMATS)
def test_the_qonnx_package_computes_the_same(activations, weights):
    wrapper = pytest.importorskip("qonnx.core.modelwrapper").ModelWrapper
    execute = pytest.importorskip("qonnx.core.onnx_exec").execute_onnx
    shapes = pytest.importorskip("qonnx.transformation.infer_shapes").InferShapes
    network = residual(activations, weights)
    given = images(network, 2)
    model = wrapper(to_qonnx(network, batch=2)).transform(shapes())
    found = execute(model, {"x": dequantise(given["x"], network.inputs[0])}, return_full_exec_context=True)
    stored = [name for name, steps in network.quantisations.items() if steps.format.bits <= 8]
    integers = {name: quantise(found[name], network.quantisations[name]) for name in stored if name != "x"} | given
    for name, wanted in run_integer(network.network, given).items():
        if name in stored:
            assert np.abs(integers[name].astype(int) - wanted).max() <= 1, name
    for name in ("a", "b", "c", "d"):
        assert (off_from_half(network, integers, name) < 2.0**-18).all()


# What others write


def other_file(nodes, constants, outputs, opset=17, inputs=(("x", TensorProto.FLOAT, ["n", 2, 4, 4]),), domain=None):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    domains = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


def q(source, output, scale="s", zero="z"):
    return helper.make_node("QuantizeLinear", [source, scale, zero], [output], name=f"q_{output}")


def dq(source, output, scale="s", zero="z", **attributes):
    return helper.make_node("DequantizeLinear", [source, scale, zero], [output], name=f"dq_{output}", **attributes)


@pytest.mark.needs_ort
@pytest.mark.parametrize("activation", ["QUInt8", "QInt8"])
def test_static_quantisation_of_onnx_runtime_is_read(tmp_path, activation):
    tools = pytest.importorskip("onnxruntime.quantization")
    rng = np.random.default_rng(0)
    constants = {
        "w1": rng.normal(size=(6, 2, 3, 3)).astype(np.float32),
        "b1": rng.normal(size=6).astype(np.float32),
        "w2": rng.normal(size=(6, 1, 3, 3)).astype(np.float32),
        "w3": rng.normal(size=(5, 6)).astype(np.float32),
        "b3": rng.normal(size=5).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="conv2", pads=[1, 1, 1, 1], group=6),
        helper.make_node("Add", ["c2", "r1"], ["a"], name="add"),
        helper.make_node("GlobalAveragePool", ["a"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="fc", transB=1),
    ]
    model = other_file(nodes, constants, ["y"])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5]))
    onnx.save(model, tmp_path / "float.onnx")
    data = rng.normal(size=(8, 2, 4, 4)).astype(np.float32)

    class Once(tools.CalibrationDataReader):
        def __init__(self):
            self.left = [{"x": data}]

        def get_next(self):
            return self.left.pop() if self.left else None

    tools.quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        Once(),
        quant_format=tools.QuantFormat.QDQ,
        per_channel=True,
        activation_type=getattr(tools.QuantType, activation),
        weight_type=tools.QuantType.QInt8,
    )
    written = onnx.load(tmp_path / "int8.onnx")
    network = from_qdq(written, ReadOptions(multiplier_bits=31))
    found = executed(written, {"x": data})
    mine = run_integer(network.network, {"x": quantise(data, network.inputs[0])})
    assert network.origins["r1"] == "r1"
    for name in set(mine) & set(found):
        if found[name].dtype.kind in "iu":
            assert np.abs(mine[name].astype(int) - found[name]).max() <= 1, name
    assert {"x", "r1", "c2", "a", "p"} <= set(mine) & set(found)


def float_bias(bias):
    """As PyTorch exports: weights quantised for each channel, a float bias, MatMul-free, ReLU inside of the range."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.integers(-127, 128, (3, 2, 1, 1)).astype(np.int8),
        "sw": np.array([0.25, 0.5, 0.125], np.float32),
        "zw": np.zeros(3, np.int8),
        "bias": bias,
        "s": np.float32(0.5),
        "z": np.uint8(3),
        "s2": np.float32(16.0),
        "z2": np.uint8(0),
    }
    nodes = [
        q("x", "x_q"),
        dq("x_q", "x_r"),
        dq("w", "w_r", "sw", "zw", axis=0),
        helper.make_node("Conv", ["x_r", "w_r", "bias"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        q("r", "y_q", "s2", "z2"),
        dq("y_q", "y", "s2", "z2"),
    ]
    return other_file(nodes, constants, ["y"])


def test_a_float_bias_on_the_grid_is_exact():
    network = from_qdq(float_bias(np.array([0.25, -1.0, 0.0625], np.float32)))
    assert network.network.parameters["conv.bias"].tolist() == [2, -4, 1]
    assert [o.kind for o in network.network.operators] == ["conv2d", "requantise"]


def test_a_float_bias_off_the_grid_is_refused_or_rounded():
    model = float_bias(np.array([0.3, -1.0, 0.0625], np.float32))
    message = (
        "node 'conv' (Conv): its bias 'bias' is not on the scale of its accumulators; is_exact=False rounds it to them. "
        "Files are read only where integers can do exactly what they say"
    )
    with pytest.raises(UnsupportedModel, match=f"^{re.escape(message)}$"):
        from_qdq(model)
    network = from_qdq(model, ReadOptions(is_exact=False))
    assert network.network.parameters["conv.bias"].tolist() == [2, -4, 1]


def test_all_offenders_are_named_at_once():
    constants = {"s": np.float32(0.5), "z": np.uint8(0), "w": np.ones((3, 2, 1, 1), np.float32)}
    nodes = [
        q("x", "x_q"),
        dq("x_q", "x_r"),
        helper.make_node("Conv", ["x_r", "w"], ["c"], name="conv"),
        q("c", "c_q"),
        dq("c_q", "c_r"),
        helper.make_node("Softmax", ["x_r"], ["p"], name="softmax"),
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node("Sigmoid", ["x_r"], ["g"], name="gate"),
    ]
    with pytest.raises(UnsupportedModel) as caught:
        from_qdq(other_file(nodes, constants, ["c_r", "p", "g"]))
    assert caught.value.offenders == (
        "node 'conv' (Conv): its input 'w' is no quantised constant",
        "node 'softmax' (Softmax): it has no equal in integers",
        "node 'relu' (Relu): it reads 'x', which is not quantised",
    )
    with pytest.raises(UnsupportedModel, match=r"^output 'g' is not quantised\. "):
        from_qdq(other_file([*nodes[:2], nodes[-1]], constants, ["g"]))


def quant(source, output, bits="b8", zero="zero", mode="ROUND", signed=1, kind="Quant", **more):
    attributes = {"signed": signed, "narrow": 0, "rounding_mode": mode} | more
    return helper.make_node(
        kind, [source, "s", zero, bits], [output], name=output, domain="qonnx.custom_op.general", **attributes
    )


QUANT_CONSTANTS = {
    "s": np.float32(0.5),
    "zero": np.float32(0),
    "three": np.float32(3),
    "b8": np.float32(8),
    "b1": np.float32(1),
}


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([quant("x", "y", mode="CEIL")], "its rounding mode is CEIL, and ROUND, HALF_EVEN, HALF_UP, FLOOR, DOWN are read"),
        ([quant("x", "y", mode="FLOOR")], "it rounds an input floor, and inputs are rounded half_even"),
        (
            [quant("x", "y", bits="b1")],
            "it has one signed bit, which QONNX takes for -1 and 1; binary networks are not read",
        ),
        ([quant("x", "y", signed=0, narrow=1)], "its range is unsigned and narrow, which no format is"),
        (
            [quant("x", "y", zero="three")],
            "its zero point 3 is added before it rounds half_even, so halves become other integers than in a requantiser; "
            "is_exact=False accepts that",
        ),
        (
            [helper.make_node("BipolarQuant", ["x", "s"], ["y"], name="y", domain="qonnx.custom_op.general")],
            "its two levels have no 0; binary networks are not read",
        ),
    ],
)
def test_what_qonnx_says_otherwise_is_refused(nodes, reason):
    model = other_file(nodes, QUANT_CONSTANTS, ["y"], domain="qonnx.custom_op.general")
    with pytest.raises(UnsupportedModel, match=f"{re.escape(reason)}\\. Files are read only"):
        from_qonnx(model)


def test_trunc_is_a_shift():
    """An average pool as Brevitas exports it: the sum of a window, of which the low bits are dropped."""
    constants = {
        **QUANT_CONSTANTS,
        "taps": np.float32(16),
        "b12": np.float32(12),
    }
    nodes = [
        quant("x", "a", signed=0),
        helper.make_node("AveragePool", ["a"], ["m"], name="pool", kernel_shape=[4, 4]),
        helper.make_node("Mul", ["m", "taps"], ["t"], name="taps"),
        helper.make_node("Trunc", ["t", "s", "zero", "b12", "b8"], ["y"], name="trunc", domain="qonnx.custom_op.general"),
    ]
    model = other_file(nodes, constants, ["y"], domain="qonnx.custom_op.general")
    network = from_qonnx(model)
    assert roundings(network) == {Rounding.FLOOR: ("trunc",)}
    x = np.random.default_rng(0).integers(0, 256, (2, 2, 4, 4))
    found = run_integer(network.network, {"x": x})["y"]
    np.testing.assert_array_equal(found, x.sum((2, 3), keepdims=True) >> 4)
    assert network.network.tensors["y"].dtype == "uint8"
    pytest.importorskip("qonnx")
    from qonnx.custom_op.general.trunc import trunc_v1

    sums = np.float32(0.5) * x.sum((2, 3), keepdims=True)
    theirs = trunc_v1(sums, np.float32(0.5), np.float32(0), np.float32(12), np.float32(8), "FLOOR")
    np.testing.assert_array_equal(theirs, found * 0.5)


def test_what_a_file_cannot_say_is_refused_with_every_operator():
    whole = gated()
    with pytest.raises(UnsupportedModel) as caught:
        to_qonnx(whole)
    assert caught.value.offenders == ("operator lookup of sigmoid: QONNX has no tables; write QDQ instead",)
    operators = tuple(
        o.with_arguments(rounding="half_up") if o.kind in ("requantise", "add") else o for o in residual().network.operators
    )
    other = dataclasses.replace(residual(), network=dataclasses.replace(residual().network, operators=operators))
    for write in (to_qdq, to_qonnx):
        with pytest.raises(UnsupportedModel) as caught:
            write(other)
        assert len(caught.value.offenders) == 7


@pytest.mark.parametrize(("mode", "wanted"), [("FLOOR", 5), ("ROUND", 6), ("DOWN", 5)])
def test_a_bound_off_the_grid_is_rounded_as_the_rest(mode, wanted):
    """min(x, 2.9) in steps of 0.5: what is limited is 5.8 steps."""
    nodes = [
        quant("x", "a", signed=0),
        helper.make_node("Mul", ["a", "one"], ["m"], name="m"),
        helper.make_node("Clip", ["m", "zero", "limit"], ["c"], name="c"),
        helper.make_node(
            "Quant", ["c", "s", "zero", "b4"], ["y"], name="y", domain="qonnx.custom_op.general", rounding_mode=mode
        ),
    ]
    constants = {**QUANT_CONSTANTS, "limit": np.float32(2.9), "b4": np.float32(4), "one": np.float32(0.75)}
    network = from_qonnx(other_file(nodes, constants, ["y"], domain="qonnx.custom_op.general"))
    x = np.full((1, 2, 4, 4), 200)
    assert (run_integer(network.network, {"x": x})["y"] == wanted).all()
