"""A compiled network, and its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from silicut.accelerators.gemm.program import Program
from silicut.accelerators.gemm.program.files import load_program, program_hash, save_program
from silicut.flows.new_folder import new_folder
from silicut.flows.pixels import NORMALISATION_FILE, noted_normalisation
from silicut.numerics import QuantisedNetwork, load_quantised, save_quantised
from silicut.records import BadFile
from silicut.report.compilation import Compilation
from silicut.training import Normalisation

PROGRAM_FILE, RECORD_FILE = "program.gemm", "compilation.json"


@dataclass(frozen=True, eq=False, kw_only=True)
class CompiledNetwork:
    """A program with the integer network that it executes.

    Attributes:
        program: what the machine reads; nothing else is needed for a run.
        record: what runs where, bits and split of every layer.
        network: the integer network, and what its integers stand for; with a normalisation it takes pixels.
        normalisation: what the images that the float network takes were normalised by, where that is folded in.
    """

    program: Program
    record: Compilation
    network: QuantisedNetwork
    normalisation: Normalisation | None = None

    def save(self, folder: str | Path) -> Path:
        """Write program.gemm, compilation.json and the integer network into a new or empty folder; return its path.

        normalisation.json is what was folded in.

        Raises:
            OutputExists: the folder holds something.
        """
        folder = new_folder(folder)
        save_quantised(self.network, folder)
        save_program(self.program, folder / PROGRAM_FILE)
        self.record.save(folder / RECORD_FILE)
        if self.normalisation is not None:
            self.normalisation.save(folder / NORMALISATION_FILE)
        return folder


def load_compiled(folder: str | Path) -> CompiledNetwork:
    """Read what `CompiledNetwork.save` wrote.

    Args:
        folder: of silicut compile.

    Raises:
        BadFile: a file is missing or damaged, or the files do not belong together.
    """
    folder = Path(folder)
    if not (folder / PROGRAM_FILE).exists():
        raise BadFile(f"{folder} is no folder of silicut compile: it holds no {PROGRAM_FILE}; compile a network first")
    program, record = load_program(folder / PROGRAM_FILE), Compilation.load(folder / RECORD_FILE)
    if record.hashes.get("program") != program_hash(program):
        raise BadFile(f"{folder / PROGRAM_FILE} is another program than {RECORD_FILE} is about; take both from one folder")
    normalisation = noted_normalisation(folder)
    return CompiledNetwork(program=program, record=record, network=load_quantised(folder), normalisation=normalisation)
