"""Where a network is to be fast: what pruning asks of engines, measured, and of accelerators, simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeGuard

from torch import Tensor

from silicut.compress.quantisation.sensitivity import Sensitivity
from silicut.flows.decisions import Decisions
from silicut.flows.deployment import Deployed, Deployment
from silicut.flows.stages import DENSE
from silicut.graph import Network
from silicut.records import Cache, Progress
from silicut.report.simulation import SimulationSummary
from silicut.targets import Engine, EngineSettings, Measurement, MeasureOptions, measure
from silicut.targets.profile import Profile, ProfileOptions, profile_network

ACCELERATOR = "gemm"
"""What names of accelerators begin with: "gemm@xc7z020"."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network whose latency is asked for.

    Attributes:
        network: with folded batch normalisation.
        levels: of all decisions that it comes from, widths and others; none for the dense network.
    """

    network: Network
    levels: Mapping[str, int] = field(default_factory=dict)


class BitDecider(Protocol):
    """What says which bits may be chosen together with widths, and what they lose."""

    def sensitivity(self, network: Network, images: Sequence[Tensor], progress: Progress) -> Sensitivity:
        """Return what the bits of each layer of a network (as captured) lose.

        Args:
            network: as captured.
            images: calibration batches.
            progress: told every step.
        """

    def decisions(self, network: Network, lost: Sensitivity) -> Decisions:
        """Return the variables of bits, with what each of their levels loses."""


class Platform(Protocol):
    """What a network is pruned for."""

    @property
    def name(self) -> str:
        """What a person types for it."""

    @property
    def settings(self) -> EngineSettings:
        """Batch, and how latencies come about."""

    @property
    def max_rounds(self) -> int:
        """How many plans may be built and measured until one fits."""

    @property
    def bit_decider(self) -> BitDecider | None:
        """What is asked for bits; None where they are given, or no matter."""

    def fingerprint(self) -> dict[str, Any]:
        """Return what a latency depends on besides the network, in plain JSON values."""

    def check(self, network: Network) -> None:
        """Find what keeps a network (as captured) from running there, before anything slow starts.

        Raises:
            UnsupportedModel: operators cannot run there; each is named.
        """

    def profile(self, network: Network, options: ProfileOptions, cache: Cache, progress: Progress) -> Profile:
        """Return what every layer of a network (as captured) costs at all levels worth having."""

    def measure(self, candidates: Mapping[str, Candidate], options: MeasureOptions, progress: Progress) -> Measurement:
        """Return the latencies of networks; all are relative to the one that is called "dense"."""

    def learned(self, profile: Profile, candidates: Mapping[str, Candidate], predicted_ms: float) -> Profile:
        """Return a profile that knows what the candidate "pruned" takes, where that can be known layer by layer.

        Args:
            profile: as it predicts so far.
            candidates: as they were measured.
            predicted_ms: of the pruned one, by the profile.
        """

    def exact(self) -> Engine:
        """Return an engine that computes what an ONNX file says."""

    def deploy(self, asked: Deployment, progress: Progress) -> Deployed | None:
        """Return what runs there in the end; None where the ONNX file is that."""

    def simulated(self, candidate: Candidate, dense: Network, name: str, progress: Progress) -> SimulationSummary | None:
        """Return where the cycles of a network go; None where no machine is simulated.

        Args:
            candidate: the network.
            dense: as captured, before anything was removed.
            name: what a person calls it.
            progress: told every step.
        """


def is_platform(thing: Engine | Platform) -> TypeGuard[Platform]:
    """Return whether something is more than an engine."""
    return hasattr(thing, "deploy")


@dataclass(frozen=True)
class OnEngine:
    """An engine of this machine, or a device elsewhere.

    Attributes:
        engine: measured, or predicted.
    """

    engine: Engine

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.name

    @property
    def settings(self) -> EngineSettings:
        """Engine, threads, batch."""
        return self.engine.settings

    @property
    def max_rounds(self) -> int:
        """Few: each takes a minute."""
        return 4

    @property
    def bit_decider(self) -> None:
        """Engines run floats."""

    def fingerprint(self) -> dict[str, Any]:
        """Return the engine's own."""
        return self.engine.fingerprint()

    def check(self, network: Network) -> None:
        """Say nothing: what an engine refuses, it refuses itself."""

    def profile(self, network: Network, options: ProfileOptions, cache: Cache, progress: Progress) -> Profile:
        """Return what was measured of the network, from the cache where it was measured before."""
        return profile_network(network, self.engine, cache=cache, options=options, progress=progress)

    def measure(self, candidates: Mapping[str, Candidate], options: MeasureOptions, progress: Progress) -> Measurement:
        """Measure networks together, each round with all of them."""
        models = {name: candidate.network for name, candidate in candidates.items()}
        return measure(self.engine, models, DENSE, options, progress)

    def learned(self, profile: Profile, candidates: Mapping[str, Candidate], predicted_ms: float) -> Profile:
        """Return the same: what was measured corrects the budget."""
        return profile

    def exact(self) -> Engine:
        """Return what the engine says is exact."""
        return self.engine.exact()

    def deploy(self, asked: Deployment, progress: Progress) -> Deployed | None:
        """Return nothing: the ONNX file is what runs."""
        return None

    def simulated(self, candidate: Candidate, dense: Network, name: str, progress: Progress) -> SimulationSummary | None:
        """Return nothing: engines run."""
        return None
