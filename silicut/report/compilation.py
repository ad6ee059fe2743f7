"""What a compiler made of a network: which operator runs where, and the layers with their bits and their split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.records import Record
from silicut.report.part import Part

HOST = "host"
"""What executes an operator that stays beside the accelerator."""


@dataclass(frozen=True, kw_only=True)
class AssignedOperator(Part):
    """One operator of the integer network.

    Attributes:
        operator: its name.
        kind: such as "conv2d".
        where: what executes it: "cores", "post" (the vector unit), "layout" (nothing: it only says where numbers lie) or
            "host".
        layer: name of the layer that it is a part of, "" where it is none.
        reason: why it stays on the host, "" elsewhere.
    """

    operator: str
    kind: str
    where: str
    layer: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class CompiledLayer(Part):
    """Operators that are executed in one walk over a map.

    Attributes:
        name: of the first of them.
        kind: "product", "depthwise" or "vector" (pools, additions, functions).
        operators: names of all of them.
        w_bits, a_bits: of its weights (0 without) and of what it reads.
        n_lut, n_dsp: filters of each core.
        n_macs: products, padding of tiles left out.
    """

    name: str
    kind: str
    operators: tuple[str, ...]
    w_bits: int
    a_bits: int
    n_lut: int
    n_dsp: int
    n_macs: int


@dataclass(frozen=True, kw_only=True)
class Compilation(Record):
    """How a program came about.

    Attributes:
        network: what was compiled, as it was asked for.
        command: text that repeats it.
        created: date and time, ISO 8601.
        versions: of packages, by name.
        hashes: of inputs and outputs, by what they are of.
        accelerator: name of the build.
        clock_hz: assumed.
        has_barriers: whether layers wait for one another.
        assignments: one for each operator of the integer network, in its order.
        layers: in order of execution.
        n_instructions: of all queues.
        memory_bytes: of DRAM that the program uses.
    """

    schema: ClassVar[str] = "compilation/1"

    network: str
    command: str
    created: str
    versions: dict[str, str]
    hashes: dict[str, str]
    accelerator: str
    clock_hz: float
    has_barriers: bool
    assignments: tuple[AssignedOperator, ...]
    layers: tuple[CompiledLayer, ...]
    n_instructions: int
    memory_bytes: int

    @property
    def on_host(self) -> tuple[AssignedOperator, ...]:
        """What stays on the host."""
        return tuple(row for row in self.assignments if row.where == HOST)
