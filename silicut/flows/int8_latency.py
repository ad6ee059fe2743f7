"""Whether int8 pays: the time of every layer of a network in float and as a QDQ file, on ONNX Runtime."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from silicut.graph import Network
from silicut.numerics import QuantisedNetwork
from silicut.numerics.onnx import to_qdq
from silicut.numerics.schema import INPUTS
from silicut.report.layer_latency import Int8Latency, LayerLatency
from silicut.targets import MeasureOptions, OnnxRuntime, OnnxRuntimeInt8, measure
from silicut.targets.engine import NodeTimes

_LAYERS = frozenset({"conv2d", "linear", "add", "multiply", "sum_pool2d", "max_pool2d", "concatenate", "lookup"})
_OTHER, _N_PROFILES = "", 3  # taken in turn; medians count
BRIEFLY = MeasureOptions(n_rounds=10, max_s=15.0, ci_frac=0.02, refuse_frac=1.0, refuse_bias_frac=1.0)
"""How whole networks are measured for a report, which shows the interval, whatever its width."""


def int8_latency(
    network: Network,
    quantised: QuantisedNetwork,
    *,
    n_threads: int = 1,
    batch: int = 1,
    measuring: MeasureOptions = BRIEFLY,
    takes_pixels: bool = False,
) -> Int8Latency:
    """Measure a float network and its integer one side by side, as wholes and layer by layer.

    Args:
        network: in float, batch normalisation folded.
        quantised: made from it; layers keep their names.
        n_threads, batch: of the engine.
        measuring: of the whole networks.
        takes_pixels: whether the integer network is given uint8 images rather than floats that it quantises.

    Raises:
        ToolMissing: ONNX Runtime is not installed.
        UnsupportedModel: one of the two cannot be written as an ONNX file.
        TooNoisy: the ratio is known worse than `measuring` allows.
    """
    engine, attributing = OnnxRuntime(n_threads, batch), OnnxRuntimeInt8(n_threads, batch)
    model = bytes(to_qdq(quantised, batch=batch, integer_inputs=takes_pixels).SerializeToString())
    of_tensor = _layer_of_tensor(quantised.network)
    of_operator = _layer_of_operator(network, set(of_tensor.values()))
    rounds = []
    for _ in range(_N_PROFILES):
        in_float = _by_layer(engine.node_times(network), of_operator)
        in_int8 = _by_layer(attributing.attribute(model, engine.profile_nodes(model)), _with_nodes(quantised, of_tensor))
        rounds.append((in_float, in_int8))
    names = [*dict.fromkeys(name for name in of_tensor.values() if name), _OTHER]
    layers = [LayerLatency(name=name, float_us=_median(rounds, 0, name), int8_us=_median(rounds, 1, name)) for name in names]
    layers = [layer for layer in layers if layer.float_us or layer.int8_us]
    timings = measure(engine, {"float": network, "int8": model}, "float", measuring).timings
    return Int8Latency(
        settings=engine.settings,
        float_ms=timings["float"].latency_ms,
        int8_ms=timings["int8"].latency_ms,
        ratio=timings["int8"].ratio,
        ratio_low=timings["int8"].ratio_low,
        ratio_high=timings["int8"].ratio_high,
        layers=tuple(layers),
    )


def _median(rounds: list[tuple[dict[str, float], dict[str, float]]], which: int, name: str) -> float:
    return float(np.median([each[which].get(name, 0.0) for each in rounds]))


def _layer_of_tensor(network: Network) -> dict[str, str]:
    """Return the layer that makes each tensor of an integer network, requantisers and movements with what they follow."""
    layers = dict.fromkeys(network.inputs, _OTHER)
    for operator in network.operators:
        source = layers[operator.arguments[INPUTS][0].name]
        layers[operator.outputs[0]] = operator.name if operator.kind in _LAYERS else source
    return layers


def _layer_of_operator(network: Network, layers: set[str]) -> dict[str, str]:
    """Return the layer of each float operator: itself, or the one behind which it is fused."""
    found: dict[str, str] = dict.fromkeys(network.inputs, _OTHER)
    operators = {}
    for operator in network.operators:
        read = next((name for name in operator.refs() if name in network.tensors), "")
        layer = operator.name if operator.name in layers else found.get(read, _OTHER)
        operators[operator.name] = layer
        found.update(dict.fromkeys(operator.outputs, layer))
    return operators


def _with_nodes(quantised: QuantisedNetwork, of_tensor: Mapping[str, str]) -> dict[str, str]:
    """Return the layer of each name that nodes of the QDQ file begin with: operators and tensors."""
    makers = {operator.name: of_tensor[operator.outputs[0]] for operator in quantised.network.operators}
    return {**of_tensor, **makers}


def _by_layer(times: NodeTimes, layers: Mapping[str, str]) -> dict[str, float]:
    """Return microseconds by layer; a node's name is that of an operator or tensor, with parts behind slashes."""
    found: dict[str, float] = defaultdict(float)
    for node, time_us in times.net_us.items():
        name = node
        while name not in layers and "/" in name:
            name = name.rpartition("/")[0]
        found[layers.get(name, _OTHER)] += time_us
    return found
