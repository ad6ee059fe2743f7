"""`silicut prune`: a trained network to a measured latency."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from silicut.cli.console import print_json, print_rich, progress_bars
from silicut.records import Cache, ConfigError, ToolMissing

if TYPE_CHECKING:
    from silicut.cli.subject import Subject
    from silicut.flows.prune import PruneOptions
    from silicut.targets import Engine
    from silicut.targets.profile import Profile
    from silicut.training import Recipe


class Preset(StrEnum):
    """Named sets of options."""

    default = "default"
    paper = "paper"


def prune(
    *,
    network: Annotated[str, Option(help="Name in the zoo, your own as module:function, or a file such as net.onnx.")],
    latency: Annotated[str, Option(help="Budget: 50% of the measured dense latency, or 3ms.")],
    out: Annotated[Path, Option(help="New folder for the results.")],
    weights: Annotated[str | None, Option(help="File of weights, or 'random'; bundled ones by default.")] = None,
    data: Annotated[str | None, Option(help="Data such as cifar10:DIR, digits, images:DIR, or module:function.")] = None,
    engine: Annotated[str, Option(help="Engine to be fast on.")] = "onnxruntime",
    threads: Annotated[int, Option(min=1, help="Threads of the engine.")] = 1,
    batch: Annotated[int, Option(min=1, help="Batch size of the latency.")] = 1,
    profile: Annotated[
        Path | None,
        Option(
            help="Profile of a device elsewhere, with its engine, threads and batch: latencies are predicted, not measured."
        ),
    ] = None,
    epochs: Annotated[int, Option(min=0, help="Epochs of fine-tuning; 0 leaves it out.")] = 8,
    training_batch: Annotated[int, Option(min=2, help="Images of one training step.")] = 128,
    learning_rate: Annotated[float, Option(help="Peak learning rate of fine-tuning.")] = 0.03,
    value: Annotated[str | None, Option(help="What channels are worth: auto, sp-lamp, log-energy, taylor.")] = None,
    solver: Annotated[str | None, Option(help="coupled (proven), knapsack (as in the paper), descent.")] = None,
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
    dry_run: Annotated[bool, Option("--dry-run", help="Stop when the plan has been measured.")] = False,
    resume: Annotated[bool, Option("--resume", help="Go on with the run in --out.")] = False,
    json: Annotated[bool, Option("--json", help="Print the summary as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Prune a trained network so that it measures within a latency budget, and recover its accuracy."""
    asked = {k: v for k, v in locals().items() if k not in ("out", "resume", "json", "debug", "cache")}
    options = _options(asked)
    from silicut.cli.subject import open_subject, own_loss, own_metric
    from silicut.flows.prune import prune as prune_network
    from silicut.flows.run_folder import RunFolder
    from silicut.flows.summary import Label, summarise
    from silicut.targets import engine as engine_by_name
    from silicut.targets.profile import Profile

    known = None if profile is None else Profile.load(profile)
    batch = known.settings.batch if known else batch
    subject = open_subject(network, weights, data, input_shape, batch, has_own_loss=loss is not None)
    if known is None:
        target = engine_by_name(engine, n_threads=threads, batch=batch)
    else:
        target, options = _device(known, subject, Cache(cache)), replace(options, profiling=known.options)
    loss_function, metric_function = own_loss(loss, subject), own_metric(metric, subject)
    folder = RunFolder(out, _settings(asked), resumes=resume)
    with progress_bars(json) as progress:
        result = prune_network(
            subject.module,
            subject.inputs,
            latency,
            target,
            data=subject.data,
            loss=loss_function,
            metric=metric_function,
            options=options,
            folder=folder,
            cache=Cache(cache),
            progress=progress,
        )
    summary = summarise(result, Label(network, _command()))
    page = _page(summary, folder.path)
    _show(summary, f"results: {folder.path}   page: {page}", json)


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
    with _noting(problems):
        Budget.parse(asked["latency"])
    with _noting(problems):
        options = replace(options, measuring=options.measuring.refusing(asked["noise"]))
    with _noting(problems):
        options = replace(options, recipe=_recipe(asked))
    with _noting(problems):
        options = replace(
            options,
            value=asked["value"] or options.value,
            solver=asked["solver"] or options.solver,
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
        seed=asked["seed"],
        warmup_epochs=min(RECOVERY.warmup_epochs, asked["epochs"] / 4),
    )


def _settings(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what a resumed run must ask again, as plain values; a dry run may be gone on with to its end."""
    asked = {key: value for key, value in asked.items() if key != "dry_run"}
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
