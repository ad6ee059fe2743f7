"""What every summary begins with: what a person calls the run, when it was, and with which packages."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata

from silicut.version import __version__

_PACKAGES = ("torch", "onnxruntime", "onnx", "numpy", "scipy")


@dataclass(frozen=True)
class Label:
    """What a person calls the run.

    Attributes:
        network: the network's name.
        command: what to type to repeat it.
    """

    network: str
    command: str


def created() -> str:
    """Return date and time of now in this place's time zone, ISO 8601."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Return the versions on which results depend, by package; absent packages are left out."""
    found = {"silicut": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
