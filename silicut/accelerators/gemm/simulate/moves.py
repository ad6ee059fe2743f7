"""What the instructions of MEMORY do with data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.program.memory_instructions import (
    LoadLookup,
    LoadResidual,
    LoadRows,
    LoadTable,
    LoadWeights,
    Store,
)
from silicut.accelerators.gemm.program.places import Words, unpack_rows
from silicut.accelerators.gemm.program.queues import Unit
from silicut.accelerators.gemm.program.transfers import LOOKUP_WORDS, line_words
from silicut.accelerators.gemm.simulate.machine import Buffer, Machine
from silicut.hardware import Instruction


class Interval(NamedTuple):
    """When an instruction is at work: reads and writes lie within start..end."""

    start: int
    end: int


def move(instruction: Instruction, machine: Machine, when: Interval) -> None:
    """Do what an instruction of MEMORY says; those that move no data do nothing.

    Raises:
        Fault: it reads what nothing has written, or overwrites what is still read.
    """
    match instruction:
        case LoadRows():
            _load_rows(instruction, machine, when)
        case LoadResidual():
            words = machine.dram.get(instruction.dram_address, instruction.n_words)
            for unit, address in instruction.targets:
                _fill(machine.units[unit].residual, address, words, when)
        case LoadWeights():
            _load_weights(instruction, machine, when)
        case LoadTable():
            _load_table(instruction, machine, when)
        case LoadLookup():
            memories = machine.units[Unit(instruction.unit)]
            memories.lookup_times.write(slice(instruction.table, instruction.table + 1), *when)
            words = machine.dram.get(instruction.dram_address, LOOKUP_WORDS)
            memories.lookup[instruction.table] = words.astype("<u8").view(np.uint8)
        case Store():
            _store(instruction, machine, when)


def _fill(buffer: Buffer, address: int, words: Words, when: Interval) -> None:
    part = slice(address, address + len(words))
    buffer.times.write(part, *when)
    buffer.words[part] = words


def _load_rows(load: LoadRows, machine: Machine, when: Interval) -> None:
    words = machine.dram.get(load.dram_address, load.n_words)
    for unit, address in load.targets:
        stored = words if unit is Unit.LUT else element_words(words, load)
        _fill(machine.units[unit].features, address, stored, when)


def element_words(words: Words, load: LoadRows) -> Words:
    """Return rows of planes as rows of elements of 4 or 8 bits, as the DSP core and POST store them."""
    elements = unpack_rows(words[None], load.bits, bool(load.is_signed))[0]
    raw: NDArray[np.uint8] = elements.astype(np.uint8)
    if not load.wide_elements:
        raw = (raw[0::2] & np.uint8(15)) | (raw[1::2] << np.uint8(4))
    return raw.view("<u8").astype(np.uint64)


def _load_weights(load: LoadWeights, machine: Machine, when: Interval) -> None:
    n_line = line_words(load, machine.config)
    words = machine.dram.get(load.dram_address, load.n_lines * n_line)
    rhs = machine.cores[Unit(load.unit)].rhs
    n_bytes = rhs.bytes.shape[2]
    lines = words.astype("<u8").view(np.uint8).reshape(load.n_lines, n_line * 8)[:, : load.n_banks * n_bytes]
    part = slice(load.rhs_base, load.rhs_base + load.n_lines)
    rhs.times.write((slice(load.n_banks), part), *when)
    rhs.bytes[: load.n_banks, part] = lines.reshape(load.n_lines, load.n_banks, n_bytes).transpose(1, 0, 2)
    rhs.changed(load.rhs_base, load.n_lines)


def _load_table(load: LoadTable, machine: Machine, when: Interval) -> None:
    table = machine.units[Unit(load.unit)].table
    entries = (load.base + np.arange(load.n_entries)) % len(table.words)
    table.times.write(entries, *when)
    table.words[entries] = machine.dram.get(load.dram_address, load.n_entries)


def _store(store: Store, machine: Machine, when: Interval) -> None:
    output = machine.units[Unit(store.unit)].output
    part = slice(store.address, store.address + store.n_words)
    output.times.read(part, *when)
    words = np.packbits(output.bits[part], axis=1, bitorder="little").view("<u8")[:, 0]
    machine.dram.put(store.dram_address, words.astype(np.uint64), store.kept_bytes)
