"""What the commands share on the terminal: progress bars on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from silicut.records import Event, Progress


@contextmanager
def progress_bars(is_quiet: bool) -> Iterator[Progress]:
    """Give a progress callback that draws one bar a stage, with time left, on standard error."""
    if is_quiet or not sys.stderr.isatty():
        yield _Lines(is_quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def show(event: Event) -> None:
            if event.n_done == 0 or event.stage not in tasks:
                tasks[event.stage] = bars.add_task(event.stage, total=event.n_total, note="")
            left = "" if event.left_s is None or event.n_done == event.n_total else f"{event.left_s:.0f} s left  "
            bars.update(tasks[event.stage], completed=event.n_done, total=event.n_total, note=left + event.note)

        yield show


class _Lines:
    """Progress where no terminal is: one line when a stage is complete."""

    def __init__(self, is_quiet: bool) -> None:
        self._is_quiet = is_quiet

    def __call__(self, event: Event) -> None:
        if not self._is_quiet and event.n_done == event.n_total:
            print(f"{event.stage}: {event.n_total} done  {event.note}".rstrip(), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print a JSON value on standard output."""
    print(json.dumps(value, indent=1, allow_nan=False))


def print_rich(*renderables: Any) -> None:
    """Print tables and plain text on standard output; text is neither wrapped nor read as markup."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False)
    for renderable in renderables:
        console.print(renderable, soft_wrap=isinstance(renderable, str))


def print_note(sentence: str) -> None:
    """Print what a person should know but need not act on, on standard error."""
    print(f"silicut: note: {sentence}", file=sys.stderr)


@contextmanager
def notes_of_warnings() -> Iterator[None]:
    """Print what is warned of as notes."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    for warning in found:
        print_note(str(warning.message))
