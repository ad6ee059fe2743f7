"""`silicut simulate`: a program on the simulated GEMM accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from silicut.cli.arguments import noting, typed_command
from silicut.cli.console import print_json, print_rich, progress_bars
from silicut.cli.images import RANDOM
from silicut.records import ConfigError, ToolMissing

if TYPE_CHECKING:
    from silicut.flows.simulate import Circumstances, OpenedProgram, Simulated


def simulate(
    *,
    program: Annotated[Path, Argument(help="Folder of silicut compile, or a program file.")],
    out: Annotated[Path | None, Option(help="New folder for summary, page and outputs.")] = None,
    inputs: Annotated[str | None, Option(help="Images: an .npy file, or random (the default).")] = None,
    data: Annotated[str | None, Option(help="Instead: data such as cifar10:DIR, whose labels are counted.")] = None,
    n: Annotated[int, Option("--n", min=1, help="How many images to take.")] = 1,
    seed: Annotated[int, Option(min=0, help="Seed of random images.")] = 0,
    timing_only: Annotated[bool, Option("--timing-only", help="Count cycles without data; they are the same.")] = False,
    clock: Annotated[float | None, Option(help="MHz, instead of the configuration's.")] = None,
    part: Annotated[str | None, Option(help="FPGA that resources are compared with; xc7z020 by default.")] = None,
    board: Annotated[str | None, Option(help="Board whose memory it runs on, such as pynq-z2.")] = None,
    parts: Annotated[list[Path] | None, Option(metavar="FILE", help="TOML file of your own parts and boards.")] = None,
    json: Annotated[bool, Option("--json", help="Print the summary as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Run a program on the simulated accelerator: outputs to the bit, time to the cycle, layer by layer where it went."""
    from silicut.flows.new_folder import new_folder
    from silicut.flows.simulate import opened
    from silicut.flows.simulate import simulate as simulate_program

    _check_inputs(inputs, data, timing_only)
    circumstances = _circumstances(clock, (part, board, parts or []))
    if out is not None:
        new_folder(out)
    found = opened(program)
    images, labels = (None, None) if timing_only else _images(found, inputs, data, (n, seed))
    with progress_bars(json) as progress:
        result = simulate_program(found, images, labels, circumstances=circumstances, progress=progress)
    place = "" if out is None else _saved(result, out)
    if json:
        print_json(result.summary.to_json())
        return
    from silicut.report.terminal_simulation import simulation_view

    print_rich(simulation_view(result.summary), *([place] if place else []))


def _check_inputs(inputs: str | None, data: str | None, is_timing_only: bool) -> None:
    given = [name for name, value in (("--inputs", inputs), ("--data", data), ("--timing-only", is_timing_only)) if value]
    if len(given) > 1:
        raise ConfigError(f"what is run must be one of --inputs, --data and --timing-only, not {' and '.join(given)}")
    if inputs is not None and inputs != RANDOM and not inputs.endswith(".npy"):
        raise ConfigError(f"inputs must be random or an .npy file, not {inputs!r}; data by name are given with --data")


def _circumstances(clock: float | None, where: tuple[str | None, str | None, list[Path]]) -> Circumstances:
    """Return clock, part, board and what the run is called.

    Raises:
        ConfigError: every wrong option.
    """
    from silicut.flows.estimate import device
    from silicut.flows.simulate import Circumstances

    problems: list[str] = []
    with noting(problems):
        Circumstances(clock_mhz=clock)
    with noting(problems):
        part, board = device(*where)
    if problems:
        raise ConfigError(*problems)
    return Circumstances(clock_mhz=clock, part=part, board=board, command=typed_command())


def _images(found: OpenedProgram, inputs: str | None, data: str | None, count: tuple[int, int]) -> tuple[Any, Any]:
    """Return images and their labels, None where there are none."""
    from silicut.cli.images import images, labelled_images

    (n, seed), (name,) = count, found.program.inputs
    if data is not None:
        return labelled_images(data, n)
    if inputs is None or inputs == RANDOM:
        return found.random(n, seed), None
    return images(inputs, n, found.program.places[name].shape, seed), None


def _saved(result: Simulated, folder: Path) -> str:
    """Write the results; return where they are, and why there is no page if there is none."""
    try:
        result.save(folder)
    except ToolMissing as error:
        return f"results: {folder}   page: none, {error}"
    return f"results: {folder}   page: {folder / 'report.html'}"
