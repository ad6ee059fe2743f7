"""The named errors of the package.

Every error a user can cause says what was wrong, where, and what would be accepted. Wrong use of a Python function stays
`TypeError` or `ValueError`; `assert` is for our own invariants. All of them pass between processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SilicutError(Exception):
    """Base of all errors raised on purpose by silicut; the message is a sentence with a next step."""


class ConfigError(SilicutError):
    """One or more options are wrong; all of them are listed at once.

    Args:
        problems: sentences of the form "field must be rule, not value".
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.problems


class BadFile(SilicutError):
    """A file is missing, damaged, of another kind, or would have to execute code to be read."""


class OutputExists(SilicutError):
    """The output folder holds something already; nothing was overwritten."""


class InUse(SilicutError):
    """Another process is at work in the folder; nothing was changed."""


class UnsupportedModel(SilicutError):
    """The network cannot be captured or executed; every offender is listed with its source line.

    Args:
        offenders: one sentence per offending operator or reason.
        advice: what would be accepted.
    """

    def __init__(self, offenders: Sequence[str], advice: str) -> None:
        super().__init__(f"{'; '.join(offenders)}. {advice}")
        self.offenders, self.advice = tuple(offenders), advice

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.offenders, self.advice)


class NumericMismatch(SilicutError):
    """Two executors of the same network disagree by more than their tolerance."""


class AccumulatorTooNarrow(SilicutError):
    """A sum of products can exceed its accumulator; the message names the channel and the width it needs."""


class BadProgram(SilicutError):
    """A program of an accelerator cannot run; the message names the instruction, and the word or channel it is about."""


class ToolMissing(SilicutError):
    """An optional package or program is not installed.

    Args:
        tool: what is missing.
        extra: the extra of this package that brings it, "" for a program that none brings.
        advice: for such a program, how to get it.
    """

    def __init__(self, tool: str, extra: str = "", advice: str = "") -> None:
        how = f"install it with: pip install 'silicut[{extra}]'"
        super().__init__(f"{tool} is not installed; {advice or how}")
        self.tool, self.extra, self.advice = tool, extra, advice

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.tool, self.extra, self.advice)


class BuildFailed(SilicutError):
    """A tool that makes hardware or a model of it refused its input; the message ends with the last lines that it said."""


class OutcomeError(SilicutError):
    """The input was right but what was asked for cannot be had; the message says what can."""


class DoesNotFit(OutcomeError):
    """No plan meets the budget; the message names the smallest cost that is reachable."""


class NothingToPrune(OutcomeError):
    """No channel group or block of the network may be removed; the message lists why."""


class NotFaster(OutcomeError):
    """The plan does not measure faster than the dense network, or nothing could make it so."""


class TooNoisy(OutcomeError):
    """The machine was too noisy for the measurement to mean anything."""
