"""A `Network` as a PyTorch module: it trains, moves to devices and saves like any other.

State-dict names are the user's own. Batch normalisation and dropout follow `train()` and `eval()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from silicut.graph.network import BATCH, Network, Operator, Ref
from silicut.records import UnsupportedModel

_TRAINING_ARGUMENTS = {
    "batch_norm": "training",
    "dropout": "train",
    "feature_dropout": "train",
    "alpha_dropout": "train",
}
_FRAMEWORK_TYPES = ("torch.",)


class NetworkModule(nn.Module):
    """Executes the operators of a network in order.

    Attributes:
        network: what it was made from; training does not change it (`network_with_weights` gives the trained one).
        batch_norm_momentum: momentum of every batch normalisation, by the prefix of its buffers' names.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.batch_norm_momentum = _batch_norm_momentum(network)
        self._owners: dict[str, tuple[nn.Module, str]] = {}
        for name, array in network.parameters.items():
            self._register(name, array, name in network.trainable)
        last_use = {name: i for i, o in enumerate(network.operators) for name in o.refs() if name not in network.parameters}
        self._steps = [_Step(o, self._owners, _freed_after(i, last_use, network)) for i, o in enumerate(network.operators)]

    def _register(self, name: str, array: np.ndarray, is_trainable: bool) -> None:
        *path, leaf = name.split(".")
        owner: nn.Module = self
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner._modules[part]  # type: ignore[assignment]
        value = torch.from_numpy(array.copy())
        if is_trainable:
            owner.register_parameter(leaf, nn.Parameter(value))
        else:
            owner.register_buffer(leaf, value)
        self._owners[name] = (owner, leaf)

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Return what the captured module returns for inputs of the captured shapes (any batch size)."""
        values = dict(zip(self.network.inputs, inputs, strict=True))
        batch = inputs[0].shape[0] if inputs[0].dim() else 1
        for step in self._steps:
            step.run(values, batch, self.training)
        results = [values[name] for name in self.network.outputs]
        structure = self.network.output_structure
        if structure == "tensor":
            return results[0]
        return tuple(results) if structure == "tuple" else dict(zip(structure, results, strict=True))

    def __deepcopy__(self, memo: dict[int, Any]) -> NetworkModule:
        return _copy_training_state(self, NetworkModule(network_with_weights(self)))


def _copy_training_state(source: NetworkModule, target: NetworkModule) -> NetworkModule:
    parameter = next(source.parameters(), None)
    if parameter is not None:
        target.to(device=parameter.device, dtype=parameter.dtype)
    return target.train(source.training)


def to_module(network: Network) -> NetworkModule:
    """Return a trainable PyTorch module, in evaluation mode, that computes the network.

    Raises:
        UnsupportedModel: an operator is not known to the installed PyTorch.
    """
    module = NetworkModule(network)
    module.eval()
    return module


def network_with_weights(module: NetworkModule) -> Network:
    """Return the module's network with the module's present weights and statistics."""
    parameters = {name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()}
    return module.network.with_parameters(parameters)


class _Step:
    """One operator made ready to run: its callable and where each argument comes from."""

    def __init__(self, operator: Operator, owners: dict[str, tuple[nn.Module, str]], freed: tuple[str, ...]) -> None:
        self._call = _resolve(operator)
        self._outputs, self._freed = operator.outputs, freed
        self._training_argument = _TRAINING_ARGUMENTS.get(operator.kind)
        self._getters = [(key, _getter(value, owners)) for key, value in operator.arguments.items()]

    def run(self, values: dict[str, Any], batch: int, is_training: bool) -> None:
        arguments = {key: get(values, batch) for key, get in self._getters}
        if self._training_argument is not None:
            arguments[self._training_argument] = is_training
        result = self._call(**arguments)
        if isinstance(result, torch.Tensor):
            values[self._outputs[0]] = result
        else:
            values.update(zip(self._outputs, result, strict=False))
        for name in self._freed:
            del values[name]


def _freed_after(index: int, last_use: dict[str, int], network: Network) -> tuple[str, ...]:
    names = dict.fromkeys(network.operators[index].refs())
    return tuple(n for n in names if last_use.get(n) == index and n not in network.outputs)


def _resolve(operator: Operator) -> Callable[..., Any]:
    namespace, kind, overload = operator.target.split(".")
    try:
        call: Callable[..., Any] = getattr(getattr(getattr(torch.ops, namespace), kind), overload)
    except (AttributeError, RuntimeError):
        advice = "Install the PyTorch version (or extension) with which the network was captured"
        raise UnsupportedModel([f"operator {operator.target} of {operator.name} does not exist here"], advice) from None
    return call


def _getter(value: Any, owners: dict[str, tuple[nn.Module, str]]) -> Callable[[dict[str, Any], int], Any]:
    if isinstance(value, Ref):
        name = value.name
        if name in owners:
            owner, leaf = owners[name]
            return lambda _values, _batch: getattr(owner, leaf)
        return lambda values, _batch: values[name]
    if isinstance(value, tuple) and any(isinstance(item, Ref) or _is_batch(item) for item in value):
        getters = [_getter(item, owners) for item in value]
        return lambda values, batch: [get(values, batch) for get in getters]
    if _is_batch(value):
        multiple = int(value.partition("*")[2] or 1)
        return lambda _values, batch: batch * multiple
    constant = _framework_value(value)
    return lambda _values, _batch: constant


def _is_batch(value: Any) -> bool:
    return isinstance(value, str) and value.partition("*")[0] == BATCH


def _framework_value(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FRAMEWORK_TYPES):
        return getattr(torch, value.removeprefix("torch."))
    if value == "cpu":
        return torch.device("cpu")
    return list(value) if isinstance(value, tuple) else value


def _batch_norm_momentum(network: Network) -> dict[str, float]:
    found = {}
    for operator in network.operators:
        if operator.kind == "batch_norm" and isinstance(operator.arguments["running_mean"], Ref):
            prefix = operator.arguments["running_mean"].name.rpartition(".")[0]
            found[prefix] = float(operator.arguments["momentum"])
    return found
