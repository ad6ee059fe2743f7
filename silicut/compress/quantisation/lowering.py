"""From a float network to an integer one: every operator becomes those of `numerics`, every number an integer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.compress.quantisation.bits import BitPlan
from silicut.compress.quantisation.short_factors import short_factor, short_scales
from silicut.compress.quantisation.sites import Site, Sites
from silicut.compress.quantisation.weights import IntegerWeights, quantise_weights, weight_scales, with_room_for_bias
from silicut.graph import Network, Operator, Tensor
from silicut.numerics import (
    ACCUMULATOR,
    Convolution2d,
    IntegerOperator,
    Quantisation,
    QuantisedNetwork,
    Requantise,
    Rounding,
    to_network_operator,
)


@dataclass(frozen=True)
class Numbers:
    """Integers that the network under construction holds.

    Attributes:
        name: of their tensor.
        steps: what they stand for.
    """

    name: str
    steps: Quantisation

    @property
    def scale(self) -> float:
        """Their one scale."""
        assert len(self.steps.scales) == 1
        return self.steps.scales[0]

    @property
    def zero_point(self) -> int:
        """Their one zero point."""
        return self.steps.zero_points[0]


@dataclass(eq=False)
class Lowering:
    """An integer network under construction.

    Attributes:
        sites: where the float network is rounded.
        plan: the widths.
        activations: the quantisation of each site.
        weights: integers of some layers, by name; the others are rounded to the nearest.
        rounding: of all requantisers.
    """

    sites: Sites
    plan: BitPlan
    activations: Mapping[Site, Quantisation]
    weights: Mapping[str, IntegerWeights]
    rounding: Rounding = Rounding.HALF_EVEN
    operators: list[Operator] = field(default_factory=list)
    parameters: dict[str, np.ndarray] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    quantisations: dict[str, Quantisation] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.float = self.sites.network
        self.widths = self.sites.widths(self.plan)
        for name in self.float.inputs:
            self.declare(name, self.steps_of(name), self.float.tensors[name].shape, name)

    def steps_of(self, tensor: str) -> Quantisation:
        """Return the quantisation of a tensor of the float network."""
        at = self.sites.of[tensor]
        return self.activations[Site(at, self.widths[at][0])]

    def numbers(self, tensor: str) -> Numbers:
        """Return the integers of a tensor of the float network."""
        return Numbers(tensor, self.quantisations[tensor])

    def for_layer(self, tensor: str) -> Numbers:
        """Return the integers that layers read: the tensor's own, or a narrower copy, which is made on first use."""
        at = self.sites.of[tensor]
        _, *narrower = self.widths[at]
        if not narrower:
            return self.numbers(tensor)
        name = f"{tensor}.uint{narrower[0]}"
        if name not in self.tensors:
            self.requantise(self.numbers(tensor), Numbers(name, self.activations[Site(at, narrower[0])]), tensor)
        return Numbers(name, self.quantisations[name])

    def declare(self, name: str, steps: Quantisation, shape: tuple[int, ...], origin: str = "") -> Numbers:
        """Add a tensor and return its numbers."""
        assert name not in self.tensors.keys() | self.parameters.keys(), f"{name} is made twice"
        self.tensors[name] = Tensor(shape, steps.format.name)
        self.quantisations[name] = steps
        if origin:
            self.origins[name] = origin
        return Numbers(name, steps)

    def emit(self, operator: IntegerOperator, name: str, inputs: Sequence[str], output: Numbers, like: str) -> None:
        """Add an operator and the tensor that it makes.

        Args:
            operator: what it does.
            name: its name.
            inputs: names of the tensors that it reads.
            output: name and quantisation of what it makes.
            like: the tensor of the float network that the result stands for, but for accumulators.
        """
        made, arrays = to_network_operator(operator, name, inputs, output.name)
        source = self.float.producer[like].source if like in self.float.producer else ""
        origin = "" if output.name == _accumulators(like) else like
        self.declare(output.name, output.steps, self.float.tensors[like].shape, origin)
        self.operators.append(replace(made, source=source))
        self.parameters |= arrays

    def accumulators(self, operator: IntegerOperator, name: str, inputs: Sequence[str], scales: Any, like: str) -> Numbers:
        """Add an operator that makes accumulators, with one scale or one for each channel, and return them."""
        axis = 1 if isinstance(operator, Convolution2d) else len(self.float.tensors[like].shape) - 1
        each = np.atleast_1d(np.asarray(scales, np.float64))
        steps = Quantisation.per_channel(ACCUMULATOR, each, axis=axis)
        if len(each) == 1:
            steps = Quantisation.per_tensor(ACCUMULATOR, float(each[0]))
        made = Numbers(_accumulators(like), steps)
        self.emit(operator, name, inputs, made, like)
        return made

    def requantise(self, source: Numbers, target: Numbers, like: str, division: int = 1) -> None:
        """Add the operator that makes numbers of one quantisation from those of another.

        Args:
            source: what it reads.
            target: what it makes.
            like: the tensor of the float network that the result stands for.
            division: by which the numbers are divided on the way (the windows of an average).
        """
        factors = [scale / target.scale / division for scale in source.steps.scales]
        if division > 1:
            factors = [short_factor(factor, target.steps.format) for factor in factors]
        step = Requantise.by(
            factors,
            input_format=source.steps.format,
            output_format=target.steps.format,
            input_zero_point=source.zero_point,
            output_zero_point=target.zero_point,
            rounding=self.rounding,
            axis=1 if source.steps.axis is None else source.steps.axis,
        )
        self.emit(step, f"{target.name}.requantise", [source.name], target, like)

    def end_of(self, operator: Operator) -> Numbers:
        """Return the name and quantisation of an operator's rounded result, that of the clamp behind it included."""
        end = self.sites.ends.get(operator.name, operator.outputs[0])
        return Numbers(end, self.steps_of(end))

    def weights_of(self, operator: Operator, source: Numbers, end: Numbers) -> tuple[IntegerWeights, NDArray[Any] | None]:
        """Return the integer weights of a layer, and its float bias or None."""
        weight = self.float.parameters[operator.arguments["weight"].name]
        bias = operator.arguments["bias"] and self.float.parameters[operator.arguments["bias"].name]
        made = self.weights.get(operator.name)
        if made is None:
            bits = self.plan.filter_bits(operator.name, len(weight))
            scales = short_scales(weight_scales(weight, bits), source.steps, end.steps)
            made = quantise_weights(weight, bits, scales)
        return with_room_for_bias(made, bias, source.steps, end.steps), bias

    def finished(self) -> QuantisedNetwork:
        """Return the integer network."""
        network = Network(
            inputs=self.float.inputs,
            outputs=self.float.outputs,
            output_structure=self.float.output_structure,
            tensors=self.tensors,
            operators=tuple(self.operators),
            parameters=self.parameters,
            trainable=frozenset(),
        )
        return QuantisedNetwork(network, self.quantisations, self.origins)


def _accumulators(tensor: str) -> str:
    """Return the name of the accumulators of a tensor of the float network."""
    return f"{tensor}.accumulators"


def lower(
    sites: Sites,
    plan: BitPlan,
    activations: Mapping[Site, Quantisation],
    weights: Mapping[str, IntegerWeights] | None = None,
) -> QuantisedNetwork:
    """Return the integer network of a float one.

    Layers keep their names, tensors those of the float network; accumulators are called "<tensor>.accumulators", narrower
    copies "<tensor>.uint<bits>". Biases are rounded on the accumulators' scale.

    Factors of requantisers are short (`short_factors`), so that runtimes make the same integers; the scales of given weights
    stay as they are.

    Args:
        sites: where the network is rounded, with the network as `quantisable` gave it.
        plan: the widths.
        activations: the quantisation of each site of the plan; unsigned, with one scale.
        weights: integer weights of some layers, by the layer's name; the others are rounded to the nearest with the scales
            of `weight_scales`.

    Raises:
        ConfigError: the plan names layers or filters that the network lacks.
        AccumulatorTooNarrow: the sums of a layer could overflow 32 bits.
    """
    from silicut.compress.quantisation.lowered_operators import LOWERED

    lowering = Lowering(sites, plan, activations, weights or {})
    for operator in sites.network.operators:
        LOWERED[operator.kind](lowering, operator)
    return lowering.finished()
