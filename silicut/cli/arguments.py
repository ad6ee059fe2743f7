"""Commands whose function takes one record of what was typed, however many options they have."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_type_hints

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
