"""From a PyTorch module to a `Network`, by `torch.export`.

Nothing is guessed: what `torch.export` cannot follow, or what is no tensor operator, is an `UnsupportedModel` that lists
every offender with the user's line. Operators unknown to the channel rules are captured and executed all the same; they
only freeze the channels they touch.
"""

from __future__ import annotations

import io
import logging
import os
import re
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import nn

from silicut.graph.aliasing import Aliasing
from silicut.graph.constants import constant_nodes, lifted
from silicut.graph.exported import ADVICE, is_users, read_program, source_line
from silicut.graph.module import NetworkModule, network_with_weights
from silicut.graph.network import Network
from silicut.records import UnsupportedModel

_EXPORT_LOGGERS = ("torch.fx.experimental.symbolic_shapes", "torch.export")


def capture(module: nn.Module, inputs: torch.Tensor | Sequence[torch.Tensor]) -> Network:
    """Return the network that a module computes in evaluation mode.

    Args:
        module: any module that `torch.export` can trace; it is not changed. A `NetworkModule` gives its own network, with
            the module's present weights.
        inputs: one example tensor per argument, the batch on axis 0. The batch size stays free where the module allows;
            elsewhere it is the examples'.

    Raises:
        UnsupportedModel: the module cannot be traced, uses something that is no tensor operator, or writes to its buffers.
    """
    if isinstance(module, NetworkModule):
        return network_with_weights(module)
    examples = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    # With gradients on, so that torch.export keeps the user's no_grad blocks.
    with _evaluation_mode(module), _quiet(), torch.enable_grad():
        try:
            return _capture(module, examples, is_batch_free=True)
        except UnsupportedModel:
            return _capture(module, examples, is_batch_free=False)


def _capture(module: nn.Module, examples: tuple[torch.Tensor, ...], *, is_batch_free: bool) -> Network:
    shapes: Any = None
    if is_batch_free:
        # Two images, because torch.export would take a batch of one for a constant.
        examples = tuple(torch.cat([x, x])[:2] if x.dim() else x for x in examples)
        batch = torch.export.Dim("batch", min=1)
        shapes = torch.export.ShapesCollection()  # type: ignore[no-untyped-call]
        for example in examples:
            if example.dim():
                shapes[example] = {0: batch}
    try:
        program = torch.export.export(module, examples, dynamic_shapes=shapes)
    except Exception as error:  # torch.export raises whatever the user's forward raises
        raise UnsupportedModel([_first_sentence(error)], ADVICE) from error
    return read_program(_without_hazards(program), module)


def _without_hazards(program: Any) -> Any:
    """Return the program with views and in-place operators rewritten by PyTorch where renaming is not enough."""
    graphs = [part.graph for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
    known = set(lifted(program))
    hazards = [found for graph in graphs if (found := Aliasing(graph).hazard(constant_nodes(graph, known))) is not None]
    if not hazards:
        return program
    if any("dropout" in str(node.target) for graph in graphs for node in graph.nodes):
        # PyTorch's rewriting would lose the dropout, which does nothing in evaluation mode.
        place = source_line(hazards[0]) or "unknown line"
        raise UnsupportedModel(
            [f"{hazards[0].target} at {place} writes to memory that is read later under another name"],
            "Write it without the in-place operator; a network with dropout cannot be captured otherwise",
        )
    return program.run_decompositions({})


@contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, was_training in before:
            part.training = was_training


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch.export's warnings, logs and printed graphs to itself: what matters of them is in the error."""
    loggers = [logging.getLogger(name) for name in _EXPORT_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first_sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = lines[0].removesuffix(".") if lines else "no message"
    return f"torch.export cannot trace the network{_place(error)} ({type(error).__name__}: {message})"


def _place(error: BaseException | None) -> str:
    """Return the user's line in an error's message, else the innermost one in its traceback or its causes'."""
    frames = [(file, int(line)) for file, line in re.findall(r'File "([^"]+)", line (\d+)', str(error))]
    while error is not None and not any(is_users(file) for file, _ in frames):
        frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
        error = error.__cause__ or error.__context__
    users = [f"{os.path.basename(file)}:{line}" for file, line in frames if is_users(file)]
    return f" at {users[-1]}" if users else ""
