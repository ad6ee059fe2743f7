"""The GEMM accelerator as what a network is pruned for: costs by its model, latencies by exact counts of cycles.

Cycles follow from the program alone, whatever the weights, so a plan is timed by rounding its network quickly, compiling it
and adding up the schedule max-plus. Milliseconds are *simulated*: cycles at a clock that is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from silicut.accelerators.gemm.compile import Compiled, CompileOptions, compile_network
from silicut.accelerators.gemm.config import PRESETS, GemmConfig
from silicut.accelerators.gemm.cost.exact import ExactTime, exact_time
from silicut.accelerators.gemm.cost.resources import exceeded, exceeded_by_memory, resources
from silicut.compress import pruned, removed_by
from silicut.compress.quantisation import BitPlan, Sites, find_sites, quantisable
from silicut.compress.quantisation.bits import MAX_BITS, MIN_BITS
from silicut.compress.quantisation.post_training import Methods, quantise_after_training, with_edges
from silicut.compress.quantisation.sensitivity import Sensitivity
from silicut.flows.bit_choices import BitChoices
from silicut.flows.bit_search import measured_sensitivity
from silicut.flows.compile import compile_program
from silicut.flows.decisions import NOTHING_ELSE, Decisions
from silicut.flows.deployment import Deployed, Deployment
from silicut.flows.estimate import accelerator, device
from silicut.flows.gemm_corrections import Timed
from silicut.flows.gemm_costs import GemmProfiler
from silicut.flows.gemm_deployment import deployed
from silicut.flows.gemm_learning import learned
from silicut.flows.label import Label
from silicut.flows.platform import ACCELERATOR, Candidate
from silicut.flows.pruning_problem import Subject
from silicut.flows.quantise import QuantiseOptions, of_one_input
from silicut.flows.simulate import Circumstances, simulate
from silicut.flows.stages import DENSE, PRUNED
from silicut.graph import Network
from silicut.numerics import QuantisedNetwork
from silicut.records import Cache, ConfigError, Progress, content_hash
from silicut.report.simulation import SimulationSummary
from silicut.targets import Engine, EngineSettings, Measurement, MeasureOptions
from silicut.targets import engine as engine_by_name
from silicut.targets.measure import Timing, model_hash
from silicut.targets.parts import Board, Part, device_table
from silicut.targets.profile import Profile, ProfileOptions

JOINT = "joint"
"""What is typed for bits that are chosen together with widths."""
_QUICK = Methods(ranges="min-max", scales="max")  # no cycle depends on ranges
_N_QUICK_IMAGES = 4


@dataclass(frozen=True, kw_only=True)
class GemmTarget:
    """A build of the GEMM accelerator on a part.

    Attributes:
        part: that resources are compared with.
        board: whose memory must carry the traffic; None for the ports at full speed.
        config: the build, with the clock that is assumed.
        bits: of weights and of what layers read; None where they are chosen together with widths.
        edge_bits: of the first and the last layer; None for those of the other layers.
        quantisation: how the pruned network becomes integers, and how it is trained while it is rounded.

    Raises:
        ConfigError: everything that is wrong, at construction.
    """

    part: Part = field(default_factory=lambda: device_table().part("xc7z020"))
    board: Board | None = None
    config: GemmConfig = PRESETS["z020"]
    bits: BitPlan | None = field(default_factory=lambda: BitPlan.uniform(8, 8))
    edge_bits: int | None = 8
    quantisation: QuantiseOptions = field(default_factory=QuantiseOptions)

    def __post_init__(self) -> None:
        problems = []
        if self.edge_bits is not None and not MIN_BITS <= self.edge_bits <= MAX_BITS:
            problems.append(f"edge_bits must be {MIN_BITS}..{MAX_BITS}, not {self.edge_bits}")
        if self.bits is not None and self.bits.layers:
            problems.append("bits must be the same for all layers but the edges, not given by layer")
        if problems:
            raise ConfigError(*problems)

    @classmethod
    def named(
        cls, name: str, *, config: str | GemmConfig = "z020", bits: str = "8/8", edge_bits: int | None = 8
    ) -> GemmTarget:
        """Return the target of a name, as people type it.

        Args:
            name: such as "gemm@xc7z020".
            config: a preset, the path of a configuration's JSON file, or a configuration.
            bits: as `bits_of` takes them.
            edge_bits: as above.

        Raises:
            ConfigError: there is no such target, part or configuration, or bits are none.
            BadFile: a file is missing or damaged.
        """
        part, _ = device(part_of(name), None)
        build = config if isinstance(config, GemmConfig) else accelerator(config)
        return cls(part=part, config=build, bits=bits_of(bits), edge_bits=edge_bits)

    @property
    def name(self) -> str:
        """What a person types for it: "gemm@xc7z020"."""
        return f"{ACCELERATOR}@{self.part.name}"

    @property
    def settings(self) -> EngineSettings:
        """One image at a time, simulated."""
        return EngineSettings(engine=self.name, is_simulated=True)

    @property
    def max_rounds(self) -> int:
        """Many: to compile takes less than a second, and times are exact."""
        return 16

    @property
    def bit_decider(self) -> GemmTarget | None:
        """Itself where bits are chosen together with widths."""
        return self if self.bits is None else None

    def fingerprint(self) -> dict[str, Any]:
        """Return build, part, clock and bits."""
        return {
            "engine": self.name,
            "accelerator": self.config.name,
            "configuration": self.config.hash,
            "clock_mhz": self.config.clock_hz / 1e6,
            "part": self.part.name,
            "bits": JOINT if self.bits is None else str(self.bits.default),
            "quantisation": content_hash(asdict(replace(self.quantisation, training_folder=None))),
            "edge_bits": "those of the other layers" if self.edge_bits is None else str(self.edge_bits),
        }

    def check(self, network: Network) -> None:
        """Compile the dense network, so that whatever cannot be done is said at once.

        Raises:
            UnsupportedModel: an operator has no integer form, or would stay on the host; each is named with the reason.
            DoesNotFit: a buffer of the build is too small for a layer.
        """
        _ = self._cycles(Candidate(network), self._choices(network))

    def profile(self, network: Network, options: ProfileOptions, cache: Cache, progress: Progress) -> Profile:
        """Return the profile by the cost model, in seconds; it is not worth a cache."""
        subject, choices = Subject.of(network), self._choices(network)

        def time_of(levels: Mapping[str, int]) -> Timed:
            return self._timed(Candidate(_narrowed(subject, levels), levels), choices)

        plan = self._plan(find_sites(quantisable(network)), {}, choices)
        made = GemmProfiler(subject, self.config, plan, choices, time_of, progress)
        return made.profile(self.settings, self.fingerprint(), options)

    def sensitivity(self, network: Network, images: Sequence[Tensor], progress: Progress) -> Sensitivity:
        """Return the divergence that each width of a layer's weights, and of each tensor that layers read, costs alone."""
        return measured_sensitivity(find_sites(quantisable(network)), images, self.quantisation.methods, progress)

    def decisions(self, network: Network, lost: Sensitivity) -> Decisions:
        """Return the bits that may be chosen, with what each choice loses."""
        choices = self._choices(network)
        return NOTHING_ELSE if choices is None else choices.decisions(find_sites(quantisable(network)), lost)

    def measure(self, candidates: Mapping[str, Candidate], options: MeasureOptions, progress: Progress) -> Measurement:
        """Return the latencies of networks: exact cycles at the assumed clock."""
        choices = self._choices(candidates[DENSE].network)
        cycles = {name: self._cycles(candidate, choices) for name, candidate in candidates.items()}
        ms = {name: 1e3 * n / self.config.clock_hz for name, n in cycles.items()}
        return Measurement(
            settings=self.settings,
            fingerprint=self.fingerprint(),
            options=options,
            reference=DENSE,
            timings={name: _timing(model_hash(candidates[name].network), ms[name], ms[DENSE]) for name in ms},
            n_rounds=1,
            elapsed_s=0.0,
            warnings=self.warnings,
        )

    def learned(self, profile: Profile, candidates: Mapping[str, Candidate], predicted_ms: float) -> Profile:
        """Return a profile that is exact at the pruned network, and nearer to the truth around it."""
        pruned_one = candidates[PRUNED]
        timed = self._timed(pruned_one, self._choices(candidates[DENSE].network))
        return learned(profile, pruned_one.levels, timed, self.config.clock_hz, predicted_ms)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the build exceeds the part or the memory, one sentence each."""
        found = exceeded(resources(self.config), self.part)
        found += () if self.board is None else exceeded_by_memory(self.config, self.board)
        return tuple(f"the build {self.config.name!r} does not fit: {sentence}" for sentence in found)

    def exact(self) -> Engine:
        """Return the engine that runs the float network's ONNX file."""
        return engine_by_name("onnxruntime").exact()

    def deploy(self, asked: Deployment, progress: Progress) -> Deployed | None:
        """Return integer network, program and simulation of a trained network; None without data to find ranges on.

        Raises:
            NumericMismatch: the program computes something else than the integer network.
        """
        if asked.data is None:
            return None
        plan = self.plan_of(asked.network, asked.dense, asked.levels)
        return deployed(asked, plan, self.quantisation, self.config, self._circumstances, progress)

    def simulated(self, candidate: Candidate, dense: Network, name: str, progress: Progress) -> SimulationSummary | None:
        """Return what a run of a network does by the cycle; its numbers, which no cycle depends on, are noise."""
        integer = self._quickly_rounded(candidate, self._choices(dense))
        found = compile_program(integer, self.config, label=Label(name, ""), progress=progress)
        return simulate(found, circumstances=self._circumstances, progress=progress).summary

    @property
    def _circumstances(self) -> Circumstances:
        return Circumstances(part=self.part, board=self.board)

    def plan_of(self, network: Network, dense: Network, levels: Mapping[str, int]) -> BitPlan:
        """Return the bits of a network that some levels of the dense one (both as captured, or folded) stand for."""
        return self._plan(find_sites(quantisable(network)), levels, self._choices(dense))

    # From levels to programs

    def _choices(self, network: Network) -> BitChoices | None:
        return BitChoices.of(find_sites(quantisable(network)), self.edge_bits) if self.bits is None else None

    def _plan(self, sites: Sites, levels: Mapping[str, int], choices: BitChoices | None) -> BitPlan:
        """Return the bits of the layers that a network has."""
        if choices is None:
            assert self.bits is not None
            return self.bits if self.edge_bits is None else with_edges(self.bits, sites, self.edge_bits)
        plan = choices.plan(levels)
        return replace(plan, layers={name: bits for name, bits in plan.layers.items() if name in sites.layers})

    def _cycles(self, candidate: Candidate, choices: BitChoices | None) -> int:
        return self._exact(self._quickly_rounded(candidate, choices), CompileOptions())[1].cycles

    def _timed(self, candidate: Candidate, choices: BitChoices | None) -> Timed:
        """Return the exact time of a network and of its layers."""
        integer = self._quickly_rounded(candidate, choices)
        _, whole = self._exact(integer, CompileOptions())
        in_turn, times = self._exact(integer, CompileOptions(has_barriers=True))
        names = (layer.name for layer in in_turn.program.layers)
        return Timed(whole.cycles, dict(zip(names, times.layers, strict=True)))

    def _exact(self, integer: QuantisedNetwork, options: CompileOptions) -> tuple[Compiled, ExactTime]:
        found = compile_network(integer.network, self.config, options)
        return found, exact_time(found.schedules, found.queues, self.config)

    def _quickly_rounded(self, candidate: Candidate, choices: BitChoices | None) -> QuantisedNetwork:
        """Return an integer network that takes as long as the real one: of the same bits, its ranges those of noise."""
        network = of_one_input(quantisable(candidate.network))
        plan = self._plan(find_sites(network), candidate.levels, choices)
        shape = network.tensors[network.inputs[0]].sizes(_N_QUICK_IMAGES)
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return quantise_after_training(network, plan, [images], _QUICK).quantised


def part_of(name: str) -> str | None:
    """Return the part in the name of a target, None where it names none.

    Raises:
        ConfigError: it is no such name.

    Example:
        >>> part_of("gemm@xc7z020"), part_of("gemm")
        ('xc7z020', None)
    """
    kind, at, part = name.partition("@")
    if kind != ACCELERATOR or (at and not part):
        raise ConfigError(f"target must be like gemm@xc7z020, not {name!r}")
    return part or None


def bits_of(text: str) -> BitPlan | None:
    """Return the bits that a text stands for: "4/8" for weights of 4 bits on tensors of 8, "joint" (None) for a choice.

    Raises:
        ConfigError: it is neither.
    """
    return None if text == JOINT else BitPlan.parse(text)


def _narrowed(subject: Subject, levels: Mapping[str, int]) -> Network:
    """Return a network with the first channels of every group: which ones stay makes no cycle."""
    widths = {group.name: levels[group.name] for group in subject.channels.groups}
    kept = {name: range(width) for name, width in widths.items() if 0 < width < subject.channels.group(name).n_channels}
    return pruned(subject.folded, kept, removed_by(widths, subject.blocks))


def _timing(network_hash: str, ms: float, dense_ms: float) -> Timing:
    """Return an exact time in the form of a measured one: its interval has no width."""
    ratio = ms / dense_ms
    return Timing(
        model_hash=network_hash,
        latency_ms=ms,
        latency_low_ms=ms,
        latency_high_ms=ms,
        ratio=ratio,
        ratio_low=ratio,
        ratio_high=ratio,
        ratio_of_minima=ratio,
        p10_ms=ms,
        median_ms=ms,
        min_ms=ms,
        cv_frac=0.0,
        n=1,
        ratios=(ratio,),
    )
