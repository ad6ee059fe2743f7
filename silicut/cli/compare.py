"""`silicut compare`: two executors of a network, tensor by tensor, on the same inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from silicut.cli.console import print_json, print_rich
from silicut.cli.images import RANDOM, images
from silicut.records import BadFile

if TYPE_CHECKING:
    from silicut.flows.executors import Executor


def compare(
    *,
    a: Annotated[
        str,
        Argument(
            help="Folder of silicut quantise or compile, ONNX file, or network; @EXECUTOR behind it says what runs it."
        ),
    ],
    b: Annotated[str, Argument(help="Another one, or the same with another executor.")],
    inputs: Annotated[str, Option(help="An .npy file, data as for the other commands, or random.")] = RANDOM,
    n: Annotated[int, Option("--n", min=1, help="How many inputs to take.")] = 8,
    weights: Annotated[str | None, Option(help="Weights of networks by name; random by default.")] = None,
    input_shape: Annotated[str | None, Option(help="One input, such as 3x224x224, for your own network.")] = None,
    seed: Annotated[int, Option(min=0, help="Seed of random inputs.")] = 0,
    json: Annotated[bool, Option("--json", help="Print the comparison as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Find the first integer in which two executors differ (exit code 1), or the noise of an integer network."""
    for spec in (a, b):
        _check(spec)
    from silicut.flows.compare import compare as compare_executors
    from silicut.report.terminal_comparison import comparison_view

    first, second = (_executor(spec, weights, input_shape) for spec in (a, b))
    shape = first[1] or second[1]
    found = compare_executors(first[0], second[0], images(inputs, n, shape, seed))
    if json:
        print_json(found.to_json())
    else:
        print_rich(comparison_view(found))
    if found.first is not None:
        raise Exit(1)


def _split(spec: str) -> tuple[str, str | None]:
    """Return a subject and the executor behind its last @."""
    subject, mark, kind = spec.rpartition("@")
    return (subject, kind) if mark and subject else (spec, None)


def _check(spec: str) -> None:
    """Refuse files that do not exist and folders of another kind before anything slow starts."""
    subject, _ = _split(spec)
    path = Path(subject)
    if subject.endswith(".onnx") and not path.is_file():
        raise BadFile(f"{path} does not exist; check the path")
    if path.is_file() and path.suffix == ".gemm":
        raise BadFile(f"{path} is a program alone, without what its integers mean; give the folder of silicut compile")
    if path.is_dir() and not (path / "integer.json").exists():
        raise BadFile(f"{path} is no folder of silicut quantise: it holds no integer.json; give ONNX files or such folders")


def _executor(spec: str, weights: str | None, input_shape: str | None) -> tuple[Executor, tuple[int, ...] | None]:
    """Return an executor, and the shape of one input where it is known."""
    from silicut.flows.executors import executor
    from silicut.flows.pixels import OnNormalisedExecutor, noted_normalisation

    subject, kind = _split(spec)
    made = executor(_subject(subject, weights, input_shape), kind, spec)
    is_stored = Path(subject).is_dir() or subject.endswith(".onnx")
    folded = noted_normalisation(subject) if is_stored else None
    return made if folded is None else OnNormalisedExecutor(made, folded), made.input_shape


def _subject(subject: str, weights: str | None, input_shape: str | None) -> Any:
    """Return the network of a folder or QONNX file, the path of another ONNX file, else a float network."""
    from silicut.flows.compiled import PROGRAM_FILE, load_compiled
    from silicut.numerics import load_quantised
    from silicut.numerics.onnx import from_qonnx, is_qonnx

    if (Path(subject) / PROGRAM_FILE).exists():
        return load_compiled(subject)
    if Path(subject).is_dir():
        return load_quantised(subject)
    if subject.endswith(".onnx"):
        return from_qonnx(subject) if is_qonnx(subject) else Path(subject)
    from silicut.cli.subject import open_subject
    from silicut.graph import capture

    opened = open_subject(subject, weights or RANDOM, None, input_shape, 2)
    return capture(opened.module, opened.inputs)
