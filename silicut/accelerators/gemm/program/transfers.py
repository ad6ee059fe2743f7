"""How many words each instruction of MEMORY moves."""

from __future__ import annotations

from silicut.accelerators.gemm.config import LOOKUP_ENTRIES, GemmConfig
from silicut.accelerators.gemm.program.memory_instructions import (
    LoadInstructions,
    LoadLookup,
    LoadResidual,
    LoadRows,
    LoadTable,
    LoadWeights,
    Store,
    Sync,
)
from silicut.accelerators.gemm.program.queues import Unit
from silicut.hardware import Instruction

LOOKUP_WORDS = LOOKUP_ENTRIES // 8
"""Words of a table of a function."""

KINDS = ("rows", "residual", "weights", "table", "instructions", "output")
"""Kinds of traffic."""

_KIND_OF: dict[type[Instruction], str] = {
    LoadRows: "rows",
    LoadResidual: "residual",
    LoadWeights: "weights",
    LoadTable: "table",
    LoadLookup: "table",
    LoadInstructions: "instructions",
    Store: "output",
}


def traffic_kind(instruction: Instruction) -> str | None:
    """Return the kind of traffic of an instruction of MEMORY, None if it moves nothing."""
    return _KIND_OF.get(type(instruction))


def bank_bits(unit: Unit, config: GemmConfig) -> int:
    """Return the width of a word of the banks of a core.

    Raises:
        ValueError: the build has no such core.
    """
    if unit is Unit.LUT and config.lut is not None:
        return config.lut.word_bits
    if unit is Unit.DSP and config.dsp is not None:
        return 8 * config.dsp.n_inputs
    raise ValueError(f"the build {config.name} must have the core {unit.name}, which it lacks")


def line_words(instruction: LoadWeights, config: GemmConfig) -> int:
    """Return the words of a line: one address of the first banks, padded to whole words."""
    return -(-instruction.n_banks * bank_bits(Unit(instruction.unit), config) // 64)


def groups_of(instruction: Instruction, config: GemmConfig) -> tuple[int, ...]:
    """Return the groups of ports, by number, that an instruction of MEMORY goes through; see `Memory.groups`.

    Where each core has its ports, these are its own for what it alone gets or makes, and both groups for everything else.
    A `sync` goes through none.
    """
    every = tuple(range(len(config.memory.groups)))
    if len(every) == 1:
        return every
    match instruction:
        case LoadRows() | LoadResidual():
            units = [unit for unit, _ in instruction.targets]
        case LoadWeights() | LoadTable() | LoadLookup() | Store():
            units = [Unit(instruction.unit)]
        case Sync():
            return ()
        case _:
            return every
    return (int(units[0]),) if len(units) == 1 and units[0] is not Unit.POST else every


def beats_of(instruction: Instruction, config: GemmConfig) -> int:
    """Return the beats of a transfer through its ports."""
    n_ports = sum(config.memory.groups[group] for group in groups_of(instruction, config))
    return -(-moved_words(instruction, config) // n_ports) if n_ports else 0


def moved_words(instruction: Instruction, config: GemmConfig) -> int:
    """Return how many words an instruction of MEMORY moves, 0 for those that move nothing."""
    match instruction:
        case LoadRows() | LoadResidual() | LoadInstructions() | Store():
            return instruction.n_words
        case LoadWeights():
            return instruction.n_lines * line_words(instruction, config)
        case LoadTable():
            return instruction.n_entries
        case LoadLookup():
            return LOOKUP_WORDS
    return 0
