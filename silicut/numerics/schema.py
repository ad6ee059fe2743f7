"""Integer operators as operators of a `Network` and back.

The target is "silicut.<kind>.default", the arguments are "inputs" (a tuple of references) and the attributes by name:
arrays as references to parameters, formats and rounding modes by their names, numbers as they are. The type of a tensor is
the name of its format ("uint4", "int19").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from silicut.graph import Operator, Ref
from silicut.numerics.formats import IntegerFormat
from silicut.numerics.operators import OPERATORS, IntegerOperator
from silicut.numerics.rounding import Rounding
from silicut.records import AccumulatorTooNarrow, ConfigError, UnsupportedModel

_NAMESPACE, _OVERLOAD = "silicut", "default"
INPUTS = "inputs"


def to_network_operator(
    operator: IntegerOperator, name: str, inputs: Sequence[str], output: str
) -> tuple[Operator, dict[str, np.ndarray]]:
    """Return an integer operator as one of a `Network`, and the parameters that it reads.

    Args:
        operator: what it does.
        name: its name; parameters are called "<name>.<attribute>".
        inputs: names of the tensors it reads, in order.
        output: name of the tensor it makes.

    Example:
        >>> from silicut.numerics import IntegerFormat, MaxPool2d
        >>> pool = MaxPool2d(kernel=(2, 2), input_format=IntegerFormat(4))
        >>> made, parameters = to_network_operator(pool, "pool1", ["x"], "y")
        >>> made.target, made.arguments["inputs"], made.arguments["input_format"], parameters
        ('silicut.max_pool2d.default', (Ref(name='x'),), 'int4', {})
    """
    assert len(inputs) == len(operator.input_formats), f"{name} must read {len(operator.input_formats)} tensors"
    arguments: dict[str, Any] = {INPUTS: tuple(Ref(tensor) for tensor in inputs)}
    parameters = {}
    for key in _attributes(type(operator)):
        value = getattr(operator, key)
        if isinstance(value, np.ndarray):
            parameters[f"{name}.{key}"] = value
            value = Ref(f"{name}.{key}")
        arguments[key] = _plain(value)
    return Operator(name, f"{_NAMESPACE}.{operator.kind}.{_OVERLOAD}", arguments, (output,)), parameters


def _attributes(kind: type[IntegerOperator]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, IntegerFormat):
        return value.name
    return value.value if isinstance(value, Rounding) else value


def from_network_operator(operator: Operator, parameters: Mapping[str, np.ndarray]) -> IntegerOperator:
    """Return the integer operator that an operator of a `Network` stands for.

    Args:
        operator: made by `to_network_operator`, or its like.
        parameters: those of the network.

    Raises:
        UnsupportedModel: it is no integer operator, or has other arguments.
        ConfigError, AccumulatorTooNarrow: its arguments do not agree; messages begin with its name.
    """
    namespace, _, rest = operator.target.partition(".")
    kind, _, overload = rest.partition(".")
    if namespace != _NAMESPACE or overload != _OVERLOAD or kind not in OPERATORS:
        known = ", ".join(sorted(OPERATORS))
        raise UnsupportedModel(
            [f"operator {operator.name} is {operator.target}, which is no integer operator"],
            f"Integer networks are made of {_NAMESPACE}.*.{_OVERLOAD} with {known}; quantise the network first",
        )
    given = {key: value for key, value in operator.arguments.items() if key != INPUTS}
    try:
        return OPERATORS[kind](**{key: _read(key, value, parameters) for key, value in given.items()})
    except ConfigError as error:
        raise ConfigError(*(f"{operator.name}: {problem}" for problem in error.problems)) from None
    except AccumulatorTooNarrow as error:
        raise AccumulatorTooNarrow(f"{operator.name}: {error}") from None
    except (TypeError, ValueError, KeyError) as error:
        advice = f"Its arguments are {INPUTS}, {', '.join(_attributes(OPERATORS[kind]))}"
        raise UnsupportedModel([f"operator {operator.name} ({operator.target}) cannot be read: {error}"], advice) from None


def _read(key: str, value: Any, parameters: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, Ref):
        return parameters[value.name]
    if key.endswith("formats"):
        return tuple(IntegerFormat.of(name) for name in value)
    if key.endswith("format"):
        return IntegerFormat.of(value)
    return Rounding(value) if key == "rounding" else value
