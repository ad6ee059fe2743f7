"""A float network that behaves as the integer one will: weights on their steps, activations rounded and saturated.

It is a `Network` like any other (activations pass ATen's fake quantisation), so everything that executes, measures or
changes networks takes it. The integer network rounds biases and rescaling factors too; this one does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from silicut.compress.quantisation.bits import BitPlan
from silicut.compress.quantisation.kinds import KINDS, Role
from silicut.compress.quantisation.sites import Site, Sites
from silicut.compress.quantisation.weights import IntegerWeights
from silicut.graph import Network, Operator, Ref, Tensor
from silicut.numerics import Quantisation


def with_weights(network: Network, weights: Mapping[str, IntegerWeights]) -> Network:
    """Return the network with the weights of some layers, by the layer's name, as the numbers that integers stand for."""
    parameters = dict(network.parameters)
    for operator in network.operators:
        if operator.name in weights:
            name = operator.arguments["weight"].name
            parameters[name] = weights[operator.name].floats.astype(parameters[name].dtype)
    return network.with_parameters(parameters)


def simulated(
    sites: Sites, plan: BitPlan, activations: Mapping[Site, Quantisation], weights: Mapping[str, IntegerWeights]
) -> Network:
    """Return the float network that computes with quantised weights and activations.

    Operators and tensors keep their names. A rounded tensor is called "<tensor>.rounded", the narrower copy that layers read
    "<tensor>.uint<bits>", as are the operators that make them.

    Args:
        sites: where the float network is rounded.
        plan: the widths.
        activations: the quantisation of each site of the plan; tensors of sites that are missing stay as they are.
        weights: by the layer's name; layers that are missing keep theirs.
    """
    made = _Simulation(sites, sites.widths(plan), activations)
    network = with_weights(sites.network, weights)
    for name in network.inputs:
        made.round(name)
    for operator in network.operators:
        made.add(operator)
    outputs = tuple(made.renamed.get(name, name) for name in network.outputs)
    tensors = {**network.tensors, **made.tensors}
    return replace(network, operators=tuple(made.operators), tensors=tensors, outputs=outputs)


@dataclass(eq=False)
class _Simulation:
    """The operators of a simulated network as they are made."""

    sites: Sites
    widths: Mapping[str, tuple[int, ...]]
    activations: Mapping[Site, Quantisation]
    operators: list[Operator] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def add(self, operator: Operator) -> None:
        role = KINDS[operator.kind].role
        names = dict(self.renamed)
        if role is Role.LAYER:
            read = operator.arguments["input"].name
            names[read] = self._for_layer(read)
        self.operators.append(replace(operator, arguments={k: _renamed(v, names) for k, v in operator.arguments.items()}))
        if role is not Role.MOVEMENT:
            for name in operator.outputs:
                self.round(name)

    def round(self, name: str) -> None:
        """Let all that reads a tensor read it rounded."""
        if name in self.sites.of:
            at = self.sites.of[name]
            self._fake(name, f"{name}.rounded", Site(at, self.widths[at][0]))
            self.renamed[name] = f"{name}.rounded" if f"{name}.rounded" in self.tensors else name

    def _for_layer(self, tensor: str) -> str:
        at = self.sites.of[tensor]
        own, *narrower = self.widths[at]
        copy = f"{tensor}.uint{(narrower or [own])[0]}"
        if narrower and copy not in self.tensors:
            self._fake(self.renamed.get(tensor, tensor), copy, Site(at, narrower[0]))
        return copy if copy in self.tensors else self.renamed.get(tensor, tensor)

    def _fake(self, tensor: str, output: str, site: Site) -> None:
        steps = self.activations.get(site)
        if steps is None:
            return
        arguments = {
            "self": Ref(tensor),
            "scale": steps.scales[0],
            "zero_point": steps.zero_points[0],
            "quant_min": steps.format.min,
            "quant_max": steps.format.max,
        }
        self.operators.append(Operator(output, "aten.fake_quantize_per_tensor_affine.default", arguments, (output,)))
        self.tensors[output] = self.sites.network.tensors[tensor.removesuffix(".rounded")]


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Ref):
        return Ref(names.get(value.name, value.name))
    return tuple(_renamed(item, names) for item in value) if isinstance(value, tuple) else value
