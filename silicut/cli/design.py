"""`silicut design`: the accelerator for a network and a part, proven best on a grid, timed to the cycle."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from silicut.cli.arguments import command_of, noting, typed_command
from silicut.cli.console import print_json, print_rich, progress_bars
from silicut.records import Cache, ConfigError

if TYPE_CHECKING:
    from silicut.flows.design import DesignOptions


@dataclass(frozen=True, kw_only=True)
class DesignArguments:
    """What was typed."""

    network: Annotated[str, Option(help="Name in the zoo, a folder of silicut prune, or a file such as net.onnx.")]
    out: Annotated[Path, Option(help="New folder for the results; the same command goes on where it stopped.")]
    part: Annotated[str | None, Option(help="FPGA whose amounts are the limits; xc7z020 by default.")] = None
    board: Annotated[str | None, Option(help="Board whose memory it runs on, such as pynq-z2.")] = None
    parts: Annotated[list[Path] | None, Option(metavar="FILE", help="TOML file of your own parts and boards.")] = None
    clock: Annotated[float, Option(help="MHz, assumed.")] = 100.0
    bandwidth: Annotated[
        float | None, Option(help="GB/s of the memory; the board's, or that of two 64-bit ports, by default.")
    ] = None
    memory_efficiency: Annotated[str, Option(help="Share of the bandwidth that transfers get, such as 75%.")] = "100%"
    goal: Annotated[str, Option(help="latency, fps (the same, one image at a time), or accuracy.")] = "latency"
    bits: Annotated[str, Option(help="Bits of weights / of what layers read; 2..4/4 chooses the weights' by layer.")] = "4/4"
    edge_bits: Annotated[str, Option(help="Bits of the first and the last layer, or none to treat them like others.")] = "8"
    max_loss: Annotated[
        str | None, Option(help="The most that chosen bits may lose: a number, or 3bit for as much as 3 bits everywhere.")
    ] = None
    max_latency: Annotated[float | None, Option(help="For the goal accuracy: ms.")] = None
    solver: Annotated[
        list[str] | None,
        Option(help="exact, and any of annealing, ddpg, evolution, random, tabu, tpe beside it; may be repeated."),
    ] = None
    evaluations: Annotated[int, Option(help="Builds that each of these may try.")] = 600
    seed: Annotated[int, Option(help="Of their random numbers.")] = 0
    storage: Annotated[
        str | None, Option(help="Where their trials are kept, shared by processes: a file or a URL of Optuna.")
    ] = None
    finalists: Annotated[int, Option(help="Builds predicted best that are compiled and timed.")] = 8
    refined: Annotated[int, Option(help="Neighbours of the best that are timed besides.")] = 16
    what_helps: Annotated[bool, Option("--what-helps/--no-what-helps", help="Search again with more of each limit.")] = True
    time_limit: Annotated[float, Option(help="Seconds of one search.")] = 600.0
    input_shape: Annotated[str | None, Option(help="One input of an ONNX file of free sizes, such as 3x224x224.")] = None
    cache: Annotated[Path | None, Option(help="Folder where the layers of ONNX files are kept.")] = None
    json: Annotated[bool, Option("--json", help="Print what was chosen as JSON.")] = False
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False


@command_of(DesignArguments)
def design(typed: DesignArguments) -> None:
    """Choose cores, memories and lanes of the accelerator for a network and a part, and the bits of its layers."""
    from silicut.cli.subject import shape_of_file
    from silicut.flows.design import design as choose
    from silicut.flows.label import Label

    options = _options(typed)
    shape = shape_of_file(typed.input_shape, typed.network)
    with progress_bars(typed.json) as progress:
        found = choose(
            typed.network,
            typed.out,
            options,
            input_shape=shape,
            cache=Cache(typed.cache),
            label=Label(typed.network, typed_command()),
            progress=progress,
        )
    if typed.json:
        print_json(found.summary.to_json())
        return
    from silicut.report.terminal_design import design_view

    print_rich(design_view(found.summary), f"results: {typed.out}   page: {typed.out / 'report.html'}")


def _options(typed: DesignArguments) -> DesignOptions:
    """Return the options.

    Raises:
        ConfigError: every wrong one.
    """
    from silicut.flows.design import DesignOptions
    from silicut.flows.estimate import device

    problems: list[str] = []
    given: dict[str, Any] = {
        "goal": typed.goal,
        "bandwidth_gb_per_s": typed.bandwidth,
        "clock_hz": typed.clock * 1e6,
        "max_ms": typed.max_latency,
        "solvers": tuple(typed.solver or ("exact",)),
        "n_evaluations": typed.evaluations,
        "seed": typed.seed,
        "storage": typed.storage,
        "n_finalists": typed.finalists,
        "n_refined": typed.refined,
        "asks_what_helps": typed.what_helps,
        "time_limit_s": typed.time_limit,
    }
    with noting(problems):
        given["part"], given["board"] = device(typed.part, typed.board, typed.parts or ())
    with noting(problems):
        given["weight_bits"], given["activation_bits"] = parsed_bits(typed.bits)
    with noting(problems):
        given["edge_bits"] = _edge_bits(typed.edge_bits)
    with noting(problems):
        given |= parsed_loss(typed.max_loss)
    with noting(problems):
        given["memory_efficiency"] = _share(typed.memory_efficiency)
    known = {field.name for field in fields(DesignOptions)}
    with noting(problems):
        options = DesignOptions(**{name: value for name, value in given.items() if name in known})
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    return options


def parsed_bits(text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the widths of weights and of what layers read that a text stands for.

    Raises:
        ConfigError: it stands for none.

    Example:
        >>> parsed_bits("4/4"), parsed_bits("2..4/3..4")
        (((4,), (4,)), ((2, 3, 4), (3, 4)))
    """
    from silicut.compress.quantisation.bits import MAX_BITS, MIN_BITS

    widths = []
    for part in text.split("/"):
        low, dots, high = part.partition("..")
        ends = (low, high) if dots else (low, low)
        if not all(end.isdecimal() for end in ends):
            break
        first, last = map(int, ends)
        if MIN_BITS <= first <= last <= MAX_BITS:
            widths.append(tuple(range(first, last + 1)))
    if len(widths) != 2 or text.count("/") != 1:
        raise ConfigError(
            f"bits must be like 4/4 or 2..4/4 (of weights / of what layers read), each {MIN_BITS}..{MAX_BITS}, not {text!r}"
        )
    return widths[0], widths[1]


def parsed_loss(text: str | None) -> dict[str, float]:
    """Return the budget of loss that a text stands for, as an option of a design.

    Raises:
        ConfigError: it stands for none.

    Example:
        >>> parsed_loss("0.02"), parsed_loss("3bit"), parsed_loss("2.8bit")
        ({'max_loss': 0.02}, {'like_weight_bits': 3.0}, {'like_weight_bits': 2.8})
    """
    if text is None:
        return {}
    name = "like_weight_bits" if text.endswith("bit") else "max_loss"
    try:
        number = float(text.removesuffix("bit"))
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise ConfigError(f"max-loss must be a number above 0, or such as 3bit, not {text!r}")
    return {name: number}


def _edge_bits(text: str) -> int | None:
    from silicut.compress.quantisation.bits import MAX_BITS, MIN_BITS

    if text == "none":
        return None
    if not text.isdecimal() or not MIN_BITS <= int(text) <= MAX_BITS:
        raise ConfigError(f"edge-bits must be {MIN_BITS}..{MAX_BITS} or none, not {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ConfigError(f"memory-efficiency must be a share such as 75%, not {text!r}") from None
