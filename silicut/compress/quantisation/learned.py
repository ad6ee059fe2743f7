"""Quantisation-aware training: a network that is trained while it is rounded, with steps that are learned.

`QuantisationAware` is an ordinary module. In training mode it rounds in floats wherever the integer network rounds, and lets
gradients pass; in evaluation mode it *is* the integer network: it lowers itself and computes with integers.

Batch norms stay in training, where they keep it stable. Lowering folds them away: since every filter has a scale of its own,
integers of a folded filter are those of the filter itself, only its scale is multiplied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from silicut.compress.quantisation.bits import BitPlan
from silicut.compress.quantisation.fake_quantise import FAKE_QUANTISE
from silicut.compress.quantisation.kinds import KINDS, Role
from silicut.compress.quantisation.lowering import lower
from silicut.compress.quantisation.sites import Site, Sites, find_sites, quantisable, tidied
from silicut.compress.quantisation.weights import IntegerWeights, largest_levels, quantise_weights, weight_scales
from silicut.graph import Network, Operator, Ref, Tensor, to_module
from silicut.graph.module import network_with_weights
from silicut.numerics import IntegerModule, Quantisation, QuantisedNetwork, dequantise, quantise
from silicut.records import ConfigError
from silicut.training import RECOVERY
from silicut.training.modes import in_mode

QAT = replace(RECOVERY, learning_rate=0.01, weight_decay=1e-4, precision="fp32")
"""Training of a network that is rounded: smaller steps than after pruning, distilled from the float network."""


class QuantisationAware(nn.Module):
    """A network that is trained while it is rounded.

    Args:
        network: as captured, with its batch norms.
        plan: the widths.
        activations: the quantisation of each site of the plan to start from; zero points stay, steps are learned.

    Attributes:
        fake: the network with its roundings, in floats.

    Raises:
        UnsupportedModel: operators have no integer form.
        ConfigError: the plan names layers that the network lacks, or filters of one layer at several widths.
    """

    def __init__(self, network: Network, plan: BitPlan, activations: Mapping[Site, Quantisation]) -> None:
        super().__init__()
        if plan.filter_groups:
            raise ConfigError("filter_groups must be empty where a network is trained; give each layer one width")
        self._network, self._plan, self._activations = network, plan, dict(activations)
        self._sites = find_sites(quantisable(network))
        self._steps = _step_names(self._sites, plan, activations)
        self.fake = to_module(_Rounding(tidied(network), self._sites, plan, self._activations, self._steps).network())
        self._integer: tuple[tuple[int, ...], QuantisedNetwork, IntegerModule] | None = None

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Return what the network returns: rounded floats in training mode, what the integers stand for in evaluation mode.

        Args:
            inputs: floats, as the network as captured takes them.
        """
        if self.training:
            return self.fake(*inputs)
        quantised, module = self._lowered()
        given = zip(quantised.network.inputs, inputs, quantised.inputs, strict=True)
        integers = {name: torch.from_numpy(quantise(x.detach().cpu().numpy(), steps)) for name, x, steps in given}
        found = module.run(integers)
        outputs = [
            torch.from_numpy(dequantise(found[name].numpy(), steps)).to(inputs[0].device)
            for name, steps in zip(quantised.network.outputs, quantised.outputs, strict=True)
        ]
        return _structured(outputs, quantised.network.output_structure)

    def quantised(self) -> QuantisedNetwork:
        """Return the integer network of the weights and steps as they are."""
        return self._lowered()[0]

    def _lowered(self) -> tuple[QuantisedNetwork, IntegerModule]:
        """Return the integer network and its module, made anew only after something has changed."""
        state = tuple(value._version for value in (*self.fake.parameters(), *self.fake.buffers()))
        if self._integer is None or self._integer[0] != state:
            trained = network_with_weights(self.fake).parameters
            own = self._network.with_parameters(
                {name: trained.get(name, array) for name, array in self._network.parameters.items()}
            )
            sites = replace(self._sites, network=quantisable(own))
            weights = dict(_integer_weights(own, sites, self._plan, trained))
            quantised = lower(sites, self._plan, self._learned(trained), weights)
            self._integer = state, quantised, IntegerModule(quantised.network)
        return self._integer[1:]

    def _learned(self, trained: Mapping[str, NDArray[Any]]) -> dict[Site, Quantisation]:
        return {
            site: replace(steps, scales=(float(np.exp(trained[self._steps[site]])),))
            for site, steps in self._activations.items()
        }


def _integer_weights(
    network: Network, sites: Sites, plan: BitPlan, trained: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[str, IntegerWeights]]:
    """Yield the integers of each layer, its learned scales times what folding has multiplied each filter by."""
    before = {operator.name: network.parameters[operator.arguments["weight"].name] for operator in _layers(network)}
    for operator in _layers(sites.network):
        weight, folded = before[operator.name], sites.network.parameters[operator.arguments["weight"].name]
        scales = np.exp(trained[_weight_step(operator)].astype(np.float64)) * _folded_by(weight, folded)
        yield operator.name, quantise_weights(folded, plan.filter_bits(operator.name, len(folded)), _as_float32(scales))


def _folded_by(weight: NDArray[Any], folded: NDArray[Any]) -> NDArray[np.float64]:
    """Return what the numbers of each filter were multiplied by, without its sign; 1 for filters of zeros."""
    largest = [np.abs(array.reshape(len(array), -1)).max(axis=1).astype(np.float64) for array in (weight, folded)]
    multiple: NDArray[np.float64] = np.ones(len(weight))
    np.divide(largest[1], largest[0], out=multiple, where=(largest[0] > 0) & (largest[1] > 0))
    return multiple


def _as_float32(scales: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(scales.astype(np.float32), np.finfo(np.float32).tiny).astype(np.float64)


def _structured(outputs: list[torch.Tensor], structure: str | tuple[str, ...]) -> Any:
    if structure == "tensor":
        return outputs[0]
    if structure == "list":
        return outputs
    return tuple(outputs) if structure == "tuple" else dict(zip(structure, outputs, strict=True))


def starting_scales(weight: NDArray[Any], bits: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the scale of each filter that training starts from: 2 mean(abs(w)) / sqrt(q), at most max(abs(w)) / q.

    Source: Esser et al., "Learned Step Size Quantization", 2020, for q the largest integer.

    Args:
        weight: array with filters on axis 0.
        bits: array (filters,).
    """
    mean = np.abs(weight.reshape(len(weight), -1)).mean(axis=1, dtype=np.float64)
    learned = 2 * mean / np.sqrt(largest_levels(bits))
    largest = weight_scales(weight, bits)
    return np.where(learned > 0, np.minimum(learned, largest), largest)


def _layers(network: Network) -> Iterator[Operator]:
    return (operator for operator in network.operators if KINDS[operator.kind].role is Role.LAYER)


def _weight_step(operator: Operator) -> str:
    return f"{operator.name}.weight_step"


def _step_names(sites: Sites, plan: BitPlan, activations: Mapping[Site, Quantisation]) -> dict[Site, str]:
    """Return the parameter that holds the step of each site; what is joined and starts alike keeps one step."""
    names = {site: f"{site.tensor}.step{site.bits}" for site in sites.at(plan)}
    widths = sites.widths(plan)
    for tensor, result in reversed(sites.joined):
        own, joint = Site(tensor, widths[tensor][0]), Site(result, widths[result][0])
        if activations[own] == activations[joint]:
            names[own] = names[joint]
    return names


class _Rounding:
    """Builds the float network, batch norms included, with its roundings."""

    def __init__(
        self,
        network: Network,
        sites: Sites,
        plan: BitPlan,
        activations: Mapping[Site, Quantisation],
        steps: Mapping[Site, str],
    ) -> None:
        self._given, self._sites, self._plan = network, sites, plan
        self._activations, self._steps, self._widths = activations, steps, sites.widths(plan)
        self._operators: list[Operator] = []
        self._tensors: dict[str, Tensor] = dict(network.tensors)
        self._inputs: dict[str, str] = {}  # the rounded tensor of each input
        self._parameters: dict[str, NDArray[Any]] = dict(network.parameters)

    def network(self) -> Network:
        """Return the network."""
        for site, name in self._steps.items():
            self._parameters[name] = np.asarray(np.log(self._activations[site].scales[0]), np.float32)
        for name in self._given.inputs:
            self._inputs[name] = self._rounded(name, f"{name}.rounded", Site(name, self._widths[name][0]))
        for operator in self._given.operators:
            self._add(operator)
        return replace(
            self._given,
            operators=tuple(self._operators),
            tensors=self._tensors,
            parameters=self._parameters,
            trainable=self._given.trainable | (self._parameters.keys() - self._given.parameters.keys()),
        )

    def _add(self, operator: Operator) -> None:
        """Add an operator, what it reads rounded as it must be, and the rounding of its result."""
        if KINDS[operator.kind].role is Role.LAYER:
            operator = self._with_rounded_reads(operator)
        elif operator.kind == "batch_norm" and operator.name in self._sites.ends:
            operator = operator.with_arguments(training=0)  # not False, which would follow train(): it is no layer's
        operator = _reading(operator, self._inputs)
        output = operator.outputs[0]
        if output not in self._sites.limits:
            self._operators.append(operator)
            return
        exact = f"{output}.exact"
        self._tensors[exact] = self._tensors[output]
        self._operators.append(replace(operator, outputs=(exact,)))
        self._rounded(exact, output, Site(output, self._widths[output][0]))

    def _with_rounded_reads(self, operator: Operator) -> Operator:
        """Return a layer that reads its weights rounded, and its input as narrow as it asks for."""
        name = operator.arguments["weight"].name
        weight = self._parameters[name]
        bits = self._plan.filter_bits(operator.name, len(weight))
        self._parameters[_weight_step(operator)] = np.log(starting_scales(weight, bits)).astype(np.float32)
        largest, rounded = int(largest_levels(bits)[0]), f"{operator.name}.weight_rounded"
        self._tensors[rounded] = Tensor(weight.shape, "float32")
        self._round(name, rounded, _weight_step(operator), (0, -largest, largest))
        return operator.with_arguments(input=Ref(self._for_layer(operator.arguments["input"].name)), weight=Ref(rounded))

    def _for_layer(self, tensor: str) -> str:
        """Return the tensor that layers read: the tensor itself, or a narrower copy, made on first use."""
        at = self._sites.of[tensor]
        if len(self._widths[at]) == 1:
            return tensor
        name = f"{tensor}.narrow"
        return name if name in self._tensors else self._rounded(tensor, name, Site(at, self._widths[at][1]))

    def _rounded(self, source: str, name: str, site: Site) -> str:
        steps = self._activations[site]
        self._tensors[name] = self._tensors[source]
        source = self._inputs.get(source, source)
        return self._round(source, name, self._steps[site], (steps.zero_points[0], steps.format.min, steps.format.max))

    def _round(self, source: str, name: str, step: str, limits: tuple[int, int, int]) -> str:
        arguments = dict(zip(("zero_point", "low", "high"), limits, strict=True))
        reads = {"input": Ref(source), "log_step": Ref(step)}
        self._operators.append(Operator(f"{name}.rounding", FAKE_QUANTISE, reads | arguments, (name,)))
        return name


def _reading(operator: Operator, renamed: Mapping[str, str]) -> Operator:
    """Return the operator with what it reads called by new names."""

    def of(value: Any) -> Any:
        if isinstance(value, Ref):
            return Ref(renamed.get(value.name, value.name))
        return tuple(map(of, value)) if isinstance(value, tuple) else value

    return replace(operator, arguments={key: of(value) for key, value in operator.arguments.items()})


def agreement(module: QuantisationAware, batches: Iterable[torch.Tensor]) -> float:
    """Return the share of output integers that the rounded floats and the integer network agree on.

    Batch norms take their running statistics in both. What is left is the 16 bits of multipliers, and biases, which only the
    integer network rounds: at 2 or 3 bits accumulators are so coarse that this costs steps of an 8-bit output.

    Args:
        module: with one output.
        batches: images.
    """
    steps, n_equal, n = module.quantised().outputs[0], 0, 0
    with torch.no_grad(), in_mode(module, is_training=False):
        for images in batches:
            fake, exact = (quantise(run(images).numpy(), steps) for run in (module.fake, module))
            n_equal, n = n_equal + int((fake == exact).sum()), n + exact.size
    return n_equal / n
