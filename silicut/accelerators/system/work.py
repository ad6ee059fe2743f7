"""What a system asks of an accelerator: its tasks for one image, each as steps that load, compute and store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from silicut.records import ConfigError


@dataclass(frozen=True)
class Step:
    """The least that an accelerator does at once: it loads into one half of its buffers and then computes from it.

    Attributes:
        load_bytes: read before it computes.
        cycles: of computing.
        store_bytes: written afterwards; 0 where results are kept for the next step.
    """

    load_bytes: int
    cycles: int
    store_bytes: int = 0


@dataclass(frozen=True)
class Task:
    """A layer, or whatever an accelerator does for one image without a pause.

    Attributes:
        name: unique in the system.
        inputs: names of the tasks whose results it reads.
        steps: in order, at least one; the last one stores.

    Raises:
        ConfigError: there is no step, the last one stores nothing, or a number is negative.
    """

    name: str
    inputs: tuple[str, ...]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not self.steps or not self.steps[-1].store_bytes:
            raise ConfigError(f"{self.name} must have steps of which the last one stores something")
        if min(min(step.load_bytes, step.cycles, step.store_bytes) for step in self.steps) < 0:
            raise ConfigError(f"{self.name} must have steps without negative numbers")

    @cached_property
    def cycles(self) -> int:
        """Cycles of computing for one image."""
        return sum(step.cycles for step in self.steps)

    @cached_property
    def n_bytes(self) -> int:
        """Bytes moved for one image."""
        return sum(step.load_bytes + step.store_bytes for step in self.steps)


class Accelerator(Protocol):
    """Whatever executes tasks one after the other, the same ones for every image."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def tasks(self) -> Sequence[Task]:
        """What it does for each image, in this order; at least one."""
        ...
