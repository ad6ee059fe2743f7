"""Layers measured one at a time, each in a session of its own: what most latency tables do, kept to show its error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from silicut.graph import Network, Operator, keep_channels
from silicut.graph.onnx_writer import to_onnx
from silicut.targets.engine import Session
from silicut.targets.samples import Bench

_N_RUNS = 12


@dataclass
class IsolatedLayers:
    """Sums of isolated layers, on the scale of a bench's dense latency; equal layers are measured once."""

    bench: Bench
    _known: dict[tuple[str, int, int], float] = field(default_factory=dict)

    def sum_ms(self, widths: Mapping[str, int]) -> float:
        """Return the summed milliseconds of all layers at these widths, each with the rectifier that follows it."""
        bench = self.bench
        kept = {name: np.arange(width) for name, width in widths.items()}
        network = keep_channels(bench.network, bench.channels, kept)
        scale = bench.dense_ms / _low_quantile_ms(bench.reference())
        operators = {operator.name: operator for operator in network.operators}
        total = 0.0
        for layer in bench.layers:
            operator, cell = operators[layer.name], layer.cell(widths)
            if _is_fused(network, operator):
                continue
            if cell not in self._known:
                self._known[cell] = scale * self._measure(isolate(network, operator))
            total += self._known[cell]
        return total

    def _measure(self, network: Network) -> float:
        with self.bench.engine.load(to_onnx(network, batch=self.bench.engine.settings.batch)) as session:
            return _low_quantile_ms(session)


def _low_quantile_ms(session: Session) -> float:
    session.time_once()
    return 1e3 * float(np.quantile([session.time_once() for _ in range(_N_RUNS)], 0.1))


def _is_fused(network: Network, operator: Operator) -> bool:
    """A rectifier runs with the layer before it; everything else is a layer of its own."""
    source = next(iter(operator.refs()), "")
    return operator.kind == "relu" and source in network.producer and len(network.consumers[source]) == 1


def isolate(network: Network, operator: Operator) -> Network:
    """Return the network of one operator and the rectifier that follows it, its inputs made network inputs."""
    operators = [operator]
    readers = network.consumers.get(operator.outputs[0], ())
    if len(readers) == 1 and _is_fused(network, readers[0]):
        operators.append(readers[0])
    inputs = tuple(dict.fromkeys(name for name in operator.refs() if name in network.tensors))
    used = {name for o in operators for name in o.refs()}
    made = {output for o in operators for output in o.outputs}
    return replace(
        network,
        inputs=inputs,
        outputs=operators[-1].outputs,
        output_structure="tuple",
        operators=tuple(operators),
        tensors={name: t for name, t in network.tensors.items() if name in made or name in inputs},
        parameters={name: array for name, array in network.parameters.items() if name in used},
        trainable=network.trainable & used,
    )
