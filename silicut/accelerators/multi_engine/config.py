"""What is chosen when several engines are built: their shapes, which layers each executes, and the tiles of these.

An engine <Tn, Tm> multiplies Tn inputs with the weights of Tm outputs in a cycle (Zhang et al., FPGA 2015; "convolutional
layer processor" in Shen et al., arXiv 1607.00064).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from silicut.records import ConfigError, Record


@dataclass(frozen=True)
class Precision:
    """Numbers that an engine computes with.

    Attributes:
        bits: of a number.
        n_dsps_per_mac: slices of one multiply-accumulate in a cycle.
        n_banks_per_block: banks of a buffer that fit beside each other into the 36 bits of a block of memory.
    """

    bits: int
    n_dsps_per_mac: int
    n_banks_per_block: int

    @property
    def n_bytes(self) -> int:
        """Bytes of a number in memory."""
        return self.bits // 8


PRECISIONS = {"fp32": Precision(32, 5, 1), "fixed16": Precision(16, 1, 2)}
"""Floating point takes three slices for the product and two for the sum; of fixed point, two numbers fit into 36 bits."""


@dataclass(frozen=True, kw_only=True)
class PlacedLayer:
    """A layer on an engine.

    Attributes:
        name: of the layer.
        tile_rows, tile_columns: pixels of the output map that are computed from one filling of the buffers (Tr, Tc).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: str
    tile_rows: int
    tile_columns: int


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """One engine.

    Attributes:
        n_inputs, n_outputs: channels at once (Tn, Tm).
        layers: those that it executes for each image, in this order.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    n_inputs: int
    n_outputs: int
    layers: tuple[PlacedLayer, ...]

    @property
    def n_macs_per_cycle(self) -> int:
        """Multiply-accumulates of a cycle, Tn x Tm."""
        return self.n_inputs * self.n_outputs


@dataclass(frozen=True, kw_only=True)
class MultiEngineConfig(Record):
    """Engines that share one memory.

    Attributes:
        network: whose layers they execute.
        precision: a key of `PRECISIONS`.
        clock_hz: assumed.
        engines: at least one, each with at least one layer; no layer on two of them.

    Raises:
        ConfigError: all that is wrong, at once.
    """

    schema: ClassVar[str] = "multi-engine/1"

    network: str
    precision: str
    clock_hz: float
    engines: tuple[EngineConfig, ...]

    def __post_init__(self) -> None:
        problems = tuple(self._problems())
        if problems:
            raise ConfigError(*problems)

    def _problems(self) -> Iterator[str]:
        if self.precision not in PRECISIONS:
            yield f"precision must be {' or '.join(PRECISIONS)}, not {self.precision!r}"
        if not self.clock_hz > 0:
            yield f"clock_hz must be positive, not {self.clock_hz}"
        if not self.engines:
            yield "engines must be one or more, not none"
        for i, engine in enumerate(self.engines):
            if min(engine.n_inputs, engine.n_outputs) < 1:
                yield f"engines.{i} must have sizes of at least 1, not {engine.n_inputs} x {engine.n_outputs}"
            if not engine.layers:
                yield f"engines.{i}.layers must be one or more, not none"
        placed = [layer for engine in self.engines for layer in engine.layers]
        for layer in placed:
            if min(layer.tile_rows, layer.tile_columns) < 1:
                yield f"{layer.name} must have tiles of at least 1 x 1, not {layer.tile_rows} x {layer.tile_columns}"
        for name, n in Counter(layer.name for layer in placed).items():
            if n > 1:
                yield f"{name} must be on one engine, not on {n}"
