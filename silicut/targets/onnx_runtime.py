"""ONNX Runtime on the CPU: sessions to time, and the time of every node of the original file.

The runtime fuses and renames. What it executes is learnt from the optimised graph that it saves while it profiles:
executed node k of a run is node k of that graph. `attribute` leads each of these back to a node of the original file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar

from silicut.records import ToolMissing
from silicut.targets.attribution import attributed, behind, readers_of, writers_for
from silicut.targets.device import onnx_runtime as device
from silicut.targets.engine import NodeProfile, NodeTimes, NodeTiming, Session
from silicut.targets.onnx_engine import OnnxEngine
from silicut.targets.onnx_model import Input, OnnxGraph, OnnxModel, random_inputs, refused


class OnnxRuntime(OnnxEngine):
    """ONNX Runtime's CPU provider: all graph optimisations, one operator at a time, threads that do not spin."""

    name = "onnxruntime"
    runner: ClassVar[ModuleType] = device

    def _version(self) -> str:
        try:
            return device.version()
        except ImportError:
            raise ToolMissing("onnxruntime", "onnxruntime") from None

    def _load(self, model: OnnxModel) -> device.OnnxRuntimeSession:
        return self._open(model, device.session_options(self.settings.n_threads))

    def _open(self, model: OnnxModel, options: Any) -> device.OnnxRuntimeSession:
        import onnxruntime

        try:
            session = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's errors have no common base
            raise refused(model, self.name, error) from error
        described = [Input(i.name, tuple(i.shape), device.DTYPES.get(i.type), i.type) for i in session.get_inputs()]
        inputs = random_inputs(described, self.settings.batch)
        try:
            return device.OnnxRuntimeSession(session, self.settings.n_threads, inputs)
        except Exception as error:
            raise refused(model, self.name, error) from error

    def _profile(self, model: OnnxModel, n_runs: int, reference: Session | None) -> dict[str, Any]:
        return device.profile(lambda options: self._open(model, options), self.settings.n_threads, n_runs, reference)

    def read(self, raw: Mapping[str, Any]) -> NodeProfile:
        """Return the record of a profile, with tensor names from the optimised graph."""
        import onnx

        graph = onnx.load_model_from_string(device.unpacked(raw["graph"])).graph
        constants = {tensor.name for tensor in graph.initializer}
        nodes = [_timing(*pair, constants) for pair in zip(raw["nodes"], _in_order(graph, raw["nodes"]), strict=True)]
        return NodeProfile(nodes=tuple(nodes), **{key: raw[key] for key in ("n_runs", "run_us", "reference_us", "ratio")})

    def attribute(self, model: OnnxModel, profile: NodeProfile) -> NodeTimes:
        """Return the time of every node of the file; see `attribute`."""
        return attribute(model, profile)


def _timing(kernel: Mapping[str, Any], node: Any, constants: Iterable[str]) -> NodeTiming:
    read = list(node.input) if node else []
    return NodeTiming(
        name=kernel["name"],
        op_type=kernel["op_type"],
        inputs=tuple(name for name in read if name and name not in constants),
        weights=tuple(name for name in read if name in constants),
        outputs=tuple(name for name in node.output if name) if node else (),
        input_shapes=tuple(map(tuple, kernel["input_shapes"])),
        output_shapes=tuple(map(tuple, kernel["output_shapes"])),
        time_us=kernel["time_us"],
        kernel=kernel["kernel"],
    )


def _in_order(graph: Any, kernels: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the optimised node of each kernel: by position, or by name where subgraphs break the order."""
    if [node.op_type for node in graph.node] == [kernel["op_type"] for kernel in kernels]:
        return list(graph.node)
    by_name = {node.name: node for node in graph.node if node.name}
    return [by_name.get(kernel["name"]) for kernel in kernels]


# Back to the original file

_LAYOUT = frozenset({"ReorderInput", "ReorderOutput"})
_NAME_FORMS = (re.compile(r"fused (?P<node>.*)"), re.compile(r"(?P<node>.*)/\w+Fusion/?"))
_TENSOR_FORM = re.compile(r"(?P<tensor>.*)_nchwc(_token_\d+)?")


def attribute(model: OnnxModel, profile: NodeProfile) -> NodeTimes:
    """Return the time of every node of the original file.

    A fused node's time goes to the convolution, matrix product or other node that it is built around. Reordering into
    a blocked layout is charged to the nodes that read the blocked tensor, in equal parts; reordering out of it to the
    node that wrote it. Times of executed nodes that stand for no original one keep the engine's name.

    An executed node is recognised, in this order, by its name (the original one, "fused NAME", "NAME/...Fusion"); by
    the tensor it yields ("TENSOR_nchwc", or an output that kept its name), going back through what may be fused to the
    nearest node of its kind that is still free; by a constant that only one original node reads.

    Args:
        model: the file that was profiled.
        profile: of `OnnxRuntime.profile_nodes`.
    """
    graph = OnnxGraph(model)
    return attributed(graph, profile, owners(graph, profile.nodes), _payers)


def _payers(executed: Sequence[NodeTiming], at: int) -> list[int]:
    if executed[at].op_type == "ReorderInput":
        return readers_of(executed, at)
    return writers_for(executed, at) if executed[at].op_type == "ReorderOutput" else []


def owners(graph: OnnxGraph, executed: Sequence[NodeTiming]) -> dict[int, str]:
    """Return the original node that each executed node stands for, by position; layout changes have none."""
    owners = {i: name for i, node in enumerate(executed) if (name := _by_name(graph, node.name))}
    options = {
        i: names
        for i, node in enumerate(executed)
        if i not in owners and node.op_type not in _LAYOUT and (names := _by_tensor(graph, node))
    }
    taken = set(owners.values())
    for i in sorted(options, key=lambda i: len(options[i])):
        free = [name for name in options[i] if name not in taken]
        owners[i] = (free or options[i])[0]
        taken.add(owners[i])
    return owners


def _by_name(graph: OnnxGraph, name: str) -> str | None:
    forms = [match["node"] for form in _NAME_FORMS if (match := form.fullmatch(name))]
    return next((candidate for candidate in [name, *forms] if candidate in graph.nodes), None)


def _by_tensor(graph: OnnxGraph, node: NodeTiming) -> list[str]:
    named = _TENSOR_FORM.fullmatch(node.name)
    for tensor in [*([named["tensor"]] if named else []), *node.outputs]:
        if tensor in graph.maker:
            return behind(graph, graph.maker[tensor], node.op_type)
    return [graph.readers[w][0] for w in node.weights if len(graph.readers[w]) == 1]
