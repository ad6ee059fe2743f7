"""A pruned or trained network back into the ONNX file it was captured from: same nodes, names, operator set and metadata.

Initialisers get their new values, sizes that name channels are brought up to date, nodes of removed blocks go. What comes
out is captured again and compared with the network, so that nothing is written that computes something else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from silicut.graph.from_onnx.captured import Captured, read_model
from silicut.graph.from_onnx.edited import EditedGraph
from silicut.graph.from_onnx.opened import OnnxNode, open_model, opened
from silicut.graph.from_onnx.reader import FLAT, TRANSPOSED, Use
from silicut.graph.from_onnx.resized import RESIZE
from silicut.graph.network import Network, Operator, Ref
from silicut.records import UnsupportedModel

_ADVICE = "silicut.graph.onnx_writer.to_onnx writes the same network as a graph of its own"


def write_back(path: str | Path, network: Network) -> bytes:
    """Return an ONNX file's own model with the channels, blocks and values of a network that was made from it.

    Args:
        path: the file that was captured.
        network: its network after `keep_channels`, `remove_blocks` or training, in any order; not folded.

    Raises:
        UnsupportedModel: the network cannot be expressed by the nodes of the file.
        BadFile: the file is missing or damaged.
    """
    model = open_model(path)
    shapes = {name: network.tensors[name].shape[1:] for name in model.input_shapes if name in network.tensors}
    captured = read_model(model, shapes)
    graph = EditedGraph(model, captured.known)
    _rewire(graph, captured, network)
    for use in captured.uses:
        if use.parameter in network.parameters:
            graph.set_input(use.node, use.index, _in_file_layout(use, captured, network.parameters[use.parameter]))
    for node in model.nodes:
        if node.kind in RESIZE and _is_live(node, network):
            RESIZE[node.kind](graph, node, captured, network)
    written = graph.finished(network)
    _check(network, read_model(opened(written), shapes).network)
    return bytes(written.SerializeToString())


def _is_live(node: OnnxNode, network: Network) -> bool:
    return any(output in network.tensors for output in node.outputs)


def _in_file_layout(use: Use, captured: Captured, array: np.ndarray) -> np.ndarray:
    if use.layout == TRANSPOSED:
        return array.T
    if use.layout == FLAT:
        before = captured.known[_node(captured, use.node).inputs[use.index]].values[0].shape
        return array.reshape([1 if size == 1 else len(array) for size in before])
    return array


def _node(captured: Captured, name: str) -> OnnxNode:
    return next(node for node in captured.model.nodes if node.name == name)


def _rewire(graph: EditedGraph, captured: Captured, network: Network) -> None:
    """Let nodes read what the network's operators read, where a block was taken out in front of them."""
    before = {operator.name: operator for operator in captured.network.operators}
    for operator in network.operators:
        if operator.name not in before:
            raise UnsupportedModel([f"operator {operator.name!r} comes from no node of the file"], _ADVICE)
        old = before[operator.name]
        for was, now in zip(old.refs(), operator.refs(), strict=False):
            if was != now and was in captured.network.tensors:
                graph.rename_input(captured.owners[operator.name], was, now)


def _check(network: Network, written: Network) -> None:
    """Refuse what does not compute the network, operator by operator."""
    again = {operator.name: operator for operator in written.operators}
    wrong = [o.name for o in network.operators if not _is_same(o, again.get(o.name), network, written)]
    if not wrong and {*network.inputs} == {*written.inputs} and _outputs(network) == _outputs(written):
        return
    names = ", ".join(map(repr, wrong[:3] or network.outputs))
    raise UnsupportedModel([f"the sizes or inputs of {names} cannot be written back into the file's own nodes"], _ADVICE)


def _is_same(one: Operator, other: Operator | None, network: Network, written: Network) -> bool:
    if other is None or (one.target, one.outputs) != (other.target, other.outputs):
        return False
    values = zip(one.arguments.values(), other.arguments.values(), strict=True)
    shapes = [network.tensors[name] == written.tensors[name] for name in one.outputs]
    return all(shapes) and all(_is_same_value(a, b, network, written) for a, b in values)


def _is_same_value(a: Any, b: Any, network: Network, written: Network) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(_is_same_value(x, y, network, written) for x, y in zip(a, b, strict=True))
    if isinstance(a, Ref) and isinstance(b, Ref) and a.name in network.parameters and b.name in written.parameters:
        return np.array_equal(network.parameters[a.name], written.parameters[b.name], equal_nan=True)
    return bool(a == b)


def _outputs(network: Network) -> list[str]:
    """Return the tensors that the outputs are, seen through the names that outputs were given."""
    return [_unaliased(network, name) for name in network.outputs]


def _unaliased(network: Network, name: str) -> str:
    maker = network.producer.get(name)
    return name if maker is None or maker.kind != "alias" else _unaliased(network, maker.arguments["self"].name)
