"""`silicut prune`: a trained network to a measured latency."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from silicut.cli.arguments import command_of, noting, typed_command
from silicut.cli.console import print_json, print_rich, progress_bars
from silicut.cli.prune_arguments import PruneArguments
from silicut.cli.prune_options import engines_of, options_of
from silicut.cli.prune_target import target_of
from silicut.records import Cache, ConfigError, ToolMissing

if TYPE_CHECKING:
    from silicut.cli.subject import Subject
    from silicut.flows.gemm_target import GemmTarget
    from silicut.flows.platform import Platform
    from silicut.flows.prune import Pruned, PruneOptions
    from silicut.flows.run_folder import RunFolder
    from silicut.records import Progress
    from silicut.report import RunSummary
    from silicut.targets import Engine
    from silicut.targets.profile import Profile
    from silicut.training import Loss, Metric


@command_of(PruneArguments)
def prune(asked: PruneArguments) -> None:
    """Prune a trained network so that it measures within a latency budget, and recover its accuracy.

    torchrun -m silicut prune ... trains in several processes; the recipe, and so its results, are those of one.
    """
    options, target = checked(asked)
    from silicut.flows.run_folder import RunFolder
    from silicut.training import is_first, process_group

    with process_group():
        opened = _opened(asked, options, target)
        with (
            RunFolder(asked.out, asked.settings(), resumes=asked.resume) as folder,
            progress_bars(asked.json or not is_first()) as progress,
        ):
            if len(asked.latencies) > 1:
                opened.make_front(folder, progress)
            else:
                opened.make_one(folder, progress)


@dataclass(frozen=True)
class _Opened:
    """What was asked, with everything it names opened and tried."""

    asked: PruneArguments
    subject: Subject
    platforms: tuple[tuple[Platform, float], ...]
    loss: Loss | None
    metric: Metric | None
    options: PruneOptions
    cache: Cache

    def make_one(self, folder: RunFolder, progress: Progress) -> None:
        """Prune to one latency, or to a drop of accuracy, and show what came of it."""
        from silicut.flows.label import Label
        from silicut.flows.summary import summarise
        from silicut.training import is_first

        result = self._pruned(self.asked.latencies[0] if self.asked.latencies else None, folder, progress)
        if not is_first():
            return
        summary = summarise(result, Label(self.asked.network, typed_command()))
        page = _page(summary, folder.path)
        if self.asked.json:
            print_json(summary.to_json())
            return
        from silicut.report.terminal import summary_table

        print_rich(summary_table(summary), f"results: {folder.path}   page: {page}")

    def make_front(self, folder: RunFolder, progress: Progress) -> None:
        """Prune to each of several latencies and show them together."""
        from silicut.flows.front import prune_front
        from silicut.flows.label import Label
        from silicut.report.front import front_table
        from silicut.training import is_first

        def prune_one(latency: str, inner: RunFolder) -> Pruned:
            return self._pruned(latency, inner, progress)

        front = prune_front(self.asked.latencies, folder, prune_one, Label(self.asked.network, typed_command()))
        if self.asked.json and is_first():
            print_json(front.to_json())
        elif is_first():
            print_rich(front_table(front), f"results: {folder.path}")

    def _pruned(self, latency: str | None, folder: RunFolder, progress: Progress) -> Pruned:
        from silicut.flows.prune import prune as prune_network

        return prune_network(
            self.subject.module,
            self.subject.inputs,
            latency,
            self.platforms,
            max_drop=self.asked.max_drop,
            data=self.subject.data,
            loss=self.loss,
            metric=self.metric,
            options=self.options,
            folder=folder,
            cache=self.cache,
            progress=progress,
        )


def checked(asked: PruneArguments) -> tuple[PruneOptions, GemmTarget | None]:
    """Return the flow's options, and the accelerator where one is asked for.

    Raises:
        ConfigError: every wrong option.
    """
    problems: list[str] = []
    with noting(problems):
        options = options_of(asked)
    with noting(problems):
        target = target_of(asked)
    if problems:
        raise ConfigError(*problems)
    return options, target


def _opened(asked: PruneArguments, options: PruneOptions, target: GemmTarget | None) -> _Opened:
    from silicut.cli.subject import open_subject, own_loss, own_metric
    from silicut.flows.platform import OnEngine
    from silicut.targets.profile import Profile

    known = None if asked.profile is None else Profile.load(asked.profile)
    batch = known.settings.batch if known else asked.batch
    platforms = ((target, 1.0),) if target else () if known else engines_of(asked)
    subject = open_subject(
        asked.network, asked.weights, asked.data, asked.input_shape, batch, has_own_loss=asked.loss is not None
    )
    cache = Cache(asked.cache)
    if known:
        device = OnEngine(_device(known, subject, cache))
        platforms, options = ((device, 1.0),), replace(options, profiling=known.options)
    loss, metric = own_loss(asked.loss, subject), own_metric(asked.metric, subject)
    return _Opened(asked, subject, platforms, loss, metric, options, cache)


def _device(known: Profile, subject: Subject, cache: Cache) -> Engine:
    """Return the device of a profile, which is kept where the flow looks for it."""
    from silicut.graph import capture
    from silicut.targets.elsewhere import Device
    from silicut.targets.profile import remember

    remember(known, cache)
    return Device.of(known, capture(subject.module, subject.inputs))


def _page(summary: RunSummary, folder: Path) -> str:
    """Write the report; return the page's path, or why there is none: hours of training do not fail for want of a page."""
    from silicut.flows.summary import write_report

    try:
        write_report(summary, folder)
    except ToolMissing as error:
        return f"none, {error}; then repeat the command with --resume"
    return str(folder / "report.html")
