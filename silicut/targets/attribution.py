"""The way back: from the nodes that an engine executed to the nodes of the ONNX file, whatever was fused and renamed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from silicut.targets.engine import NodeProfile, NodeTimes, NodeTiming
from silicut.targets.onnx_model import OnnxGraph

ABSORBING = frozenset({"Conv", "ConvTranspose", "Gemm"})
"""The kinds of node that others are fused into."""

_ABSORBED = frozenset(
    "Add BatchNormalization Clip Div Dropout Elu Gelu HardSigmoid HardSwish Identity LeakyRelu Mul PRelu Relu Sigmoid "
    "Sub Tanh".split()
)
_KIND = {
    "FusedConv": "Conv",
    "NhwcFusedConv": "Conv",
    "QLinearConv": "Conv",
    "Convolution": "Conv",
    "Deconvolution": "ConvTranspose",
    "FusedGemm": "Gemm",
    "FusedMatMul": "Gemm",
    "MatMul": "Gemm",
    "FullyConnected": "Gemm",
}


def kind(op_type: str) -> str:
    """Return one name for an operator that engines and files call differently."""
    return _KIND.get(op_type, op_type)


def behind(graph: OnnxGraph, node: str, op_type: str) -> list[str]:
    """Return the nodes that an executed node of this type may stand for if it yields what a node yields, nearest first.

    Looked for behind the node, through what may be fused, are nodes of the executed one's kind; without any it is the node
    itself.
    """
    found, queue = [], [node]
    for name in queue:
        if kind(graph.nodes[name].op_type) == kind(op_type):
            found.append(name)
        elif kind(op_type) in ABSORBING and graph.nodes[name].op_type in _ABSORBED:
            queue += [maker for maker in graph.makers(name) if maker not in queue]
    return found or queue[:1]


Payers = Callable[[Sequence[NodeTiming], int], list[int]]


def attributed(graph: OnnxGraph, profile: NodeProfile, owners: Mapping[int, str], payers: Payers) -> NodeTimes:
    """Return the time of every node of the file.

    Args:
        graph: of the file.
        profile: the executed nodes.
        owners: the file's node that an executed one stands for, by position; layout changes have none.
        payers: gives the positions of the nodes that pay, in equal parts, for a layout change at a position; nothing for
            any other node.
    """
    times_us: dict[str, float] = defaultdict(float)
    overhead_us: dict[str, float] = defaultdict(float)
    n_executed: dict[str, float] = defaultdict(float)
    for i, node in enumerate(profile.nodes):
        paying = payers(profile.nodes, i)
        for payer in paying or [i]:
            name, share = owners.get(payer, profile.nodes[payer].name), 1 / max(len(paying), 1)
            times_us[name] += node.time_us * share
            n_executed[name] += share
            if paying:
                overhead_us[name] += node.time_us * share
    return NodeTimes(
        times_us=dict(times_us),
        overhead_us=dict(overhead_us),
        n_executed=dict(n_executed),
        fused_into=_fused_into(graph, owners),
        unmatched=tuple(name for name in times_us if name not in graph.nodes),
        run_us=profile.run_us,
        reference_us=profile.reference_us,
        ratio=profile.ratio,
    )


def readers_of(executed: Sequence[NodeTiming], at: int) -> list[int]:
    """Return the positions of the executed nodes that read what one writes."""
    return [i for i, reader in enumerate(executed) if set(executed[at].outputs) & set(reader.inputs)]


def writers_for(executed: Sequence[NodeTiming], at: int) -> list[int]:
    """Return the positions of the executed nodes that write what one reads."""
    return [i for i, writer in enumerate(executed) if set(executed[at].inputs) & set(writer.outputs)]


def _fused_into(graph: OnnxGraph, owners: Mapping[int, str]) -> dict[str, str]:
    """Return the carrier of every node of the file that is not executed; see `NodeTimes.fused_into`."""
    executed_at = {name: i for i, name in owners.items()}
    carriers: dict[str, str] = {}
    for name in graph.nodes:  # a valid file lists nodes after those they read
        if name in executed_at:
            continue
        before = [carriers.get(maker, maker) for maker in graph.makers(name)]
        before = [maker for maker in before if maker in executed_at]
        if before:
            carriers[name] = max(before, key=executed_at.__getitem__)
    return carriers
