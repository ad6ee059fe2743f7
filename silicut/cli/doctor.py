"""`silicut doctor`: what is installed, what each missing part would add, and whether the machine can measure."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated, Any

from typer import Option

from silicut.cli.console import print_json, print_rich

_PARTS = (
    ("torch", "", "networks, training; the engines pytorch (profile, prune, measure) and pytorch-compile (measure)"),
    ("onnx", "", "reading and writing ONNX files"),
    ("onnxruntime", "onnxruntime", "the engines onnxruntime and onnxruntime-int8: profile, prune, measure; device kits"),
    ("openvino", "openvino", "the engine openvino: profile, prune, measure; device kits"),
    ("jinja2", "report", "report.html"),
    ("matplotlib", "report", "the figures of report.html"),
    ("optuna", "search", "searches by evolution and tpe, trials that are kept and shared"),
    ("stable-baselines3", "rl", "searches by ddpg"),
    ("gymnasium", "rl", "searches by ddpg"),
    ("scikit-learn", "demo", "the digits data set"),
    ("Pillow", "images", "images:DIR data"),
    ("timm", "timm", "networks by name, timm:NAME"),
    ("torchvision", "torchvision", "networks by name, torchvision:NAME"),
    ("transformers", "transformers", "image classifiers, transformers:TYPE and hf:FILE"),
)


def doctor(
    json: Annotated[bool, Option("--json", help="Print the findings as JSON.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show where an internal fault happened.")] = False,
) -> None:
    """Show what is installed, what missing parts would add, and the machine as the engines see it."""
    from silicut.targets import machine_fingerprint

    parts = [_part(*part) for part in _PARTS]
    machine = machine_fingerprint()
    if json:
        print_json({"parts": parts, "machine": machine})
        return
    from rich.table import Table

    table = Table("part", "version", "gives", "get it with", box=None)
    for part in parts:
        table.add_row(part["name"], part["version"] or "missing", part["gives"], "" if part["version"] else part["install"])
    flags = " ".join(machine["instruction_sets"])
    print_rich(table, f"machine: {machine['cpu']}, {machine['n_cores']} cores, {flags}")


def _part(name: str, extra: str, gives: str) -> dict[str, Any]:
    try:
        version: str | None = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = None
    install = f"pip install 'silicut[{extra}]'" if extra else "pip install silicut"
    return {"name": name, "version": version, "gives": gives, "install": install}
