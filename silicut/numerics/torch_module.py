"""An integer network as a PyTorch module: the second executor, equal to `run_integer` to the bit.

`IntegerModule` maps integers to integers, `QuantisedModule` the numbers that they stand for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from silicut.graph import Network
from silicut.numerics.execute import IntegerExecutor
from silicut.numerics.formats import IntegerFormat
from silicut.numerics.quantisation import Quantisation
from silicut.numerics.quantised import QuantisedNetwork
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
        return self.network.structured(self.outputs(*inputs))

    def outputs(self, *inputs: Tensor) -> list[Tensor]:
        """Return the outputs in order, whatever the structure; arguments and errors as for `forward`."""
        values = self._checked(dict(zip(self.network.inputs, inputs, strict=True)))
        for i, name, result in self._run(values):
            values[name] = result
            for read in set(self._reads[i]):
                if self._last_use[read] == i and read not in self.network.outputs:
                    del values[read]
        return [values[name] for name in self.network.outputs]

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


class QuantisedModule(nn.Module):
    """Executes an integer network on real numbers: they are quantised, computed with as integers, and made real again.

    What comes in is quantised as `quantise` does it (float32, halves to even, saturated), what comes out as `dequantise`.

    Args:
        quantised: the integer network and what its tensors stand for.

    Attributes:
        quantised: the same.
        integers: executes it on integers.
    """

    def __init__(self, quantised: QuantisedNetwork) -> None:
        super().__init__()
        self.quantised, self.integers = quantised, IntegerModule(quantised.network)

    def forward(self, *inputs: Tensor) -> Any:
        """Return the outputs as float32 in the network's structure.

        Args:
            inputs: float tensors in the order of the network's inputs.
        """
        steps = zip(inputs, self.quantised.inputs, strict=True)
        found = self.integers.outputs(*(_quantised(values, step) for values, step in steps))
        outputs = zip(found, self.quantised.outputs, strict=True)
        return self.quantised.network.structured([_real(values, step) for values, step in outputs])

    def tensors(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return every tensor as float32, by the name of the float tensor that it stands for; the others are left out.

        Args:
            inputs: float tensors in the order of the network's inputs.
        """
        names, steps = self.quantised.network.inputs, self.quantised.inputs
        given = {n: _quantised(x, step) for n, x, step in zip(names, inputs, steps, strict=True)}
        integers, known = self.integers.run(given), self.quantised.quantisations
        # A narrower copy that layers read comes after the tensor it was made from, which is what stands here.
        found: dict[str, Tensor] = {}
        for name, origin in self.quantised.origins.items():
            found.setdefault(origin, _real(integers[name], known[name]))
        return found


def _quantised(values: Tensor, steps: Quantisation) -> Tensor:
    scale, zero_point = _along_axis(values, steps)
    whole = (values.float() / scale).round().clamp(-(2.0**62), 2.0**62)
    return (whole.to(torch.int64) + zero_point).clamp(steps.format.min, steps.format.max)


def _real(integers: Tensor, steps: Quantisation) -> Tensor:
    scale, zero_point = _along_axis(integers, steps)
    return (integers.to(torch.int64) - zero_point).float() * scale


def _along_axis(values: Tensor, steps: Quantisation) -> tuple[Tensor, Tensor]:
    shape = [1] * values.dim()
    if steps.axis is not None:
        shape[steps.axis] = -1
    scale = torch.tensor(steps.scales, dtype=torch.float32, device=values.device)
    zero_point = torch.tensor(steps.zero_points, dtype=torch.int64, device=values.device)
    return scale.reshape(shape), zero_point.reshape(shape)
