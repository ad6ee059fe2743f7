"""`silicut partition`: a network shared among several engines of one part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from silicut.cli.arguments import noting
from silicut.cli.console import print_json, print_rich, progress_bars
from silicut.records import Cache, ConfigError

if TYPE_CHECKING:
    from silicut.report.partition import PartitionSummary


def partition(
    *,
    network: Annotated[
        str,
        Argument(
            help="Name in the zoo, a published table (alexnet-2012, vgg16, googlenet-2014, squeezenet-1.1-227), a folder of "
            "silicut prune or quantise, or a file such as net.onnx."
        ),
    ],
    part: Annotated[str | None, Option(help="FPGA; the board's, else xc7vx690t.")] = None,
    board: Annotated[str | None, Option(help="Board whose memory the engines share, such as vc709.")] = None,
    parts: Annotated[list[Path] | None, Option(metavar="FILE", help="TOML file of your own parts and boards.")] = None,
    precision: Annotated[str, Option(help="fixed16 or fp32.")] = "fixed16",
    budget: Annotated[str, Option(help="Share of the part's slices and blocks of memory.")] = "80%",
    clock: Annotated[float, Option(help="MHz, assumed.")] = 100.0,
    bandwidth: Annotated[float | None, Option(help="GB/s of the memory; the board's, else any.")] = None,
    solver: Annotated[str, Option(help="exact, annealing or tabu.")] = "exact",
    engines: Annotated[int, Option(help="At most so many engines.")] = 6,
    evaluations: Annotated[int, Option(help="Partitions that annealing and tabu search may try.")] = 3000,
    seed: Annotated[int, Option(help="Of annealing and tabu search.")] = 0,
    follow: Annotated[
        bool, Option("--follow", help="Let a layer follow in the same round what its engine made: fewer stages.")
    ] = False,
    input_shape: Annotated[str | None, Option(help="One input of an ONNX file of free sizes, such as 3x224x224.")] = None,
    cache: Annotated[Path | None, Option(help="Folder where the layers of ONNX files are kept.")] = None,
    out: Annotated[Path | None, Option(help="New folder for config.json and summary.json.")] = None,
    json: Annotated[bool, Option("--json", help="Print the summary as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Share the convolutions of a network among several engines at work on different images, and simulate them."""
    from silicut.cli.subject import shape_of_file
    from silicut.flows.estimate import device
    from silicut.flows.new_folder import new_folder
    from silicut.flows.partition import PartitionOptions, read_conv_layers
    from silicut.flows.partition import partition as partition_network

    problems: list[str] = []
    with noting(problems):
        chosen, carrier = device(part or (None if board else "xc7vx690t"), board, parts or ())
    with noting(problems):
        budget_frac = _share(budget)
    with noting(problems):
        options = PartitionOptions(
            precision=precision, clock_hz=clock * 1e6, bandwidth_gb_per_s=bandwidth, solver=solver, max_engines=engines,
            n_evaluations=evaluations, seed=seed, follows=follow,
        )  # fmt: skip
    with noting(problems):
        layers, left_out = read_conv_layers(network, shape_of_file(input_shape, network), Cache(cache))
    if problems:
        raise ConfigError(*problems)
    if out is not None:
        new_folder(out)
    per_s = bandwidth if bandwidth is not None or carrier is None else carrier.bandwidth_gb_per_s
    asked = replace(options, part=chosen, budget_frac=budget_frac, bandwidth_gb_per_s=per_s)
    with progress_bars(is_quiet=json) as progress:
        found = partition_network(layers, asked, network, left_out, progress)
    if out is not None:
        found.save(out)
    _show(found.summary, json)


def _show(summary: PartitionSummary, is_json: bool) -> None:
    from silicut.report.terminal_partition import partition_view

    if is_json:
        print_json(summary.to_json())
    else:
        print_rich(partition_view(summary))


def _share(text: str) -> float:
    """Return a share such as 80% or 0.8."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ConfigError(f"budget must be like 80%, not {text!r}") from None
    if not 0 < share <= 1:
        raise ConfigError(f"budget must be above 0% and at most 100%, not {text!r}")
    return share
