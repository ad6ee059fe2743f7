"""Who is at work: a name for this process that tells others whether it still runs."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def this_worker() -> str:
    """Return this process's name: computer, process id and when it began, which no later process shares.

    Example:
        >>> is_running(this_worker())
        True
    """
    return f"{platform.node()} {os.getpid()} {_began(os.getpid())}"


def is_running(worker: str) -> bool | None:
    """Tell whether the process of a name still runs; None where that cannot be known (on another computer)."""
    node, pid, began = worker.rsplit(" ", 2)
    if node != platform.node() or began == "unknown":
        return None
    return _began(int(pid)) == began


def _began(pid: int) -> str:
    """Return when a process began in whatever unit the system keeps, "gone" where there is none or it is dead."""
    if Path("/proc/self/stat").exists():
        return _began_by_proc(pid)
    return _began_by_ps(pid)


def _began_by_proc(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
    except OSError:
        return "gone"
    return "gone" if fields[0] in "ZX" else fields[19]  # a killed process that nobody waited for yet is a zombie


def _began_by_ps(pid: int) -> str:
    try:
        asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return asked.stdout.strip().replace(" ", "_") or "gone"
