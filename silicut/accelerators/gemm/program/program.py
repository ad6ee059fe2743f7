"""A program: what each queue executes, what lies in memory before it starts, and where tensors are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.program.instruction_set import INSTRUCTIONS
from silicut.accelerators.gemm.program.places import TensorPlace, Words
from silicut.accelerators.gemm.program.queues import UNIT_OF, Queue, Unit
from silicut.hardware import Instruction
from silicut.records import ConfigError


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What a layer number in headers stands for; for reports only.

    Attributes:
        name: of the layer.
        n_macs: products that the network's layer has, padding of tiles left out; 0 for pools.
    """

    name: str
    n_macs: int = 0


@dataclass(frozen=True, eq=False)
class Region:
    """Words that lie in memory before the program starts.

    Attributes:
        address: of the first word.
        words: array of uint64.
        what: "weights", "tables", "constants" ...; for reports.
    """

    address: int
    words: Words
    what: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Program:
    """Everything that the machine needs besides the network's inputs.

    Attributes:
        config: the build that it was made for.
        queues: the instructions of every queue; queues that are left out have none.
        memory_words: size of the DRAM that it uses.
        image: what lies in it before the start.
        places: where tensors lie, by name: inputs, outputs and all that are kept.
        inputs, outputs: the names of the network's, in order.
        layers: what the layer numbers mean.

    Raises:
        ConfigError: inputs, outputs, image or places lie outside of the memory or name what is not there.
    """

    config: GemmConfig
    queues: Mapping[Queue, tuple[Instruction, ...]]
    memory_words: int
    image: tuple[Region, ...] = ()
    places: Mapping[str, TensorPlace] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        problems = [f"places must hold {name}" for name in (*self.inputs, *self.outputs) if name not in self.places]
        parts = [(f"image {r.what} at {r.address}", r.address, len(r.words)) for r in self.image]
        parts += [(f"tensor {n}", s.address, p.slab_words(s)) for n, p in self.places.items() for s in p.slabs]
        for what, address, n_words in parts:
            if address < 0 or address + n_words > self.memory_words:
                problems.append(f"{what} must lie in words 0..{self.memory_words - 1}, not end at {address + n_words - 1}")
        if problems:
            raise ConfigError(*problems)

    @property
    def own_queues(self) -> tuple[Queue, ...]:
        """The queues that the build has: all but those of a core that it lacks."""
        lacking = [unit for unit, core in ((Unit.LUT, self.config.lut), (Unit.DSP, self.config.dsp)) if core is None]
        return tuple(queue for queue in Queue if UNIT_OF.get(queue) not in lacking)

    def of(self, queue: Queue) -> tuple[Instruction, ...]:
        """Return the instructions of a queue."""
        return self.queues.get(queue, ())

    @property
    def n_instructions(self) -> int:
        """Instructions of all queues."""
        return sum(len(self.of(queue)) for queue in Queue)

    @cached_property
    def encoded(self) -> dict[Queue, Words]:
        """The instructions of every queue as words, array (n, 2), the lower half first.

        Raises:
            ValueError: a field is out of range; the message names queue and number of the instruction.
        """
        return {queue: _encoded(queue, self.of(queue)) for queue in Queue}


def _encoded(queue: Queue, instructions: tuple[Instruction, ...]) -> Words:
    halves = np.zeros((len(instructions), 2), np.uint64)
    for i, instruction in enumerate(instructions):
        try:
            word = INSTRUCTIONS.encode(instruction)
        except ValueError as error:
            raise ValueError(f"{queue} instruction {i} ({instruction.mnemonic}): {error}") from None
        halves[i] = word & (2**64 - 1), word >> 64
    return halves
