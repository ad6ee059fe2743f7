"""What the registers of a queue hold when an instruction is dispatched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

from silicut.accelerators.gemm.program.compute_instructions import SetProduct, SetTaps
from silicut.accelerators.gemm.program.result_registers import (
    SetConstant,
    SetCopy,
    SetLookup,
    SetOutput,
    SetPixels,
    SetRequantise,
    SetResidual,
    SetResidualMap,
    SetResidualSlab,
)
from silicut.accelerators.gemm.program.window_instructions import SetKernel, SetMap, SetSlab
from silicut.hardware import Instruction

_REGISTERS = (
    *(SetMap, SetKernel, SetSlab, SetProduct, SetTaps, SetPixels, SetRequantise, SetConstant, SetResidual),
    *(SetResidualMap, SetResidualSlab, SetLookup, SetOutput, SetCopy),
)
_Register = TypeVar("_Register", bound=Instruction)


class Segment(NamedTuple):
    """A run of neighbouring elements of a row that windows read.

    Attributes:
        slab: index in the table.
        tap_row: which row of the kernel.
        tap: which column of the kernel it is, None for the whole tap row.
        n_elements: its length.
    """

    slab: int
    tap_row: int
    tap: int | None
    n_elements: int


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows over a map, as registers describe them.

    Attributes:
        map: sizes and format.
        kernel: taps.
        slabs: of the table, those that are read.
    """

    map: SetMap
    kernel: SetKernel
    slabs: tuple[SetSlab, ...]

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of a window in the order in which a row of the matrix holds them."""
        return tuple(segment for slab in self.slabs for segment in self._of(slab))

    def _of(self, slab: SetSlab) -> Iterator[Segment]:
        kernel = self.kernel
        is_whole = slab.first_channel == 0 and slab.n_channels == slab.pitch and kernel.dilation_x == 1
        for row in range(kernel.height):
            if is_whole:
                yield Segment(slab.index, row, None, kernel.width * slab.pitch)
            else:
                yield from (Segment(slab.index, row, tap, slab.n_channels) for tap in range(kernel.width))


@dataclass(frozen=True, eq=False)
class Results:
    """What becomes of sums, as registers describe it; what a step needs is there if the step is done.

    Attributes:
        pixels, requantise, residual, lookup: registers of these names.
        outputs: the enabled ones, by number.
        constant: for requantise without a table.
        residual_map, residual_slabs: the other tensor.
        copy: for output 1.
    """

    pixels: SetPixels
    requantise: SetRequantise
    residual: SetResidual
    lookup: SetLookup
    outputs: dict[int, SetOutput]
    constant: SetConstant | None
    residual_map: SetResidualMap | None
    residual_slabs: tuple[SetResidualSlab, ...]
    copy: SetCopy | None


class RegisterFile:
    """The registers of one queue; registers change in the order of the instructions.

    What it returns is one and the same object until a register changes.
    """

    def __init__(self) -> None:
        self._held: dict[type[Instruction], Instruction] = {}
        self._slabs: dict[int, SetSlab] = {}
        self._residual_slabs: dict[int, SetResidualSlab] = {}
        self._outputs: dict[int, SetOutput] = {}
        self._windows: Windows | None = None
        self._results: Results | None = None

    def take(self, instruction: Instruction) -> bool:
        """Hold the fields of an instruction if it sets registers, and tell whether it does."""
        if not isinstance(instruction, _REGISTERS):
            return False
        self._windows = self._results = None
        match instruction:
            case SetSlab():
                self._slabs[instruction.index] = instruction
            case SetResidualSlab():
                self._residual_slabs[instruction.index] = instruction
            case SetOutput():
                self._outputs[instruction.output] = instruction
            case _:
                self._held[type(instruction)] = instruction
        return True

    def get(self, kind: type[_Register]) -> _Register:
        """Return the registers that an instruction of a kind has set.

        Raises:
            ValueError: there was none.
        """
        held = self._held.get(kind)
        if held is None:
            raise ValueError(f"{kind.mnemonic} must come before it in its queue")
        assert isinstance(held, kind)
        return held

    def slab(self, index: int) -> SetSlab:
        """Return one slab of the table.

        Raises:
            ValueError: it was never set.
        """
        return _entry(self._slabs, index, SetSlab.mnemonic)

    @property
    def windows(self) -> Windows:
        """The windows.

        Raises:
            ValueError: a register was never set.
        """
        if self._windows is None:
            kernel = self.get(SetKernel)
            slabs = tuple(self.slab(i) for i in range(kernel.n_slabs))
            self._windows = Windows(self.get(SetMap), kernel, slabs)
        return self._windows

    @property
    def results(self) -> Results:
        """What becomes of sums.

        Raises:
            ValueError: a register was never set.
        """
        if self._results is None:
            self._results = self._made()
        return self._results

    def _made(self) -> Results:
        requantise, residual = self.get(SetRequantise), self.get(SetResidual)
        needs_constant = requantise.is_enabled and not requantise.uses_table
        outputs = {number: output for number, output in sorted(self._outputs.items()) if output.is_enabled}
        if not outputs:
            raise ValueError(f"{SetOutput.mnemonic} must come before it in its queue, with an output that is enabled")
        residual_map = self.get(SetResidualMap) if residual.is_enabled else None
        return Results(
            pixels=self.get(SetPixels),
            requantise=requantise,
            residual=residual,
            lookup=self.get(SetLookup),
            outputs=outputs,
            constant=self.get(SetConstant) if needs_constant else None,
            residual_map=residual_map,
            residual_slabs=tuple(
                _entry(self._residual_slabs, i, SetResidualSlab.mnemonic)
                for i in range(residual_map.n_slabs if residual_map else 0)
            ),
            copy=self.get(SetCopy) if 1 in outputs else None,
        )


_Slab = TypeVar("_Slab")


def _entry(table: dict[int, _Slab], index: int, mnemonic: str) -> _Slab:
    if index not in table:
        raise ValueError(f"{mnemonic} with index {index} must come before it in its queue")
    return table[index]


def dispatched(instructions: Sequence[Instruction]) -> Iterator[tuple[int, Instruction, RegisterFile]]:
    """Yield number, instruction and registers of everything in a queue that is no register, in order."""
    file = RegisterFile()
    for i, instruction in enumerate(instructions):
        if not file.take(instruction):
            yield i, instruction, file
