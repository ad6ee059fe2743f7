"""ONNX models of one node or a few, written by hand, and what ONNX Runtime makes of them."""

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class X:
    """An input of the model: its sizes behind the batch axis."""

    shape: tuple
    dtype: str = "float32"


def x(*shape, dtype="float32"):
    return X(shape, dtype)


def w(*shape):
    """Random weights."""
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape):
    return (RNG.random(shape) + 0.5).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


@dataclass(frozen=True, eq=False)
class Case:
    """One node: inputs are `X`, arrays (initialisers) or None (left out)."""

    kind: str
    inputs: tuple
    attributes: dict = field(default_factory=dict)
    opset: int = 20
    n_outputs: int = 1
    batches: tuple = (1, 3)

    def model(self, batch="n"):
        names = [
            f"{'x' if isinstance(value, X) else 'w'}{i}" if value is not None else "" for i, value in enumerate(self.inputs)
        ]
        outputs = [f"y{i}" for i in range(self.n_outputs)]
        node = helper.make_node(self.kind, names, outputs, name="it", **self.attributes)
        given = dict(zip(names, self.inputs, strict=True))
        inputs = {n: v for n, v in given.items() if isinstance(v, X)}
        constants = {n: v for n, v in given.items() if isinstance(v, np.ndarray)}
        return model_of([node], inputs, constants, outputs, self.opset, batch)


def case(kind, *inputs, opset=20, n_outputs=1, batches=(1, 3), **attributes):
    return Case(kind, inputs, attributes, opset, n_outputs, batches)


def model_of(nodes, inputs, constants, outputs, opset=20, batch="n"):
    """Return a model; types of outputs are left to shape inference, or none are declared."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype)), [batch, *value.shape]
            )
            for name, value in inputs.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    if outputs:
        inferred = onnx.shape_inference.infer_shapes(model)
        del model.graph.output[:]
        model.graph.output.extend(inferred.graph.output)
        for value in model.graph.output:
            if not value.type.tensor_type.elem_type:  # of operators that are functions
                value.type.tensor_type.elem_type = TensorProto.FLOAT
    return model


def run(model, inputs):
    """Return what ONNX Runtime computes, without its optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def drawn(network, batch, seed=1):
    """Return random inputs of a network: normal numbers, small whole numbers, or truth values."""
    generator = np.random.default_rng(seed)
    arrays = []
    for name in network.inputs:
        shape, dtype = network.tensors[name].sizes(batch), np.dtype(network.tensors[name].dtype)
        if dtype.kind == "f":
            arrays.append(generator.standard_normal(shape).astype(dtype))
        else:
            arrays.append(generator.integers(0, 2 if dtype.kind == "b" else 5, shape).astype(dtype))
    return arrays
