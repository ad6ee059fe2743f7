"""The accelerator that `silicut prune --target` is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from silicut.cli.arguments import noting
from silicut.cli.prune_arguments import PruneArguments
from silicut.records import ConfigError

if TYPE_CHECKING:
    from silicut.flows.gemm_target import GemmTarget
    from silicut.flows.quantise import QuantiseOptions
    from silicut.training import Recipe

_EDGE_BITS = 8
_ITS_OPTIONS = ("accelerator", "clock", "board", "parts", "bits", "edge_bits", "rounding", "rounded_epochs")
_OF_ENGINES = ("engine", "profile", "max_drop")


def target_of(asked: PruneArguments) -> GemmTarget | None:
    """Return the accelerator, None where an engine is asked for.

    Raises:
        ConfigError: every wrong option, and those that belong to the other kind.
        BadFile: a file is missing or damaged.
    """
    if asked.target is None:
        given = [name for name in _ITS_OPTIONS if getattr(asked, name) not in (None, [])]
        if given:
            raise ConfigError(f"{_typed(given)} must come with --target, an accelerator such as gemm@xc7z020, not without")
        return None
    from silicut.flows.estimate import accelerator, device
    from silicut.flows.gemm_target import GemmTarget, bits_of, part_of

    problems = _of_engines(asked)
    with noting(problems):
        quantisation = _quantisation(asked)
    with noting(problems):
        part, board = device(part_of(asked.target), asked.board, asked.parts or ())
    with noting(problems):
        config = accelerator(asked.accelerator or "z020", asked.clock)
    with noting(problems):
        bits = bits_of(asked.bits or "8/8")
    edge_bits = _EDGE_BITS if asked.edge_bits is None else asked.edge_bits or None
    if problems:
        raise ConfigError(*problems)
    return GemmTarget(part=part, board=board, config=config, bits=bits, edge_bits=edge_bits, quantisation=quantisation)


def _of_engines(asked: PruneArguments) -> list[str]:
    """Return what is wrong with options that only engines have."""
    given = [name for name in _OF_ENGINES if getattr(asked, name) not in (None, [])]
    given += [
        name for name, usual in (("threads", 1), ("batch", 1), ("engine_mode", "worst")) if getattr(asked, name) != usual
    ]
    return [f"{_typed(given)} must be left out with --target, which is simulated one image at a time"] if given else []


def _typed(names: list[str]) -> str:
    options = [f"--{name.replace('_', '-')}" for name in names]
    return " and ".join(filter(None, (", ".join(options[:-1]), options[-1])))


def _quantisation(asked: PruneArguments) -> QuantiseOptions:
    from silicut.flows.quantise import Methods, QuantiseOptions

    return QuantiseOptions(methods=Methods(rounding=asked.rounding or "nearest"), seed=asked.seed, training=_recipe(asked))


def _recipe(asked: PruneArguments) -> Recipe | None:
    from silicut.compress.quantisation.aware_training import QAT

    if not (epochs := asked.rounded_epochs):
        return None
    return replace(
        QAT,
        epochs=epochs,
        batch_size=asked.training_batch,
        seed=asked.seed,
        warmup_epochs=min(QAT.warmup_epochs, epochs / 4),
    )
