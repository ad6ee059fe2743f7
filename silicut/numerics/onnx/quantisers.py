"""What a quantiser of a file becomes: a requantiser, an addition, a concatenation of requantised parts, or a table."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from silicut.graph.from_onnx.folding import CannotRead
from silicut.graph.from_onnx.opened import OnnxNode
from silicut.numerics.onnx.builder import made
from silicut.numerics.onnx.steps import Steps, plain_name
from silicut.numerics.onnx.values import Applied, FloatInput, Joined, Sum, View
from silicut.numerics.operators import Add, Clamp, Concatenate, Lookup, Requantise
from silicut.numerics.quantisation import Quantisation, quantise
from silicut.numerics.rounding import Rounding
from silicut.records import ConfigError

if TYPE_CHECKING:
    from silicut.numerics.onnx.reader import QuantisedReader

_ONE, _NO_SHIFT = np.array([1]), np.array([0])


def quantise_tensor(
    reader: QuantisedReader, node: OnnxNode, target: Quantisation, name: str, rounding: Rounding = Rounding.HALF_EVEN
) -> str:
    """Return the integer tensor that a quantiser makes of its first input.

    Args:
        reader: of the file.
        node: the quantiser.
        target: what its integers stand for.
        name: what the tensor should be called.
        rounding: what becomes of fractions.
    """
    value = reader.values.get(node.inputs[0])
    if isinstance(value, FloatInput):
        return _quantised_input(reader, value, target, rounding)
    value = reader.pending(node)
    low, high = value.low, value.high
    ends = _ends(target, low, high, rounding)
    inner = name if ends is None else f"{name}/unclamped"
    tensor = _requantised(reader, value, target, inner, rounding)
    if ends is None and isinstance(value, View) and reader.builder.is_named(tensor):
        tensor = _copied(reader, value, target, name)
    if ends is not None:
        clamp = made(Clamp, input_format=target.format, low=ends[0], high=ends[1])
        tensor = reader.emit(f"{name}/clamp", clamp, [tensor], name, target)
    reader.builder.rename(tensor, name)
    origin = node.inputs[0]
    reader.builder.origins.setdefault(tensor, origin)
    return tensor


def _copied(reader: QuantisedReader, value: View, target: Quantisation, name: str) -> str:
    """Return a second tensor of the same integers, for a quantiser behind one that has said the same."""
    ends = {"input_zero_point": value.zero_point, "output_zero_point": target.zero_points[0]}
    step = made(
        Requantise, multiplier=_ONE, shift=_NO_SHIFT, input_format=target.format, output_format=target.format, **ends
    )
    return reader.emit(_maker_name(name), step, [value.tensor], name, target)


def _quantised_input(reader: QuantisedReader, value: FloatInput, target: Quantisation, rounding: Rounding) -> str:
    if rounding is not Rounding.HALF_EVEN:
        raise CannotRead(f"it rounds an input {rounding}, and inputs are rounded half_even")
    known = [name for name in reader.builder.inputs if plain_name(name) == value.name]
    if any(reader.builder.quantisations[name] == target for name in known):
        return known[0]
    if known:
        raise CannotRead(f"it quantises input {value.name!r} a second time, otherwise")
    return reader.builder.input(value.name, reader._shapes[value.name], target)


def _ends(target: Quantisation, low: float, high: float, rounding: Rounding) -> tuple[int, int] | None:
    """Return the integers that bounds become, or None where the format has no others beyond them."""
    format = target.format
    ends = [
        end if math.isinf(real) else int(quantise(np.array([real], np.float32), target, rounding)[0])
        for real, end in ((low, format.min), (high, format.max))
    ]
    return None if ends == [format.min, format.max] else (ends[0], ends[1])


def _requantised(
    reader: QuantisedReader, value: View | Sum | Joined | Applied, target: Quantisation, name: str, rounding: Rounding
) -> str:
    scale, (zero, *_) = target.scales[0], target.zero_points
    if len(target.scales) > 1:
        raise CannotRead("it has a scale for each channel, which activations have not")
    if isinstance(value, View):
        return _requantised_view(reader, value, target, name, rounding)
    if isinstance(value, Joined):
        parts = [_requantised_view(reader, v, target, f"{name}/part{i}", rounding) for i, v in enumerate(value.parts)]
        join = made(Concatenate, input_formats=(target.format,) * len(parts), axis=value.axis)
        return reader.emit(name, join, parts, name, target)
    if isinstance(value, Applied):
        return _table(reader, value, target, name, rounding)
    views = [reader.settle(view, f"{name}/{part}") for view, part in ((value.a, "a"), (value.b, "b"))]
    if not all(view.steps.is_one for view in views):
        raise CannotRead("it adds tensors with a scale for each channel; quantise them before")
    add = _encoded(
        reader,
        Add,
        (views[0].steps.one / scale, views[1].steps.one / scale),
        input_formats=tuple(reader.builder.formats[view.tensor] for view in views),
        input_zero_points=tuple(view.zero_point for view in views),
        output_format=target.format,
        output_zero_point=zero,
        rounding=rounding,
    )
    return reader.emit(_maker_name(name), add, [view.tensor for view in views], name, target)


def _maker_name(name: str) -> str:
    """Return the name of the operator that makes a tensor."""
    return f"{name}/quantise"


def _requantised_view(reader: QuantisedReader, value: View, target: Quantisation, name: str, rounding: Rounding) -> str:
    view = value if not value.is_limited else replace(value, low=-math.inf, high=math.inf)
    format = reader.builder.formats[view.tensor]
    same = view.steps.is_one and view.same(View("", Steps.of(target), target.zero_points[0]))
    if same and format == target.format:
        reader.builder.quantisations[view.tensor] = target
        return view.tensor
    step = _encoded(
        reader,
        Requantise,
        (view.steps.values / target.scales[0]).tolist(),
        input_format=format,
        output_format=target.format,
        input_zero_point=view.zero_point,
        output_zero_point=target.zero_points[0],
        rounding=rounding,
        axis=view.steps.axis if not view.steps.is_one else 1,
    )
    return reader.emit(_maker_name(name), step, [view.tensor], name, target)


def _encoded(reader: QuantisedReader, kind: Any, factors: Any, **attributes: Any) -> Any:
    try:
        return kind.by(factors, reader.options.multiplier_bits, **attributes)
    except (ConfigError, ValueError) as error:
        raise CannotRead(str(error)) from None


def _table(reader: QuantisedReader, value: Applied, target: Quantisation, name: str, rounding: Rounding) -> str:
    meaning = reader.meaning(value.view)
    if not value.view.steps.is_one or meaning.format.bits > 16:
        raise CannotRead("it reads accumulators; quantise them before")
    lookup: Any = Lookup.of(value.function, meaning, target, rounding)
    return reader.emit(_maker_name(name), lookup, [value.view.tensor], name, target)
