"""How many bits: of every layer's weights and of the tensor that it reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from silicut.records import ConfigError, Record

MIN_BITS, MAX_BITS = 2, 8


def _wrong(what: str, bits: int) -> list[str]:
    return [] if MIN_BITS <= bits <= MAX_BITS else [f"{what} must be {MIN_BITS}..{MAX_BITS}, not {bits}"]


@dataclass(frozen=True)
class LayerBits:
    """The widths of one layer (a convolution or a linear layer).

    Attributes:
        weight_bits: of its weights, 2..8.
        activation_bits: of the tensor that it reads, 2..8.

    Raises:
        ConfigError: a width is out of range.

    Example:
        >>> str(LayerBits(4, 8))
        '4/8'
    """

    weight_bits: int
    activation_bits: int

    def __post_init__(self) -> None:
        problems = _wrong("weight_bits", self.weight_bits) + _wrong("activation_bits", self.activation_bits)
        if problems:
            raise ConfigError(*problems)

    def __str__(self) -> str:
        return f"{self.weight_bits}/{self.activation_bits}"


@dataclass(frozen=True)
class FilterGroup:
    """Some filters of a layer whose weights have a width of their own.

    Attributes:
        filters: their indices on the output axis of the weight, increasing.
        weight_bits: 2..8.

    Raises:
        ConfigError: the width is out of range, or an index stands twice or out of order.
    """

    filters: tuple[int, ...]
    weight_bits: int

    def __post_init__(self) -> None:
        problems = _wrong("weight_bits", self.weight_bits)
        if not self.filters or min(self.filters) < 0 or list(self.filters) != sorted(set(self.filters)):
            problems.append(f"filters must be increasing indices from 0 on, not {self.filters}")
        if problems:
            raise ConfigError(*problems)


@dataclass(frozen=True, kw_only=True)
class BitPlan(Record):
    """The widths of a whole network.

    What a layer reads has the widest `activation_bits` that the layers which read it ask for. Everything else that reads a
    tensor (additions, concatenations, average pools, functions looked up) asks for `inner_bits`; where it asks for more
    than the layers do, the tensor is kept at that width and the layers read a requantised copy. So a residual stream
    keeps its precision while each layer's inputs are narrow.

    Attributes:
        default: of every layer that is not named.
        layers: by the layer's name.
        inner_bits: 2..8.
        output_bits: of the network's outputs, 2..8.
        filter_groups: by the layer's name, filters with weights of other widths.

    Raises:
        ConfigError: a width is out of range, or a filter is in two groups.

    Example:
        >>> plan = BitPlan.uniform(4, 4, edges=8, first="conv1", last="fc")
        >>> str(plan.of("conv1")), str(plan.of("layer1.0.conv1"))
        ('8/8', '4/4')
    """

    schema: ClassVar[str] = "bit-plan/1"
    default: LayerBits
    layers: dict[str, LayerBits] = field(default_factory=dict)
    inner_bits: int = MAX_BITS
    output_bits: int = MAX_BITS
    filter_groups: dict[str, tuple[FilterGroup, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = _wrong("inner_bits", self.inner_bits) + _wrong("output_bits", self.output_bits)
        for layer, groups in self.filter_groups.items():
            filters = [index for group in groups for index in group.filters]
            if len(filters) != len(set(filters)):
                problems.append(f"filter_groups of {layer} must name each filter once")
        if problems:
            raise ConfigError(*problems)

    @classmethod
    def uniform(
        cls, weight_bits: int, activation_bits: int, edges: int | None = None, first: str = "", last: str = ""
    ) -> BitPlan:
        """Return the plan of equal widths, with other ones for the first and the last layer if `edges` says so."""
        ends = {} if edges is None else dict.fromkeys((first, last), LayerBits(edges, edges))
        return cls(default=LayerBits(weight_bits, activation_bits), layers=ends)

    @classmethod
    def parse(cls, text: str) -> BitPlan:
        """Return the plan of equal widths that "4/8" stands for: weights of 4 bits, what layers read of 8.

        Raises:
            ConfigError: it is no such text.
        """
        weights, slash, activations = text.partition("/")
        if not (slash and weights.isdecimal() and activations.isdecimal()):
            raise ConfigError(f"bits must be like 8/8 (of weights / of what layers read), not {text!r}")
        return cls.uniform(int(weights), int(activations))

    def of(self, layer: str) -> LayerBits:
        """Return the widths of a layer."""
        return self.layers.get(layer, self.default)

    def filter_bits(self, layer: str, n_filters: int) -> NDArray[np.int64]:
        """Return the width of the weights of each filter of a layer, array (n_filters,).

        Raises:
            ConfigError: a group names a filter that the layer lacks.
        """
        bits = np.full(n_filters, self.of(layer).weight_bits, np.int64)
        for group in self.filter_groups.get(layer, ()):
            if group.filters[-1] >= n_filters:
                raise ConfigError(f"filter_groups of {layer} must name filters 0..{n_filters - 1}, not {group.filters[-1]}")
            bits[list(group.filters)] = group.weight_bits
        return bits

    def check(self, layers: Iterable[str]) -> None:
        """Check that the plan names only layers of a network.

        Raises:
            ConfigError: it names others; the nearest names are given.
        """
        known = list(layers)
        unknown = [name for name in dict.fromkeys((*self.layers, *self.filter_groups)) if name not in known]
        if unknown:
            raise ConfigError(*(_unknown(name, known) for name in unknown))


RESOURCES = {"bops": "bit_operations", "size": "weight_bits"}
"""What a budget of bits may limit, by its short name: multiply-accumulates x both widths, or bits of all weights."""


@dataclass(frozen=True)
class BitBudget:
    """How much a searched plan may cost, relative to a uniform one.

    Attributes:
        resource: "bops" (multiply-accumulates x bits of weights x bits of what layers read) or "size" (bits of weights).
        uniform: the widths of the plan whose cost is the whole.
        frac: how much of it, above 0 and at most 1.

    Raises:
        ConfigError: everything that is wrong.
    """

    resource: str
    uniform: LayerBits = LayerBits(MAX_BITS, MAX_BITS)
    frac: float = 1.0

    def __post_init__(self) -> None:
        problems = []
        if self.resource not in RESOURCES:
            problems.append(f"the resource of a budget must be {' or '.join(RESOURCES)}, not {self.resource!r}")
        if not 0.0 < self.frac <= 1.0:
            problems.append(f"a budget must be above 0 % and at most 100 % of 8/8, not {self.frac:.0%}")
        if problems:
            raise ConfigError(*problems)

    @classmethod
    def parse(cls, text: str) -> BitBudget:
        """Return the budget of a text: "bops:4/4" (as much as 4/4 everywhere), "size:30%" (of 8/8 everywhere).

        Raises:
            ConfigError: it says something else.

        Example:
            >>> BitBudget.parse("size:30%").frac, str(BitBudget.parse("bops:3/4").uniform)
            (0.3, '3/4')
        """
        resource, _, limit = text.partition(":")
        if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", limit):
            return cls(resource, frac=float(match[1]) / 100)
        if re.fullmatch(r"\d+/\d+", limit):
            return cls(resource, uniform=BitPlan.parse(limit).default)
        raise ConfigError(f"a budget of bits must be like bops:4/4, bops:25% or size:40%, not {text!r}")


def _unknown(name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, 2, 0.5) or known[:3]
    return f"a bit plan must name layers of the network such as {', '.join(near)}, not {name}"
