"""`silicut inspect`: what can be pruned of a network, what cannot, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from silicut.cli.console import print_json, print_rich
from silicut.records import Cache, ToolMissing

if TYPE_CHECKING:
    from silicut.targets.profile import Profile


def inspect(
    *,
    network: Annotated[str, Argument(help="Name in the zoo, or your own as module:function.")],
    why: Annotated[
        str | None, Option(metavar="LAYER", help="Explain this layer: what is tied to it, or why it stays.")
    ] = None,
    profile: Annotated[
        Path | None, Option(help="File of a profile (profile.json of a run); a cached one by default.")
    ] = None,
    engine: Annotated[str, Option(help="Engine of the cached profile.")] = "onnxruntime",
    threads: Annotated[int, Option(min=1, help="Threads of the engine.")] = 1,
    batch: Annotated[int, Option(min=1, help="Batch size of the latency.")] = 1,
    input_shape: Annotated[str | None, Option(help="One input, such as 3x224x224, for your own network.")] = None,
    cache: Annotated[Path | None, Option(help="Folder of cached profiles.")] = None,
    json: Annotated[bool, Option("--json", help="Print what was found as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Show what can be pruned, what cannot and why; where a profile was made before, also what takes the time."""
    from silicut.cli.subject import RANDOM, open_subject
    from silicut.flows.inspect import explain
    from silicut.flows.inspect import inspect as inspect_network
    from silicut.graph import capture
    from silicut.report.terminal_inspection import explanation_view, inspection_view

    subject = open_subject(network, RANDOM, None, input_shape, batch)
    captured = capture(subject.module, subject.inputs)
    if why is not None:
        explanation = explain(captured, why)
        _show(explanation, explanation_view, json)
        return
    found = inspect_network(captured, _profile(captured, profile, (engine, threads, batch), cache))
    _show(found, inspection_view, json)
    if found.parts is None and not json:
        print_rich(f"No profile of it is known; for milliseconds: silicut profile --network {network}")


def _profile(network: Any, path: Path | None, target: tuple[str, int, int], cache: Path | None) -> Profile | None:
    """Return the profile to show, None where there is none."""
    from silicut.targets import engine as engine_by_name
    from silicut.targets.profile import Profile, cached_profile

    if path is not None:
        return Profile.load(path)
    try:
        return cached_profile(network, engine_by_name(*target), cache=Cache(cache))
    except ToolMissing:
        return None


def _show(record: Any, view: Any, is_json: bool) -> None:
    if is_json:
        print_json(record.to_json())
    else:
        print_rich(view(record))
