"""What a pruned network becomes where no ONNX file runs: integers, a program, and its time on the simulated machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from silicut.compress.quantisation import BitPlan
from silicut.flows.compiled import CompiledNetwork, load_compiled
from silicut.flows.quantise import BITS_FILE
from silicut.flows.simulate import SUMMARY_FILE
from silicut.graph import Network
from silicut.numerics import QuantisedModule
from silicut.report.simulation import SimulationSummary
from silicut.training import TrainingData

INTEGER_FOLDER, PROGRAM_FOLDER, SIMULATION_FOLDER = FOLDERS = "integer", "program", "simulation"
"""In a run's folder: the integer network with its bits, the program, and what a run of it did."""
CONFIG_FILE = "config.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Deployment:
    """What is to be deployed.

    Attributes:
        network: the pruned network, trained.
        dense: the network as it came.
        levels: of all decisions that the pruned one comes from.
        data: to find ranges on, and to train on while the network is rounded; None where there is none.
        folder: where training keeps its state and results are written; None for nowhere.
    """

    network: Network
    dense: Network
    levels: Mapping[str, int]
    data: TrainingData | None
    folder: Path | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Deployed:
    """What runs on an accelerator in the end.

    Attributes:
        plan: bits of every layer.
        compiled: the program, and the integer network that it executes.
        simulation: what a run of it does; one evaluation image was run to the last bit.
    """

    plan: BitPlan
    compiled: CompiledNetwork
    simulation: SimulationSummary

    @property
    def module(self) -> nn.Module:
        """The integer network as a module that maps real numbers to real numbers."""
        return QuantisedModule(self.compiled.network).eval()

    @classmethod
    def load(cls, folder: Path) -> Deployed:
        """Read what a run left in its folder.

        Raises:
            BadFile: a file is missing or damaged.
        """
        return cls(
            plan=BitPlan.load(folder / INTEGER_FOLDER / BITS_FILE),
            compiled=load_compiled(folder / PROGRAM_FOLDER),
            simulation=SimulationSummary.load(folder / SIMULATION_FOLDER / SUMMARY_FILE),
        )
