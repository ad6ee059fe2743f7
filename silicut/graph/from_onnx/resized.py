"""Sizes in an ONNX graph that name channels, brought up to date with a pruned network: one function a kind of node."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from silicut.graph.from_onnx.captured import Captured
from silicut.graph.from_onnx.edited import EditedGraph
from silicut.graph.from_onnx.opened import OnnxNode
from silicut.graph.from_onnx.shapes import slice_part
from silicut.graph.network import Network, Operator
from silicut.graph.normal_form import symbolic

Size = int | str
Resize = Callable[[EditedGraph, OnnxNode, Captured, Network], None]


def _convolution(graph: EditedGraph, node: OnnxNode, captured: Captured, network: Network) -> None:
    """The number of groups of a depthwise convolution."""
    groups = int(_operator(network, node.name).arguments["groups"])
    if groups != node.attributes.get("group", 1):
        graph.set_attribute(node.name, "group", groups)


def _group_norm(graph: EditedGraph, node: OnnxNode, captured: Captured, network: Network) -> None:
    n_groups = int(_operator(network, node.name).arguments["num_groups"])
    if n_groups != node.attributes["num_groups"]:
        graph.set_attribute(node.name, "num_groups", n_groups)


def _reshape(graph: EditedGraph, node: OnnxNode, captured: Captured, network: Network) -> None:
    """Sizes written out; 0 and -1 follow by themselves, and a batch stays as the file has it."""
    shape = symbolic(network.tensors[node.outputs[0]].shape)
    pairs = zip(_argument(captured, node.inputs[1]), shape, strict=True)
    _set_sizes(graph, (node, 1), captured, [w if w in (0, -1) or isinstance(s, str) else s for w, s in pairs])


def _expand(graph: EditedGraph, node: OnnxNode, captured: Captured, network: Network) -> None:
    wanted = _argument(captured, node.inputs[1])
    old, new = (symbolic(n.tensors[node.outputs[0]].shape)[-len(wanted) :] for n in (captured.network, network))
    _set_sizes(graph, (node, 1), captured, [n if w == o else w for w, o, n in zip(wanted, old, new, strict=True)])


def _split(graph: EditedGraph, node: OnnxNode, captured: Captured, network: Network) -> None:
    sizes = list(_operator(network, node.name).arguments["split_sizes"])
    if sizes == list(_operator(captured.network, node.name).arguments["split_sizes"]):
        return
    if node.has(1):
        _set_sizes(graph, (node, 1), captured, sizes)
    elif node.opset < 13:
        graph.set_attribute(node.name, "split", sizes)
    else:
        graph.set_attribute(node.name, "num_outputs", None)
        graph.add_input(node.name, 1, f"{node.name}/split", np.array(sizes, np.int64))


def _slice(graph: EditedGraph, node: OnnxNode, captured: Captured, network: Network) -> None:
    starts, ends = list(_argument(captured, node.inputs[1])), list(_argument(captured, node.inputs[2]))
    for i in range(len(starts)):
        part = slice_part(i, len(starts))
        name = f"{node.name}/{part}" if part else node.name
        old, new = _operator(captured.network, name).arguments, _operator(network, name).arguments
        if (old["start"], old["end"]) != (new["start"], new["end"]):
            starts[i], ends[i] = new["start"], new["end"]
    _set_sizes(graph, (node, 1), captured, starts)
    _set_sizes(graph, (node, 2), captured, ends)


def _pad(graph: EditedGraph, node: OnnxNode, captured: Captured, network: Network) -> None:
    operator, n = _operator(network, node.name), len(network.tensors[node.outputs[0]].shape)
    if operator.kind != "pad":
        return
    pads = operator.arguments["pad"]
    amounts = [int(size) for size in _argument(captured, node.inputs[1])]
    axes = [int(a) % n for a in _argument(captured, node.inputs[3])] if node.has(3) else list(range(n))
    for i, axis in enumerate(axes):
        at = 2 * (n - 1 - axis)
        if at < len(pads):
            amounts[i], amounts[i + len(axes)] = int(pads[at]), int(pads[at + 1])
    _set_sizes(graph, (node, 1), captured, amounts)


def _resize(graph: EditedGraph, node: OnnxNode, captured: Captured, network: Network) -> None:
    """The number of channels where all sizes are written out."""
    if node.has(2) and captured.known[node.inputs[2]].values[0].size:
        return
    sizes, n_channels = list(_argument(captured, node.inputs[3])), network.tensors[node.outputs[0]].shape[1]
    axes = [int(a) for a in node.attributes.get("axes") or range(len(sizes))]
    _set_sizes(graph, (node, 3), captured, [n_channels if axis == 1 else s for axis, s in zip(axes, sizes, strict=True)])


RESIZE: dict[str, Resize] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "GroupNormalization": _group_norm,
    "Reshape": _reshape,
    "Expand": _expand,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Resize": _resize,
}


def _operator(network: Network, name: str) -> Operator:
    return next(operator for operator in network.operators if operator.name == name)


def _argument(captured: Captured, tensor: str) -> tuple[Size, ...]:
    return captured.batches.argument(captured.known[tensor])


def _set_sizes(graph: EditedGraph, place: tuple[OnnxNode, int], captured: Captured, sizes: Sequence[Size]) -> None:
    """Let a node's input be these sizes: a constant is replaced, in a computed shape the constants it is joined from.

    What else computes a shape follows the tensors it looks at, or is found wrong when the written model is captured again.
    """
    node, index = place
    tensor = node.inputs[index]
    old = _argument(captured, tensor)
    if tuple(sizes) == old:
        return
    known = captured.known[tensor]
    if known.is_constant:
        array = known.values[0]
        graph.set_input(node.name, index, np.array(sizes, array.dtype).reshape(array.shape))
        return
    maker = next(other for other in captured.model.nodes if tensor in other.outputs)
    if maker.kind == "Concat":
        at = 0
        for i, part in enumerate(maker.inputs):
            n = captured.known[part].values[0].size
            _set_sizes(graph, (maker, i), captured, sizes[at : at + n])
            at += n
    elif maker.kind in ("Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape"):
        _set_sizes(graph, (maker, 0), captured, sizes)
