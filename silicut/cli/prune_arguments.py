"""What `silicut prune` can be asked: its options as they are typed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from typer import Option

_FREE = ("out", "resume", "json", "debug", "cache", "dry_run", "accept_nearest")  # what a resumed run may be asked otherwise


class Preset(StrEnum):
    """Named sets of options."""

    default = "default"
    paper = "paper"


@dataclass(frozen=True, kw_only=True)
class PruneArguments:
    """The options of `silicut prune`, each with its help: what to prune, the budget, the engine, training, the search."""

    network: Annotated[str, Option(help="Name in the zoo, your own as module:function, or a file such as net.onnx.")]
    out: Annotated[Path, Option(help="New folder for the results.")]
    latency: Annotated[
        list[str] | None, Option(help="Budget: 50% of the measured dense latency, or 3ms; several make a front of networks.")
    ] = None
    max_drop: Annotated[
        float | None,
        Option(
            help="Instead of a latency: the fastest network that loses at most so many points of accuracy after a short "
            "recovery (--drop-epochs); the full recovery follows."
        ),
    ] = None
    max_parameters: Annotated[str | None, Option(help="Besides: at most so many parameters, as 1M or 60%.")] = None
    max_macs: Annotated[str | None, Option(help="Besides: at most so many multiply-accumulates, as 60% or 50M.")] = None
    max_size: Annotated[str | None, Option(help="Besides: an ONNX file of at most that size, as 2MB or 40%.")] = None
    weights: Annotated[str | None, Option(help="File of weights, or 'random'; bundled ones by default.")] = None
    data: Annotated[str | None, Option(help="Data such as cifar10:DIR, digits, images:DIR, or module:function.")] = None
    target: Annotated[
        str | None,
        Option(
            help="Instead of an engine: an accelerator on a part, as gemm@xc7z020; latency is simulated, bits are chosen."
        ),
    ] = None
    accelerator: Annotated[
        str | None,
        Option(help="Its build: z020 (the default), n3h, bismo-pynq-z1, bismo-ultra96, tiny, or a file such as mine.json."),
    ] = None
    clock: Annotated[float | None, Option(help="MHz of the accelerator, instead of the configuration's.")] = None
    board: Annotated[str | None, Option(help="Board whose memory the accelerator runs on, such as pynq-z2.")] = None
    parts: Annotated[list[Path] | None, Option(metavar="FILE", help="TOML file of your own parts and boards.")] = None
    bits: Annotated[
        str | None,
        Option(
            help="On the accelerator: bits of weights / of what layers read, as 8/8 (the default) or 4/8; joint: chosen "
            "together with widths."
        ),
    ] = None
    edge_bits: Annotated[
        int | None, Option(help="On the accelerator: bits of the first and the last layer; 8 by default, 0: as the others.")
    ] = None
    rounding: Annotated[
        str | None, Option(help="On the accelerator: weights are rounded nearest (default) or adaptive.")
    ] = None
    rounded_epochs: Annotated[
        int | None,
        Option(min=0, help="On the accelerator: epochs of training while rounded, after fine-tuning; 0 by default."),
    ] = None
    engine: Annotated[
        list[str] | None, Option(help="Engine to be fast on (onnxruntime); several, with weights as name=2 where weighted.")
    ] = None
    engine_mode: Annotated[
        str, Option(help="Several engines: worst (each within the budget) or weighted (their weighted mean is).")
    ] = "worst"
    threads: Annotated[int, Option(min=1, help="Threads of the engine.")] = 1
    batch: Annotated[int, Option(min=1, help="Batch size of the latency.")] = 1
    profile: Annotated[
        Path | None,
        Option(
            help="Profile of a device elsewhere, with its engine, threads and batch: latencies are predicted, not measured."
        ),
    ] = None
    epochs: Annotated[int, Option(min=0, help="Epochs of fine-tuning; 0 leaves it out.")] = 8
    training_batch: Annotated[int, Option(min=2, help="Images of one training step, of all processes together.")] = 128
    learning_rate: Annotated[float, Option(help="Peak learning rate of fine-tuning.")] = 0.03
    ema_decay: Annotated[float, Option(help="Of averaged weights, such as 0.999; 0 for none.")] = 0.0
    precision: Annotated[str, Option(help="auto, bf16, fp16 (CUDA only) or fp32.")] = "auto"
    milestones: Annotated[int, Option(help="Steps of training in which the latency falls to the budget.")] = 1
    soft_epochs: Annotated[int, Option(help="Extra epochs in which channels are masked and may come back.")] = 0
    drop_epochs: Annotated[int, Option(min=0, help="Epochs of the short recovery of --max-drop.")] = 1
    value: Annotated[
        str | None,
        Option(
            help="What channels are worth: sp-lamp, log-energy, taylor; learned, sensitivity (measured on training images); "
            "auto: the one whose plan keeps most accuracy untrained."
        ),
    ] = None
    base_value: Annotated[str, Option(help="The value that learned scales; sensitivity takes its order of channels.")] = (
        "taylor"
    )
    value_time: Annotated[float, Option(help="Seconds that auto may spend on measured values.")] = 120.0
    solver: Annotated[
        str | None,
        Option(help="coupled (proven), lagrangian (any size, with a bound), knapsack (as in the paper), descent."),
    ] = None
    preset: Annotated[Preset, Option(help="paper: SP-LAMP literally as published.")] = Preset.default
    freeze: Annotated[list[str] | None, Option(help="Pattern of layers whose channels all stay; repeatable.")] = None
    keep: Annotated[list[str] | None, Option(help="Pattern of residual blocks that stay; repeatable.")] = None
    loss: Annotated[str | None, Option(help="Your own loss as module:function.")] = None
    metric: Annotated[str | None, Option(help="Your own metric as module:function.")] = None
    input_shape: Annotated[str | None, Option(help="One input, such as 3x224x224, for your own network.")] = None
    time_limit: Annotated[float, Option(help="Seconds for each solve.")] = 10.0
    noise: Annotated[float, Option(help="Per cent: latencies known less surely than +- this are refused.")] = 10.0
    seed: Annotated[int, Option(min=0, help="Seed of sampling and training.")] = 0
    cache: Annotated[Path | None, Option(help="Folder of cached profiles.")] = None
    accept_nearest: Annotated[
        bool, Option("--accept-nearest", help="Go on with the nearest plan where none measures within the budget.")
    ] = False
    dry_run: Annotated[bool, Option("--dry-run", help="Stop when the plan has been measured.")] = False
    resume: Annotated[bool, Option("--resume", help="Go on with the run in --out.")] = False
    json: Annotated[bool, Option("--json", help="Print the summary as JSON.")] = False
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False

    @property
    def latencies(self) -> tuple[str, ...]:
        """The budgets of latency; none where a drop was asked for."""
        return tuple(self.latency or ())

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines as "name" or "name=weight"."""
        return tuple(self.engine or ("onnxruntime",))

    def settings(self) -> dict[str, Any]:
        """Return what a resumed run must ask again, as JSON values; a dry run may be gone on with to its end."""
        asked = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _FREE}
        asked |= {"latency": list(self.latencies), "engine": list(self.engines)}
        return {name: str(value) if isinstance(value, StrEnum | Path) else value for name, value in asked.items()}
