"""A `Network` as an ONNX model: nodes carry the operators' names, initialisers the parameters' names.

Written with the `onnx` package from the network itself, so that models of any widths can be made in milliseconds and
what an engine reports can be traced back. An operator that ONNX cannot express is an `UnsupportedModel` that names it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from silicut.graph.network import Network, Operator
from silicut.graph.onnx_nodes import CannotWrite, OnnxNodes
from silicut.graph.onnx_rules import MIXED, RULES
from silicut.records import UnsupportedModel
from silicut.version import __version__

OPSET = 20
_IR_VERSION = 9
_ADVICE = "ONNX models are written without them; replace them by other operators"


def to_onnx(network: Network, *, batch: int | None = None) -> bytes:
    """Return the network as a serialised ONNX model (opset 20).

    Args:
        network: weights of any float type; fold batch normalisation first for what an engine should run.
        batch: the batch size written into the model; None leaves it free (symbolic "batch").

    Raises:
        UnsupportedModel: some operators cannot be written; all are listed with their source lines. Or the network was
            captured for another batch size only.
    """
    from onnx import helper, numpy_helper

    nodes = OnnxNodes(network, batch)
    _check_batch(network, batch)
    offenders = _write(nodes)
    if offenders:
        raise UnsupportedModel(offenders, _ADVICE)
    outputs = _outputs(nodes)
    graph = helper.make_graph(
        nodes.nodes,
        "silicut",
        [_value_info(nodes, name, name) for name in network.inputs],
        [_value_info(nodes, name, written) for name, written in zip(network.outputs, outputs, strict=True)],
        [numpy_helper.from_array(array, name) for name, array in nodes.initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = _IR_VERSION
    model.producer_name, model.producer_version = "silicut", __version__
    return bytes(model.SerializeToString())


def unsupported_operators(network: Network) -> tuple[str, ...]:
    """Return one sentence for each operator that cannot be written with a free batch size."""
    return tuple(_write(OnnxNodes(network, None)))


def _check_batch(network: Network, batch: int | None) -> None:
    shapes = [network.tensors[name].shape for name in network.inputs if network.tensors[name].shape]
    sizes, is_free = {shape[0] for shape in shapes}, any(size < 0 for shape in shapes for size in shape)
    if batch is not None and shapes and not is_free and batch not in sizes:
        fixed = ", ".join(map(str, sorted(sizes)))
        reason = f"the network was captured for a batch of {fixed} only, not {batch}"
        raise UnsupportedModel([reason], f"Capture it again with examples of a batch of {batch}")


def _write(nodes: OnnxNodes) -> list[str]:
    """Write all operators; return one sentence for each that cannot be written."""
    offenders = []
    for operator in nodes.network.operators:
        try:
            _check(nodes.network, operator)
            RULES[operator.kind](nodes, operator)
        except CannotWrite as reason:
            place = f" ({operator.source})" if operator.source else ""
            why = f": {reason}" if str(reason) else ""
            offenders.append(f"operator {operator.kind} of {operator.name}{place}{why}")
    return offenders


def _check(network: Network, operator: Operator) -> None:
    if operator.kind not in RULES:
        raise CannotWrite
    types = {network.tensors[name].dtype for name in operator.refs() if name in network.tensors}
    types |= {str(network.parameters[name].dtype) for name in operator.refs() if name in network.parameters}
    if operator.kind not in MIXED and len(types | {network.tensors[operator.outputs[0]].dtype}) > 1:
        raise CannotWrite("it mixes number types")
    further = operator.outputs[1:] if operator.kind not in ("split_with_sizes", "unbind") else ()
    if any(name in network.consumers or name in network.outputs for name in further):
        raise CannotWrite("its further outputs are read")


def _outputs(nodes: OnnxNodes) -> list[str]:
    """Return the names of the graph's outputs, which must be distinct and no inputs."""
    taken = set(nodes.network.inputs)
    written = []
    for name in nodes.network.outputs:
        output = name
        while output in taken:
            output += ":out"
        if output != name:
            nodes.rename(name, output)
        taken.add(output)
        written.append(output)
    return written


def _value_info(nodes: OnnxNodes, name: str, written: str) -> Any:
    from onnx import helper

    tensor = nodes.network.tensors[name]
    free: list[Any] = [("batch" if size == -1 else f"batch*{-size}") if size < 0 else size for size in tensor.shape]
    shape = free if nodes.batch is None else list(tensor.sizes(nodes.batch))
    return helper.make_tensor_value_info(written, helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)), shape)
