"""The machine: what is fixed about it, and the clock that an inference is timed by."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

INSTRUCTION_SETS = frozenset(
    "sse4_2 avx avx2 fma f16c avx_vnni avx512f avx512bw avx512dq avx512vl avx512_vnni avx512_bf16 avx512_fp16 "
    "amx_tile amx_int8 amx_bf16 amx_fp16 asimd asimdhp asimddp i8mm bf16 sve sve2 sme".split()
)
"""The processor flags that decide which kernels an engine picks (names as in /proc/cpuinfo)."""


def inference_clock(n_threads: int) -> tuple[str, Callable[[], float]]:
    """Return the clock to time an inference by, with its name: "processor" or "wall".

    Where the calling thread does all the work, what it took is its own processor time: waiting for a core is no part of
    it. Several threads at work can only be timed by the wall clock, as on systems without a fine clock per thread.
    """
    if n_threads == 1 and os.name == "posix" and time.get_clock_info("thread_time").resolution <= 1e-6:
        return "processor", time.thread_time
    return "wall", time.perf_counter


def machine_fingerprint() -> dict[str, Any]:
    """Return what is fixed about this machine: processor, instruction sets, logical cores, operating system.

    Clock and load are left out on purpose: two calls on one machine give equal values.

    Example:
        >>> machine_fingerprint() == machine_fingerprint()
        True
    """
    cpu = _cpu_info()
    identity = "/".join(cpu[key] for key in ("cpu family", "model", "stepping") if key in cpu)
    flags = cpu.get("flags", cpu.get("Features", "")).split()
    return {
        "cpu": cpu.get("model name") or _cpu_name(),
        "cpu_family_model_stepping": identity,
        "n_cores": os.cpu_count() or 1,
        "instruction_sets": sorted(INSTRUCTION_SETS.intersection(flags)),
        "machine": platform.machine(),
        "os": platform.system(),
    }


def engine_fingerprint(name: str, version: str, n_threads: int, batch: int, **more: Any) -> dict[str, Any]:
    """Return what a time measured on this machine depends on: the machine, the engine, how it runs and the clock."""
    return {
        **machine_fingerprint(),
        "engine": name,
        "engine_version": version,
        "n_threads": n_threads,
        "batch": batch,
        "clock": inference_clock(n_threads)[0],
        **more,
    }


def _cpu_info() -> dict[str, str]:
    """Return the fields of the first processor of /proc/cpuinfo, or nothing where there is none."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _cpu_name() -> str:
    if platform.system() == "Darwin":
        query = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    return platform.processor() or "unknown"
