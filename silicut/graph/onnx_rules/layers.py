"""Layers and pools in ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from silicut.graph.network import Operator
from silicut.graph.onnx_nodes import CannotWrite, OnnxNodes
from silicut.graph.onnx_rules.rule import Rule, pair


def _convolution(w: OnnxNodes, o: Operator) -> None:
    inputs = [w.input(o, "input"), w.input(o, "weight")]
    if o.arguments["bias"] is not None:
        inputs.append(w.input(o, "bias"))
    n, kernel = w.n_axes(o) - 2, w.shape(inputs[1])[2:]
    if n != len(kernel):
        raise CannotWrite("its input has no batch axis")
    dilation, padding = pair(o.arguments["dilation"], n), o.arguments["padding"]
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = [t // 2 for t in totals] + [t - t // 2 for t in totals]
    else:
        pads = [0] * (2 * n) if padding == "valid" else pair(padding, n) * 2
    w.add("Conv", o, inputs, kernel_shape=list(kernel), strides=pair(o.arguments["stride"], n), pads=pads,
          dilations=dilation, group=int(o.arguments["groups"]))  # fmt: skip


def _batch_norm(w: OnnxNodes, o: Operator) -> None:
    if o.arguments["training"]:
        raise CannotWrite("it uses the statistics of the batch")
    dtype = w.network.tensors[o.outputs[0]].dtype
    n = w.shape(w.main(o))[1]
    scale = w.constant(o, "ones", np.ones(n, dtype)) if o.arguments["weight"] is None else w.input(o, "weight")
    shift = w.constant(o, "zeros", np.zeros(n, dtype)) if o.arguments["bias"] is None else w.input(o, "bias")
    inputs = [w.input(o, "input"), scale, shift, w.input(o, "running_mean"), w.input(o, "running_var")]
    w.add("BatchNormalization", o, inputs, epsilon=float(o.arguments["eps"]))


def _linear(w: OnnxNodes, o: Operator) -> None:
    weight, has_bias = o.arguments["weight"].name, o.arguments["bias"] is not None
    if w.n_axes(o) == 2:
        w.add("Gemm", o, [w.input(o, "input"), w.read(weight), *([w.input(o, "bias")] if has_bias else [])], transB=1)
        return
    if weight in w.network.parameters:
        transposed = w.constant(o, "weight_t", np.ascontiguousarray(w.network.parameters[weight].T))
    else:
        transposed = w.add("Transpose", o, [weight], part="weight_t", perm=[1, 0])
    product = w.add("MatMul", o, [w.input(o, "input"), transposed], part="product" if has_bias else "")
    if has_bias:
        w.add("Add", o, [product, w.input(o, "bias")])


def _prelu(w: OnnxNodes, o: Operator) -> None:
    if o.arguments["weight"].name not in w.network.parameters:
        raise CannotWrite("its weight is computed, not a parameter")
    slope = w.network.parameters[o.arguments["weight"].name]
    shaped = slope.reshape(-1, *[1] * (w.n_axes(o) - 2)) if w.n_axes(o) > 2 else slope
    w.add("PRelu", o, [w.main(o), w.constant(o, "slope", shaped)])


def _pool(w: OnnxNodes, o: Operator) -> None:
    if w.n_axes(o) != 4:
        raise CannotWrite("its input has no batch axis")
    if o.arguments.get("divisor_override") is not None:
        raise CannotWrite("its divisor is given")
    kernel = pair(o.arguments["kernel_size"])
    stride = pair(o.arguments["stride"]) if o.arguments["stride"] else kernel
    shared: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": pair(o.arguments["padding"]) * 2,
              "ceil_mode": int(o.arguments["ceil_mode"])}  # fmt: skip
    if o.kind == "max_pool2d":
        w.add("MaxPool", o, [w.main(o)], dilations=pair(o.arguments["dilation"]), **shared)
        return
    size = w.shape(w.main(o))[2:]
    if tuple(kernel) == tuple(size) and not any(shared["pads"]):
        w.add("GlobalAveragePool", o, [w.main(o)])
        return
    w.add("AveragePool", o, [w.main(o)], count_include_pad=int(o.arguments["count_include_pad"]), **shared)


def _adaptive_pool(w: OnnxNodes, o: Operator) -> None:
    if w.n_axes(o) != 4:
        raise CannotWrite("its input has no batch axis")
    size, wanted = w.shape(w.main(o))[2:], pair(o.arguments["output_size"])
    kind = "Average" if "avg" in o.kind else "Max"
    if wanted == [1, 1]:
        w.add(f"Global{kind}Pool", o, [w.main(o)])
        return
    if any(s % n for s, n in zip(size, wanted, strict=True)):
        raise CannotWrite(f"it pools {size[0]}x{size[1]} to {wanted[0]}x{wanted[1]}, which is no divisor")
    kernel = [s // n for s, n in zip(size, wanted, strict=True)]
    w.add(f"{kind}Pool", o, [w.main(o)], kernel_shape=kernel, strides=kernel)


def _adaptive_pool_of_a_line(w: OnnxNodes, o: Operator) -> None:
    if w.n_axes(o) != 3:
        raise CannotWrite("its input has no batch axis")
    size, (wanted,) = w.shape(w.main(o))[2], pair(o.arguments["output_size"], 1)
    if size % wanted:
        raise CannotWrite(f"it pools {size} to {wanted}, which is no divisor")
    w.add("AveragePool", o, [w.main(o)], kernel_shape=[size // wanted], strides=[size // wanted])


def _transposed_convolution(w: OnnxNodes, o: Operator) -> None:
    inputs = [w.input(o, "input"), w.input(o, "weight")]
    if o.arguments["bias"] is not None:
        inputs.append(w.input(o, "bias"))
    n, kernel = w.n_axes(o) - 2, w.shape(inputs[1])[2:]
    if n != len(kernel):
        raise CannotWrite("its input has no batch axis")
    w.add("ConvTranspose", o, inputs, kernel_shape=list(kernel), strides=pair(o.arguments["stride"], n),
          pads=pair(o.arguments["padding"], n) * 2, output_padding=pair(o.arguments["output_padding"], n),
          dilations=pair(o.arguments["dilation"], n), group=int(o.arguments["groups"]))  # fmt: skip


def _resize(w: OnnxNodes, o: Operator) -> None:
    w.four_axes(o)
    before, after = w.shape(w.main(o))[2:], w.shape(o.outputs[0])[2:]
    scales = o.arguments.get("scale_factors")
    if scales is not None and any(a != b * scale for a, b, scale in zip(after, before, scales, strict=True)):
        raise CannotWrite("its sizes are not its scales times those before")
    shared: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if "bilinear" in o.kind:
        corners = "align_corners" if o.arguments["align_corners"] else "pytorch_half_pixel"
        shared = {"mode": "linear", "coordinate_transformation_mode": corners}
    elif "bicubic" in o.kind:
        corners = "align_corners" if o.arguments["align_corners"] else "half_pixel"
        shared = {"mode": "cubic", "coordinate_transformation_mode": corners, "cubic_coeff_a": -0.75}
    sizes = w.constant(o, "sizes", np.array(after, np.int64))
    w.add("Resize", o, [w.main(o), "", "", sizes], axes=[2, 3], **shared)


def _embedding(w: OnnxNodes, o: Operator) -> None:
    w.add("Gather", o, [w.input(o, "weight"), w.input(o, "indices")], axis=0)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed_convolution),
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), _pool),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive_pool),
    **dict.fromkeys(("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"), _resize),
    "adaptive_avg_pool1d": _adaptive_pool_of_a_line,
    "batch_norm": _batch_norm,
    "linear": _linear,
    "prelu": _prelu,
    "embedding": _embedding,
}
