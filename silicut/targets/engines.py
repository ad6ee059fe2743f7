"""The engines by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from silicut.records import ConfigError
from silicut.targets.engine import Engine
from silicut.targets.onnx_runtime import OnnxRuntime
from silicut.targets.openvino import OpenVino

ENGINES: dict[str, Callable[[int, int], Engine]] = {kind.name: kind for kind in (OnnxRuntime, OpenVino)}
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
        >>> engine("onnx-runtime")
        Traceback (most recent call last):
        silicut.records.errors.ConfigError: engine must be 'onnxruntime', not 'onnx-runtime'
    """
    if name not in ENGINES:
        nearest = difflib.get_close_matches(name, ENGINES) or sorted(ENGINES)
        raise ConfigError(f"engine must be {' or '.join(map(repr, nearest))}, not {name!r}")
    return ENGINES[name](n_threads, batch)
