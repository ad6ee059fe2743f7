"""What a pruning run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from silicut.compress import Plan, Scores
from silicut.flows.deployment import CONFIG_FILE, PROGRAM_FOLDER, Deployed
from silicut.flows.export import Agreement, save_model
from silicut.flows.latency import Latencies, Target
from silicut.flows.max_drop import Drop
from silicut.flows.planning import Planner
from silicut.flows.run_folder import profile_file
from silicut.flows.stages import Stage
from silicut.flows.verify import Outcome
from silicut.graph import Network
from silicut.report.simulation import SimulationSummary
from silicut.targets import Measurement
from silicut.targets.profile import Profile
from silicut.training import EpochResult


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """The result of a run.

    Attributes:
        module: the pruned network, ready to train or run: the user's own class where it can hold it.
        is_own_class: whether it is.
        network: the same as data, with the final weights.
        plan: what was removed.
        outcome: how the plan measured and how it was found.
        targets: the engines, each with the cost of every layer.
        planner: what made the problem and the networks.
        scores: what channels were worth.
        engine_mode: what the budget means on several engines.
        stages: quality after each step; empty without data.
        epochs: of fine-tuning.
        masked_epochs: of training before channels were removed.
        measurements: dense and pruned on each engine, as exported; in a dry run, as planned.
        agreement: of the ONNX model with PyTorch; None in a dry run.
        values: accuracy of each value function's plan before training and its rank correlation, by name; empty where they
            were not compared.
        drops: the budgets that were tried for a drop of accuracy; empty where none was asked for.
        dense: the network as it came.
        deployed: integer network, program and simulation on an accelerator; None on engines, in a dry run, without data.
        simulation: where the cycles of the pruned network go; None on engines.
    """

    module: nn.Module
    is_own_class: bool
    network: Network
    plan: Plan
    outcome: Outcome
    targets: tuple[Target, ...]
    planner: Planner
    scores: Scores
    engine_mode: str
    stages: tuple[Stage, ...]
    epochs: tuple[EpochResult, ...]
    masked_epochs: tuple[EpochResult, ...]
    measurements: tuple[Measurement, ...]
    agreement: Agreement | None
    values: Mapping[str, Mapping[str, float]]
    drops: tuple[Drop, ...]
    dense: Network
    deployed: Deployed | None = None
    simulation: SimulationSummary | None = None

    @property
    def latencies(self) -> Latencies:
        """What the budget means on the engines."""
        return Latencies(self.targets, self.engine_mode, self.outcome.shares, self.outcome.limit_frac)

    @property
    def measurement(self) -> Measurement:
        """The measurement on the first engine."""
        return self.measurements[0]

    @property
    def profile(self) -> Profile:
        """The profile on the first engine."""
        return self.targets[0].profile

    def save(self, folder: str | Path) -> Path:
        """Write plan.json, network.json, model.safetensors and model.onnx into a folder; return its path.

        After a run for an accelerator, config.json is its build, and a folder "program" what it runs.

        Raises:
            OutputExists: there is such a folder, and it holds something.
        """
        folder = Path(folder)
        self.plan.save(folder / "plan.json")
        for number, target in enumerate(self.targets):
            target.profile.save(folder / profile_file(target.name, number))
        save_model(self.network, folder, self.profile.settings.batch)
        if self.deployed is not None:
            self.deployed.compiled.save(folder / PROGRAM_FOLDER)
            self.deployed.compiled.program.config.save(folder / CONFIG_FILE)
        return folder
