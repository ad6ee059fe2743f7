"""Command lines of silicut in processes of their own that need not import everything anew.

A server imports it once and forks a process for each command. The server is begun with the first command.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tiny", "silicut.flows.run", "silicut.report.page", "torch._dynamo", "onnxruntime"])


def start(arguments: Sequence[str], errors: Path, **environment: str) -> BaseProcess:
    """Start a command; its exit code is the process's, and standard output and error go to a file."""
    process = _SERVER.Process(target=_run, args=(list(arguments), str(errors), environment))
    process.start()
    return process


def _run(arguments: list[str], errors: str, environment: dict[str, str]) -> None:
    import torch

    from silicut.cli.app import run

    os.environ.update(environment)
    torch.set_num_threads(1)
    for stream in (1, 2):
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    sys.exit(run(arguments))
