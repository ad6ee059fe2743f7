"""`silicut prune`: a trained network to a measured latency."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from silicut.cli.console import print_json, print_rich, progress_bars
from silicut.records import Cache, ConfigError, ToolMissing

if TYPE_CHECKING:
    from silicut.cli.subject import Subject
    from silicut.flows.prune import Pruned, PruneOptions
    from silicut.flows.run_folder import RunFolder
    from silicut.records import Progress
    from silicut.targets import Engine
    from silicut.targets.profile import Profile
    from silicut.training import Loss, Metric, Recipe


class Preset(StrEnum):
    """Named sets of options."""

    default = "default"
    paper = "paper"


def prune(
    *,
    network: Annotated[str, Option(help="Name in the zoo, your own as module:function, or a file such as net.onnx.")],
    out: Annotated[Path, Option(help="New folder for the results.")],
    latency: Annotated[
        list[str] | None, Option(help="Budget: 50% of the measured dense latency, or 3ms; several make a front of networks.")
    ] = None,
    max_drop: Annotated[
        float | None,
        Option(
            help="Instead of a latency: the fastest network that loses at most so many points of accuracy after a short "
            "recovery (--drop-epochs); the full recovery follows."
        ),
    ] = None,
    max_parameters: Annotated[str | None, Option(help="Besides: at most so many parameters, as 1M or 60%.")] = None,
    max_macs: Annotated[str | None, Option(help="Besides: at most so many multiply-accumulates, as 60% or 50M.")] = None,
    max_size: Annotated[str | None, Option(help="Besides: an ONNX file of at most that size, as 2MB or 40%.")] = None,
    weights: Annotated[str | None, Option(help="File of weights, or 'random'; bundled ones by default.")] = None,
    data: Annotated[str | None, Option(help="Data such as cifar10:DIR, digits, images:DIR, or module:function.")] = None,
    engine: Annotated[
        list[str] | None, Option(help="Engine to be fast on (onnxruntime); several, with weights as name=2 where weighted.")
    ] = None,
    engine_mode: Annotated[
        str, Option(help="Several engines: worst (each within the budget) or weighted (their weighted mean is).")
    ] = "worst",
    threads: Annotated[int, Option(min=1, help="Threads of the engine.")] = 1,
    batch: Annotated[int, Option(min=1, help="Batch size of the latency.")] = 1,
    profile: Annotated[
        Path | None,
        Option(
            help="Profile of a device elsewhere, with its engine, threads and batch: latencies are predicted, not measured."
        ),
    ] = None,
    epochs: Annotated[int, Option(min=0, help="Epochs of fine-tuning; 0 leaves it out.")] = 8,
    training_batch: Annotated[int, Option(min=2, help="Images of one training step, of all processes together.")] = 128,
    learning_rate: Annotated[float, Option(help="Peak learning rate of fine-tuning.")] = 0.03,
    ema_decay: Annotated[float, Option(help="Of averaged weights, such as 0.999; 0 for none.")] = 0.0,
    precision: Annotated[str, Option(help="auto, bf16, fp16 (CUDA only) or fp32.")] = "auto",
    milestones: Annotated[int, Option(help="Steps of training in which the latency falls to the budget.")] = 1,
    soft_epochs: Annotated[int, Option(help="Extra epochs in which channels are masked and may come back.")] = 0,
    drop_epochs: Annotated[int, Option(min=0, help="Epochs of the short recovery of --max-drop.")] = 1,
    value: Annotated[
        str | None,
        Option(
            help="What channels are worth: sp-lamp, log-energy, taylor; learned, sensitivity (measured on training images); "
            "auto: the one whose plan keeps most accuracy untrained."
        ),
    ] = None,
    base_value: Annotated[
        str, Option(help="The value that learned scales; sensitivity takes its order of channels.")
    ] = "taylor",
    value_time: Annotated[float, Option(help="Seconds that auto may spend on measured values.")] = 120.0,
    solver: Annotated[
        str | None,
        Option(help="coupled (proven), lagrangian (any size, with a bound), knapsack (as in the paper), descent."),
    ] = None,
    preset: Annotated[Preset, Option(help="paper: SP-LAMP literally as published.")] = Preset.default,
    freeze: Annotated[list[str] | None, Option(help="Pattern of layers whose channels all stay; repeatable.")] = None,
    keep: Annotated[list[str] | None, Option(help="Pattern of residual blocks that stay; repeatable.")] = None,
    loss: Annotated[str | None, Option(help="Your own loss as module:function.")] = None,
    metric: Annotated[str | None, Option(help="Your own metric as module:function.")] = None,
    input_shape: Annotated[str | None, Option(help="One input, such as 3x224x224, for your own network.")] = None,
    time_limit: Annotated[float, Option(help="Seconds for each solve.")] = 10.0,
    noise: Annotated[float, Option(help="Per cent: latencies known less surely than +- this are refused.")] = 10.0,
    seed: Annotated[int, Option(min=0, help="Seed of sampling and training.")] = 0,
    cache: Annotated[Path | None, Option(help="Folder of cached profiles.")] = None,
    accept_nearest: Annotated[
        bool, Option("--accept-nearest", help="Go on with the nearest plan where none measures within the budget.")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Stop when the plan has been measured.")] = False,
    resume: Annotated[bool, Option("--resume", help="Go on with the run in --out.")] = False,
    json: Annotated[bool, Option("--json", help="Print the summary as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Prune a trained network so that it measures within a latency budget, and recover its accuracy.

    torchrun -m silicut prune ... trains in several processes; the recipe, and so its results, are those of one.
    """
    asked = {k: v for k, v in locals().items() if k not in ("out", "resume", "json", "debug", "cache")}
    asked |= {"latency": latency or [], "engine": engine or ["onnxruntime"]}
    options = _options(asked)
    from silicut.cli.subject import open_subject, own_loss, own_metric
    from silicut.flows.run_folder import RunFolder
    from silicut.targets.profile import Profile
    from silicut.training import is_first, process_group

    with process_group():
        known = None if profile is None else Profile.load(profile)
        batch = known.settings.batch if known else batch
        engines = () if known else _engines(asked["engine"], threads, batch)
        subject = open_subject(network, weights, data, input_shape, batch, has_own_loss=loss is not None)
        if known:
            engines, options = ((_device(known, subject, Cache(cache)), 1.0),), replace(options, profiling=known.options)
        task = _Asked(
            network=network,
            subject=subject,
            latencies=tuple(asked["latency"]),
            max_drop=max_drop,
            engines=engines,
            loss=own_loss(loss, subject),
            metric=own_metric(metric, subject),
            options=options,
        )
        folder = RunFolder(out, _settings(asked), resumes=resume)
        with progress_bars(json or not is_first()) as progress:
            if len(task.latencies) > 1:
                _prune_front(task, folder, Cache(cache), progress, json)
            else:
                _prune_once(task, folder, Cache(cache), progress, json)


@dataclass(frozen=True)
class _Asked:
    """What was typed, opened and checked."""

    network: str
    subject: Subject
    latencies: tuple[str, ...]
    max_drop: float | None
    engines: tuple[tuple[Engine, float], ...]
    loss: Loss | None
    metric: Metric | None
    options: PruneOptions


def _pruned(asked: _Asked, latency: str | None, folder: RunFolder, cache: Cache, progress: Progress) -> Pruned:
    from silicut.flows.prune import prune as prune_network

    return prune_network(
        asked.subject.module,
        asked.subject.inputs,
        latency,
        asked.engines,
        max_drop=asked.max_drop,
        data=asked.subject.data,
        loss=asked.loss,
        metric=asked.metric,
        options=asked.options,
        folder=folder,
        cache=cache,
        progress=progress,
    )


def _prune_once(asked: _Asked, folder: RunFolder, cache: Cache, progress: Progress, is_json: bool) -> None:
    from silicut.flows.summary import Label, summarise
    from silicut.training import is_first

    result = _pruned(asked, asked.latencies[0] if asked.latencies else None, folder, cache, progress)
    if not is_first():
        return
    summary = summarise(result, Label(asked.network, _command()))
    page = _page(summary, folder.path)
    _show(summary, f"results: {folder.path}   page: {page}", is_json)


def _prune_front(asked: _Asked, folder: RunFolder, cache: Cache, progress: Progress, is_json: bool) -> None:
    from silicut.flows.front import prune_front
    from silicut.flows.summary import Label
    from silicut.report.front import front_table
    from silicut.training import is_first

    def prune_one(latency: str, inner: RunFolder) -> Pruned:
        return _pruned(asked, latency, inner, cache, progress)

    front = prune_front(asked.latencies, folder, prune_one, Label(asked.network, _command()))
    if is_json and is_first():
        print_json(front.to_json())
    elif is_first():
        print_rich(front_table(front), f"results: {folder.path}")


def _device(known: Profile, subject: Subject, cache: Cache) -> Engine:
    """Return the device of a profile, which is kept where the flow looks for it."""
    from silicut.graph import capture
    from silicut.targets.elsewhere import Device
    from silicut.targets.profile import remember

    remember(known, cache)
    return Device.of(known, capture(subject.module, subject.inputs))


def _options(asked: dict[str, Any]) -> PruneOptions:
    """Return the flow's options from the command's, all mistakes named at once."""
    from silicut.compress import Restrictions
    from silicut.flows.budget import Budget
    from silicut.flows.prune import PAPER, PruneOptions

    problems: list[str] = []
    options = PAPER if asked["preset"] is Preset.paper else PruneOptions()
    if bool(asked["latency"]) == (asked["max_drop"] is not None):
        found = "both" if asked["latency"] else "neither"
        problems.append(f"what is asked must be --latency or --max-drop, not {found}")
    if (drop := asked["max_drop"]) is not None and not 0 <= drop < float("inf"):
        problems.append(f"max-drop must be 0 or more, not {drop:g}")
    for latency in asked["latency"]:
        with _noting(problems):
            Budget.parse(latency)
    with _noting(problems):
        options = replace(options, measuring=options.measuring.refusing(asked["noise"]))
    with _noting(problems):
        options = replace(options, recipe=_recipe(asked))
    with _noting(problems):
        options = replace(
            options,
            value=asked["value"] or options.value,
            base_value=asked["base_value"],
            value_limit_s=asked["value_time"],
            solver=asked["solver"] or options.solver,
            max_parameters=asked["max_parameters"],
            max_macs=asked["max_macs"],
            max_size=asked["max_size"],
            engine_mode=asked["engine_mode"],
            drop_epochs=asked["drop_epochs"],
            milestones=asked["milestones"],
            soft_epochs=asked["soft_epochs"],
            accepts_nearest=asked["accept_nearest"],
            restrictions=Restrictions(
                freeze=tuple(asked["freeze"] or ()),
                keep=tuple(asked["keep"] or ()),
                may_remove_blocks=options.restrictions.may_remove_blocks,
            ),
            profiling=replace(options.profiling, seed=asked["seed"]),
            time_limit_s=asked["time_limit"],
            is_dry_run=asked["dry_run"],
        )
    if problems:
        raise ConfigError(*problems)
    return options


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def _recipe(asked: dict[str, Any]) -> Recipe | None:
    from silicut.training import RECOVERY

    if not asked["epochs"]:
        return None
    return replace(
        RECOVERY,
        epochs=asked["epochs"],
        batch_size=asked["training_batch"],
        learning_rate=asked["learning_rate"],
        ema_decay=asked["ema_decay"],
        precision=asked["precision"],
        seed=asked["seed"],
        warmup_epochs=min(RECOVERY.warmup_epochs, asked["epochs"] / 4),
    )


def _engines(asked: list[str], threads: int, batch: int) -> tuple[tuple[Engine, float], ...]:
    """Return the engines with their weights, as "name" or "name=weight"."""
    from silicut.flows.prune import chosen_engines
    from silicut.targets import engine

    found = []
    for text in asked:
        name, equals, weight = text.partition("=")
        try:
            found.append((engine(name, n_threads=threads, batch=batch), float(weight) if equals else 1.0))
        except ValueError:
            raise ConfigError(f"engine must be like onnxruntime or onnxruntime=2, not {text!r}") from None
    return chosen_engines(found, batch)


def _settings(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what a resumed run must ask again, as plain values; a dry run may be gone on with to its end."""
    asked = {key: value for key, value in asked.items() if key not in ("dry_run", "accept_nearest")}
    return {key: _plain(value) for key, value in asked.items()}


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else str(value) if isinstance(value, Path) else value


def _command() -> str:
    arguments = [a for a in sys.argv[1:] if a not in ("--resume", "--json", "--debug")]
    return shlex.join(["silicut", *arguments])


def _page(summary: Any, folder: Path) -> str:
    """Write the report; return the page's path, or why there is none: hours of training do not fail for want of a page."""
    from silicut.flows.summary import write_report

    try:
        write_report(summary, folder)
    except ToolMissing as error:
        return f"none, {error}; then repeat the command with --resume"
    return str(folder / "report.html")


def _show(summary: Any, where: str, is_json: bool) -> None:
    if is_json:
        print_json(summary.to_json())
        return
    from silicut.report.terminal import summary_table

    print_rich(summary_table(summary), where)
