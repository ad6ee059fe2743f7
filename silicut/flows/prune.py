"""Prune a trained network to a measured latency, recover its accuracy, and hand back what runs.

profile -> (train with masks) -> score -> solve and verify -> apply -> recalibrate -> fine-tune -> export -> measure ->
report. Every step is kept in the run's folder when there is one, so that a run can be stopped and resumed; the steps are in
`silicut.flows.run`. In several processes (torchrun) the first profiles, solves, measures and writes, while all train and
evaluate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import torch
from torch import nn

from silicut.flows.as_module import as_module, as_training_data
from silicut.flows.budget import Budget
from silicut.flows.options import PAPER, PruneOptions
from silicut.flows.platform import ACCELERATOR, OnEngine, Platform, is_platform
from silicut.flows.result import Pruned
from silicut.flows.run import PLAN, Run
from silicut.flows.run_folder import RunFolder
from silicut.flows.task import Task
from silicut.graph import Network
from silicut.records import Cache, ConfigError, Progress, silent
from silicut.targets import Engine
from silicut.training import Batches, Loss, Metric, TrainingData

__all__ = ["PAPER", "PruneOptions", "Pruned", "prune"]

Where = str | Engine | Platform
"""An engine, an accelerator, or the name of one."""
Engines = Where | Sequence[Where | tuple[Where, float]]
"""One of them, or several engines, each alone or with its weight."""


def prune(  # noqa: PLR0913
    model: nn.Module | Network | str | Path,
    inputs: torch.Tensor | Sequence[torch.Tensor],
    budget: str | None = None,
    engine: Engines = "onnxruntime",
    *,
    max_drop: float | None = None,
    data: TrainingData | tuple[Batches, Batches] | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    loss: Loss | None = None,
    metric: Metric | None = None,
    options: PruneOptions | None = None,
    folder: RunFolder | str | Path | None = None,
    resumes: bool = False,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> Pruned:
    """Prune a trained network so that it measures within a latency budget on one or more engines.

    With a folder every step's result is kept as soon as it is there, and the same call with `resumes` goes on behind the
    last one; a run that fails before it has a plan leaves the folder as it was.

    Args:
        model: the trained network, which is not changed: a module, a `Network`, or the path of an ONNX file.
        inputs: one example tensor per argument, batch first; its batch size is that of the latency.
        budget: "50%" of the dense latency, or "3ms"; "50%" where no drop is given.
        engine: a name of `silicut.targets.ENGINES` (one thread), or an engine; several of them, alone or with weights, for a
            network that must be fast on all (`PruneOptions.engine_mode`). Or an accelerator: "gemm@xc7z020", or a
            `GemmTarget`, which says more; one image at a time, in cycles that are simulated.
        max_drop: instead of a budget: the points of accuracy (or units of `evaluate`) that may be lost; the fastest network
            that loses no more after a short recovery is made (see `silicut.flows.max_drop`).
        data: to recalibrate, fine-tune and evaluate with, such as (training loader, evaluation loader) of (images, labels);
            without it the network comes back pruned, not recovered.
        evaluate: the user's own quality of a module; by default accuracy on the data.
        loss: of (outputs, labels) for fine-tuning and "taylor"; cross-entropy by default.
        metric: which outputs count as right; top-1 by default.
        options: everything else.
        folder: where to keep results as they are made: new or empty.
        resumes: go on with the run in `folder`; network, budget, engine and options must be those it was begun with.
        cache: where profiles are kept; the user's cache folder by default.
        progress: told every step.

    Raises:
        UnsupportedModel: the network cannot be captured.
        NothingToPrune, DoesNotFit, NotFaster, TooNoisy: there is no plan; the message says what there is.
        OutputExists: `folder` holds something and `resumes` is False.
        InUse: another process is at work in `folder`.
        ConfigError: options do not fit the network, or a resumed run was begun with others.
    """
    batch = int((inputs if isinstance(inputs, torch.Tensor) else inputs[0]).shape[0])
    task = Task(
        model=as_module(model, inputs),
        inputs=inputs,
        budget=_budget(budget, max_drop),
        max_drop=max_drop,
        platforms=chosen_platforms(engine, batch),
        options=options or PruneOptions(),
        data=as_training_data(data),
        evaluate=evaluate,
        loss=loss,
        metric=metric,
    )
    if isinstance(folder, str | Path):
        with RunFolder(folder, task.settings(), resumes=resumes) as opened:
            return _pruned(task, opened, cache, progress)
    return _pruned(task, folder, cache, progress)


def _pruned(task: Task, folder: RunFolder | None, cache: Cache | None, progress: Progress) -> Pruned:
    with nullcontext() if folder is None else folder.kept_from(PLAN):
        return Run(task, folder, cache or Cache(), progress).pruned()


def _budget(budget: str | None, max_drop: float | None) -> Budget | None:
    if max_drop is None:
        return Budget.parse("50%" if budget is None else budget)
    problems = [f"max_drop must be 0 or more, not {max_drop}"] if not 0 <= max_drop < math.inf else []
    if budget is not None:
        problems.append(f"latency must be left out where a drop is given, not {budget!r}")
    if problems:
        raise ConfigError(*problems)
    return None


def chosen_platforms(asked: Engines, batch: int) -> tuple[tuple[Platform, float], ...]:
    """Return what a network is pruned for, each with its weight.

    Args:
        asked: as `prune` takes it.
        batch: of engines that are made by name.

    Raises:
        ConfigError: there is none, a name is repeated or unknown, a weight is not above 0, batches differ, or an accelerator
            is not alone.
    """
    several = asked if isinstance(asked, list | tuple) else [asked]
    named = [each if isinstance(each, tuple) else (each, 1.0) for each in several]
    found = tuple((_platform(each, batch), weight) for each, weight in named)
    names = [platform.name for platform, _ in found]
    problems = [] if found else ["engine must be at least one, not none"]
    problems += [f"engine {name!r} must be given once, not {names.count(name)} times" for name in sorted(set(names)) if
                 names.count(name) > 1]  # fmt: skip
    problems += [f"weight of engine {p.name!r} must be above 0, not {w:g}" for p, w in found if not 0 < w < math.inf]
    simulated = [platform.name for platform, _ in found if platform.settings.is_simulated]
    if simulated and len(found) > 1:
        problems.append(f"{simulated[0]!r} must be alone, not beside {', '.join(n for n in names if n != simulated[0])}")
    elif len({platform.settings.batch for platform, _ in found}) > 1:
        problems.append("engines must all run the same batch, not different ones")
    if problems:
        raise ConfigError(*problems)
    return found


def _platform(asked: Where, batch: int) -> Platform:
    if isinstance(asked, str):
        if asked.partition("@")[0] == ACCELERATOR:
            from silicut.flows.gemm_target import GemmTarget

            return GemmTarget.named(asked)
        from silicut.targets import engine as engine_by_name

        return OnEngine(engine_by_name(asked, n_threads=1, batch=batch))
    if is_platform(asked):
        return asked
    return OnEngine(cast(Engine, asked))
