"""What was typed: commands whose function takes it as one record, its mistakes named at once, its text."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_type_hints

from silicut.records import ConfigError

Arguments = TypeVar("Arguments")


def command_of(arguments: type[Arguments]) -> Callable[[Callable[[Arguments], None]], Callable[..., None]]:
    """Return a decorator: it makes a command for typer of a function that takes what was typed as one record.

    Args:
        arguments: a frozen dataclass; each field is an option, annotated as a parameter of a typer command is.
    """
    hints = get_type_hints(arguments, include_extras=True)
    signature = inspect.Signature([_parameter(field, hints[field.name]) for field in fields(arguments)])  # type: ignore[arg-type]

    def decorate(function: Callable[[Arguments], None]) -> Callable[..., None]:
        def command(**typed: Any) -> None:
            function(arguments(**typed))

        described: Any = command
        described.__name__, described.__doc__ = function.__name__, function.__doc__
        described.__signature__, described.__annotations__ = signature, hints
        return command

    return decorate


def _parameter(field: Field[Any], annotation: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


@contextmanager
def noting(problems: list[str]) -> Iterator[None]:
    """Add what is wrong with options to a list instead of raising it, so that all mistakes are said together."""
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def typed_command() -> str:
    """Return the text that repeats this run."""
    arguments = [a for a in sys.argv[1:] if a not in ("--resume", "--json", "--debug")]
    return shlex.join(["silicut", *arguments])
