"""The real steps of integers, as the files of ONNX state them in float32, and what silicut notes in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.numerics.quantisation import Quantisation
from silicut.records import BadFile

FORMATS, ORIGINS, SCALES = "silicut.formats", "silicut.origins", "silicut.scales"
"""Entries of a file's metadata: the formats of weights and accumulators, where tensors come from, and the scales of tensors
that have powers of two inside of the file; as JSON."""
QUANTISED = "/quantised"
"""Behind the name of an integer tensor whose own name the file's float input or output has."""
_FOREIGN = ("_QuantizeLinear_Output", "_quantized")


@dataclass(frozen=True, eq=False)
class Steps:
    """The real step between neighbouring integers of a tensor.

    Attributes:
        values: array (1,) for the whole tensor, or (c,) with one for each index of an axis; positive.
        axis: of the indices, not negative.
    """

    values: NDArray[np.float64]
    axis: int = 1

    @classmethod
    def of(cls, quantisation: Quantisation) -> Steps:
        """Return the steps of a quantisation as float32 numbers."""
        return cls(single(quantisation.scales), quantisation.axis or 0)

    @property
    def is_one(self) -> bool:
        """Whether the tensor has one step."""
        return len(self.values) == 1

    @property
    def one(self) -> float:
        """The step of the whole tensor."""
        assert self.is_one, "steps differ"
        return float(self.values[0])

    def equals(self, other: Steps) -> bool:
        """Tell whether two steps are the same float32 numbers along the same axis."""
        same_axis = self.is_one or self.axis == other.axis
        return same_axis and np.array_equal(self.values.astype(np.float32), other.values.astype(np.float32))

    def by(self, factor: float | NDArray[Any]) -> Steps:
        """Return the steps multiplied by one number."""
        return Steps(self.values * factor, self.axis)

    def along(self, n_axes: int) -> NDArray[np.float64]:
        """Return the steps in a shape that broadcasts with a tensor of so many axes."""
        if self.is_one:
            return self.values.reshape(())
        shape = [1] * n_axes
        shape[self.axis] = -1
        return self.values.reshape(shape)


def single(values: Iterable[float] | NDArray[Any]) -> NDArray[np.float64]:
    """Return numbers rounded to float32, in float64, in which products of two of them are exact.

    Example:
        >>> single([0.1])
        array([0.1])
        >>> float(single([0.1])[0]) == 0.1
        False
    """
    return np.atleast_1d(np.asarray(values, np.float32).astype(np.float64))


def plain_name(name: str) -> str:
    """Return an integer tensor's own name: without what writers put behind that of the float tensor.

    Example:
        >>> plain_name("x/quantised"), plain_name("relu_QuantizeLinear_Output"), plain_name("y")
        ('x', 'relu', 'y')
    """
    return next((name.removesuffix(end) for end in (QUANTISED, *_FOREIGN) if name.endswith(end)), name)


def write_notes(model: Any, key: str, entries: Mapping[str, str]) -> None:
    """Put a mapping into a model's metadata."""
    entry = model.metadata_props.add()
    entry.key, entry.value = key, json.dumps(dict(entries), sort_keys=True)


def read_notes(model: Any, key: str) -> dict[str, str] | None:
    """Return a mapping of a model's metadata, None where it has no such entry.

    Raises:
        BadFile: it is no JSON mapping of names.
    """
    text = next((entry.value for entry in model.metadata_props if entry.key == key), None)
    if text is None:
        return None
    try:
        notes = json.loads(text)
    except ValueError:
        notes = None
    if not isinstance(notes, dict) or not all(isinstance(value, str) for value in notes.values()):
        raise BadFile(f"the model's metadata {key!r} must map names to names in JSON, not hold {text[:40]!r}; remove it")
    return notes
