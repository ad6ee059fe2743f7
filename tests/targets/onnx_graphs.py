"""Small ONNX files to run and profile in tests."""

import dataclasses

import numpy as np
import onnx


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


def relu(shape):
    builder = Builder()
    return builder.proto(builder.op("Relu", "relu", "input"), shape).SerializeToString()


def standing_for(engine, model, profile):
    """Return {executed node: original name}, read off by attributing profiles in which one node took all the time."""
    found = {}
    for at, node in enumerate(profile.nodes):
        nodes = tuple(dataclasses.replace(n, time_us=float(i == at)) for i, n in enumerate(profile.nodes))
        times = engine.attribute(model, dataclasses.replace(profile, nodes=nodes)).times_us
        found[node.name] = {name: share for name, share in times.items() if share}
    return found
