"""The problem: least cycles between two images, with so many slices, blocks of memory and bytes a cycle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from silicut.accelerators.multi_engine.config import Precision
from silicut.accelerators.multi_engine.layers import ConvLayer
from silicut.accelerators.multi_engine.partition.tables import Tables
from silicut.records import ConfigError
from silicut.targets.parts import Part

MAX_ENGINES = 6
"""As in the published searches; more engines have more buffers, and wait for one memory."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the engines may take together.

    Attributes:
        n_dsps: multiplier slices.
        n_bram18: blocks of memory; None for any number.
        bytes_per_cycle: that memory moves for all engines, on average over an epoch; None for any number.

    Raises:
        ConfigError: a limit is not positive.
    """

    n_dsps: int
    n_bram18: int | None = None
    bytes_per_cycle: float | None = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("n_dsps", "n_bram18", "bytes_per_cycle")}
        problems = [f"{name} must be positive, not {n}" for name, n in given.items() if n is not None and not n > 0]
        if problems:
            raise ConfigError(*problems)

    @classmethod
    def of_part(cls, part: Part, budget_frac: float = 0.8, bytes_per_cycle: float | None = None) -> Limits:
        """Return a share of a part's slices and blocks, and a bandwidth.

        Raises:
            ConfigError: the share is not in (0, 1].
        """
        if not 0 < budget_frac <= 1:
            raise ConfigError(f"budget must be above 0 and at most 1, not {budget_frac:g}")
        share = round(1000 * budget_frac)
        blocks = 2 * part.n_bram36 * share // 1000
        return cls(n_dsps=part.n_dsps * share // 1000, n_bram18=blocks, bytes_per_cycle=bytes_per_cycle)

    @property
    def bounds_memory(self) -> bool:
        """Whether blocks or bytes are limited."""
        return self.n_bram18 is not None or self.bytes_per_cycle is not None


@dataclass(frozen=True)
class Engine:
    """An engine of a partition.

    Attributes:
        n_inputs, n_outputs: channels at once.
        layers: indices of its layers, in ascending order.
    """

    n_inputs: int
    n_outputs: int
    layers: tuple[int, ...]

    @property
    def n_macs_per_cycle(self) -> int:
        """Multiply-accumulates of a cycle."""
        return self.n_inputs * self.n_outputs


Partition = tuple[Engine, ...]
"""Engines that execute every layer once."""


@dataclass(frozen=True)
class PartitionProblem:
    """Layers to be shared among engines.

    Attributes:
        layers: in order of execution.
        precision: of all engines.
        limits: of all engines together.
        max_engines: how many there may be.

    Raises:
        ConfigError: there are no layers, no engines, or too few slices for one multiply-accumulate.
    """

    layers: tuple[ConvLayer, ...]
    precision: Precision
    limits: Limits
    max_engines: int = MAX_ENGINES

    def __post_init__(self) -> None:
        problems = tuple(self._problems())
        if problems:
            raise ConfigError(*problems)

    def _problems(self) -> Iterator[str]:
        if not self.layers:
            yield "layers must be one or more, not none"
        if self.max_engines < 1:
            yield f"engines must be at least 1, not {self.max_engines}"
        if self.max_macs < 1:
            least = self.precision.n_dsps_per_mac
            yield f"n_dsps must be at least {least}, what one multiply-accumulate takes, not {self.limits.n_dsps}"

    @property
    def max_macs(self) -> int:
        """Multiply-accumulates of a cycle that the slices suffice for."""
        return self.limits.n_dsps // self.precision.n_dsps_per_mac

    @cached_property
    def tables(self) -> Tables:
        """Cycles and traffic of every layer on every engine that is worth having."""
        return Tables(self.layers, self.precision, self.max_macs)

    def cycles(self, engine: Engine) -> int:
        """Return the cycles that an engine computes in for each image."""
        return self.tables.engine_cycles(engine.n_inputs, engine.n_outputs, engine.layers)

    def epoch_cycles(self, partition: Partition) -> int:
        """Return the cycles between two images where memory keeps nobody waiting."""
        return max(self.cycles(engine) for engine in partition)

    def n_macs_per_cycle(self, partition: Partition) -> int:
        """Return the multiply-accumulates of a cycle of all engines."""
        return sum(engine.n_macs_per_cycle for engine in partition)
