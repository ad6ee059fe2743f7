"""An integer network as a PyTorch module: the second executor, equal to `run_integer` to the bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from silicut.graph import Network
from silicut.numerics.execute import IntegerExecutor
from silicut.numerics.formats import IntegerFormat
from silicut.numerics.schema import INPUTS
from silicut.numerics.torch_operators import operator_module, torch_type
from silicut.records import ConfigError


class IntegerModule(nn.Module):
    """Executes an integer network in PyTorch, on any device; integers in, integers out, no gradients.

    Tensors are of the smallest type of PyTorch's that holds their format.

    Args:
        network: all of its operators are those of `silicut.numerics`.

    Attributes:
        network: what it was made from.

    Raises:
        UnsupportedModel, ConfigError, AccumulatorTooNarrow: as `IntegerExecutor` does, whose checks it shares.

    Example:
        >>> from silicut.graph import Tensor as Type
        >>> from silicut.numerics import Clamp, to_network_operator
        >>> relu, _ = to_network_operator(Clamp(input_format=IntegerFormat(4), low=0, high=7), "relu", ["x"], "y")
        >>> types = {"x": Type((-1, 2), "int4"), "y": Type((-1, 2), "int4")}
        >>> module = IntegerModule(Network(("x",), ("y",), "tensor", types, (relu,), {}, frozenset()))
        >>> module(torch.tensor([[-3, 5]]))
        tensor([[0, 5]], dtype=torch.int8)
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        operators = IntegerExecutor(network).operators
        self.steps = nn.ModuleList(operator_module(operators[o.name]) for o in network.operators)
        self._reads = [tuple(reference.name for reference in o.arguments[INPUTS]) for o in network.operators]
        self._last_use = {name: i for i, names in enumerate(self._reads) for name in names}

    def forward(self, *inputs: Tensor) -> Any:
        """Return the outputs in the network's structure (one tensor, a tuple, a list or a dict).

        Args:
            inputs: integer tensors in the order of the network's inputs.

        Raises:
            TypeError, ValueError: an input holds no integers, or some outside of its format.
        """
        values = self._checked(dict(zip(self.network.inputs, inputs, strict=True)))
        for i, name, result in self._run(values):
            values[name] = result
            for read in set(self._reads[i]):
                if self._last_use[read] == i and read not in self.network.outputs:
                    del values[read]
        results = [values[name] for name in self.network.outputs]
        structure = self.network.output_structure
        if structure == "tensor":
            return results[0]
        if structure == "list":
            return results
        return tuple(results) if structure == "tuple" else dict(zip(structure, results, strict=True))

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every tensor by name, inputs included.

        Args:
            inputs: integer tensors by the names of the network's inputs.

        Raises:
            ConfigError: inputs are missing or unknown.
            TypeError, ValueError: as for `forward`.
        """
        if inputs.keys() != set(self.network.inputs):
            raise ConfigError(f"inputs must be {list(self.network.inputs)}, not {list(inputs)}")
        values = self._checked(inputs)
        for _, name, result in self._run(values):
            values[name] = result
        return values

    @torch.no_grad()
    def _step(self, i: int, values: Mapping[str, Tensor]) -> Tensor:
        result: Tensor = self.steps[i](*(values[name] for name in self._reads[i]))
        return result

    def _run(self, values: Mapping[str, Tensor]) -> Iterator[tuple[int, str, Tensor]]:
        """Yield the index, output name and result of each operator; `values` must have got the result before the next."""
        for i, operator in enumerate(self.network.operators):
            yield i, operator.outputs[0], self._step(i, values)

    def _checked(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        checked = {}
        for name, values in inputs.items():
            format = IntegerFormat.of(self.network.tensors[name].dtype)
            if values.is_floating_point() or values.is_complex() or values.dtype is torch.bool:
                raise TypeError(f"input {name} must hold integers, not {values.dtype}; quantise it first")
            if values.numel() and not format.min <= int(values.min()) <= int(values.max()) <= format.max:
                found = f"{int(values.min())}..{int(values.max())}"
                raise ValueError(
                    f"input {name} must hold {format.name} ({format.min}..{format.max}), not numbers of {found}"
                )
            checked[name] = values.to(torch_type(format))
        return checked
