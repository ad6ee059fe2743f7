"""Quantisation-aware training: a network is trained while it is rounded, and how coarsely is learned with it.

`QuantisationAware` is an ordinary module. In training mode it computes with floats that it rounds wherever the integer
network rounds, and gradients pass straight through; in evaluation mode it *is* the integer network: it lowers itself and
computes with integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from silicut.compress.quantisation.bits import BitPlan
from silicut.compress.quantisation.kinds import KINDS, Role, activations_read
from silicut.compress.quantisation.learned_parts import NORM_LEVELS, LearnedLayer, LearnedNorm, LearnedStep
from silicut.compress.quantisation.lowering import lower
from silicut.compress.quantisation.sites import Site, Sites, find_sites, quantisable
from silicut.graph import Network, Operator
from silicut.graph.module import run_operator
from silicut.numerics import Quantisation, QuantisedModule, QuantisedNetwork

Values = dict[str, Tensor]
Change = Callable[[str, Tensor], Tensor]
"""Maps the name and the values of a rounded tensor to what the network goes on with."""


class QuantisationAware(nn.Module):
    """A network that is trained while it is rounded.

    Weights have a learned step for each filter, activations one for each rounding, where zero points stay. A clamp that is
    part of a rounding is the range of its numbers, so its limit is learned too. Batch norms that fold into layers stay apart
    in training and normalise by each batch; with their part in evaluation mode (`frozen`) they use their own statistics.

    Args:
        network: as captured, with its batch norms.
        plan: the widths.
        activations: the quantisation of each site of the plan to start from.

    Attributes:
        plan: the widths.
        sites: where the network is rounded.
        layers, norms: what is trained of each layer, and of each batch norm that is no layer's; in order.
        steps: of the activations.

    Raises:
        UnsupportedModel: operators have no integer form.
        ConfigError: the plan names layers or filters that the network lacks.
    """

    def __init__(self, network: Network, plan: BitPlan, activations: Mapping[Site, Quantisation]) -> None:
        super().__init__()
        self.plan, self.sites = plan, find_sites(quantisable(network))
        self._widths = self.sites.widths(plan)
        self._layer_of, self._norm_of = _Parts(network, self.sites, plan).made()
        self._step_of = _steps(self.sites, self._widths, activations)
        self.layers, self.norms = nn.ModuleList(self._layer_of.values()), nn.ModuleList(self._norm_of.values())
        self.steps = nn.ModuleList(dict.fromkeys(self._step_of.values()))
        self._integer: tuple[tuple[int, ...], QuantisedModule] | None = None

    def forward(self, *inputs: Tensor) -> Any:
        """Return what the network returns: rounded floats in training mode, what the integers stand for in evaluation mode.

        Args:
            inputs: floats, as the network as captured takes them.
        """
        if not self.training:
            return self.integer()(*inputs)
        values = self.rounded(inputs)
        network = self.sites.network
        return network.structured([values[name] for name in network.outputs])

    def rounded(self, inputs: tuple[Tensor, ...], change: Change = lambda _name, values: values) -> Values:
        """Return every rounded tensor by name as training computes it.

        Args:
            inputs: floats, in order.
            change: called with each as soon as it is known; what it returns is computed with from there on.
        """
        run = _Run(self, len(inputs[0]), change)
        for name, given in zip(self.sites.network.inputs, inputs, strict=True):
            run.round(name, given)
        for operator in self.sites.network.operators:
            run.operator(operator)
        return run.values

    def integer(self) -> QuantisedModule:
        """Return the integer network of weights and steps as they are, made anew only when they have changed."""
        state = tuple(number for t in (*self.parameters(), *self.buffers()) for number in (t._version, t.data_ptr()))
        if self._integer is None or self._integer[0] != state:
            device = next(self.parameters()).device
            self._integer = state, QuantisedModule(self._lowered()).to(device).eval()
        return self._integer[1]

    def quantised(self) -> QuantisedNetwork:
        """Return the integer network of weights and steps as they are."""
        return self.integer().quantised

    def float_network(self) -> Network:
        """Return the network that the integer one stands for: the trained weights, norms folded, nothing rounded."""
        network = self.sites.network
        parameters = dict(network.parameters)
        for operator in network.operators:
            if operator.name in self._layer_of:
                weight, bias = self._layer_of[operator.name].folded()
                parameters[operator.arguments["weight"].name] = weight
                if bias is not None:
                    parameters[operator.arguments["bias"].name] = bias
            elif operator.name in self._norm_of:
                parameters |= self._norm_of[operator.name].arrays(operator)
        return network.with_parameters(parameters)

    def activations(self) -> dict[Site, Quantisation]:
        """Return the quantisation of each site with the steps as they are."""
        return {site: step.learned() for site, step in self._step_of.items()}

    def _lowered(self) -> QuantisedNetwork:
        sites = replace(self.sites, network=self.float_network())
        weights = {name: layer.integers() for name, layer in self._layer_of.items()}
        return lower(sites, self.plan, self.activations(), weights)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_integer": None}


class _Run:
    """One forward pass in training."""

    def __init__(self, module: QuantisationAware, n_images: int, change: Change) -> None:
        self.values: Values = {}
        self._module, self._n_images, self._change = module, n_images, change
        self._network = module.sites.network

    def operator(self, operator: Operator) -> None:
        """Run one operator of the float network and round what it makes."""
        role, output = KINDS[operator.kind].role, operator.outputs[0]
        read = activations_read(self._network, operator)
        if role is Role.LAYER:
            self._end(operator, self._module._layer_of[operator.name](*self._for_layer(read[0])))
        elif operator.name in self._module._norm_of:
            scale = self._own_step(read[0]).step.detach() / NORM_LEVELS
            self._end(operator, self._module._norm_of[operator.name](self.values[read[0]], scale))
        elif role is Role.CLAMP:
            if output not in self.values:  # else it is part of the rounding before
                self.round(output, self.values[read[0]])
        else:
            found = dict(self.values)
            run_operator(operator, found, self._n_images)
            self._made(operator, role, found)

    def _made(self, operator: Operator, role: Role, found: Values) -> None:
        if role is Role.MOVEMENT:
            self.values |= {name: self._change(name, found[name]) for name in operator.outputs}
        elif role is Role.SUM:
            self._end(operator, found[operator.outputs[0]])
        elif role is Role.JOIN and self._is_joined_only(operator):
            self.values[operator.outputs[0]] = self._change(operator.outputs[0], found[operator.outputs[0]])
        else:
            self.round(operator.outputs[0], found[operator.outputs[0]])

    def _is_joined_only(self, join: Operator) -> bool:
        """Tell whether all operands have the rounding of the result already."""
        names = (*activations_read(self._network, join), join.outputs[0])
        return len({self._own_step(name) for name in names}) == 1

    def _end(self, operator: Operator, values: Tensor) -> None:
        self.round(self._module.sites.ends[operator.name], values)

    def round(self, name: str, values: Tensor) -> None:
        """Round a tensor to its own width."""
        self.values[name] = self._change(name, self._own_step(name)(values))

    def _own_step(self, name: str) -> LearnedStep:
        at = self._module.sites.of[name]
        return self._module._step_of[Site(at, self._module._widths[at][0])]

    def _for_layer(self, name: str) -> tuple[Tensor, Tensor]:
        """Return what layers read of a tensor, rounded once more where they ask for fewer bits, and its step."""
        at = self._module.sites.of[name]
        bits = self._module._widths[at]
        step = self._module._step_of[Site(at, bits[-1])]
        if len(bits) == 1:
            return self.values[name], step.step
        copy = f"{name}.uint{bits[-1]}"
        if copy not in self.values:
            self.values[copy] = step(self.values[name])
        return self.values[copy], step.step


def _steps(
    sites: Sites, widths: Mapping[str, tuple[int, ...]], activations: Mapping[Site, Quantisation]
) -> dict[Site, LearnedStep]:
    """Return the step of each site; tensors that are joined and start alike share one, so that joining stays free."""
    steps = {site: LearnedStep(activations[site]) for tensor in widths for site in _sites_of(tensor, widths)}
    for tensor, result in reversed(sites.joined):
        own, joint = Site(tensor, widths[tensor][0]), Site(result, widths[result][0])
        if activations[own] == activations[joint]:
            steps[own] = steps[joint]
    return steps


def _sites_of(tensor: str, widths: Mapping[str, tuple[int, ...]]) -> list[Site]:
    return [Site(tensor, bits) for bits in widths[tensor]]


class _Parts:
    """Makes what is trained of a network's layers and norms; parameters that are shared stay shared."""

    def __init__(self, network: Network, sites: Sites, plan: BitPlan) -> None:
        self._given, self._sites, self._plan = network, sites, plan
        self._parameters: dict[str, nn.Parameter] = {}

    def made(self) -> tuple[dict[str, LearnedLayer], dict[str, LearnedNorm]]:
        """Return the layers and the norms that are no layer's, by name."""
        layers, norms = {}, {}
        for operator in self._sites.network.operators:
            if KINDS[operator.kind].role is Role.LAYER:
                layers[operator.name] = self._layer(operator)
            elif operator.kind == "batch_norm":
                norms[operator.name] = LearnedNorm(operator, self._sites.network.parameters)
        return layers, norms

    def _layer(self, operator: Operator) -> LearnedLayer:
        name, norm = operator.arguments["weight"].name, self._norm_behind(operator)
        bits = self._plan.filter_bits(operator.name, len(self._sites.network.parameters[name]))
        if norm is None:
            bias = operator.arguments["bias"]
            own = bias and self._parameter(bias.name, self._sites.network)
            return LearnedLayer(operator, self._parameter(name, self._sites.network), own, None, bits)
        made = LearnedNorm(norm, self._given.parameters)
        if (bias := self._given.producer[norm.arguments["input"].name].arguments["bias"]) is not None:
            made.running_mean.sub_(torch.from_numpy(self._given.parameters[bias.name]))
        return LearnedLayer(operator, self._parameter(name, self._given), None, made, bits)

    def _norm_behind(self, layer: Operator) -> Operator | None:
        """Return the batch norm that was folded into a layer, None where there is none, or more than one."""
        norm = self._given.producer.get(layer.outputs[0])
        if norm is None or norm.kind != "batch_norm":
            return None
        maker = self._given.producer.get(norm.arguments["input"].name)
        return norm if maker is not None and maker.name == layer.name else None

    def _parameter(self, name: str, network: Network) -> nn.Parameter:
        if name not in self._parameters:
            value = torch.from_numpy(network.parameters[name].astype(np.float32))
            self._parameters[name] = nn.Parameter(value, name in network.trainable)
        return self._parameters[name]
