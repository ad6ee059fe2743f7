"""`silicut profile`: what every layer costs on an engine, over all widths worth having."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from silicut.cli.console import print_json, print_rich, progress_bars
from silicut.records import Cache, OutputExists


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
    cache: Annotated[Path | None, Option(help="Folder of cached profiles.")] = None,
    json: Annotated[bool, Option("--json", help="Print the profile as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Measure the cost of every layer over its legal widths; interrupted profiles go on where they stopped."""
    if out is not None and out.exists():
        raise OutputExists(f"{out} exists and was not changed; choose a new file")
    from silicut.cli.subject import open_subject
    from silicut.graph import capture
    from silicut.targets import engine as engine_by_name
    from silicut.targets.profile import ProfileOptions, profile_network

    target = engine_by_name(engine, n_threads=threads, batch=batch)
    subject = open_subject(network, weights, None, input_shape, batch)
    with progress_bars(json) as progress:
        result = profile_network(
            capture(subject.module, subject.inputs),
            target,
            cache=Cache(cache),
            options=ProfileOptions(seed=seed),
            progress=progress,
        )
    if out is not None:
        result.save(out)
    if json:
        print_json(result.to_json())
        return
    from silicut.report.terminal import profile_table

    print_rich(profile_table(result))
