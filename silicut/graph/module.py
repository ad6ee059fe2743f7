"""A `Network` as a PyTorch module: it trains, moves to devices and saves like any other.

State-dict names are the user's own. Batch normalisation and dropout follow `train()` and `eval()`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from silicut.graph.network import BATCH, DEVICE, Network, Operator, Ref
from silicut.records import UnsupportedModel

_TRAINING_ARGUMENTS = {
    "batch_norm": "training",
    "dropout": "train",
    "feature_dropout": "train",
    "alpha_dropout": "train",
    "feature_alpha_dropout": "train",
    "rrelu": "training",
    "instance_norm": "use_input_stats",
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), "train"),
}
_FRAMEWORK_TYPES = ("torch.",)


class NetworkModule(nn.Module):
    """Executes the operators of a network in order.

    Attributes:
        network: what it was made from; training does not change it (`network_with_weights` gives the trained one).
        batch_norm_momentum: momentum of every batch normalisation, by the prefix of its buffers' names; None for the
            average over all batches.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.batch_norm_momentum = _batch_norm_momentum(network)
        self._stores: dict[str, tuple[_Store, str]] = {}
        self._steps: list[_Step] = []
        shapes = [network.tensors[name].shape for name in network.inputs]
        self._batch_input = next((i for i, shape in enumerate(shapes) if shape and shape[0] < 0), None)
        # From here on no attribute is set, since the user's submodules may have its name.
        for name, array in network.parameters.items():
            self._register(name, array)
        self.register_state_dict_post_hook(_add_aliases)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_drop_aliases)  # type: ignore[no-untyped-call]
        last_use = {name: i for i, o in enumerate(network.operators) for name in o.refs() if name not in network.parameters}
        for i, operator in enumerate(network.operators):
            self._steps.append(_Step(operator, self._stores, _freed_after(i, last_use, network)))

    def _owner(self, name: str) -> tuple[nn.Module, str]:
        """Return the submodule that a state-dict name lies in, made where it is missing, and the rest of the name."""
        *path, leaf = name.split(".")
        owner: nn.Module = self
        for part in path:
            # Not by add_module, which refuses names of our own attributes ("network").
            owner = owner._modules.setdefault(part, nn.Module())  # type: ignore[assignment]
        return owner, leaf

    def _register(self, name: str, array: np.ndarray) -> None:
        owner, leaf = self._owner(name)
        value = torch.from_numpy(array.copy())
        if name in self.network.trainable:
            owner._parameters[leaf] = nn.Parameter(value)
            self._stores[name] = (owner._parameters, leaf)
            return
        owner._buffers[leaf] = value
        self._stores[name] = (owner._buffers, leaf)
        if name in self.network.constants:
            owner._non_persistent_buffers_set.add(leaf)

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Return what the captured module returns for inputs of the captured shapes (any batch size where it is free).

        Raises:
            ValueError: the inputs have other shapes.
        """
        return self._run(inputs, None)

    def _run(self, inputs: tuple[torch.Tensor, ...], after: Callable[[str], None] | None) -> Any:
        batch = 1 if self._batch_input is None else len(inputs[self._batch_input])
        self._check(inputs, batch)
        values = dict(zip(self.network.inputs, inputs, strict=True))
        call = _Call(batch, inputs[0].device, self.training)
        for step in self._steps:
            step.run(values, call)
            if after is not None:
                after(step.name)
        return self.network.structured([values[name] for name in self.network.outputs])

    def _check(self, inputs: tuple[torch.Tensor, ...], batch: int) -> None:
        expected = [self.network.tensors[name] for name in self.network.inputs]
        if [tuple(x.shape) for x in inputs] != [tensor.sizes(batch) for tensor in expected]:
            shapes = ", ".join(f"({', '.join('n' if s < 0 else str(s) for s in tensor.shape)})" for tensor in expected)
            found = ", ".join(str(tuple(x.shape)) for x in inputs)
            raise ValueError(f"inputs must be of the captured shapes {shapes}, not {found}; capture the network with these")

    def __deepcopy__(self, memo: dict[int, Any]) -> NetworkModule:
        return _copy_training_state(self, NetworkModule(self.network))


def _add_aliases(module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    """Put shared weights into a state dict under all the names the user's module has for them."""
    for name, original in cast(NetworkModule, module).network.aliases.items():
        state[prefix + name] = state[prefix + original]


def _drop_aliases(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Read shared weights of a state dict under their first name."""
    for name in cast(NetworkModule, module).network.aliases:
        state.pop(prefix + name, None)


def _copy_training_state(source: NetworkModule, target: NetworkModule) -> NetworkModule:
    target.batch_norm_momentum = dict(source.batch_norm_momentum)
    for part, copied in zip(source.modules(), target.modules(), strict=True):
        copied.training = part.training
        for name, value in part._parameters.items():
            assert value is not None
            copied._parameters[name] = nn.Parameter(value.detach().clone(), value.requires_grad)
        for name, buffer in part._buffers.items():
            assert buffer is not None
            copied._buffers[name] = buffer.detach().clone()
    return target


def to_module(network: Network) -> NetworkModule:
    """Return a trainable PyTorch module, in evaluation mode, that computes the network.

    Raises:
        UnsupportedModel: an operator is not known to the installed PyTorch.
    """
    module = NetworkModule(network)
    module.eval()
    return module


def run_stepwise(module: NetworkModule, inputs: tuple[torch.Tensor, ...], after: Callable[[str], None]) -> Any:
    """Return what the module returns, telling the name of every operator as soon as it has run."""
    return module._run(inputs, after)


def network_with_weights(module: NetworkModule) -> Network:
    """Return the module's network with the module's present weights and statistics, in the network's number types."""
    parameters = {}
    for name, array in module.network.parameters.items():
        store, leaf = module._stores[name]
        dtype = torch.from_numpy(array[..., None]).dtype
        parameters[name] = store[leaf].detach().to("cpu", dtype, copy=True).numpy()
    return module.network.with_parameters(parameters)


def run_operator(operator: Operator, values: dict[str, torch.Tensor], batch: int) -> None:
    """Run one operator in evaluation mode on values by name (parameters too), and put its outputs among them.

    Args:
        operator: what to run.
        values: all on one device; on "meta", only shapes and types are computed.
        batch: what "batch" stands for in its arguments.
    """
    device = next((value.device for value in values.values()), torch.device("cpu"))
    _Step(operator, {}, ()).run(values, _Call(batch, device, is_training=False))


_Store = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Call:
    """What one forward pass tells every step."""

    batch: int
    device: torch.device
    is_training: bool


_Getter = Callable[[dict[str, Any], _Call], Any]


class _Step:
    """One operator made ready to run: its callable and where each argument comes from."""

    def __init__(self, operator: Operator, stores: dict[str, tuple[_Store, str]], freed: tuple[str, ...]) -> None:
        self.name = operator.name
        self._call = _resolve(operator)
        self._outputs, self._freed = operator.outputs, freed
        self._training_argument = _training_argument(operator)
        self._getters = [(key, _getter(value, stores)) for key, value in operator.arguments.items()]
        self._counter = stores.get(_counter_name(operator)) if self._training_argument == "training" else None

    def run(self, values: dict[str, Any], call: _Call) -> None:
        arguments = {key: get(values, call) for key, get in self._getters}
        if self._training_argument is not None:
            arguments[self._training_argument] = call.is_training
            self._count_batch(arguments, call.is_training)
        result = self._call(**arguments)
        if isinstance(result, torch.Tensor):
            values[self._outputs[0]] = result
        else:
            values.update(zip(self._outputs, result, strict=False))
        for name in self._freed:
            del values[name]

    def _count_batch(self, arguments: dict[str, Any], is_training: bool) -> None:
        """Count batches as `nn.BatchNorm2d` does; momentum None gives every batch the same weight."""
        if self._counter is not None and is_training:
            store, leaf = self._counter
            store[leaf].add_(1)
            if arguments["momentum"] is None:
                arguments["momentum"] = 1.0 / float(store[leaf])
        elif arguments.get("momentum", 0.0) is None:
            arguments["momentum"] = 0.0


def _training_argument(operator: Operator) -> str | None:
    """Return the argument that follows `train()`, or None; what was on in evaluation mode is always on."""
    name = _TRAINING_ARGUMENTS.get(operator.kind)
    return name if name is not None and operator.arguments[name] is False else None


def _counter_name(operator: Operator) -> str:
    mean = operator.arguments.get("running_mean")
    return f"{mean.name.removesuffix('running_mean')}num_batches_tracked" if isinstance(mean, Ref) else ""


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


def _getter(value: Any, stores: dict[str, tuple[_Store, str]]) -> _Getter:
    if isinstance(value, Ref):
        name = value.name
        if name in stores:
            store, leaf = stores[name]
            return lambda _values, _call: store[leaf]
        return lambda values, _call: values[name]
    if isinstance(value, tuple) and any(isinstance(item, Ref | tuple) or _is_batch(item) for item in value):
        getters = [_getter(item, stores) for item in value]
        return lambda values, call: [get(values, call) for get in getters]
    if _is_batch(value):
        multiple = int(value.partition("*")[2] or 1)
        return lambda _values, call: call.batch * multiple
    if value == DEVICE:
        return lambda _values, call: call.device
    constant = _framework_value(value)
    return lambda _values, _call: constant


def _is_batch(value: Any) -> bool:
    return isinstance(value, str) and value.partition("*")[0] == BATCH


def _framework_value(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FRAMEWORK_TYPES):
        return getattr(torch, value.removeprefix("torch."))
    return list(value) if isinstance(value, tuple) else value


def _batch_norm_momentum(network: Network) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for operator in network.operators:
        if operator.kind == "batch_norm" and isinstance(operator.arguments["running_mean"], Ref):
            prefix = operator.arguments["running_mean"].name.rpartition(".")[0]
            momentum = operator.arguments["momentum"]
            found[prefix] = None if momentum is None else float(momentum)
    return found
