"""Compiled models: RTLIL to C++ (CXXRTL) to a shared library, kept in the user's cache by content."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silicut.hardware.rtl.ports import Port, ports_of
from silicut.hardware.rtl.rtlil import rtlil_text
from silicut.hardware.rtl.simulation import Simulation
from silicut.hardware.rtl.tools import compiler, cxxrtl_headers, run_tool, run_yosys, yosys_version
from silicut.records import content_hash, default_cache_folder

_RUNTIME = Path(__file__).with_name("runtime.cc")
_PASSES = "write_cxxrtl -g2 -noflatten"  # -g1 leaves out ports that are combinational
_OPTIONS = ("-std=c++17", "-O1", "-march=native", "-shared", "-fPIC")


@dataclass(frozen=True)
class Model:
    """A compiled component.

    Attributes:
        ports: of the component, clock and reset left out.
        library: the shared library.
        was_cached: whether it had been built before.
    """

    ports: tuple[Port, ...]
    library: Path
    was_cached: bool = False

    def simulate(self) -> Simulation:
        """Return a fresh instance: all registers have their initial values, all inputs are 0."""
        return Simulation(self.library, self.ports)


def compile_model(component: Any, *, folder: str | Path | None = None) -> Model:
    """Return a component as a compiled model; what was built from the same text by the same tools is taken from the cache.

    The cache is keyed by the design alone, so what designs read (weights, instructions) should be loaded through ports.

    Args:
        component: an Amaranth `Component` with one clock domain, "sync".
        folder: of the cache, by default `rtl` in the user's cache of this package.

    Raises:
        ToolMissing: Yosys or a C++ compiler is not installed.
        BuildFailed: a tool refused the design.
    """
    kept = Path(folder) if folder is not None else default_cache_folder() / "rtl"
    ports, design, program = ports_of(component), rtlil_text(component), compiler()
    parts = [design, _PASSES, _RUNTIME.read_text(encoding="utf-8"), list(_OPTIONS), program.version, yosys_version()]
    library = kept / f"{content_hash(parts)}.so"
    if library.exists():
        return Model(ports, library, was_cached=True)
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as scratch:
        os.replace(_built(design, Path(scratch), program.path), library)
    return Model(ports, library)


def _built(design: str, scratch: Path, compiler_path: str) -> Path:
    source, library = scratch / "model.cc", scratch / "model.so"
    script = f"read_rtlil <<rtlil\n{design}\nrtlil\n{_PASSES}\n"
    source.write_text(run_yosys(script), encoding="utf-8")
    includes = ("-I", cxxrtl_headers(), "-include", source)
    run_tool([compiler_path, *_OPTIONS, *includes, "-o", library, _RUNTIME], Path(compiler_path).name)
    return library
