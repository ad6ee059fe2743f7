"""Choose the accelerator for a network and a part, and its bits: proven best by prediction, timed to the cycle."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.cost.split import bound_of_any_split
from silicut.accelerators.gemm.design.bits import CYCLES, LOSS, BitSpace
from silicut.accelerators.gemm.design.problem import DesignProblem
from silicut.compress.quantisation.bits import BitPlan, LayerBits
from silicut.flows.board_memory import memory_of
from silicut.flows.design_folder import DesignFolder
from silicut.flows.design_steps import Chosen, DesignSteps
from silicut.flows.estimate import on_part, read_layers
from silicut.flows.label import Label, created, versions
from silicut.graph.layer_shapes import WEIGHTED, LayerShape
from silicut.records import Cache, ConfigError, Progress, silent
from silicut.report.design import DesignedLayer, DesignSummary
from silicut.search import BLACK_BOX_SOLVERS
from silicut.targets.parts import Board, Part, device_table

__all__ = ["GOALS", "Design", "DesignOptions", "design"]

GOALS = ("latency", "fps", "accuracy")
EXACT = "exact"
SOLVERS = (EXACT, *sorted(BLACK_BOX_SOLVERS))


@dataclass(frozen=True, kw_only=True)
class DesignOptions:
    """What a design is chosen for.

    Attributes:
        goal: "latency" (fewest cycles), "fps" (the same, as one image is computed at a time) or "accuracy" (least loss
            within `max_ms`).
        part: whose amounts are the limits.
        board: whose memory it runs on; None for `bandwidth_gb_per_s`.
        bandwidth_gb_per_s: of the memory; None for that of the board, or two ports of 64 bits.
        memory_efficiency: share of the bandwidth that transfers get.
        clock_hz: assumed.
        weight_bits, activation_bits: widths to choose from.
        edge_bits: of the first and the last layer; None to choose them too.
        max_loss: the most that chosen widths may lose; None where there is nothing to choose.
        like_weight_bits: instead of `max_loss`: as much as weights of so many bits everywhere lose.
        max_ms: for the goal "accuracy".
        solvers: "exact" and names of black-box searches on the same grid, for comparison.
        n_evaluations, seed: of these.
        storage: of their trials; a file or a URL of Optuna; None for a file in the folder.
        n_finalists, n_refined: builds that are compiled and timed: those predicted best, and neighbours of the best.
        asks_what_helps: whether to search again with more of each limit.
        time_limit_s: of one search.

    Raises:
        ConfigError: all that is wrong, at once.
    """

    goal: str = "latency"
    part: Part = field(default_factory=lambda: device_table().part("xc7z020"))
    board: Board | None = None
    bandwidth_gb_per_s: float | None = None
    memory_efficiency: float = 1.0
    clock_hz: float = 100e6
    weight_bits: tuple[int, ...] = (4,)
    activation_bits: tuple[int, ...] = (4,)
    edge_bits: int | None = 8
    max_loss: float | None = None
    like_weight_bits: float | None = None
    max_ms: float | None = None
    solvers: tuple[str, ...] = (EXACT,)
    n_evaluations: int = 600
    seed: int = 0
    storage: str | None = None
    n_finalists: int = 8
    n_refined: int = 16
    asks_what_helps: bool = True
    time_limit_s: float = 600.0

    def __post_init__(self) -> None:
        if problems := [*self._wrong_numbers(), *self._wrong_goal()]:
            raise ConfigError(*problems)

    @property
    def chooses_bits(self) -> bool:
        """Whether there is more than one width of anything."""
        return len(self.weight_bits) > 1 or len(self.activation_bits) > 1

    def _wrong_numbers(self) -> list[str]:
        problems = []
        if not 0 < self.clock_hz < math.inf:
            problems.append(f"clock must be above 0 MHz and finite, not {self.clock_hz / 1e6:g}")
        if self.bandwidth_gb_per_s is not None and not 0 < self.bandwidth_gb_per_s < math.inf:
            problems.append(f"bandwidth must be above 0 GB/s and finite, not {self.bandwidth_gb_per_s:g}")
        if not 0 < self.memory_efficiency <= 1:
            problems.append(f"memory efficiency must be above 0 % and at most 100 %, not {100 * self.memory_efficiency:g} %")
        if self.n_evaluations < 1 or self.n_finalists < 1 or self.n_refined < 0 or self.seed < 0:
            problems.append("evaluations and finalists must be at least 1, refined and seed at least 0")
        unknown = [name for name in self.solvers if name not in SOLVERS]
        if unknown:
            problems.append(f"solver must be one of {', '.join(SOLVERS)}, not {', '.join(unknown)}")
        return problems

    def _wrong_goal(self) -> list[str]:
        if self.goal not in GOALS:
            return [f"goal must be one of {', '.join(GOALS)}, not {self.goal!r}"]
        limits = [limit for limit in (self.max_loss, self.like_weight_bits) if limit is not None]
        if self.goal == "accuracy":
            problems = [] if self.chooses_bits else ["goal accuracy needs widths to choose from, such as --bits 2..4/4"]
            problems += [] if self.max_ms and self.max_ms > 0 else ["goal accuracy needs a latency above 0 (--max-latency)"]
            return problems + (["max-loss must be left out with goal accuracy, which minimises it"] if limits else [])
        if self.max_ms is not None:
            return [f"max-latency must be left out with goal {self.goal}, which minimises it"]
        if self.chooses_bits and len(limits) != 1:
            return ["max-loss must be given where bits are chosen, or the fewest bits everywhere would be the answer"]
        return ["max-loss must be left out where there are no bits to choose"] if limits and not self.chooses_bits else []


@dataclass(frozen=True, eq=False, kw_only=True)
class Design:
    """The outcome.

    Attributes:
        summary: what was chosen and why.
        config: the build.
        plan: the bits of every layer.
        folder: where everything lies.
    """

    summary: DesignSummary
    config: GemmConfig
    plan: BitPlan
    folder: Path


def design(
    network: str,
    folder: str | Path,
    options: DesignOptions | None = None,
    *,
    input_shape: tuple[int, ...] | None = None,
    cache: Cache | None = None,
    label: Label | None = None,
    progress: Progress = silent,
) -> Design:
    """Choose the accelerator for a network; what is done is kept in the folder, so the same call goes on where it stopped.

    Args:
        network: a name of the zoo, a folder of `silicut prune`, or the path of an ONNX file.
        folder: a new or empty one, or that of the same search.
        options: goal, part, bits, solvers.
        input_shape: of one input of an ONNX file whose sizes are free.
        cache: for the layers of ONNX files; the user's by default.
        label: what a person calls it.
        progress: told every step.

    Raises:
        ConfigError: there is no such network, or options do not fit it.
        DoesNotFit: no build of the grid fits the part, or none keeps the budget.
        OutputExists: the folder holds something else.
        ToolMissing: a solver or the report needs a package that is not installed; what was found is kept.
    """
    options = options or DesignOptions()
    label = label or Label(network, "")
    shapes = read_layers(network, input_shape, cache)
    space = bit_space(shapes, options)
    problem = _problem(space, options, network)
    with DesignFolder.opened(folder, {"network": network, "problem": problem.name, "options": _facts(options)}) as kept:
        steps = DesignSteps(problem, space, options, kept, progress)
        chosen = steps.chosen(network, input_shape)
        summary = _summary(steps, chosen, network, label)
        config = steps.problem.config(chosen.point)
        plan = space.plan(chosen.levels)
        hashes = kept.write(summary, config, plan)
    return Design(summary=dataclasses.replace(summary, hashes=hashes), config=config, plan=plan, folder=Path(folder))


def bit_space(shapes: Sequence[LayerShape], options: DesignOptions) -> BitSpace:
    """Return the widths that may be chosen.

    Raises:
        ConfigError: the network has no layer with weights.
    """
    names = [shape.name for shape in shapes if shape.kind in WEIGHTED]
    if not names:
        raise ConfigError("the network must have a convolution or a linear layer, not none")
    edges = {} if options.edge_bits is None else dict.fromkeys((names[0], names[-1]), LayerBits(*[options.edge_bits] * 2))
    return BitSpace(shapes=shapes, weight_bits=options.weight_bits, activation_bits=options.activation_bits, fixed=edges)


def _problem(space: BitSpace, options: DesignOptions, network: str) -> DesignProblem:
    memory = memory_of(options.clock_hz, options.board, options.bandwidth_gb_per_s, options.memory_efficiency)
    return DesignProblem(
        layers=space.work(space.widest).layers,
        part=options.part,
        memory=memory,
        clock_hz=options.clock_hz,
        network=network,
    )


def _facts(options: DesignOptions) -> dict[str, str]:
    """Return what a search depends on; how many solvers are compared does not change what was found before."""
    return {f.name: repr(getattr(options, f.name)) for f in dataclasses.fields(options) if f.name != "storage"}


def _summary(steps: DesignSteps, chosen: Chosen, network: str, label: Label) -> DesignSummary:
    options, problem, space = steps.options, steps.problem, steps.space
    config, work = problem.config(chosen.point), space.work(chosen.levels)
    memory = config.memory
    share = memory.refresh_every / (memory.refresh_every + memory.refresh_cycles) if memory.refresh_every else 1.0
    return DesignSummary(
        network=network,
        on_host=work.on_host,
        **on_part(config, options.part, options.board),
        goal=options.goal,
        bits=_bits_text(options),
        bandwidth_gb_per_s=memory.bytes_per_cycle * config.clock_hz / 1e9 * share,
        point=chosen.point,
        layers=_layers(steps, chosen, config),
        predicted_cycles=chosen.predicted,
        simulated_cycles=chosen.timed.cycles,
        least_cycles=chosen.least_cycles,
        bound=chosen.bound,
        minimised=LOSS if options.goal == "accuracy" else CYCLES,
        machine_bound_cycles=bound_of_any_split(work.layers, config),
        n_points=problem.space.size,
        search_seconds=chosen.seconds,
        steps=chosen.steps,
        contenders=chosen.contenders,
        curves=steps.curves(),
        helps=steps.helps(chosen) if options.asks_what_helps else (),
        loss=space.loss(chosen.levels) if options.chooses_bits else None,
        loss_kind="proxy" if options.chooses_bits else "",
        mean_weight_bits=space.mean_weight_bits(chosen.levels) if options.chooses_bits else None,
        front=steps.front(config) if options.chooses_bits else (),
        created=created(),
        command=label.command,
        versions=versions(),
        hashes={},
    )


def _layers(steps: DesignSteps, chosen: Chosen, config: GemmConfig) -> tuple[DesignedLayer, ...]:
    from silicut.accelerators.gemm.cost.predicted import predicted

    layers = steps.space.work(chosen.levels).layers
    found = predicted(layers, [config])
    rows = []
    for i, layer in enumerate(layers):
        n_lut = chosen.timed.n_lut.get(layer.name, int(found.n_lut[0, i]))
        is_product = layer.kind.value == "product"
        rows.append(
            DesignedLayer(
                name=layer.name,
                kind=layer.kind.value,
                m=layer.m,
                k=layer.k,
                n=layer.out_channels,
                a_bits=layer.a_bits,
                w_bits=layer.w_bits,
                n_lut=n_lut if is_product else 0,
                n_dsp=layer.out_channels - n_lut if is_product else 0,
                cycles=float(found.cycles[0, i]),
            )
        )
    return tuple(rows)


def _bits_text(options: DesignOptions) -> str:
    ends = "" if options.edge_bits is None else f", ends {options.edge_bits}/{options.edge_bits}"
    return f"{_range(options.weight_bits)}/{_range(options.activation_bits)}{ends}"


def _range(bits: tuple[int, ...]) -> str:
    return f"{bits[0]}" if len(bits) == 1 else f"{bits[0]}..{bits[-1]}"
