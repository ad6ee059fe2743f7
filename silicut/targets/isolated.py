"""Layers measured one at a time, each in a session of its own: what most latency tables do, kept to show its error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from silicut.graph import Network, Operator
from silicut.records import Journal
from silicut.targets.engine import Session
from silicut.targets.samples import Bench

_PROTOCOL = 1  # raise it when what is kept changes its meaning
_N_RUNS = 12

Cell = tuple[str, int, int]


@dataclass
class IsolatedLayers:
    """Sums of isolated layers, on the scale of a bench's dense latency; equal layers are measured once."""

    bench: Bench
    _known: dict[Cell, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for event in self._journal():
            with contextlib.suppress(KeyError, TypeError, ValueError):  # a damaged line is as good as none
                key, n_in, n_out = event["cell"]
                self._known[str(key), int(n_in), int(n_out)] = float(event["ms"])

    def sum_ms(self, widths: Mapping[str, int]) -> float:
        """Return the summed milliseconds of all layers at these widths, each with the rectifier that follows it.

        A width of 0 removes the residual block it belongs to.
        """
        bench = self.bench
        network = bench.network_at(widths)
        layers = {layer.name: layer for layer in bench.layers_at(widths)}
        alone = [operator for operator in network.operators if not _is_fused(network, operator)]
        cells = [layers[operator.name].cell(widths) for operator in alone]
        missing = {cell: operator for cell, operator in zip(cells, alone, strict=True) if cell not in self._known}
        if missing:
            scale = bench.dense_ms / _low_quantile_ms(bench.reference())
            for cell, operator in missing.items():
                self._known[cell] = scale * self._measure(isolate(network, operator))
                self._journal().append({"cell": cell, "ms": self._known[cell]})
        return sum(self._known[cell] for cell in cells)

    def _measure(self, network: Network) -> float:
        with self.bench.engine.load(network) as session:
            return _low_quantile_ms(session)

    def _journal(self) -> Journal:
        return self.bench.cache.journal({"isolated": _PROTOCOL, "fingerprint": self.bench.engine.fingerprint()})


def _low_quantile_ms(session: Session) -> float:
    session.time_once()
    return 1e3 * float(np.quantile([session.time_once() for _ in range(_N_RUNS)], 0.1))


def _is_fused(network: Network, operator: Operator) -> bool:
    """A rectifier runs with the layer before it; everything else is a layer of its own."""
    source = next(iter(operator.refs()), "")
    return operator.kind == "relu" and source in network.producer and len(network.consumers[source]) == 1


def isolate(network: Network, operator: Operator) -> Network:
    """Return the network of one operator and the rectifier that follows it, its inputs made network inputs.

    Where it reads a tensor whose first axis is not the batch (stacked queries, keys and values), the operators that make it
    of one whose first axis is are taken along.
    """
    operators = [*{o.name: o for o in _leading(network, operator)}.values(), operator]
    readers = network.consumers.get(operator.outputs[0], ())
    if len(readers) == 1 and _is_fused(network, readers[0]):
        operators.append(readers[0])
    made = {output for o in operators for output in o.outputs}
    used = {name for o in operators for name in o.refs()}
    read = dict.fromkeys(name for o in operators for name in o.refs() if name in network.tensors)
    inputs = tuple(name for name in read if name not in made)
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


def _leading(network: Network, operator: Operator) -> Iterator[Operator]:
    """Yield the operators between an operator and tensors that have the batch first, in order of execution."""
    for name in operator.refs():
        if name in network.producer and not any(size < 0 for size in network.tensors[name].shape[:1]):
            yield from _leading(network, network.producer[name])
            yield network.producer[name]
