"""Designs as RTLIL, the text form of Yosys; equal modules only once.

Amaranth writes a module for each instance. An array of a thousand equal units is a thousand equal modules, which costs
minutes in every tool behind. Modules are equal if they differ in nothing but their names and those of equal modules that
they contain.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from amaranth.back import rtlil

_MODULE = re.compile(r"^module (\\\S+)$(.*?)^end$", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"^(\s*cell )(\\\S+)( \S+)$", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^\s*attribute \\(?:src|generator|amaranth\.\w+) .*\n", re.MULTILINE)
_TOP = "attribute \\top 1\n"


def rtlil_text(component: Any, name: str = "top") -> str:
    """Return a component as RTLIL with equal modules only once and without places of the source.

    Args:
        component: an Amaranth `Component`; the members of its signature become ports.
        name: of the top module.
    """
    return deduplicated(rtlil.convert(component, name=name, emit_src=False))


def deduplicated(text: str) -> str:
    """Return RTLIL in which modules that are equal have become the first one of them; the first module stays the top."""
    bodies = {match[1]: match[2] for match in _MODULE.finditer(_ATTRIBUTE.sub("", text))}
    names, first = _representatives(bodies)
    kept = [name for name in bodies if names[name] == name]
    parts = [f"module {name}{_renamed(bodies[name], names)}end\n" for name in kept]
    assert kept[0] == first
    return _TOP + "\n".join(parts)


def _representatives(bodies: dict[str, str]) -> tuple[dict[str, str], str]:
    """Return, for each module, the name of the first one that equals it; and the name of the top."""
    names: dict[str, str] = {}
    by_content: dict[str, str] = {}

    def visit(name: str) -> None:
        for match in _CELL.finditer(bodies[name]):
            if match[2] in bodies and match[2] not in names:
                visit(match[2])
        content = hashlib.sha256(_renamed(bodies[name], names).encode()).hexdigest()
        names[name] = by_content.setdefault(content, name)

    top = next(iter(bodies))
    visit(top)
    return names, top


def _renamed(body: str, names: dict[str, str]) -> str:
    return _CELL.sub(lambda match: f"{match[1]}{names.get(match[2], match[2])}{match[3]}", body)
