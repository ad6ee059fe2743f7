"""The application: its commands, and how errors become one sentence and an exit code.

Exit codes: 0 done; 1 the input was right but what was asked for cannot be had; 2 the input was wrong; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import typer

from silicut.cli.compare import compare
from silicut.cli.compile import compile
from silicut.cli.design import design
from silicut.cli.doctor import doctor
from silicut.cli.estimate import estimate
from silicut.cli.inspect import inspect
from silicut.cli.measure import measure
from silicut.cli.partition import partition
from silicut.cli.profile import profile
from silicut.cli.prune import prune
from silicut.cli.quantise import quantise
from silicut.cli.simulate import simulate
from silicut.records import ConfigError, OutcomeError, SilicutError
from silicut.version import __version__

# The base of typer's errors; its module differs between versions.
_USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_OUTCOME, _INPUT, _BUG, _INTERRUPTED = 1, 2, 70, 130
_AFTER_INTERRUPTION = {
    "prune": "the same command with --resume goes on where it stopped",
    "profile": "the same command goes on where it stopped",
    "design": "the same command goes on where it stopped",
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Cut trained networks to fit the silicon they must run on.",
)
for command in (
    prune, quantise, inspect, profile, measure, compare, estimate, design, partition, compile, simulate, doctor,
):  # fmt: skip
    app.command()(command)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"silicut {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    """Cut trained networks to fit the silicon they must run on."""
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))
    if n_processes > 1 and context.invoked_subcommand != "prune":
        raise ConfigError(
            f"silicut {context.invoked_subcommand} must be run by one process, not by {n_processes}; only silicut prune "
            "shares its work: leave torchrun out"
        )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are one sentence on standard error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        result = app(arguments, standalone_mode=False)
        if result == _INTERRUPTED:  # what newer versions of typer make of Ctrl-C
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except OutcomeError as error:
        return _say(str(error), _OUTCOME)
    except SilicutError as error:
        return _say(str(error), _INPUT)
    except _USAGE_ERROR as error:
        problem = error.format_message().rstrip(".")  # empty where the help was shown for want of a command
        end = "" if problem.endswith("?") else "."
        return _say(f"{problem}{end} See: silicut --help", _INPUT) if problem else _INPUT
    except (KeyboardInterrupt, typer.Abort):
        after = _AFTER_INTERRUPTION.get(next(iter(arguments), ""), "nothing was written")
        return _say(f"interrupted; {after}", _INTERRUPTED)
    except OSError as error:
        return _say(f"{error.filename or 'a file'}: {error.strerror or error}", _INPUT)
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        return _say(f"a fault of silicut, please report it: {type(error).__name__}: {error} (--debug shows where)", _BUG)


def _say(sentence: str, code: int) -> int:
    """Print one sentence and return the exit code; of several processes only one says why they end."""
    if "WORLD_SIZE" in os.environ:
        from silicut.training import is_first_to_fail

        if not is_first_to_fail():
            return code
    print(f"silicut: {' '.join(sentence.split())}", file=sys.stderr)
    return code
