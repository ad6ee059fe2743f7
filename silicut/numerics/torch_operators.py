"""The integer operators in PyTorch, written apart from the NumPy reference so that each can find the other's faults.

Whole numbers are taken as float64 wherever a bound says that none can leave 2^53 (a requantiser is then one exact product
and PyTorch's own rounding), as float32 in convolutions up to 2^24, and as int64 elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from silicut.numerics.formats import IntegerFormat
from silicut.numerics.operators import (
    Add,
    Clamp,
    Concatenate,
    Convolution2d,
    IntegerOperator,
    Linear,
    Lookup,
    MaxPool2d,
    Multiply,
    Pad,
    Requantise,
    Reshape,
    Slice,
    SumPool2d,
    Transpose,
)
from silicut.numerics.rounding import Rounding
from silicut.records import AccumulatorTooNarrow

_FLOAT32_WHOLE, _FLOAT64_WHOLE = 2**24, 2**53
_TYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def torch_type(format: IntegerFormat) -> torch.dtype:
    """Return the smallest type of PyTorch's that computes and holds a format (uint16 takes int32, for want of operators).

    Example:
        >>> torch_type(IntegerFormat.of("uint3")), torch_type(IntegerFormat.of("uint16"))
        (torch.uint8, torch.int32)
    """
    return next(t for t in _TYPES if torch.iinfo(t).min <= format.min and format.max <= torch.iinfo(t).max)


def _reach(format: IntegerFormat, zero_point: int) -> int:
    """Return the largest magnitude of a number of a format less its zero point."""
    return max(format.max - zero_point, zero_point - format.min)


def _whole_type(reach: int) -> torch.dtype:
    return torch.float64 if reach <= _FLOAT64_WHOLE else torch.int64


def _rounded(values: Tensor, rounding: Rounding) -> Tensor:
    """Return floats rounded to whole numbers."""
    if rounding is Rounding.HALF_EVEN:
        return values.round()
    if rounding is Rounding.TRUNCATE:
        return values.trunc()
    below = values.floor()
    if rounding is Rounding.FLOOR:
        return below
    rest = values - below  # exact; adding 0.5 to the value itself would not be
    goes_up = rest >= 0.5 if rounding is Rounding.HALF_UP else (rest > 0.5) | ((rest == 0.5) & (values > 0))
    return below + goes_up


def _divided(values: Tensor, divisor: Tensor, rounding: Rounding) -> Tensor:
    """Return int64 numbers divided by powers of two up to 2^62, rounded."""
    if rounding in (Rounding.FLOOR, Rounding.TRUNCATE):
        return torch.div(values, divisor, rounding_mode="floor" if rounding is Rounding.FLOOR else "trunc")
    below = torch.div(values, divisor, rounding_mode="floor")
    twice_rest = 2 * torch.remainder(values, divisor)
    ties_go_up = {
        Rounding.HALF_UP: torch.ones_like(below, dtype=torch.bool),
        Rounding.HALF_AWAY: values > 0,
        Rounding.HALF_EVEN: torch.remainder(below, 2) == 1,
    }[rounding]
    return below + ((twice_rest > divisor) | ((twice_rest == divisor) & ties_go_up))


class _Operator(nn.Module):
    """What the modules share: the attributes, and arrays that move to devices."""

    def __init__(self, attributes: Any) -> None:
        super().__init__()
        self.attributes = attributes
        self.result_type = torch_type(attributes.output_format)

    def _hold(self, name: str, values: Any, dtype: torch.dtype | None = None) -> None:
        self.register_buffer(name, torch.as_tensor(values, dtype=dtype), persistent=False)

    def _fit(self, values: Tensor) -> Tensor:
        """Return whole numbers plus the output's zero point, saturated."""
        format = self.attributes.output_format
        shifted = values + self.attributes.output_zero_point
        result: Tensor = shifted.clamp(format.min, format.max).to(self.result_type)
        return result


class _Weighted(_Operator):
    """What convolution and linear layer share: the type in which their sums are exact, and the bias."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, attributes: Convolution2d | Linear) -> None:
        super().__init__(attributes)
        weight = torch.from_numpy(attributes.weight.astype("int64"))
        each = _reach(attributes.input_format, attributes.input_zero_point)
        largest = int(weight.abs().flatten(1).sum(1).max()) * each if weight.numel() else 0
        self._sum_type = torch.float32 if largest <= _FLOAT32_WHOLE else _whole_type(largest)
        self._hold("weight", weight, self._sum_type)
        bias = None if attributes.bias is None else attributes.bias.astype("int64")
        self._hold("bias", bias, torch.int64) if bias is not None else self.register_buffer("bias", None)
        has_room = largest + (0 if bias is None else int(abs(bias).max())) < 2**31
        self._whole_type = torch.int32 if has_room else torch.int64

    def _operands(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Return centred inputs and weights in a type whose sums are exact here and now."""
        sum_type = self._sum_type
        # Graphics processors and lowered precision may compute float32 products by other means than sums of products.
        is_plain = input.device.type == "cpu" and torch.get_float32_matmul_precision() == "highest"
        if sum_type is torch.float32 and not is_plain:
            sum_type = torch.float64
        return input.to(sum_type) - self.attributes.input_zero_point, self.weight.to(sum_type)

    def _accumulators(self, sums: Tensor, axis: int) -> Tensor:
        whole = sums.to(self._whole_type)
        if self.bias is not None:
            shape = [1] * sums.dim()
            shape[axis] = -1
            whole = whole + self.bias.to(self._whole_type).reshape(shape)
        return whole.to(self.result_type)


class _Convolution2d(_Weighted):
    def forward(self, input: Tensor) -> Tensor:
        a = self.attributes
        (top, left, bottom, right), (centred, weight) = a.padding, self._operands(input)
        padded = functional.pad(centred, (left, right, top, bottom))
        with torch.backends.nnpack.flags(enabled=False):  # it transforms images, which rounds
            sums = functional.conv2d(padded, weight, None, a.stride, 0, a.dilation, a.groups)
        return self._accumulators(sums, axis=1)


class _Linear(_Weighted):
    def forward(self, input: Tensor) -> Tensor:
        return self._accumulators(functional.linear(*self._operands(input)), axis=-1)


class _Requantise(_Operator):
    factor: Tensor
    multiplier: Tensor
    divisor: Tensor

    def __init__(self, attributes: Requantise) -> None:
        super().__init__(attributes)
        self._hold("multiplier", attributes.multiplier.astype("int64"))
        self._hold("divisor", [1 << int(shift) for shift in attributes.shift], torch.int64)
        self._hold("factor", self.multiplier.double() / self.divisor.double())
        reach = _reach(attributes.input_format, attributes.input_zero_point) * int(attributes.multiplier.max())
        self._is_float = reach <= _FLOAT64_WHOLE

    def forward(self, input: Tensor) -> Tensor:
        a = self.attributes
        shape = [1] * input.dim()
        if len(a.multiplier) > 1:
            shape[a.axis] = -1
        if self._is_float:
            # The product has at most 53 bits and the power of two none, so nothing is rounded but by `_rounded`.
            products = (input.double() - a.input_zero_point) * self.factor.reshape(shape)
            return self._fit(_rounded(products, a.rounding))
        whole = (input.long() - a.input_zero_point) * self.multiplier.reshape(shape)
        return self._fit(_divided(whole, self.divisor.reshape(shape), a.rounding))


class _Add(_Operator):
    def __init__(self, attributes: Add) -> None:
        super().__init__(attributes)
        parts = zip(attributes.input_formats, attributes.input_zero_points, attributes.multipliers, strict=True)
        self._sum_type = _whole_type(sum(_reach(format, zero) * m for format, zero, m in parts))

    def forward(self, input: Tensor, other: Tensor) -> Tensor:
        a, t = self.attributes, self._sum_type
        (y, z), (m, n) = a.input_zero_points, a.multipliers
        total = (input.to(t) - y) * m + (other.to(t) - z) * n
        divisor = torch.tensor(1 << a.shift, dtype=t, device=total.device)
        scaled = _rounded(total / divisor, a.rounding) if t.is_floating_point else _divided(total, divisor, a.rounding)
        return self._fit(scaled)


class _Multiply(_Operator):
    def forward(self, input: Tensor, other: Tensor) -> Tensor:
        y, z = self.attributes.input_zero_points
        products: Tensor = (input.long() - y) * (other.long() - z)
        return products.to(self.result_type)


class _Lookup(_Operator):
    table: Tensor

    def __init__(self, attributes: Lookup) -> None:
        super().__init__(attributes)
        self._hold("table", attributes.table.astype("int64"), self.result_type)

    def forward(self, input: Tensor) -> Tensor:
        return self.table[input.long() - self.attributes.input_format.min]


class _Clamp(_Operator):
    def forward(self, input: Tensor) -> Tensor:
        return input.clamp(self.attributes.low, self.attributes.high)


class _Concatenate(_Operator):
    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, self.attributes.axis)


class _Reshape(_Operator):
    def forward(self, input: Tensor) -> Tensor:
        return input.reshape(len(input), *self.attributes.shape)


class _Transpose(_Operator):
    def forward(self, input: Tensor) -> Tensor:
        return input.permute(self.attributes.axes).contiguous()


class _Pad(_Operator):
    def forward(self, input: Tensor) -> Tensor:
        from_last = [n for pair in reversed(self.attributes.pads) for n in pair]
        return functional.pad(input, from_last, value=self.attributes.value)


class _Slice(_Operator):
    def forward(self, input: Tensor) -> Tensor:
        a = self.attributes
        size = input.shape[a.axis]
        start, stop, step = slice(a.start, a.stop, a.step).indices(size)
        return input.index_select(a.axis, torch.arange(start, max(stop, start), step, device=input.device))


class _MaxPool2d(_Operator):
    def forward(self, input: Tensor) -> Tensor:
        a = self.attributes
        top, left, bottom, right = a.padding
        # Numbers below 2^24 are compared as float32 for speed.
        dtype = torch.float32 if max(-a.input_format.min, a.input_format.max) <= _FLOAT32_WHOLE else torch.int64
        padded = functional.pad(input.to(dtype), (left, right, top, bottom), value=a.input_format.min)
        return functional.max_pool2d(padded, a.kernel, a.stride, 0, a.dilation).to(self.result_type)


class _SumPool2d(_Operator):
    def forward(self, input: Tensor) -> Tensor:
        a = self.attributes
        centred = input.long() - a.input_zero_point
        if a.kernel is None:
            return self._checked(centred.sum((2, 3), keepdim=True))
        top, left, bottom, right = a.padding
        padded = functional.pad(centred, (left, right, top, bottom))
        sums = functional.avg_pool2d(padded.double(), a.kernel, a.stride, divisor_override=1)
        return sums.to(self.result_type)

    def _checked(self, sums: Tensor) -> Tensor:
        """Return sums over whole maps, whose size no proof knew when the operator was made."""
        format = self.attributes.output_format
        if sums.numel() and not format.min <= int(sums.min()) <= int(sums.max()) <= format.max:
            raise AccumulatorTooNarrow(f"sum: the whole map exceeds {format.name}; widen the accumulator")
        return sums.to(self.result_type)


_MODULES: dict[type[Any], Callable[[Any], _Operator]] = {
    Add: _Add,
    Clamp: _Clamp,
    Concatenate: _Concatenate,
    Convolution2d: _Convolution2d,
    Linear: _Linear,
    Lookup: _Lookup,
    MaxPool2d: _MaxPool2d,
    Multiply: _Multiply,
    Pad: _Pad,
    Requantise: _Requantise,
    Reshape: _Reshape,
    Slice: _Slice,
    SumPool2d: _SumPool2d,
    Transpose: _Transpose,
}


def operator_module(operator: IntegerOperator) -> nn.Module:
    """Return the PyTorch module of an integer operator: it maps integer tensors in `torch_type`s to one.

    Example:
        >>> clamp = operator_module(Clamp(input_format=IntegerFormat(8), low=-3, high=100))
        >>> clamp(torch.tensor([-50, 101], dtype=torch.int8))
        tensor([ -3, 100], dtype=torch.int8)
    """
    return _MODULES[cast(Any, type(operator))](operator)
