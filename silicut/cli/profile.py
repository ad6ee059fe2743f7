"""`silicut profile`: what every layer costs on an engine, over all widths worth having."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from silicut.cli.console import print_json, print_rich, progress_bars
from silicut.records import Cache, OutputExists, Progress

if TYPE_CHECKING:
    from silicut.graph import Network
    from silicut.targets import Engine
    from silicut.targets.profile import Profile, ProfileOptions


def profile(
    *,
    network: Annotated[str, Option(help="Name in the zoo, your own as module:function, or a file such as net.onnx.")],
    engine: Annotated[str, Option(help="Engine to profile on.")] = "onnxruntime",
    threads: Annotated[int, Option(min=1, help="Threads of the engine.")] = 1,
    batch: Annotated[int, Option(min=1, help="Batch size of the latency.")] = 1,
    weights: Annotated[str, Option(help="File of weights; random ones cost the same.")] = "random",
    input_shape: Annotated[str | None, Option(help="One input, such as 3x224x224, for your own network.")] = None,
    seed: Annotated[int, Option(min=0, help="Seed of the sampled widths.")] = 0,
    out: Annotated[Path | None, Option(help="New file for the profile (JSON).")] = None,
    kit: Annotated[Path | None, Option(help="New folder to run on another device, instead of measuring here.")] = None,
    merge: Annotated[Path | None, Option(help="results.jsonl of a kit that was run on its device.")] = None,
    cache: Annotated[Path | None, Option(help="Folder of cached profiles.")] = None,
    json: Annotated[bool, Option("--json", help="Print the profile as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Measure the cost of every layer over its legal widths; interrupted profiles go on where they stopped.

    A device that silicut does not run on is profiled in two rounds: --kit DIR writes the first, --merge FILE --kit DIR takes
    its results and writes the second, --merge FILE --out FILE takes those.
    """
    for path in (out, kit):
        if path is not None and path.exists():
            raise OutputExists(f"{path} exists and was not changed; choose a new {'file' if path is out else 'folder'}")
    from silicut.cli.subject import open_subject
    from silicut.graph import capture
    from silicut.targets import engine as engine_by_name
    from silicut.targets.profile import ProfileOptions, profile_network

    target = engine_by_name(engine, n_threads=threads, batch=batch)
    subject = open_subject(network, weights, None, input_shape, batch)
    traced, options = capture(subject.module, subject.inputs), ProfileOptions(seed=seed)
    with progress_bars(json) as progress:
        if kit is None and merge is None:
            result = profile_network(traced, target, cache=Cache(cache), options=options, progress=progress)
        else:
            on_device = _on_device(_Visit(traced, target, Cache(cache), options, progress), merge, kit)
            if on_device is None:
                return
            result = on_device
    if out is not None:
        result.save(out)
    if json:
        print_json(result.to_json())
        return
    from silicut.report.terminal import profile_table

    print_rich(profile_table(result))


@dataclass(frozen=True)
class _Visit:
    """What a visit to a device is about."""

    network: Network
    engine: Engine
    cache: Cache
    options: ProfileOptions
    progress: Progress


def _on_device(visit: _Visit, results: Path | None, folder: Path | None) -> Profile | None:
    """Merge results where there are some; return the profile if it is complete, else None, the next round written."""
    from silicut.targets.elsewhere import Device
    from silicut.targets.kit import Unmeasured, device_profile, merge, write_kit

    device = Device(visit.engine.settings)
    if results is not None:
        device = merge(results, visit.network, visit.cache, visit.progress)
    try:
        return device_profile(visit.network, device, cache=visit.cache, options=visit.options, progress=visit.progress)
    except Unmeasured as left:
        n_left = len(left.networks)
        if folder is None:
            print_rich(
                f"merged {results}; {n_left} networks are left to measure: add --kit DIR to write them as the next round"
            )
        else:
            write_kit(folder, visit.network, device.local(), left.networks, visit.progress)
            print_rich(
                f"{folder}: {n_left} networks; run python run.py in it on the device, then give its results.jsonl to --merge"
            )
        return None
