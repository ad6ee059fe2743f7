"""Runs an integer network in NumPy, operator by operator: the definition that compilers, simulators and RTL must equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from silicut.graph import Network, Operator
from silicut.numerics.formats import IntegerFormat, Integers
from silicut.numerics.operators import IntegerOperator
from silicut.numerics.schema import INPUTS, from_network_operator
from silicut.records import ConfigError, UnsupportedModel

_ADVICE = "Make the network again, so that tensors have the formats of the operators that make and read them"


class IntegerExecutor:
    """A network made ready to run: operators read, accumulators proven, formats compared. Use it for many batches.

    Args:
        network: all of its operators are those of `silicut.numerics`.

    Attributes:
        network: what it was made from.
        operators: the integer operators by name.

    Raises:
        UnsupportedModel: an operator is no integer operator, or a tensor has another format than its operators say.
        ConfigError, AccumulatorTooNarrow: an operator's arguments do not agree, or its sums could overflow.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.operators = {o.name: from_network_operator(o, network.parameters) for o in network.operators}
        problems = [line for o in network.operators for line in _wrong_formats(network, o, self.operators[o.name])]
        if problems:
            raise UnsupportedModel(problems, _ADVICE)
        self._last_use = {name: i for i, o in enumerate(network.operators) for name in o.refs()}

    def run(self, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
        """Return every tensor by name, inputs included.

        Args:
            inputs: arrays by the names of the network's inputs, in their shapes and formats.

        Raises:
            ConfigError: inputs are missing or unknown.
            TypeError, ValueError: an input is no integer array of its format, or has another shape.
        """
        values = dict(self._checked(inputs))
        for _, name, result in self._steps(values):
            values[name] = result
        return values

    def outputs(self, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
        """Return the network's outputs by name; what nobody reads any more is freed on the way.

        Args:
            inputs: as for `run`.

        Raises:
            The same errors as `run`.
        """
        values = dict(self._checked(inputs))
        for i, name, result in self._steps(values):
            values[name] = result
            for read in set(self.network.operators[i].refs()) & values.keys():
                if self._last_use[read] == i and read not in self.network.outputs:
                    del values[read]
        return {name: values[name] for name in self.network.outputs}

    def _steps(self, values: Mapping[str, Integers]) -> Iterator[tuple[int, str, Integers]]:
        """Yield the index, output name and result of each operator; `values` must have got the result before the next."""
        for i, operator in enumerate(self.network.operators):
            arguments = [values[reference.name] for reference in operator.arguments[INPUTS]]
            try:
                result = self.operators[operator.name].run(*arguments)
            except ValueError as error:
                raise ValueError(f"{operator.name}: {error}") from None
            yield i, operator.outputs[0], result

    def _checked(self, inputs: Mapping[str, Any]) -> Iterator[tuple[str, Integers]]:
        expected = {name: self.network.tensors[name] for name in self.network.inputs}
        if inputs.keys() != expected.keys():
            raise ConfigError(f"inputs must be {list(expected)}, not {list(inputs)}")
        batch = None
        for name, tensor in expected.items():
            array = IntegerFormat.of(tensor.dtype).check(inputs[name], f"input {name}")
            if batch is None and tensor.shape and tensor.shape[0] < 0 and array.ndim:
                batch = len(array) // -tensor.shape[0]
            if array.shape != tensor.sizes(batch or 1):
                shape = ", ".join("n" if size < 0 else str(size) for size in tensor.shape)
                raise ValueError(f"input {name} must have shape ({shape}), not {array.shape}")
            yield name, array


def _wrong_formats(network: Network, operator: Operator, integer: IntegerOperator) -> Iterator[str]:
    names = [reference.name for reference in operator.arguments[INPUTS]]
    if len(names) != len(integer.input_formats) or len(operator.outputs) != 1:
        found = f"{len(names)} and {len(operator.outputs)}"
        yield f"{operator.name} must read {len(integer.input_formats)} tensors and make 1, not {found}"
        return
    formats = zip([*names, operator.outputs[0]], [*integer.input_formats, integer.output_format], strict=True)
    for verb, (name, format) in zip(["reads"] * len(names) + ["makes"], formats, strict=True):
        if network.tensors[name].dtype != format.name:
            yield f"{operator.name} {verb} {name} as {format.name}, but it is {network.tensors[name].dtype}"


def run_integer(network: Network, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
    """Return every tensor of an integer network by name, inputs included.

    Args:
        network: all of its operators are those of `silicut.numerics`.
        inputs: arrays by the names of its inputs, in their shapes and formats.

    Raises:
        UnsupportedModel: an operator is no integer operator, or a tensor has another format than its operators say.
        ConfigError: an operator's arguments do not agree, or inputs are missing or unknown.
        AccumulatorTooNarrow: the sums of an operator could overflow.
        TypeError, ValueError: an input is no integer array of its format, or has another shape.

    Example:
        >>> import numpy as np
        >>> from silicut.graph import Network, Tensor
        >>> from silicut.numerics import Clamp, to_network_operator
        >>> relu, _ = to_network_operator(Clamp(input_format=IntegerFormat(4), low=0, high=7), "relu", ["x"], "y")
        >>> types = {"x": Tensor((-1, 2), "int4"), "y": Tensor((-1, 2), "int4")}
        >>> network = Network(("x",), ("y",), "tensor", types, (relu,), {}, frozenset())
        >>> run_integer(network, {"x": np.array([[-3, 5]])})["y"].tolist()
        [[0, 5]]
    """
    return IntegerExecutor(network).run(inputs)
