"""`silicut compile`: an integer network to a program of the GEMM accelerator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from silicut.cli.arguments import noting, typed_command
from silicut.cli.console import print_json, print_rich, progress_bars
from silicut.records import ConfigError, UnsupportedModel

if TYPE_CHECKING:
    from silicut.accelerators.gemm.compile.split import Split
    from silicut.accelerators.gemm.config import GemmConfig
    from silicut.report.compilation import AssignedOperator


def compile(
    *,
    network: Annotated[str, Argument(help="Folder of silicut quantise, or a QDQ or QONNX file such as net.onnx.")],
    out: Annotated[Path, Option(help="New folder for the program.")],
    accelerator: Annotated[
        str,
        Option("--accelerator", "--config", help="n3h, bismo-pynq-z1, bismo-ultra96, z020, tiny, or a file such as mine.json."),
    ] = "n3h",
    clock: Annotated[float | None, Option(help="MHz, instead of the configuration's.")] = None,
    split: Annotated[
        str,
        Option(help="Filters of the LUT core: best, lut (all), dsp (none), a share such as 25%, or a .json file by layer."),
    ] = "best",
    barriers: Annotated[bool, Option("--barriers", help="Let every layer wait until the one before has ended.")] = False,
    allow_host: Annotated[
        bool, Option("--allow-host", help="Let the host execute what the accelerator cannot; it is named either way.")
    ] = False,
    json: Annotated[bool, Option("--json", help="Print what was compiled as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Make a program for the GEMM accelerator of an integer network, after a report of what runs where."""
    from silicut.flows.compile import CompileOptions, compile_program, opened, what_runs_where
    from silicut.flows.label import Label
    from silicut.flows.new_folder import new_folder

    config, chosen = _checked(accelerator, clock, split)
    new_folder(out)
    found = opened(network)
    rows = what_runs_where(found.network)
    if not json:
        from silicut.report.terminal_compilation import partition_view

        print_rich(partition_view(rows))
    _check_host(rows, allow_host)
    options = CompileOptions(split=chosen, has_barriers=barriers, allows_host=allow_host)
    with progress_bars(json) as progress:
        compiled = compile_program(found, config, options, label=Label(found.name, typed_command()), progress=progress)
    compiled.save(out)
    if json:
        print_json(compiled.record.to_json())
        return
    from silicut.report.terminal_compilation import compilation_view

    print_rich(compilation_view(compiled.record), f"program: {out}   next: silicut simulate {out}")


def _check_host(rows: Sequence[AssignedOperator], is_allowed: bool) -> None:
    """Refuse to leave operators to the host unless that was asked for."""
    on_host = [f"{row.operator} ({row.kind}) stays on the host: {row.reason}" for row in rows if row.reason]
    if on_host and not is_allowed:
        raise UnsupportedModel(on_host, "Let the host execute it with --allow-host, or change the network")


def _checked(accelerator: str, clock: float | None, split: str) -> tuple[GemmConfig, Split]:
    """Return build and split.

    Raises:
        ConfigError: every wrong option.
    """
    from silicut.flows.compile import read_split
    from silicut.flows.estimate import accelerator as configured

    problems: list[str] = []
    with noting(problems):
        config = configured(accelerator, clock)
    with noting(problems):
        chosen = read_split(split)
    if problems:
        raise ConfigError(*problems)
    return config, chosen
