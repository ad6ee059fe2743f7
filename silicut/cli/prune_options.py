"""From what was typed to what the flow takes, all mistakes named at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from silicut.cli.arguments import noting
from silicut.cli.prune_arguments import Preset, PruneArguments
from silicut.records import ConfigError

if TYPE_CHECKING:
    from silicut.flows.platform import Platform
    from silicut.flows.prune import PruneOptions
    from silicut.training import Recipe


def options_of(asked: PruneArguments) -> PruneOptions:
    """Return the flow's options.

    Raises:
        ConfigError: every wrong option.
    """
    from silicut.flows.prune import PAPER, PruneOptions

    problems = _budget_problems(asked)
    options = PAPER if asked.preset is Preset.paper else PruneOptions()
    with noting(problems):
        options = replace(options, measuring=options.measuring.refusing(asked.noise))
    with noting(problems):
        options = replace(options, recipe=_recipe(asked))
    with noting(problems):
        options = _with_choices(options, asked)
    if problems:
        raise ConfigError(*problems)
    return options


def engines_of(asked: PruneArguments) -> tuple[tuple[Platform, float], ...]:
    """Return the engines with their weights.

    Raises:
        ConfigError: one of them is unknown, named twice or of no weight.
    """
    from silicut.flows.prune import chosen_platforms
    from silicut.targets import engine

    found = []
    for text in asked.engines:
        name, equals, weight = text.partition("=")
        try:
            found.append((engine(name, n_threads=asked.threads, batch=asked.batch), float(weight) if equals else 1.0))
        except ValueError:
            raise ConfigError(f"engine must be like onnxruntime or onnxruntime=2, not {text!r}") from None
    return chosen_platforms(found, asked.batch)


def _budget_problems(asked: PruneArguments) -> list[str]:
    from silicut.flows.budget import Budget

    problems: list[str] = []
    if bool(asked.latencies) == (asked.max_drop is not None):
        found = "both" if asked.latencies else "neither"
        problems.append(f"what is asked must be --latency or --max-drop, not {found}")
    if (drop := asked.max_drop) is not None and not 0 <= drop < float("inf"):
        problems.append(f"max-drop must be 0 or more, not {drop:g}")
    for latency in asked.latencies:
        with noting(problems):
            Budget.parse(latency)
    return problems


def _recipe(asked: PruneArguments) -> Recipe | None:
    from silicut.training import RECOVERY

    if not asked.epochs:
        return None
    return replace(
        RECOVERY,
        epochs=asked.epochs,
        batch_size=asked.training_batch,
        learning_rate=asked.learning_rate,
        ema_decay=asked.ema_decay,
        precision=asked.precision,  # type: ignore[arg-type]  # checked at construction
        seed=asked.seed,
        warmup_epochs=min(RECOVERY.warmup_epochs, asked.epochs / 4),
    )


def _with_choices(options: PruneOptions, asked: PruneArguments) -> PruneOptions:
    """Return options with everything that is neither a measurement's nor the recipe's."""
    return replace(
        options,
        value=asked.value or options.value,
        base_value=asked.base_value,
        value_limit_s=asked.value_time,
        solver=asked.solver or options.solver,
        max_parameters=asked.max_parameters,
        max_macs=asked.max_macs,
        max_size=asked.max_size,
        engine_mode=asked.engine_mode,
        drop_epochs=asked.drop_epochs,
        milestones=asked.milestones,
        soft_epochs=asked.soft_epochs,
        accepts_nearest=asked.accept_nearest,
        restrictions=replace(options.restrictions, freeze=tuple(asked.freeze or ()), keep=tuple(asked.keep or ())),
        profiling=replace(options.profiling, seed=asked.seed),
        time_limit_s=asked.time_limit,
        is_dry_run=asked.dry_run,
    )
