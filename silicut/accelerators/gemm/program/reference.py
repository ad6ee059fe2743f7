"""The reference of the instruction set, read off the code so that it cannot say what the machine does not do."""

from __future__ import annotations

import inspect

from silicut.accelerators.gemm.program import (
    compute_instructions,
    memory_instructions,
    places,
    post_instructions,
    queues,
    result_registers,
    window_instructions,
)
from silicut.accelerators.gemm.program.instruction_set import INSTRUCTIONS
from silicut.hardware import documentation

_CHAPTERS = {
    "Queues and tokens": queues,
    "Tensors in memory": places,
    "Memory": memory_instructions,
    "Windows": window_instructions,
    "Products": compute_instructions,
    "Results": result_registers,
    "Pools": post_instructions,
}


def instruction_reference() -> str:
    """Return the reference in Markdown: the rules of each part of the machine, then every instruction with its bits."""
    rules = [f"## {title}\n\n{inspect.getdoc(module)}\n" for title, module in _CHAPTERS.items()]
    return "\n".join([*rules, documentation(INSTRUCTIONS)])
