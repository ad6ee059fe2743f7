"""ONNX Runtime in int8: the latency of what a network will be once it is quantised.

Every model is quantised before it is loaded, with ranges taken from random inputs: uint8 activations, int8 weights with a
scale for each output channel. Latency does not depend on the ranges, so widths chosen on this engine are widths worth
having in int8. What int8 does to accuracy, it says nothing about: its outputs mean nothing.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from silicut.targets.attribution import attributed, readers_of, writers_for
from silicut.targets.engine import Engine, NodeProfile, NodeTimes, NodeTiming
from silicut.targets.onnx_model import OnnxGraph, OnnxModel
from silicut.targets.onnx_runtime import OnnxRuntime, owners

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "Transpose"})
_WARNING, _ERROR = 2, 3  # the runtime's severities
_TOKEN = re.compile(r"(?P<name>.*)_token_\d+")


class OnnxRuntimeInt8(OnnxRuntime):
    """ONNX Runtime's CPU provider, on an int8 version of every model that is for its latency only."""

    name = "onnxruntime-int8"

    def exact(self) -> Engine:
        """Return ONNX Runtime in float."""
        return OnnxRuntime(self.settings.n_threads, self.settings.batch)

    def runnable(self, model: OnnxModel) -> OnnxModel:
        """Return the int8 version of a model; the last few are kept."""
        with self._load(model) as session:
            inputs = session.inputs
        return _quantised(model if isinstance(model, bytes) else _whole_file(model), _Inputs(inputs))

    def attribute(self, model: OnnxModel, profile: NodeProfile) -> NodeTimes:
        """Return the time of every node of the float file.

        Converting between float and int8, and between layouts, is charged to the nodes that read the result, or to the
        node that wrote what is converted where a conversion is the last to run.
        """
        graph = OnnxGraph(model)
        nodes = [_named(node) for node in profile.nodes]
        owned = {i: name for i, name in owners(graph, nodes).items() if not _is_conversion(graph, nodes[i])}

        def payers(executed: Sequence[NodeTiming], at: int) -> list[int]:
            return [] if at in owned else _owned_nearby(executed, at, owned)

        return attributed(graph, profile, owned, payers)


def _named(node: NodeTiming) -> NodeTiming:
    """Return the node by the name it had before the runtime moved it to channels last."""
    match = _TOKEN.fullmatch(node.name)
    return replace(node, name=match["name"]) if match else node


def _is_conversion(graph: OnnxGraph, node: NodeTiming) -> bool:
    return node.op_type in _CONVERSIONS and node.name not in graph.nodes


def _owned_nearby(executed: Sequence[NodeTiming], at: int, owned: Mapping[int, str]) -> list[int]:
    """Return the owned nodes that are reached through conversions only: along the data, else against it."""
    for step in (readers_of, writers_for):
        found: dict[int, None] = {}
        queue = step(executed, at)
        for i in queue:
            if i in owned:
                found[i] = None
            else:
                queue += [j for j in step(executed, i) if j not in queue]
        if found:
            return list(found)
    return []


class _Inputs:
    """Arrays by name, given once to the calibration; equal for equal names and shapes."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = dict(arrays)
        self.key = tuple((name, array.shape) for name, array in arrays.items())

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Inputs) and self.key == other.key


@lru_cache(maxsize=4)
def _quantised(model: bytes, inputs: _Inputs) -> bytes:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Once(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = [inputs.arrays]

        def get_next(self) -> Any:
            return self._left.pop() if self._left else None

    with tempfile.TemporaryDirectory() as folder, _silent():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            onnx.load_model_from_string(model),
            path,
            Once(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return path.read_bytes()


def _whole_file(path: Path) -> bytes:
    """Return a file's bytes with the data that lies beside it."""
    import onnx

    return bytes(onnx.load(path).SerializeToString())


@contextmanager
def _silent() -> Iterator[None]:
    """Keep off the terminal what the quantiser advises on accuracy, which is not sought here, and its sessions warn of."""
    import onnxruntime

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(_ERROR)
    try:
        yield
    finally:
        logging.disable(before)
        onnxruntime.set_default_logger_severity(_WARNING)  # the runtime's own default: it does not tell what it was
