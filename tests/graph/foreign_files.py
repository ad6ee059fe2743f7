"""ONNX files as other exporters make them, and two written by hand."""

import io
import json
import logging
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import numpy as np
import pytest
import torch
from graph_checks import randomised
from onnx import TensorProto, helper
from onnx_nodes import ints, model_of, positive, w, x

from silicut import zoo
from silicut.zoo.networks.densenet import DenseNet


@contextmanager
def quiet():
    """What the exporters print, log and warn of is not ours."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def exported(module, example, path, *, dynamo):
    """Export with PyTorch's newer or older exporter, the batch free."""
    pytest.importorskip("onnxscript")
    argument = "pixel_values" if hasattr(module, "config") else "x"
    free = {argument: {0: torch.export.Dim("batch")}} if dynamo else None
    axes = None if dynamo else {"x": {0: "batch"}, "y": {0: "batch"}}
    with quiet():
        torch.onnx.export(
            module,
            (example,),
            path,
            dynamo=dynamo,
            input_names=["x"],
            output_names=["y"],
            dynamic_shapes=free,
            dynamic_axes=axes,
        )


def newer_exporter(path):
    """A residual network."""
    exported(randomised(zoo.network("digits-resnet")), torch.zeros(2, 1, 16, 16), path, dynamo=True)


def older_exporter(path):
    """A small DenseNet: batch norms in front of convolutions stay."""
    exported(randomised(DenseNet((2, 2, 1, 2), 5, growth=4)), torch.zeros(2, 3, 32, 32), path, dynamo=False)


def transformer(path):
    """A vision transformer of transformers: what attention needs is computed from shapes."""
    config = {"model_type": "vit", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config |= {"intermediate_size": 48, "image_size": 16, "patch_size": 8}
    place = path.with_suffix(".json")
    place.write_text(json.dumps(config))
    with quiet():
        pytest.importorskip("transformers")
        module = randomised(zoo.network(f"hf:{place}"))
    exported(module, torch.zeros(2, 3, 16, 16), path, dynamo=False)


def residual_model():
    """Residual blocks with batch norms, the bounds of Clip from shared initialisers, and a mean over the image."""
    nodes, constants = [], {"low": np.float32(0), "high": np.float32(6), "axes": ints(2, 3)}

    def layer(name, source, n_in, n_out, is_last):
        constants.update({f"{name}.w": w(n_out, n_in, 3, 3) / 3, f"{name}.g": positive(n_out), f"{name}.b": w(n_out)})
        constants.update({f"{name}.m": w(n_out), f"{name}.v": positive(n_out)})
        nodes.append(helper.make_node("Conv", [source, f"{name}.w"], [f"{name}:c"], name=f"{name}/conv", pads=[1, 1, 1, 1]))
        statistics = [f"{name}.{s}" for s in "gbmv"]
        nodes.append(helper.make_node("BatchNormalization", [f"{name}:c", *statistics], [f"{name}:n"], name=f"{name}/norm"))
        if is_last:
            return f"{name}:n"
        nodes.append(helper.make_node("Clip", [f"{name}:n", "low", "high"], [f"{name}:a"], name=f"{name}/clip"))
        return f"{name}:a"

    y = layer("stem", "x", 3, 8, False)
    for i in range(3):
        branch = layer(f"block{i}/second", layer(f"block{i}/first", y, 8, 12, False), 12, 8, True)
        nodes.append(helper.make_node("Add", [branch, y], [f"sum{i}"], name=f"block{i}/add"))
        nodes.append(helper.make_node("Clip", [f"sum{i}", "low", "high"], [f"out{i}"], name=f"block{i}/clip"))
        y = f"out{i}"
    nodes.append(helper.make_node("ReduceMean", [y, "axes"], ["pooled"], name="pool", keepdims=0))
    constants |= {"head.w": w(5, 8), "head.b": w(5)}
    nodes.append(helper.make_node("Gemm", ["pooled", "head.w", "head.b"], ["y"], name="head", transB=1))
    model = model_of(nodes, {"x": x(3, 8, 8)}, constants, ["y"], opset=18)
    helper.set_model_props(model, {"author": "a user", "classes": "5"})
    model.producer_name, model.doc_string = "by hand", "residual"
    return model


def branching_model(opset=18):
    """Grouped and depthwise convolutions, Split and Concat, a shuffle whose sizes are written out, Resize and Pad."""
    split = {"num_outputs": 2} if opset >= 18 else {}
    nodes = [
        helper.make_node("Conv", ["x", "stem.w", "stem.b"], ["s"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("PRelu", ["s", "slope"], ["a"], name="prelu"),
        helper.make_node("Split", ["a"], ["left", "right"], name="split", axis=1, **split),
        helper.make_node("Conv", ["left", "grouped.w"], ["g"], name="grouped", group=2, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["right", "depth.w", "depth.b"], ["d"], name="depthwise", group=6, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["d", "point.w"], ["p"], name="point", strides=[2, 2]),
        helper.make_node("Shape", ["p"], ["p.shape"], name="p.shape"),
        helper.make_node("Slice", ["p.shape", "axes0", "one"], ["p.n"], name="p.n"),
        helper.make_node("Concat", ["p.n", "size"], ["p.size"], name="p.size", axis=0),
        helper.make_node("Resize", ["p", "", "", "p.size"], ["r"], name="up", mode="linear"),
        helper.make_node("Concat", ["g", "r", "right"], ["c"], name="join", axis=1),
        helper.make_node("Slice", ["c", "start", "end", "axis"], ["cut"], name="cut"),
        helper.make_node("Pad", ["cut", "pads"], ["padded"], name="pad"),
        helper.make_node("Conv", ["padded", "last.w"], ["l"], name="last"),
        helper.make_node("Shape", ["l"], ["shape"], name="shape"),
        helper.make_node("Gather", ["shape", "zero"], ["n"], name="n", axis=0),
        helper.make_node("Unsqueeze", ["n", "axes0"], ["n1"], name="n1"),
        helper.make_node("Concat", ["n1", "flat"], ["target"], name="target", axis=0),
        helper.make_node("Reshape", ["l", "target"], ["f"], name="flatten"),
        helper.make_node("MatMul", ["f", "head.w"], ["h"], name="head"),
        helper.make_node("Add", ["h", "head.b"], ["y"], name="bias"),
    ]
    constants = {
        **{"stem.w": w(12, 3, 3, 3), "stem.b": w(12), "slope": positive(12, 1, 1), "grouped.w": w(8, 3, 3, 3)},
        **{"depth.w": w(6, 1, 3, 3), "depth.b": w(6), "point.w": w(10, 6, 1, 1), "size": ints(10, 8, 8), "one": ints(1)},
        **{
            "start": ints(2),
            "end": ints(20),
            "axis": ints(1),
            "pads": ints(0, 0, 1, 1, 0, 3, 0, 0),
            "last.w": w(7, 21, 3, 3),
        },
        **{"zero": np.array(0), "axes0": ints(0), "flat": ints(7 * 7 * 7), "head.w": w(7 * 7 * 7, 5), "head.b": w(5)},
    }
    model = model_of(nodes, {"x": x(3, 8, 8)}, constants, [], opset)
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5]))
    return model
