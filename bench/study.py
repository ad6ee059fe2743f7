"""What the studies share: tables that remember what they hold, the circumstances of a row, networks with their weights.

A study is `bench/<question>/run.py`; it puts this folder on the path and imports this file.
"""

from __future__ import annotations

import csv
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from silicut.records import Event
from silicut.targets import machine_fingerprint
from silicut.targets.profile import Profile
from silicut.zoo import assign_weights, bundled_names, bundled_weights, load_weights, network, network_entry

HERE = Path(__file__).parent
PACKAGES = ("torch", "onnxruntime", "openvino", "scipy", "optuna", "stable-baselines3")


class Table:
    """A CSV file whose rows are known by some of their columns; a row that is there is not made again."""

    def __init__(self, path: Path, keys: tuple[str, ...]) -> None:
        self.path, self.keys = path, keys

    def rows(self) -> list[dict[str, str]]:
        """Return all rows, none where the file was not made."""
        return read_rows(self.path)

    def has(self, **key: Any) -> bool:
        """Tell whether there is a row of this key."""
        return any(all(row[k] == str(key[k]) for k in self.keys) for row in self.rows())

    def drop(self, **key: Any) -> None:
        """Take out the rows that have these values."""
        kept = [row for row in self.rows() if any(row[name] != str(value) for name, value in key.items())]
        self.path.unlink(missing_ok=True)
        for row in kept:
            self._append(row)

    def add(self, **row: Any) -> None:
        """Append a row and its circumstances, and print it."""
        row |= conditions()
        self._append({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
        print("  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items())[:200], flush=True)

    def _append(self, row: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(row)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def markdown(header: list[str], lines: list[list[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines])


def interval_text(mean: float, low: float, high: float, digits: int = 2) -> str:
    """Return a difference with its 95 % interval, and that there is none where the interval holds 0.

    Example:
        >>> interval_text(0.15, -0.06, 0.36)
        '+0.15 (-0.06 to +0.36): no difference'
    """
    verdict = ": no difference" if low <= 0 <= high else ""
    return f"{mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f}){verdict}"


def conditions() -> dict[str, str]:
    """Return what every row carries: machine, versions, threads, code."""
    code = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE, check=False)
    machine = machine_fingerprint()
    return {
        "machine": f"{machine['cpu']} {machine['cpu_family_model_stepping']} x{machine['n_cores']}",
        "versions": " ".join([f"python {platform.python_version()}", *map(_versioned, PACKAGES)]),
        "threads": "1",
        "batch": "1",
        "code": code.stdout.strip(),
    }


def _versioned(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"no {package}"


def errors_of(profile: Profile) -> dict[str, Any]:
    """Return the columns that say how well a profile predicts."""
    v = profile.validation
    return {
        "n": len(v.measured_ms), "dense_ms": profile.dense_ms, "r2": v.r2, "mean_error_frac": v.mean_error_frac,
        "max_error_frac": v.max_error_frac, "isolated_mean_error_frac": v.isolated_mean_error_frac,
        "isolated_max_error_frac": v.isolated_max_error_frac, "n_measured": profile.n_measured,
    }  # fmt: skip


def load(name: str, published: Path | None = None) -> torch.nn.Module:
    """Return a network with its bundled, published (ResNet-56) or seeded random weights."""
    torch.manual_seed(0)
    module = network(name).eval()
    if name == "resnet56" and published is not None:
        assign_weights(module, load_weights(published))
    elif name in bundled_names():
        assign_weights(module, load_weights(bundled_weights(name)))
    return module


def example(name: str) -> torch.Tensor:
    """Return one input."""
    return torch.randn(1, *network_entry(name).input_shape, generator=torch.Generator().manual_seed(0))


def show(event: Event) -> None:
    """Print finished stages."""
    if event.n_done == event.n_total:
        print(f"    {event.stage}: {event.note}", file=sys.stderr, flush=True)
