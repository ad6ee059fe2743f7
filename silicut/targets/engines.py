"""The engines by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from silicut.records import ConfigError
from silicut.targets.engine import Engine
from silicut.targets.onnx_runtime import OnnxRuntime
from silicut.targets.onnx_runtime_int8 import OnnxRuntimeInt8
from silicut.targets.openvino import OpenVino
from silicut.targets.pytorch import PyTorch, PyTorchCompiled

_KINDS: tuple[type[Any], ...] = (OnnxRuntime, OnnxRuntimeInt8, OpenVino, PyTorch, PyTorchCompiled)

ENGINES: dict[str, Callable[[int, int], Engine]] = {kind.name: kind for kind in _KINDS}
"""Constructor, called with threads and batch, by engine name. A new engine is a module and a line here."""


def engine(name: str = OnnxRuntime.name, n_threads: int = 1, batch: int = 1) -> Engine:
    """Return an engine by name.

    Args:
        name: one of `ENGINES`.
        n_threads: threads inside one operator, >= 1.
        batch: size of the first input dimension, >= 1.

    Raises:
        ConfigError: no engine has that name (the message lists the nearest), or a number is wrong.
        ToolMissing: the engine is not installed.

    Example:
        >>> engine("openvno")
        Traceback (most recent call last):
        silicut.records.errors.ConfigError: engine must be 'openvino', not 'openvno'
    """
    if name not in ENGINES:
        nearest = difflib.get_close_matches(name, ENGINES) or sorted(ENGINES)
        raise ConfigError(f"engine must be {' or '.join(map(repr, nearest))}, not {name!r}")
    return ENGINES[name](n_threads, batch)
