"""`silicut estimate`: what a network would cost on the GEMM accelerator, within a second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from silicut.cli.arguments import noting
from silicut.cli.console import print_json, print_rich
from silicut.records import Cache, ConfigError

if TYPE_CHECKING:
    from silicut.compress.quantisation.bits import BitPlan


def estimate(
    *,
    network: Annotated[
        str, Argument(help="Name in the zoo, a folder of silicut prune or quantise, or a file such as net.onnx.")
    ],
    bits: Annotated[
        str | None,
        Option(help="Bits of weights / of what layers read, as 4/4; those of a folder of silicut quantise, else 8/8."),
    ] = None,
    bits_file: Annotated[Path | None, Option(help="Instead: a plan by layer, as bits.json of silicut quantise.")] = None,
    edge_bits: Annotated[int | None, Option(help="Bits of the first and the last layer, where a plan names none.")] = None,
    accelerator: Annotated[
        str, Option(help="n3h, bismo-pynq-z1, bismo-ultra96, z020, tiny, or a file such as mine.json.")
    ] = "n3h",
    clock: Annotated[float | None, Option(help="MHz, instead of the configuration's.")] = None,
    part: Annotated[str | None, Option(help="FPGA that it is to fit; xc7z020 by default.")] = None,
    board: Annotated[str | None, Option(help="Board whose memory it runs on, such as pynq-z2.")] = None,
    parts: Annotated[list[Path] | None, Option(metavar="FILE", help="TOML file of your own parts and boards.")] = None,
    input_shape: Annotated[str | None, Option(help="One input of an ONNX file of free sizes, such as 3x224x224.")] = None,
    cache: Annotated[Path | None, Option(help="Folder where the layers of ONNX files are kept.")] = None,
    json: Annotated[bool, Option("--json", help="Print the estimate as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Show the least time of a network on the GEMM accelerator, layer by layer, and what the accelerator needs of a part."""
    from silicut.cli.subject import shape_of_file
    from silicut.flows.estimate import EstimateOptions, device, read_layers
    from silicut.flows.estimate import accelerator as configured
    from silicut.flows.estimate import estimate as estimate_network

    options = EstimateOptions()
    problems: list[str] = []
    with noting(problems):
        config = configured(accelerator, clock)
    with noting(problems):
        chosen, carrier = device(part, board, parts or ())
    with noting(problems):
        plan = _plan(bits, bits_file, network)
    with noting(problems):
        options = EstimateOptions(edge_bits=edge_bits)
    with noting(problems):
        layers = read_layers(network, shape_of_file(input_shape, network), Cache(cache))
    if problems:
        raise ConfigError(*problems)
    options = EstimateOptions(plan=plan, edge_bits=options.edge_bits, config=config, part=chosen, board=carrier)
    found = estimate_network(layers, options, network)
    if json:
        print_json(found.to_json())
        return
    from silicut.report.terminal_estimate import estimate_view

    print_rich(estimate_view(found))


def _plan(bits: str | None, bits_file: Path | None, network: str) -> BitPlan:
    from silicut.compress.quantisation.bits import BitPlan
    from silicut.flows.estimate import known_plan

    if bits is not None and bits_file is not None:
        raise ConfigError("what is asked must be one of --bits and --bits-file, not both")
    if bits_file is not None:
        return BitPlan.load(bits_file)
    return (None if bits else known_plan(network)) or BitPlan.parse(bits or "8/8")
