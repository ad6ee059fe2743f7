"""An integer network that grows operator by operator while a file is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from silicut.graph import Network, Tensor, drop_dead
from silicut.graph.from_onnx.folding import CannotRead
from silicut.numerics.formats import IntegerFormat
from silicut.numerics.operators import (
    Add,
    Concatenate,
    Convolution2d,
    IntegerOperator,
    Linear,
    MaxPool2d,
    Multiply,
    Pad,
    Reshape,
    Slice,
    SumPool2d,
    Transpose,
)
from silicut.numerics.operators.windows import Windows
from silicut.numerics.quantisation import Quantisation
from silicut.numerics.quantised import QuantisedNetwork
from silicut.numerics.schema import to_network_operator
from silicut.records import AccumulatorTooNarrow, ConfigError

Shape = tuple[int, ...]


class Builder:
    """Collects integer operators and what their tensors stand for.

    Attributes:
        shapes: of every tensor; -k stands for k times the batch.
        formats: of every tensor.
        quantisations: of every tensor.
        origins: as in `QuantisedNetwork`.
        inputs: names of the inputs.
    """

    def __init__(self) -> None:
        self.shapes: dict[str, Shape] = {}
        self.formats: dict[str, IntegerFormat] = {}
        self.quantisations: dict[str, Quantisation] = {}
        self.origins: dict[str, str] = {}
        self._operators: dict[str, tuple[str, IntegerOperator, tuple[str, ...]]] = {}
        self.inputs: list[str] = []
        self._names: dict[str, str] = {}

    def input(self, name: str, shape: Shape, quantisation: Quantisation) -> str:
        """Add an input and return its name."""
        self.inputs.append(name)
        self.shapes[name], self.formats[name], self.quantisations[name] = shape, quantisation.format, quantisation
        return name

    def emit(
        self, name: str, operator: IntegerOperator, inputs: Sequence[str], output: str, quantisation: Quantisation
    ) -> str:
        """Append an operator and return the name of its output: the one asked for, or a numbered one where it is taken.

        Args:
            name: of the operator, numbered likewise.
            operator: what it does.
            inputs: the tensors that it reads.
            output: the tensor that it makes.
            quantisation: what the output stands for; of the operator's output format.

        Raises:
            CannotRead: shapes do not agree.
        """
        output, name = _free(output, self.shapes), _free(name, {name for name, *_ in self._operators.values()})
        try:
            self.shapes[output] = output_shape(operator, [self.shapes[tensor] for tensor in inputs])
        except (ValueError, IndexError) as error:
            raise CannotRead(str(error)) from None
        self.formats[output], self.quantisations[output] = operator.output_format, quantisation
        self._operators[output] = (name, operator, tuple(inputs))
        return output

    def maker(self, tensor: str) -> IntegerOperator | None:
        """Return the operator that makes a tensor, None for an input."""
        return self._operators[tensor][1] if tensor in self._operators else None

    def reads(self, tensor: str) -> tuple[str, ...]:
        """Return what the maker of a tensor reads."""
        return self._operators[tensor][2]

    def n_readers(self, tensor: str) -> int:
        """Return how many operators read a tensor so far."""
        return sum(tensor in inputs for _, _, inputs in self._operators.values())

    def replace_maker(self, tensor: str, **changes: Any) -> None:
        """Change attributes of the operator that makes a tensor."""
        name, operator, inputs = self._operators[tensor]
        self._operators[tensor] = (name, replace(operator, **changes), inputs)  # type: ignore[type-var]

    def rename(self, tensor: str, name: str) -> None:
        """Give a tensor another name in the finished network, unless it was renamed before or the name is taken."""
        if tensor not in self._names and (name == tensor or name not in self.shapes) and name not in self._names.values():
            self._names[tensor] = name

    def is_named(self, tensor: str) -> bool:
        """Tell whether a tensor has got its name in the finished network."""
        return tensor in self._names or tensor in self.inputs

    def quantised(self, outputs: Sequence[str], origins: Mapping[str, str] | None) -> QuantisedNetwork:
        """Return the network, without what no output depends on.

        Args:
            outputs: names of tensors.
            origins: by names of the finished network, where they are noted; else those found on the way.
        """
        final = {name: self._names.get(name, name) for name in self.shapes}
        operators, parameters = [], dict[str, np.ndarray]()
        for output, (name, operator, inputs) in self._operators.items():
            made, arrays = to_network_operator(operator, name, [final[tensor] for tensor in inputs], final[output])
            operators.append(made)
            parameters |= arrays
        network = Network(
            inputs=tuple(final[name] for name in self.inputs),
            outputs=tuple(final[name] for name in outputs),
            output_structure="tensor" if len(outputs) == 1 else "tuple",
            tensors={final[name]: Tensor(shape, self.formats[name].name) for name, shape in self.shapes.items()},
            operators=tuple(operators),
            parameters=parameters,
            trainable=frozenset(),
        )
        network = drop_dead(network)
        quantisations = {final[name]: q for name, q in self.quantisations.items() if final[name] in network.tensors}
        found = {final[name]: origin for name, origin in self.origins.items()} if origins is None else origins
        known = {name: origin for name, origin in found.items() if name in network.tensors}
        return QuantisedNetwork(network, quantisations, known)


def made(kind: Callable[..., Any], **attributes: Any) -> Any:
    """Return an integer operator, its errors as reasons why a node cannot be read."""
    try:
        return kind(**attributes)
    except (ConfigError, AccumulatorTooNarrow, ValueError, TypeError) as error:
        raise CannotRead(str(error)) from None


def _free(name: str, taken: Mapping[str, Any] | set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}/{number}"
    return free


def output_shape(operator: IntegerOperator, shapes: Sequence[Shape]) -> Shape:
    """Return the shape that an operator makes; -k stands for k times the batch.

    Raises:
        ValueError: the shapes do not agree.

    Example:
        >>> output_shape(Reshape(input_format=IntegerFormat(8), shape=(-1,)), [(-1, 3, 4)])
        (-1, 12)
    """
    first = shapes[0]
    match operator:
        case Convolution2d():
            kh, kw = operator.weight.shape[2:]
            windows = Windows((kh, kw), operator.stride, operator.padding, operator.dilation)
            return (first[0], len(operator.weight), *windows.output_size(*first[2:]))
        case Linear():
            return (*first[:-1], len(operator.weight))
        case SumPool2d() if operator.kernel is None:
            return (*first[:2], 1, 1)
        case SumPool2d():
            assert operator.kernel is not None
            return (*first[:2], *Windows(operator.kernel, operator.stride, operator.padding).output_size(*first[2:]))
        case MaxPool2d():
            windows = Windows(operator.kernel, operator.stride, operator.padding, operator.dilation)
            return (*first[:2], *windows.output_size(*first[2:]))
        case Add() | Multiply():
            return _broadcast(*shapes)
        case Reshape() | Transpose() | Pad() | Slice() | Concatenate():
            return _moved_shape(operator, shapes)
    return first


def _broadcast(first: Shape, second: Shape) -> Shape:
    if len(first) != len(second):
        raise ValueError(f"its inputs have {len(first)} and {len(second)} axes")
    if any(a != b and 1 not in (a, b) for a, b in zip(first, second, strict=True)):
        raise ValueError(f"its inputs have shapes {first} and {second}")
    return tuple(b if a == 1 else a for a, b in zip(first, second, strict=True))


def _moved_shape(operator: Any, shapes: Sequence[Shape]) -> Shape:
    """Return the shape of moved numbers, by moving empty ones: two of a batch for each of its multiples."""
    sizes = [[tuple(-size * batch if size < 0 else size for size in shape) for shape in shapes] for batch in (1, 2)]
    one, two = (operator.run(*(_empty(shape, operator) for shape in each)).shape for each in sizes)
    return tuple(a if a == b else -a for a, b in zip(one, two, strict=True))


def _empty(shape: Shape, operator: Any) -> np.ndarray:
    format = operator.input_formats[0]
    return np.broadcast_to(np.full((), format.max, format.dtype), shape)
