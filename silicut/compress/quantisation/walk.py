"""Runs networks operator by operator on images held in memory, so that layers can be changed on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from silicut.compress.quantisation.calibration import Images
from silicut.compress.quantisation.kinds import KINDS, Role
from silicut.graph import Network, Operator, Ref
from silicut.graph.module import run_operator
from silicut.records import ConfigError


def in_memory(images: Images) -> tuple[Tensor, ...]:
    """Return calibration batches as one array for each input of the network.

    Raises:
        ConfigError: there are no images.
    """
    if not len(images):
        raise ConfigError("calibration images must be at least one batch, not none")
    batches = [(batch,) if isinstance(batch, Tensor) else batch for batch in images]
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))


class Walk:
    """A network stopped between two of its operators.

    Args:
        network: any network.
        images: one array of images for each of its inputs.

    Attributes:
        network: the network.
        values: tensors and parameters by name, as far as they are still needed; what is changed here counts from now on.
        at: index of the operator that runs next.
    """

    def __init__(self, network: Network, images: Sequence[Tensor]) -> None:
        self.network, self.at = network, 0
        self.values = {name: torch.from_numpy(array) for name, array in network.parameters.items()}
        self.values |= dict(zip(network.inputs, images, strict=True))
        self._n_images = len(images[0])
        self._last_use = {name: i for i, operator in enumerate(network.operators) for name in operator.refs()}

    @property
    def operator(self) -> Operator:
        """The operator that runs next."""
        return self.network.operators[self.at]

    def is_over(self) -> bool:
        """Tell whether every operator has run."""
        return self.at == len(self.network.operators)

    def step(self) -> None:
        """Run the next operator and free what nothing reads any more."""
        operator = self.operator
        with torch.no_grad():
            run_operator(operator, self.values, self._n_images)
        for name in set(operator.refs()):
            if self._last_use[name] == self.at and name not in self.network.outputs:
                del self.values[name]
        self.at += 1

    def outputs(self, changes: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the network's outputs if some values were others from here on; the walk itself stays where it is."""
        branch = Walk.__new__(Walk)
        branch.__dict__ |= self.__dict__ | {"values": self.values | dict(changes)}
        while not branch.is_over():
            branch.step()
        return tuple(branch.values[name] for name in self.network.outputs)


@dataclass(frozen=True, eq=False)
class LayerInput:
    """What a layer reads in two networks.

    Attributes:
        layer: the layer, as an operator of the float network.
        exact: what it reads in the float network.
        quantised: what it reads where activations, and all layers before it, are quantised.
        weight: its float weight, array (n_filters, ...).
        bias: its float bias, array (n_filters,).
    """

    layer: Operator
    exact: Tensor
    quantised: Tensor
    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class Change:
    """What a layer computes with from now on: weight and bias, as floats."""

    weight: np.ndarray
    bias: np.ndarray


def layer_by_layer(
    network: Network, quantised: Network, images: Images, changes: Mapping[str, Change]
) -> Iterator[LayerInput]:
    """Yield what each layer reads in a float network and in a quantised one, in order of execution.

    Args:
        network: with a bias of its own for each layer (`with_biases`).
        quantised: the same with rounded activations, as `simulated` gives it.
        images: calibration batches; all are in memory at once.
        changes: by layer; the caller puts what a layer gets here before it asks for the next one. A layer without an
            entry stays as it is.
    """
    inputs = in_memory(images)
    ahead, behind = Walk(network, inputs), Walk(quantised, inputs)
    own = {operator.name for operator in network.operators}
    while not behind.is_over():
        operator = behind.operator
        if operator.kind in KINDS and KINDS[operator.kind].role is Role.LAYER:
            yield _read(network, ahead, behind)
            if operator.name in changes:
                change = changes[operator.name]
                behind.values[operator.arguments["weight"].name] = torch.from_numpy(change.weight)
                behind.values[operator.arguments["bias"].name] = torch.from_numpy(change.bias)
        behind.step()
        if operator.name in own:
            ahead.step()


def _read(network: Network, ahead: Walk, behind: Walk) -> LayerInput:
    layer = ahead.operator
    weight, bias = (network.parameters[layer.arguments[argument].name] for argument in ("weight", "bias"))
    exact, quantised = (walk.values[walk.operator.arguments["input"].name] for walk in (ahead, behind))
    return LayerInput(layer, exact, quantised, weight, bias)


def with_biases(network: Network) -> Network:
    """Return the network in which every layer has a bias that nothing else reads, zeros where it had none."""
    parameters, operators, added = dict(network.parameters), list(network.operators), set()
    for i, operator in enumerate(operators):
        if KINDS[operator.kind].role is not Role.LAYER:
            continue
        bias, weight = operator.arguments["bias"], parameters[operator.arguments["weight"].name]
        if bias is not None and len(network.consumers[bias.name]) == 1:
            continue
        name = _free_name(f"{operator.name}.bias", {*parameters, *network.tensors, *network.aliases})
        parameters[name] = np.zeros(len(weight), weight.dtype) if bias is None else parameters[bias.name].copy()
        operators[i] = operator.with_arguments(bias=Ref(name))
        added.add(name)
    return replace(network, operators=tuple(operators), parameters=parameters, trainable=network.trainable | added)


def with_changed_biases(network: Network, changes: Mapping[str, Change]) -> Network:
    """Return the network with the biases of some layers changed, their weights as they were."""
    biases = {o.arguments["bias"].name: changes[o.name].bias for o in network.operators if o.name in changes}
    return network.with_parameters({**network.parameters, **biases})


def _free_name(name: str, taken: set[str]) -> str:
    n, candidate = 0, name
    while candidate in taken:
        n += 1
        candidate = f"{name}_{n}"
    return candidate
