"""OpenVINO on the CPU: sessions to time, and the time of every node of the original file.

The runtime tells of each executed node which operators it stands for. Their names are those of the file's nodes, or
begin with them ("conv1/WithoutBiases").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar

from silicut.records import ToolMissing
from silicut.targets.attribution import ABSORBING, attributed, behind, kind, readers_of, writers_for
from silicut.targets.device import openvino as device
from silicut.targets.engine import NodeProfile, NodeTimes, NodeTiming, Session
from silicut.targets.onnx_engine import OnnxEngine
from silicut.targets.onnx_model import Input, OnnxGraph, OnnxModel, random_inputs, refused

_LAYOUT = frozenset({"Reorder", "Convert"})


class OpenVino(OnnxEngine):
    """OpenVINO's CPU plugin in float32: one stream, the latency hint, threads that are not pinned."""

    name = "openvino"
    runner: ClassVar[ModuleType] = device

    def _version(self) -> str:
        try:
            return device.version()
        except ImportError:
            raise ToolMissing("openvino", "openvino") from None

    def _load(self, model: OnnxModel) -> Session:
        return self._open(model, counts=False)

    def _open(self, model: OnnxModel, *, counts: bool) -> device.OpenVinoSession:
        import openvino

        try:
            found = openvino.Core().read_model(model if isinstance(model, bytes) else str(model))
        except Exception as error:  # the runtime's errors have no common base
            raise refused(model, self.name, error) from error
        inputs = random_inputs([_input(port) for port in found.inputs], self.settings.batch)
        try:
            found.reshape({name: list(array.shape) for name, array in inputs.items()})
            compiled = device.compiled(found, self.settings.n_threads, counts=counts)
            return device.OpenVinoSession(compiled, self.settings.n_threads, inputs)
        except Exception as error:
            raise refused(model, self.name, error) from error

    def _profile(self, model: OnnxModel, n_runs: int, reference: Session | None) -> dict[str, Any]:
        return device.profile(lambda counts: self._open(model, counts=counts), n_runs, reference)

    def read(self, raw: Mapping[str, Any]) -> NodeProfile:
        """Return the record of a profile; a node's one output goes by the node's name."""
        nodes = [
            NodeTiming(
                name=node["name"],
                op_type=node["op_type"],
                inputs=tuple(node["inputs"]),
                weights=(),
                outputs=(node["name"],),
                input_shapes=tuple(map(tuple, node["input_shapes"])),
                output_shapes=tuple(map(tuple, node["output_shapes"])),
                time_us=node["time_us"],
                kernel=node["kernel"],
                originals=tuple(node["originals"]),
            )
            for node in raw["nodes"]
        ]
        return NodeProfile(nodes=tuple(nodes), **{key: raw[key] for key in ("n_runs", "run_us", "reference_us", "ratio")})

    def attribute(self, model: OnnxModel, profile: NodeProfile) -> NodeTimes:
        """Return the time of every node of the file.

        A fused node's time goes to the convolution or matrix product among the operators it stands for, else to the first
        of them. Changing a layout or number type is charged to the convolutions and matrix products that read it, else
        to what wrote it. Executed nodes that stand for no node of the file keep the engine's name.
        """
        graph = OnnxGraph(model)
        owners = {i: name for i, node in enumerate(profile.nodes) if (name := _owner(graph, node))}
        return attributed(graph, profile, owners, _payers)


def _input(port: Any) -> Input:
    try:
        dtype = port.element_type.to_dtype()
    except RuntimeError:  # a type that numpy does not have
        dtype = None
    shape = tuple(d.get_length() if d.is_static else str(d) for d in port.partial_shape)
    return Input(port.any_name, shape, dtype, port.element_type.get_type_name())


def _payers(executed: Sequence[NodeTiming], at: int) -> list[int]:
    if executed[at].op_type not in _LAYOUT or executed[at].originals:
        return []
    readers = [i for i in readers_of(executed, at) if kind(executed[i].op_type) in ABSORBING]
    return readers or writers_for(executed, at)


def _owner(graph: OnnxGraph, node: NodeTiming) -> str | None:
    """Return the file's node that an executed one stands for, None for layout changes and what the engine made itself.

    A convolution into which a batch normalisation was folded has lost its own name, so it is also looked for behind the
    first operator named.
    """
    names = [name for original in node.originals if (name := _in_file(graph, original))]
    same_kind = [name for name in names if kind(graph.nodes[name].op_type) == kind(node.op_type)]
    return next(iter(same_kind or (names and behind(graph, names[0], node.op_type))), None)


def _in_file(graph: OnnxGraph, name: str) -> str | None:
    """Return the node of the file that a name, or its beginning up to a "/", belongs to; also by what the node yields."""
    while name and name not in graph.nodes and name not in graph.maker:
        name = name.rpartition("/")[0]
    return graph.maker.get(name, name) if name not in graph.nodes else name
