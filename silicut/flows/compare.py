"""Two executors of one network on the same inputs, tensor by tensor: the first integer that differs, or the noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.flows.executors import Arrays, Executor, executor
from silicut.graph import Network
from silicut.numerics import Quantisation, dequantise
from silicut.records import ConfigError
from silicut.report.comparison import Comparison, IntegerDifference, RealDifference


def compare(a: Any, b: Any, inputs: Any, *, batch: int = 16) -> Comparison:
    """Compare two executors of a network tensor by tensor.

    Tensors that both have as integers are compared to the bit. Where one computes in floats, an integer tensor is compared
    with the float tensor that it stands for.

    Args:
        a, b: each an `Executor`, an integer network, a float network (PyTorch module or `Network`), or the path or bytes of
            an ONNX file.
        inputs: an array or tensor, or one for each input of the network; floats, or integers that both take.
        batch: how many of them run at once.

    Raises:
        ConfigError: the two have no tensor in common, or tensors of other shapes.
        BadFile, UnsupportedModel: a file or module cannot be read.
    """
    arrays = _arrays(inputs)
    first, second = (_executor(each, arrays) for each in (a, b))
    n, batch = len(arrays[0]), _batch(first, second, arrays[0], batch)
    totals: dict[str, _Total] = {}
    for start in range(0, n, batch):
        part = [array[start : start + batch] for array in arrays]
        _add(totals, start, first, second, first.tensors(part), second.tensors(part))
    if not totals:
        raise ConfigError(f"{first.name} and {second.name} must have tensors in common; they are of different networks")
    integers = [total.difference() for total in totals.values() if isinstance(total, _Integers)]
    reals = [total.difference() for total in totals.values() if isinstance(total, _Reals)]
    modes = tuple(dict.fromkeys((*first.roundings, *second.roundings)))
    return Comparison(a=first.name, b=second.name, n_inputs=n, integers=tuple(integers), reals=tuple(reals), roundings=modes)


def _arrays(inputs: Any) -> Arrays:
    several = inputs if isinstance(inputs, list | tuple) else (inputs,)
    arrays = [np.asarray(each) for each in several]
    if not arrays or any(array.ndim == 0 or len(array) != len(arrays[0]) or not len(array) for array in arrays):
        raise ConfigError("inputs must be arrays with the same number of images, at least one, along their first axis")
    return arrays


def _executor(subject: Any, arrays: Arrays) -> Executor:
    if hasattr(subject, "tensors") and not isinstance(subject, Network):
        found: Executor = subject
        return found
    if not hasattr(subject, "forward"):
        return executor(subject)
    import torch

    from silicut.graph import capture

    examples = tuple(torch.from_numpy(np.ascontiguousarray(array[:2])) for array in arrays)
    return executor(capture(subject, examples if len(examples) > 1 else examples[0]))


def _batch(a: Executor, b: Executor, array: NDArray[Any], wanted: int) -> int:
    """Return how many inputs run at once, checked against what both take."""
    fixed = {each.batch for each in (a, b)} - {None}
    batch = min((each for each in fixed if each is not None), default=wanted)
    if len(fixed) > 1 or (fixed and len(array) % batch):
        sizes = " and ".join(map(str, sorted(each for each in fixed if each is not None)))
        raise ConfigError(f"inputs must be a multiple of the fixed batch ({sizes}), not {len(array)}")
    for each in (a, b):
        if each.input_shape is not None and each.input_shape != array.shape[1:]:
            sizes = ", ".join(map(str, each.input_shape))
            raise ConfigError(f"inputs of {each.name} must have shape (n, {sizes}), not {array.shape}")
    return batch


class _Total:
    """What is known of one tensor so far."""

    def __init__(self, tensor: str, operator: str) -> None:
        self.tensor, self.operator, self.n = tensor, operator, 0


class _Integers(_Total):
    """Integers of both."""

    n_differing, largest = 0, 0
    index: tuple[int, ...] | None = None
    pair: tuple[int | None, int | None] = (None, None)

    def add(self, start: int, a: NDArray[Any], b: NDArray[Any]) -> None:
        self.n += a.size
        difference = np.abs(a.astype(np.int64) - b.astype(np.int64))
        wrong = np.flatnonzero(difference)
        if not len(wrong):
            return
        if self.index is None:
            at = np.unravel_index(wrong[0], a.shape)
            self.pair = (int(a[at]), int(b[at]))
            self.index = _index(at, start)
        self.n_differing += len(wrong)
        self.largest = max(self.largest, int(difference.max()))

    def difference(self) -> IntegerDifference:
        return IntegerDifference(
            tensor=self.tensor,
            operator=self.operator,
            n=self.n,
            n_differing=self.n_differing,
            index=self.index,
            a=self.pair[0],
            b=self.pair[1],
            largest=self.largest,
        )


class _Reals(_Total):
    """Reals of both; `steps` are those of the one that is quantised."""

    largest, signal, noise = -1.0, 0.0, 0.0
    largest_steps: float | None = None
    index: tuple[int, ...] = ()

    def __init__(self, tensor: str, other: str, operator: str, steps: Quantisation | None) -> None:
        super().__init__(tensor, operator)
        self.other, self._steps = other, steps

    def add(self, start: int, a: NDArray[Any], b: NDArray[Any]) -> None:
        self.n += a.size
        difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
        self.signal += float(np.square(a, dtype=np.float64).sum())
        self.noise += float(np.square(difference).sum())
        if difference.max() > self.largest:
            self.largest = float(difference.max())
            self.index = _index(np.unravel_index(int(difference.argmax()), a.shape), start)
        if self._steps is not None:
            steps = difference / _along(self._steps, a.ndim)
            self.largest_steps = max(self.largest_steps or 0.0, float(steps.max()))

    def difference(self) -> RealDifference:
        noise_db = 10 * math.log10(self.signal / self.noise) if self.noise and self.signal else None
        return RealDifference(
            tensor=self.tensor,
            other=self.other,
            operator=self.operator,
            n=self.n,
            sqnr_db=noise_db if self.noise else None,
            largest=self.largest,
            largest_steps=self.largest_steps,
            index=self.index,
        )


def _index(at: Sequence[Any], start: int) -> tuple[int, ...]:
    first, *rest = (int(i) for i in at)
    return (first + start, *rest)


def _along(steps: Quantisation, n_axes: int) -> NDArray[np.float64]:
    shape = [1] * n_axes
    if steps.axis is not None:
        shape[steps.axis] = -1
    return np.asarray(steps.scales).reshape(shape)


def _add(
    totals: dict[str, _Total], start: int, a: Executor, b: Executor, of_a: dict[str, Any], of_b: dict[str, Any]
) -> None:
    for name, other in _pairs(a, b, of_a, of_b):
        first, second = of_a[other], of_b[name]
        if first.shape != second.shape:
            raise ConfigError(
                f"tensor {name} must have one shape in {a.name} and {b.name}, not {first.shape} and {second.shape}"
            )
        maker = b.makers.get(name) or a.makers.get(other, "")
        if _are_integers(first, second):
            total = totals.setdefault(name, _Integers(name, maker))
            assert isinstance(total, _Integers)
            total.add(start, first, second)
            continue
        steps = b.quantisations.get(name) or a.quantisations.get(other)
        real = totals.setdefault(name, _Reals(name, other, maker, steps))
        assert isinstance(real, _Reals)
        real.add(start, _real(first, a.quantisations.get(other)), _real(second, b.quantisations.get(name)))


def _pairs(a: Executor, b: Executor, of_a: dict[str, Any], of_b: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of each tensor in b and in a: equal ones, or where a float tensor is the origin of integers."""
    of_origin = {origin: name for name, origin in a.origins.items() if name in of_a}
    for name, values in of_b.items():
        if name in of_a and _are_integers(of_a[name], values):
            yield name, name
        elif not a.quantisations and b.origins.get(name) in of_a:
            yield name, b.origins[name]
        elif not b.quantisations and name in of_origin:
            yield name, of_origin[name]
        elif name in of_a:
            yield name, name


def _are_integers(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype.kind in "iu" and b.dtype.kind in "iu"


def _real(values: NDArray[Any], steps: Quantisation | None) -> NDArray[Any]:
    if values.dtype.kind == "f" or steps is None:
        return values
    return dequantise(values, steps, np.float64)
